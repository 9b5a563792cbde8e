"""A tiny schema and batch with groups, flips and missing points, on which every method must behave."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from datamodules.base import Batch, LandmarkSchema, Sample
from datamodules.components.samples import collate
from methods import discover
from methods.base import Method

CORNERS = ("TL", "TR", "BL", "BR")
VERTEBRAE = ("L1", "L2", "L3")


@pytest.fixture(scope="session")
def schema() -> LandmarkSchema:
    """Three vertebrae of four corners."""
    return LandmarkSchema(
        names=tuple(f"{v}-{c}" for v in VERTEBRAE for c in CORNERS),
        groups={v: tuple(f"{v}-{c}" for c in CORNERS) for v in VERTEBRAE},
        flips=tuple((f"{v}-{side}L", f"{v}-{side}R") for v in VERTEBRAE for side in "TB"),
        normalizer=("L1-TL", "L3-BL"),
    )


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


@pytest.fixture(params=sorted(discover()), scope="session")
def method_class(request: pytest.FixtureRequest) -> type[Method]:
    """Every discovered method in turn."""
    return discover()[request.param]


@pytest.fixture
def method(method_class: type[Method], schema: LandmarkSchema) -> Method:
    """Every method, prepared, at smoke size."""
    reason = method_class.unsupported(schema)
    if reason is not None:
        pytest.skip(reason)
    method = build(method_class, schema)
    method.prepare(make_samples(method))
    return method


@pytest.fixture
def samples(method: Method) -> Callable[..., list[Sample]]:
    """A maker of samples for `method`."""
    return lambda **kwargs: make_samples(method, **kwargs)


@pytest.fixture
def batch(method: Method) -> Batch:
    """Four films, a fifth of the points missing."""
    return collate(make_samples(method))
