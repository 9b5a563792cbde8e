"""SpatialConfiguration-Net (Payer et al., "Integrating spatial configuration into ... landmark localization", 2019)."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import interpolate
from typing_extensions import override

from methods.base import Augmentation, Batch, LandmarkSchema, Method, Paper, Pixels, Prediction
from methods.components.augmentation import payer
from methods.components.heatmap import Codec, decode, gaussian
from methods.components.images.intensity import grey
from methods.components.losses import learned_gaussian

SPATIAL_STRIDE = 16
CLIP_NORM = 1e4
Optimizer = Literal["adam", "nesterov"]


class SCN(Method):
    """Two components whose heatmaps are multiplied: one places landmarks locally, one knows how they lie together.

    The local component answers exact but ambiguous candidates at full resolution; the spatial one sees nothing but
    these candidates, shrunk to a sixteenth, and answers where each landmark lies relative to the others. The width
    sigma of each landmark's target Gaussian is learned with the network: it is the point's standard deviation.
    """

    paper = Paper(
        "Integrating spatial configuration into heatmap regression based CNNs for landmark localization",
        "Payer et al.",
        2019,
        "https://doi.org/10.1016/j.media.2019.03.007",
        differs=(
            "Layer sizes, initialisation, sigma and the constants of the loss are those of the authors' public code.",
            "Adam at 1e-4 trains by default; the authors' SGD with Nesterov momentum, clipped at a norm of 1e4, is "
            "optimizer=nesterov, lr=1e-6.",
            "Points are decoded to the sub-pixel from the product; the authors upsample around its maximum.",
            "The network trains for 100 epochs by default; the authors count 30,000 to 40,000 single films.",
        ),
    )
    variants: ClassVar = {"scn": {}, "scn-fixed-sigma": {"learn_sigma": False}}
    smoke: ClassVar = {"width": 8, "spatial_kernel": 3, "input_size": (64, 64)}
    fit = "pad"
    alpha: float
    codec: Codec
    optimizer: Optimizer

    def __init__(
        self,
        schema: LandmarkSchema,
        learn_sigma: bool = True,
        width: int = 128,
        spatial_kernel: int = 11,
        dropout: float = 0.5,
        input_size: tuple[int, int] = (512, 512),
        sigma: Pixels = 2.5,
        alpha: float = 20.0,
        codec: Codec = "quadratic",
        epochs: int = 100,
        batch_size: int = 1,
        optimizer: Optimizer = "adam",
        lr: float = 1e-4,
    ) -> None:
        super().__init__(schema)
        self.sigma = nn.Parameter(torch.full((len(schema),), sigma), requires_grad=learn_sigma)
        self.network = SpatialConfigurationNetwork(len(schema), width, spatial_kernel, dropout)

    @property
    @override
    def augmentation(self) -> Augmentation:
        return payer(self.input_size)

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam, or the authors' SGD with Nesterov momentum and weight decay."""
        if self.optimizer == "adam":
            return super().configure_optimizers()
        groups = [{"params": self.network.parameters(), "weight_decay": 1e-3}]
        if self.sigma.requires_grad:
            groups.append({"params": [self.sigma], "weight_decay": 0.0})
        return torch.optim.SGD(groups, lr=self.lr, momentum=0.99, nesterov=True)

    @override
    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient's norm as the authors do, with their optimiser."""
        del gradient_clip_val, gradient_clip_algorithm
        if self.optimizer == "nesterov":
            self.clip_gradients(optimizer, gradient_clip_val=CLIP_NORM, gradient_clip_algorithm="norm")

    def forward(self, batch: Batch) -> Float[Tensor, "batch landmark height width"]:
        """Return the product of the local and the spatial heatmaps."""
        heatmap: Tensor = self.network(2 * grey(batch.image) - 1)
        return heatmap.float()

    def loss(self, batch: Batch) -> Tensor:
        """Squared error to Gaussians of learned width, and the price of that width."""
        return learned_gaussian(self(batch), batch.points, self.sigma, batch.visible, alpha=self.alpha)

    def predict(self, batch: Batch) -> Prediction:
        """Decode the product; every landmark's covariance is its learned sigma^2 in both directions."""
        return self._read(self(batch))

    @override
    def perfect(self, batch: Batch) -> Prediction:
        return self._read(gaussian(batch.points, self.input_size, self.sigma.detach().abs()[:, None]))

    def _read(self, heatmap: Float[Tensor, "batch landmark height width"]) -> Prediction:
        points = decode(heatmap, self.codec, sigma=float(self.sigma.detach().abs().mean()))
        variance = (self.sigma**2)[:, None, None] * torch.eye(2, device=points.device)
        return Prediction(points, variance.expand(len(points), -1, -1, -1))


