"""U-Net (Ronneberger et al., MICCAI 2015) as a heatmap rival of FARNet (Ao and Wu 2023, Table 2)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from jaxtyping import UInt8
from torch import Tensor
from typing_extensions import override

from methods.base import LandmarkSchema, Pixels
from methods.components.bases.heatmaps import FARNetTraining, Heatmaps
from methods.components.heatmap import Codec
from methods.components.images.intensity import imagenet
from methods.components.networks.unet import UNetwork
from methods.components.optim import Optimizer
from methods.farnet import TRAINING, FARNet


class UNet(FARNetTraining):
    """U-Net, one heatmap per landmark at the film's resolution, trained with L2 (Sec. 4.4)."""

    paper = replace(
        FARNet.paper,
        differs=(
            *TRAINING,
            "Convolutions are padded, so that the heatmaps cover the whole film; the original U-Net's are not.",
            "BatchNorm follows every 3x3 convolution, as in most later U-Nets; batch_norm=False is the original.",
        ),
        weights="none",
    )
    variants: ClassVar = {"unet": {}}
    smoke: ClassVar = {"width": 4, "input_size": (64, 64), "sigma": 3.0}

    def __init__(
        self,
        schema: LandmarkSchema,
        width: int = 64,
        dropout: float = 0.5,
        batch_norm: bool = True,
        input_size: tuple[int, int] = (800, 640),
        sigma: Pixels = 10.0,
        codec: Codec = "argmax",
        epochs: int = 300,
        batch_size: int = 1,
        lr: float = 1e-4,
        augment: bool = False,
        optimizer: Optimizer = "adam",
    ) -> None:
        super().__init__(schema)
        self.network = UNetwork(len(schema), width, dropout, batch_norm)

    @override
    def forward(self, image: UInt8[Tensor, "batch 1 height width"]) -> dict[int, Heatmaps]:
        """Return the heatmaps at stride 1, of the same input as FARNet's."""
        return {1: self.network(imagenet(image)).float()}
