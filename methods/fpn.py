"""FPN (Lin et al., CVPR 2017) on DenseNet-121 as a heatmap rival of FARNet (Ao and Wu 2023, Table 2)."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate
from typing_extensions import override

from methods.base import LandmarkSchema, Pixels
from methods.components.bases.heatmaps import FARNetTraining, Heatmaps
from methods.components.heatmap import Codec
from methods.components.images.intensity import imagenet
from methods.components.networks.backbones import Weights, film_statistics
from methods.components.networks.feature_pyramid import FeaturePyramid
from methods.components.optim import Optimizer
from methods.farnet import TRAINING, WEIGHTS, FARNet


class FPN(FARNetTraining):
    """FPN's finest feature map, brought to the film's resolution, under a 3x3 and a 1x1 convolution; L2 (Sec. 4.4)."""

    paper = replace(
        FARNet.paper,
        differs=(
            *TRAINING,
            WEIGHTS,
            "The 3x3 convolutions of FPN's coarser outputs are left out: only the finest map is used.",
        ),
    )
    variants: ClassVar = {"fpn": {}}
    smoke: ClassVar = {"backbone_name": "test_resnet", "width": 16, "input_size": (64, 64), "sigma": 3.0}

    def __init__(
        self,
        schema: LandmarkSchema,
        backbone_name: str = "densenet121.tv_in1k",
        width: int = 256,
        input_size: tuple[int, int] = (800, 640),
        sigma: Pixels = 10.0,
        codec: Codec = "argmax",
        epochs: int = 300,
        batch_size: int = 1,
        lr: float = 1e-4,
        augment: bool = False,
        optimizer: Optimizer = "adam",
        weights: Weights = "none",
    ) -> None:
        super().__init__(schema)
        self.statistics = film_statistics(backbone_name, weights)
        self.network = FPNetwork(FeaturePyramid(backbone_name, weights), len(schema), width)

    @override
    def forward(self, image: UInt8[Tensor, "batch 1 height width"]) -> dict[int, Heatmaps]:
        """Return the heatmaps at stride 1."""
        return {1: self.network(imagenet(image, self.statistics)).float()}


class FPNetwork(nn.Module):
    """Top-down pathway with lateral connections over C2 to C5 (Lin et al., Fig. 3), and the heatmap head.

    Args:
        backbone: Feature maps C1 to C5; C1 is not used.
        landmarks: Number of heatmaps.
        width: Channels of the pyramid; 256 in Lin et al.
    """

    def __init__(self, backbone: FeaturePyramid, landmarks: int, width: int = 256) -> None:
        super().__init__()
        self.backbone = backbone
        self.laterals = nn.ModuleList(nn.Conv2d(channels, width, kernel_size=1) for channels in backbone.channels[1:])
        self.smooth = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.head = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, landmarks, kernel_size=1))

    def forward(self, film: Float[Tensor, "batch 3 height width"]) -> Heatmaps:
        """Map a film to heatmaps at stride 1."""
        scales = [lateral(c) for lateral, c in zip(self.laterals, self.backbone(film)[1:], strict=True)]
        merged = scales.pop()
        while scales:
            merged = scales.pop() + interpolate(merged, scale_factor=2.0, mode="nearest")
        finest = interpolate(self.smooth(merged), size=film.shape[-2:], mode="bilinear")
        heatmaps: Tensor = self.head(finest)
        return heatmaps