class SpatialConfigurationNetwork(nn.Module):
    """Local component times spatial component; input sides divide by 16."""

    def __init__(self, landmarks: int, width: int = 128, spatial_kernel: int = 11, dropout: float = 0.5) -> None:
        super().__init__()
        self.local = LocalComponent(landmarks, width, dropout)
        widths = [landmarks, width, width, width]
        hidden = [_conv(a, b, spatial_kernel) for a, b in pairwise(widths)]
        answer = _heatmaps(width, landmarks, spatial_kernel)
        self.spatial = nn.Sequential(nn.AvgPool2d(SPATIAL_STRIDE), *hidden, answer, nn.Tanh())

    def forward(self, image: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch landmark height width"]:
        """Map a film to heatmaps at full resolution.

        Raises:
            ValueError: A side of the input does not divide by 16.
        """
        if image.shape[-1] % SPATIAL_STRIDE or image.shape[-2] % SPATIAL_STRIDE:
            raise ValueError(f"SCN's spatial component works at 1/16; {tuple(image.shape[-2:])} must divide by 16.")
        local = self.local(image)
        spatial = interpolate(self.spatial(local), scale_factor=SPATIAL_STRIDE, mode="bicubic", align_corners=False)
        product: Tensor = local * spatial
        return product


class LocalComponent(nn.Module):
    """A U-Net of constant width over four resolutions that adds, where others concatenate, and has no way-up layers."""

    def __init__(self, landmarks: int, width: int, dropout: float, levels: int = 4) -> None:
        super().__init__()
        self.first = _conv(1, width, 3)
        self.down = nn.ModuleList(
            nn.Sequential(_conv(width, width, 3), nn.Dropout(dropout), _conv(width, width, 3)) for _ in range(levels)
        )
        self.across = nn.ModuleList(_conv(width, width, 3) for _ in range(levels))
        self.pool = nn.AvgPool2d(2)
        self.answer = _heatmaps(width, landmarks, 3)

    def forward(self, image: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch landmark height width"]:
        """Map a film to candidate heatmaps."""
        features, skips = self.first(image), []
        for level, (down, across) in enumerate(zip(self.down, self.across, strict=True)):
            features = down(features if level == 0 else self.pool(features))
            skips.append(across(features))
        features = skips.pop()
        while skips:
            raised = interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = skips.pop() + raised
        heatmap: Tensor = self.answer(features)
        return heatmap


def _conv(before: int, after: int, kernel: int) -> nn.Sequential:
    """Convolution, He-initialised, and leaky ReLU of slope .1."""
    conv = _without_bias(nn.Conv2d(before, after, kernel, padding=kernel // 2))
    nn.init.kaiming_normal_(conv.weight, a=0.1)
    return nn.Sequential(conv, nn.LeakyReLU(0.1, inplace=True))


def _heatmaps(before: int, landmarks: int, kernel: int) -> nn.Conv2d:
    """The convolution that answers heatmaps; it starts next to zero."""
    conv = _without_bias(nn.Conv2d(before, landmarks, kernel, padding=kernel // 2))
    nn.init.trunc_normal_(conv.weight, std=1e-4)
    return conv


def _without_bias(conv: nn.Conv2d) -> nn.Conv2d:
    """Start the biases at zero."""
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
