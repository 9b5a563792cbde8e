"""Coordinate regression: landmarks as fractions of the film, counted from the training films' mean shape."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from methods.base import Augmentation, Batch, LandmarkSchema, Method, Prediction, Sample
from methods.components.augmentation import rotation_and_contrast
from methods.components.losses import l2


class CoordinateMethod(Method):
    """Regresses coordinates with L2.

    A subclass implements `forward(batch)`: each landmark as a fraction of the film's width and height, `self.mean` plus
    what its network answers.
    """

    rotation: float
    mean: Tensor

    def __init__(self, schema: LandmarkSchema) -> None:
        super().__init__(schema)
        self.register_buffer("mean", torch.full((len(schema), 2), 0.5))

    @property
    @override
    def augmentation(self) -> Augmentation:
        return rotation_and_contrast(self.rotation)

    @override
    def prepare(self, train: Sequence[Sample]) -> None:
        shape = torch.stack([self.to_fractions(sample.points) for sample in train]).nanmean(dim=0)
        self.mean.copy_(shape.nan_to_num(0.5))

    def _size(self, like: Tensor) -> Float[Tensor, " 2"]:
        """Return (width, height) of the input."""
        return torch.tensor(self.input_size[::-1], device=like.device, dtype=like.dtype)

    def to_fractions(self, points: Float[Tensor, "... landmark 2"]) -> Float[Tensor, "... landmark 2"]:
        """Map network pixels to fractions of the film's width and height."""
        return (points + 0.5) / self._size(points)

    def from_fractions(self, fractions: Float[Tensor, "... landmark 2"]) -> Float[Tensor, "... landmark 2"]:
        """Map fractions of the film's width and height to network pixels."""
        return fractions * self._size(fractions) - 0.5

    @override
    def loss(self, batch: Batch) -> Tensor:
        return l2(self(batch), self.to_fractions(batch.points), batch.visible)

    @override
    def predict(self, batch: Batch) -> Prediction:
        return Prediction(self.from_fractions(self(batch)))
