"""The tensors that travel from the datamodule to the method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor


class Case(NamedTuple):
    """One film as its dataset describes it: original-image pixels, nothing decoded yet.

    Attributes:
        name: The case id, unique within the dataset.
        film: The image file.
        points: (x, y) of each landmark in original pixels, NaN where missing.
        size: (height, width) of the film in pixels.
        spacing: Millimetres per pixel in (x, y); NaN where unknown.
        patient: Cases with the same patient never straddle train, validation and test.
        view: Projection or session, free text of the dataset.
        exif: Whether labels are on the film turned as its EXIF orientation says; else on the pixels as stored.
    """

    name: str
    film: Path
    points: Float[np.ndarray, "landmark 2"]
    size: tuple[int, int]
    spacing: tuple[float, float] = (float("nan"), float("nan"))
    patient: str = ""
    view: str = ""
    exif: bool = False

    @property
    def visible(self) -> Bool[np.ndarray, " landmark"]:
        """Which landmarks the truth has."""
        return np.asarray(np.isfinite(self.points).all(axis=1))


class Sample(NamedTuple):
    """One case in network pixels.

    Attributes:
        case: The case id.
        image: The film, resized to the method's input.
        points: (x, y) in network pixels, NaN where missing.
        visible: False where a landmark is missing.
        spacing: Original millimetres per pixel in (x, y), NaN where unknown.
        to_image: 2x3 affine from network pixels to original pixels.
    """

    case: str
    image: UInt8[Tensor, "channel height width"]
    points: Float[Tensor, "landmark 2"]
    visible: Bool[Tensor, " landmark"]
    spacing: Float[Tensor, " 2"]
    to_image: Float[Tensor, "2 3"]


class Batch(NamedTuple):
    """Samples stacked along a first dimension; see `Sample` for the fields."""

    case: tuple[str, ...]
    image: UInt8[Tensor, "batch channel height width"]
    points: Float[Tensor, "batch landmark 2"]
    visible: Bool[Tensor, "batch landmark"]
    spacing: Float[Tensor, "batch 2"]
    to_image: Float[Tensor, "batch 2 3"]


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one size into a batch."""
    case, *tensors = zip(*samples, strict=True)
    return Batch(tuple(case), *(torch.stack(field) for field in tensors))


def apply_affine(
    affine: Float[Tensor, "batch 2 3"], points: Float[Tensor, "batch landmark 2"]
) -> Float[Tensor, "batch landmark 2"]:
    """Map points by one 2x3 affine per batch element.

    Example:
        >>> shift = torch.tensor([[[1.0, 0.0, 5.0], [0.0, 1.0, 0.0]]])
        >>> apply_affine(shift, torch.tensor([[[1.0, 2.0]]])).tolist()
        [[[6.0, 2.0]]]
    """
    return points @ affine[..., :2].mT + affine[..., None, :, 2]
