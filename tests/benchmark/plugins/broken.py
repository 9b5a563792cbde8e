"""A method that fails as methods do."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Paper, Prediction


class Broken(Method):
    """Multiplies matrices that do not fit, or gives up a dataset without groups."""

    paper = Paper("A method of the tests")
    variants: ClassVar = {"broken": {}}
    smoke: ClassVar = {}

    def __init__(self, schema: LandmarkSchema, epochs: int = 1) -> None:
        super().__init__(schema)
        self.weight = nn.Parameter(torch.ones(3, 3))

    @property
    def input_spec(self) -> InputSpec:
        """Hardly an image."""
        return InputSpec((16, 16))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Any will do."""
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def loss(self, batch: Batch) -> Tensor:
        """Raise."""
        return (self.weight @ batch.points.new_ones(4, 4)).sum()

    def predict(self, batch: Batch) -> Prediction:
        """Never come here."""
        raise NotImplementedError
