"""A method without BatchNorm and dropout: what it learns depends on its batches alone."""

from __future__ import annotations

from typing import ClassVar

import albumentations as A  # the library's own convention
import torch
from torch import Tensor, nn

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Paper, Prediction

SIZE = 16


class Plain(Method):
    """A small regressor.

    Args:
        schema: The landmarks.
        epochs: Of its one stage.
        batch_size: Films per batch.
        lr: Learning rate.
        fails_on: Rank whose process fails; none if negative.
        memory: Films for which there is memory.
        short_from: Epoch from which on there is no more.
        augment: Move the training films about.
    """

    paper = Paper("A method of the tests")
    variants: ClassVar = {"plain": {}}
    smoke: ClassVar = {"epochs": 1}
    lr: float
    epochs: int

    def __init__(
        self,
        schema: LandmarkSchema,
        epochs: int = 4,
        batch_size: int = 4,
        lr: float = 0.01,
        fails_on: int = -1,
        memory: int = 100,
        short_from: int = 0,
        augment: bool = False,
    ) -> None:
        super().__init__(schema)
        self.batch_size, self.fails_on, self.memory, self.short_from = batch_size, fails_on, memory, short_from
        self.augment = augment
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(SIZE**2, 8), nn.Tanh(), nn.Linear(8, 2 * len(schema)))
        self.unused = nn.Linear(1, 1)

    @property
    def input_spec(self) -> InputSpec:
        """Hardly an image."""
        moves = (A.Affine(rotate=(-10, 10), translate_percent=(-0.1, 0.1), p=0.8),) if self.augment else ()
        return InputSpec((SIZE, SIZE), augment=moves)

    def loss(self, batch: Batch) -> Tensor:
        """Mean over the films of the squared distance."""
        if self.global_rank == self.fails_on:
            raise ValueError("it fails on purpose")
        distance = (self.predict(batch).points - batch.points).square().sum(dim=-1)
        return (distance * batch.visible).sum() / len(batch.case)

    def predict(self, batch: Batch) -> Prediction:
        """Regress every landmark."""
        if len(batch.case) > self.memory and self.current_epoch >= self.short_from:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        points = self.network(batch.image.float() / 255).float().unflatten(1, (-1, 2))
        return Prediction(points + SIZE / 2)
