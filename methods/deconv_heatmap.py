"""Heatmaps by deconvolution, the rivals mnv2-hm and res50-hm of PoseNet (Fard et al., IEEE Access 2022, Table 5)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from torch import nn

from methods.base import LandmarkSchema, Pixels
from methods.components.bases.two_orders import DECODER, PREPARATION, PRETRAINED, TwoOrderHeatmaps
from methods.components.heatmap import Codec
from methods.components.networks.backbones import Weights, backbone
from methods.components.networks.keras_resnet import as_keras
from methods.components.optim import Schedule
from methods.posenet import PoseNet


class DeconvHeatmap(TwoOrderHeatmaps):
    """A backbone at stride 32, three 3x3 deconvolutions and a 1x1 convolution to heatmaps at stride 4 (Sec. IV-D)."""

    paper = replace(PoseNet.paper, differs=(DECODER, *PREPARATION, PRETRAINED))

    def __init__(
        self,
        schema: LandmarkSchema,
        backbone_name: str = "mobilenetv2_100",
        width: int = 256,
        input_size: tuple[int, int] = (256, 128),
        sigma: Pixels = 1.5,
        codec: Codec = "dark",
        epochs: int = 150,
        batch_size: int = 60,
        lr: float = 1e-2,
        schedule: Schedule = "inverse-time",
        rotation: float = 45,
        oracle_crop: float | None = None,
        weights: Weights = "none",
    ) -> None:
        super().__init__(schema)
        encoder, channels = backbone(backbone_name, weights)
        upsample = (_deconv(channels, width), _deconv(width, width), _deconv(width, width))
        self.network = nn.Sequential(as_keras(encoder), *upsample, nn.Conv2d(width, len(schema), kernel_size=1))


class MNV2HM(DeconvHeatmap):
    """MobileNetV2, the light rival."""

    variants: ClassVar = {"mnv2-hm": {"backbone_name": "mobilenetv2_100"}}
    smoke: ClassVar = {
        "backbone_name": "mobilenetv2_035",
        "width": 8,
        "input_size": (64, 64),
        "lr": 1e-3,
        "rotation": 0.0,
    }


class Res50HM(DeconvHeatmap):
    """ResNet-50 as Keras builds it, the heavy rival."""

    variants: ClassVar = {"res50-hm": {"backbone_name": "resnet50"}}
    smoke: ClassVar = {"backbone_name": "resnet10t", "width": 8, "input_size": (64, 64), "lr": 1e-3, "rotation": 0.0}


def _deconv(channels: int, width: int) -> nn.Sequential:
    """Double the resolution: deconvolution, ReLU, BatchNorm (Sec. IV-D)."""
    upsample = nn.ConvTranspose2d(channels, width, kernel_size=3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(upsample, nn.ReLU(inplace=True), nn.BatchNorm2d(width))
