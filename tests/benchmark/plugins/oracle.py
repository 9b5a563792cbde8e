"""A method that is told the truth, as it lies on the film that it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Paper, Prediction, Stage


class Oracle(Method):
    """Answers the points of the batch, moved to the right."""

    paper = Paper("A method of the tests")
    variants: ClassVar = {"oracle": {}}
    smoke: ClassVar = {}
    shift: Tensor

    def __init__(self, schema: LandmarkSchema) -> None:
        super().__init__(schema)
        self.register_buffer("shift", torch.zeros(2))

    @property
    def stages(self) -> Sequence[Stage]:
        """Nothing to train."""
        return ()

    @property
    def input_spec(self) -> InputSpec:
        """A film of other proportions than the phantoms'."""
        return InputSpec((96, 48), fit="pad")

    def loss(self, batch: Batch) -> Tensor:
        """Nothing to train."""
        return batch.image.new_zeros((), dtype=torch.float32)

    def predict(self, batch: Batch) -> Prediction:
        """The truth, 0 where there is none."""
        return Prediction(batch.points.nan_to_num() + self.shift)
