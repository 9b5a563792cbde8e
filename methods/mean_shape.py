"""The trivial floor: every landmark at its mean position over the training films."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Paper, Prediction, Sample, Stage


class MeanShape(Method):
    """Predicts the mean shape of the training films, in fractions of the film, and never looks at the image.

    A method that does not beat it has learnt nothing from pixels.
    """

    paper = Paper("The mean shape of the training films (the trivial floor)", "Osteomark")
    variants: ClassVar = {"mean_shape": {}}
    smoke: ClassVar = {}
    mean: Tensor

    def __init__(self, schema: LandmarkSchema, input_size: tuple[int, int] = (64, 64)) -> None:
        super().__init__(schema)
        self.input_size = input_size
        self.register_buffer("mean", torch.zeros(len(schema), 2))

    @property
    def stages(self) -> Sequence[Stage]:
        """No training by gradients."""
        return ()

    @property
    def input_spec(self) -> InputSpec:
        """A small stretched film: only its frame matters."""
        return InputSpec(self.input_size)

    def prepare(self, train: Sequence[Sample]) -> None:
        """Average each landmark over the films that show it; one that no film shows goes to the centre."""
        height, width = self.input_size
        mean = torch.stack([sample.points for sample in train]).nanmean(dim=0)
        centre = torch.tensor([(width - 1) / 2, (height - 1) / 2])
        self.mean.copy_(torch.where(mean.isnan(), centre, mean))

    def loss(self, batch: Batch) -> Tensor:
        """Nothing to train."""
        return batch.image.new_zeros((), dtype=torch.float32)

    def predict(self, batch: Batch) -> Prediction:
        """The same shape for every film."""
        return Prediction(self.mean.expand(len(batch.case), -1, -1))
