"""Coordinate regression, the rivals mnv2 and res50 of PoseNet (Fard et al., IEEE Access 2022, Table 5)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor, nn
from typing_extensions import override

from methods.base import LandmarkSchema, Prediction
from methods.components.bases.coordinates import CoordinateMethod
from methods.components.bases.two_orders import PREPARATION, PRETRAINED, TwoOrders
from methods.components.losses import l2
from methods.components.networks.backbones import Weights, backbone
from methods.components.networks.keras_resnet import as_keras
from methods.components.optim import Schedule
from methods.posenet import PoseNet


class CoordinateRegression(TwoOrders, CoordinateMethod):
    """A backbone, global average pooling and one linear layer to 2K coordinates, trained with L2."""

    paper = replace(
        PoseNet.paper,
        differs=(
            "The linear layer predicts offsets from the mean training shape, mirrored in the second order; the paper "
            "is silent.",
            *PREPARATION,
            PRETRAINED,
        ),
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
        oracle_crop: float | None = None,
        weights: Weights = "none",
    ) -> None:
        super().__init__(schema)
        network, channels = backbone(backbone_name, weights)
        self.backbone = as_keras(network)
        self.head = nn.Linear(channels, 2 * len(schema))
        nn.init.zeros_(self.head.weight)  # so that training starts at the mean shape
        nn.init.zeros_(self.head.bias)

    def forward(
        self, image: Float[Tensor, "batch 3 height width"], second: Bool[Tensor, " batch"]
    ) -> Float[Tensor, "batch landmark 2"]:
        """Return each landmark as a fraction of the width and height of the film as it is shown."""
        features = self.backbone(image).mean(dim=(-2, -1))
        offsets: Tensor = self.head(features).float().unflatten(1, (-1, 2))
        mean = self.from_fractions(self.mean).expand(len(second), -1, -1)
        return self.to_fractions(self.mirror(mean, second)) + offsets

    @override
    def shown_loss(self, image: Tensor, points: Tensor, second: Tensor) -> Tensor:
        return l2(self(image, second), self.to_fractions(points), points.isfinite().all(dim=-1))

    @override
    def shown_prediction(self, image: Tensor, second: Tensor) -> Prediction:
        return Prediction(self.from_fractions(self(image, second)))


class MNV2(CoordinateRegression):
    """MobileNetV2, the light rival."""

    variants: ClassVar = {"mnv2": {"backbone_name": "mobilenetv2_100"}}
    smoke: ClassVar = {"backbone_name": "mobilenetv2_035", "input_size": (64, 64), "lr": 1e-3, "rotation": 0.0}


class Res50(CoordinateRegression):
    """ResNet-50 as Keras builds it, the heavy rival."""

    variants: ClassVar = {"res50": {"backbone_name": "resnet50"}}
    smoke: ClassVar = {"backbone_name": "resnet10t", "input_size": (64, 64), "lr": 1e-3, "rotation": 0.0}
