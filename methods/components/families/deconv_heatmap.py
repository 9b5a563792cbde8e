"""Heatmap regression: a backbone, three deconvolutions and a 1x1 convolution, trained with L2."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Prediction, Stage
from methods.components.families.fard2022 import augmentation
from methods.components.heatmap import Codec, covariance, decode, gaussian
from methods.components.images.intensity import imagenet
from methods.components.losses import l2
from methods.components.networks.backbones import Weights, backbone
from methods.components.optim import Schedule, adam

STRIDE = 4


class DeconvHeatmap(Method):
    """An encoder at stride 32 and the decoder of Fard et al. 2022, Sec. IV-D: heatmaps at stride 4."""

    def __init__(
        self,
        schema: LandmarkSchema,
        backbone_name: str = "mobilenetv2_100",
        width: int = 256,
        input_size: tuple[int, int] = (256, 128),
        sigma: float = 1.5,
        codec: Codec = "quadratic",
        epochs: int = 150,
        batch_size: int = 60,
        lr: float = 1e-2,
        schedule: Schedule = "inverse-time",
        rotation: float = 45,
        oracle_crop: float | None = None,
        weights: Weights = "none",
    ) -> None:
        super().__init__(schema)
        self.input_size, self.epochs, self.batch_size = tuple(input_size), epochs, batch_size
        self.sigma, self.codec, self.weights = sigma, codec, weights
        self.lr, self.schedule, self.rotation, self.oracle_crop = lr, schedule, rotation, oracle_crop
        self.backbone, channels = backbone(backbone_name, weights)
        self.decoder = nn.Sequential(_deconv(channels, width), _deconv(width, width), _deconv(width, width))
        self.head = nn.Conv2d(width, len(schema), kernel_size=1)

    @property
    def stages(self) -> Sequence[Stage]:
        """One stage."""
        return (Stage("train", self.epochs),)

    @property
    def input_spec(self) -> InputSpec:
        """The whole film, stretched; the paper's oracle crop on request."""
        height, width = self.input_size
        return InputSpec((height, width), augment=augmentation(self.rotation), oracle_crop=self.oracle_crop)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam."""
        return adam(self, self.lr, self.schedule)

    def forward(self, batch: Batch) -> Float[Tensor, "batch landmark height width"]:
        """Return heatmaps at stride 4."""
        heatmap: Tensor = self.head(self.decoder(self.backbone(imagenet(batch.image))))
        return heatmap.float()

    def loss(self, batch: Batch) -> Tensor:
        """L2 to unit-height Gaussians (Table 5: all rivals are trained with L2)."""
        height, width = self.input_size
        truth = gaussian(batch.points, (height // STRIDE, width // STRIDE), self.sigma, STRIDE)
        return l2(self(batch), truth, batch.visible)

    def predict(self, batch: Batch) -> Prediction:
        """Decode the heatmaps and measure their spread."""
        heatmap: Tensor = self(batch)
        points = decode(heatmap, self.codec, STRIDE, self.sigma)
        return Prediction(points, covariance(heatmap, points, STRIDE))


def _deconv(channels: int, width: int) -> nn.Sequential:
    """Double the resolution: deconvolution, ReLU, BatchNorm (Sec. IV-D)."""
    upsample = nn.ConvTranspose2d(channels, width, kernel_size=3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(upsample, nn.ReLU(inplace=True), nn.BatchNorm2d(width))
