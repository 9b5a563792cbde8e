"""Coordinate regression, the rivals mnv2 and res50 of PoseNet (Fard et al., IEEE Access 2022, Table 5)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from methods.base import Batch, LandmarkSchema
from methods.components.bases.coordinates import CoordinateMethod
from methods.components.images.intensity import imagenet
from methods.components.networks.backbones import Weights, backbone
from methods.components.optim import Schedule
from methods.posenet import WHOLE_FILM, PoseNet


class CoordinateRegression(CoordinateMethod):
    """A backbone, global average pooling and one linear layer to 2K coordinates, trained with L2."""

    paper = replace(
        PoseNet.paper,
        differs=("The linear layer predicts offsets from the mean training shape; the paper is silent.", WHOLE_FILM),
    )

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
        super().__init__(schema)
        self.backbone, channels = backbone(backbone_name, weights)
        self.head = nn.Linear(channels, 2 * len(schema))
        nn.init.zeros_(self.head.weight)  # so that training starts at the mean shape
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> Float[Tensor, "batch landmark 2"]:
        """Return each landmark as a fraction of the film's width and height."""
        features = self.backbone(imagenet(batch.image)).mean(dim=(-2, -1))
        offsets: Tensor = self.head(features).float().unflatten(1, (-1, 2))
        return self.mean + offsets


class MNV2(CoordinateRegression):
    """MobileNetV2, the light rival."""

    variants: ClassVar = {"mnv2": {"backbone_name": "mobilenetv2_100"}}
    smoke: ClassVar = {"backbone_name": "mobilenetv2_035", "input_size": (64, 64), "lr": 1e-3}


class Res50(CoordinateRegression):
    """ResNet-50, the heavy rival."""

    variants: ClassVar = {"res50": {"backbone_name": "resnet50"}}
    smoke: ClassVar = {"backbone_name": "resnet10t", "input_size": (64, 64), "lr": 1e-3}
