"""A method with all that a resume must bring back: two stages, BatchNorm, dropout, momentum, schedules per step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar, Literal

from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Paper, Prediction, Stage
from methods.components.optim import adam

SIZE = 16


class Steady(Method):
    """A small regressor.

    Args:
        schema: The landmarks.
        epochs: Of each stage.
        delay: Seconds that a training batch takes longer than it needs to.
        batch_size: Films per batch.
        checkpoint: Which epoch is the result.
    """

    paper = Paper("A method of the tests")
    variants: ClassVar = {"steady": {}, "steady-slow": {"delay": 0.2}}
    smoke: ClassVar = {"epochs": 1}

    def __init__(
        self,
        schema: LandmarkSchema,
        epochs: int = 3,
        delay: float = 0.0,
        batch_size: int = 5,
        checkpoint: Literal["best", "last"] = "best",
    ) -> None:
        super().__init__(schema)
        self.epochs, self.delay, self.batch_size = epochs, delay, batch_size
        self.network = nn.Sequential(
            *(nn.Conv2d(1, 4, 3, stride=4), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5)),
            nn.Linear(4 * (SIZE // 4) ** 2, 2 * len(schema)),
        )

    @property
    def stages(self) -> Sequence[Stage]:
        """Two of a kind."""
        return (Stage("first", self.epochs), Stage("second", self.epochs))

    @property
    def input_spec(self) -> InputSpec:
        """Hardly an image."""
        return InputSpec((SIZE, SIZE))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam under a schedule that asks for the number of steps, which makes Lightning open the loader early."""
        return adam(self, 0.02, "cosine")

    def loss(self, batch: Batch) -> Tensor:
        """Squared distance; slower than it needs to be."""
        time.sleep(self.delay)
        distance = (self.predict(batch).points - batch.points)[batch.visible]
        return distance.square().sum() / max(1, len(distance))

    def predict(self, batch: Batch) -> Prediction:
        """Regress every landmark."""
        points = self.network(batch.image.float() / 255).float().unflatten(1, (-1, 2))
        return Prediction(points + SIZE / 2)
