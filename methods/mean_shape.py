"""The trivial floor: every landmark at its mean position over the training films."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from methods.base import Batch, FittedMethod, LandmarkSchema, Paper, Prediction, Sample


class MeanShape(FittedMethod):
    """Predicts the mean shape of the training films, in fractions of the film, and never looks at the image.

    A method that does not beat it has learnt nothing from pixels.
    """

    paper = Paper("The mean shape of the training films (the trivial floor)", "Osteomark")
    variants: ClassVar = {"mean_shape": {}}
    smoke: ClassVar = {}
    mean: Tensor

    def __init__(self, schema: LandmarkSchema, input_size: tuple[int, int] = (64, 64)) -> None:
        super().__init__(schema)
        self.register_buffer("mean", torch.zeros(len(schema), 2))

    @override
    def prepare(self, train: Sequence[Sample]) -> None:
        self.mean.copy_(self.mean_shape(torch.stack([sample.points for sample in train])))

    @override
    def predict(self, batch: Batch) -> Prediction:
        return Prediction(self.mean.expand(batch.image.shape[0], -1, -1))
