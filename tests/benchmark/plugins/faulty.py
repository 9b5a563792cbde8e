"""A method that goes wrong in its second epoch: a loss that is no number, or a batch that never ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar, Literal

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Paper, Prediction, Stage
from methods.components.optim import adam


class Faulty(Method):
    """A linear regressor.

    Args:
        schema: The landmarks.
        fault: What happens.
    """

    paper = Paper("A method of the tests")
    variants: ClassVar = {"faulty-nan": {}, "faulty-hang": {"fault": "hang"}}

    def __init__(self, schema: LandmarkSchema, fault: Literal["nan", "hang"] = "nan") -> None:
        super().__init__(schema)
        self.fault = fault
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2 * len(schema)))

    @property
    def stages(self) -> Sequence[Stage]:
        """One."""
        return (Stage("only", 3),)

    @property
    def input_spec(self) -> InputSpec:
        """Hardly an image."""
        return InputSpec((8, 8))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam."""
        return adam(self, 0.02)

    def loss(self, batch: Batch) -> Tensor:
        """Squared distance."""
        wrong = self.current_epoch == 1
        if wrong and self.fault == "hang":
            time.sleep(600)
        loss = (self.predict(batch).points - batch.points)[batch.visible].square().mean()
        return loss * float("nan") if wrong else loss

    def predict(self, batch: Batch) -> Prediction:
        """Regress every landmark."""
        return Prediction(self.network(batch.image.float() / 255).float().unflatten(1, (-1, 2)))
