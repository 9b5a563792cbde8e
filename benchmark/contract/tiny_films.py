"""A tiny schema and films with groups, flips and missing points, on which every method must behave."""

from __future__ import annotations

from typing import Final

import torch

from datamodules.base import LandmarkSchema, Sample
from methods.base import Method

CORNERS: Final = ("TL", "TR", "BL", "BR")
VERTEBRAE: Final = ("L1", "L2", "L3")
SCHEMA: Final = LandmarkSchema(
    names=tuple(f"{v}-{c}" for v in VERTEBRAE for c in CORNERS),
    groups={v: tuple(f"{v}-{c}" for c in CORNERS) for v in VERTEBRAE},
    flips=tuple((f"{v}-{side}L", f"{v}-{side}R") for v in VERTEBRAE for side in "TB"),
    normalizer=("L1-TL", "L3-BL"),
)
"""Three vertebrae of four corners."""


def build(method: type[Method], schema: LandmarkSchema, variant: str | None = None) -> Method:
    """Construct a variant (the first one by default) at smoke size, from seed 0."""
    torch.manual_seed(0)
    hparams = method.variants[variant or next(iter(method.variants))]
    return method(schema, **{**hparams, **method.smoke})


def make_samples(method: Method, count: int = 4, missing: float = 0.2) -> list[Sample]:
    """Return films of blobs at the landmarks; about a share `missing` of the landmarks is not visible."""
    generator = torch.Generator().manual_seed(1)
    height, width = method.input_spec.size
    return [_sample(f"case{i}", height, width, len(method.schema), missing, generator) for i in range(count)]


def _sample(case: str, height: int, width: int, landmarks: int, missing: float, generator: torch.Generator) -> Sample:
    scale = torch.tensor([width - 1.0, height - 1.0])
    points = (0.15 + 0.7 * torch.rand(landmarks, 2, generator=generator)) * scale
    visible = torch.rand(landmarks, generator=generator) >= missing
    image = (20 * torch.rand(height, width, generator=generator)).to(torch.uint8)
    columns, rows = points.round().long().T
    image[rows, columns] = 255
    points[~visible] = torch.nan
    to_image = torch.tensor([[2.0, 0.0, 0.5], [0.0, 3.0, 1.0]])
    return Sample(case, image[None], points, visible, torch.tensor([0.1, 0.1]), to_image)
