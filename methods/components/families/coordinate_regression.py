"""Coordinate regression: a backbone, global pooling and one linear layer to 2K numbers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Prediction, Sample, Stage
from methods.components.families.fard2022 import augmentation
from methods.components.images.intensity import imagenet
from methods.components.losses import l2
from methods.components.networks.backbones import Weights, backbone
from methods.components.optim import Schedule, adam


class Coordinates(Method):
    """What every regression of coordinates shares: fractions of the film, counted from the training films' mean shape.

    A subclass implements `forward`: each landmark as a fraction of the film's width and height, `self.mean` plus what
    its network says.
    """

    mean: Tensor

    def __init__(
        self,
        schema: LandmarkSchema,
        input_size: tuple[int, int] = (256, 128),
        epochs: int = 150,
        batch_size: int = 60,
        lr: float = 1e-2,
        schedule: Schedule = "inverse-time",
        rotation: float = 45,
    ) -> None:
        super().__init__(schema)
        self.input_size, self.epochs, self.batch_size = tuple(input_size), epochs, batch_size
        self.lr, self.schedule, self.rotation = lr, schedule, rotation
        self.register_buffer("mean", torch.full((len(schema), 2), 0.5))

    @property
    def stages(self) -> Sequence[Stage]:
        """One stage."""
        return (Stage("train", self.epochs),)

    @property
    def input_spec(self) -> InputSpec:
        """The whole film, stretched."""
        height, width = self.input_size
        return InputSpec((height, width), augment=augmentation(self.rotation))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam."""
        return adam(self, self.lr, self.schedule)

    def prepare(self, train: Sequence[Sample]) -> None:
        """Start from the mean shape."""
        shape = torch.stack([self._normalize(sample.points) for sample in train]).nanmean(dim=0)
        self.mean.copy_(shape.nan_to_num(0.5))

    def _scale(self, like: Tensor) -> Float[Tensor, " 2"]:
        height, width = self.input_size
        return torch.tensor([width, height], device=like.device, dtype=like.dtype)

    def _normalize(self, points: Float[Tensor, "... landmark 2"]) -> Float[Tensor, "... landmark 2"]:
        return (points + 0.5) / self._scale(points)

    def loss(self, batch: Batch) -> Tensor:
        """L2 of the normalised coordinates."""
        return l2(self(batch), self._normalize(batch.points), batch.visible)

    def predict(self, batch: Batch) -> Prediction:
        """Scale the fractions to network pixels."""
        fractions: Tensor = self(batch)
        return Prediction(fractions * self._scale(fractions) - 0.5)


class CoordinateRegression(Coordinates):
    """Regresses all landmarks from pooled features, starting at the training films' mean shape."""

    def __init__(
        self,
        schema: LandmarkSchema,
        backbone_name: str = "mobilenetv2_100",
        input_size: tuple[int, int] = (256, 128),
        epochs: int = 150,
        batch_size: int = 60,
        lr: float = 1e-2,
        schedule: Schedule = "inverse-time",
        rotation: float = 45,
        weights: Weights = "none",
    ) -> None:
        super().__init__(schema, input_size, epochs, batch_size, lr, schedule, rotation)
        self.weights = weights
        self.backbone, channels = backbone(backbone_name, weights)
        self.head = nn.Linear(channels, 2 * len(schema))
        nn.init.zeros_(self.head.weight)  # so that training starts at the mean shape
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> Float[Tensor, "batch landmark 2"]:
        """Return each landmark as a fraction of the film's width and height."""
        features = self.backbone(imagenet(batch.image)).mean(dim=(-2, -1))
        offsets: Tensor = self.head(features).float().unflatten(1, (-1, 2))
        return self.mean + offsets
