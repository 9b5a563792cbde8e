"""pyramid-dark: a modern reference of this suite's own, the row that the papers' methods must be compared with.

Nothing in it is new; it is what a strong engineer would submit today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import albumentations as A  # the library's own convention
import torch
from jaxtyping import Float, UInt8
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.optim.swa_utils import AveragedModel
from typing_extensions import override

from methods.base import Augmentation, Batch, LandmarkSchema, Method, Paper, Pixels, Prediction, Sample
from methods.components.augmentation import NodeElastic, mirror
from methods.components.heatmap import Codec, covariance, decode, from_heatmap_grid, gaussian
from methods.components.images.intensity import imagenet
from methods.components.losses import spatial_kl
from methods.components.networks.backbones import Weights, feature_maps, film_statistics
from methods.components.optim import adamw

STRIDE = 4
MOVED = 0.07
"""How far augmentation moves a landmark, as a share of the film's sides (standard deviation, towards the corners)."""
BEND = 0.02
"""How far a node of the elastic deformation moves at most, as a share of the input's width."""


class PyramidDark(Method):
    """A timm backbone, a light feature pyramid to stride 4, and one distribution over pixels per landmark.

    The heatmaps are the softmax over all pixels, trained by the divergence from a Gaussian: no weighting of foreground
    against background is needed, and the spread of a map is what the network does not know. The network answers what
    the film adds to where the training films have the landmark (a Gaussian, fitted in `prepare`). DARK finds the
    sub-pixel peak. Weights are averaged over the steps (EMA); predictions, validation's included, are the average's.
    Films are mirrored in training only where the schema says which names trade places.

    `pyramid-dark-lite` is for small budgets and processors, `pyramid-dark-lite-imagenet` is the same, pretrained.
    """

    paper = Paper("A modern reference: HRNet or ConvNeXt features, softmax heatmaps, DARK decoding, EMA", "Osteomark")
    variants: ClassVar = {
        "pyramid-dark": {},
        "pyramid-dark-convnext": {"backbone_name": "convnext_tiny"},
        "pyramid-dark-resnet18": {"backbone_name": "resnet18"},
        "pyramid-dark-lite": {"backbone_name": "tf_efficientnet_lite0", "width": 64},
        "pyramid-dark-lite-imagenet": {"backbone_name": "tf_efficientnet_lite0", "width": 64, "weights": "imagenet"},
    }
    smoke: ClassVar = {"backbone_name": "test_efficientnet", "width": 8, "input_size": (64, 64), "weights": "none"}
    centre: Tensor
    precision: Tensor
    sigma: float
    codec: Codec
    weight_decay: float
    warmup: float
    augment: bool

    def __init__(
        self,
        schema: LandmarkSchema,
        backbone_name: str = "hrnet_w32",
        width: int = 128,
        input_size: tuple[int, int] = (512, 512),
        sigma: Pixels = 1.5,
        codec: Codec = "dark",
        epochs: int = 100,
        batch_size: int = 8,
        lr: float = 1e-3,
        weight_decay: float = 0.05,
        warmup: float = 0.1,
        ema: float = 0.999,
        augment: bool = True,
        weights: Weights = "none",
    ) -> None:
        super().__init__(schema)
        self.statistics = film_statistics(backbone_name, weights)
        backbone, channels = feature_maps(backbone_name, weights, finest=STRIDE)
        self.network = PyramidNetwork(backbone, channels, len(schema), width)
        self.average = AveragedModel(self.network, avg_fn=partial(_average, decay=ema), use_buffers=True)
        self.average.requires_grad_(False)
        self.average.n_averaged += 1  # the first weights count as the first average
        self.register_buffer("centre", torch.zeros(len(schema), 2))
        self.register_buffer("precision", torch.zeros(len(schema), 2, 2))

    @property
    @override
    def augmentation(self) -> Augmentation:
        """Moderate geometry, as films are taken upright, soft tissue that bends, and films of different machines."""
        upright = (
            A.Affine(rotate=(-15, 15), scale=(0.8, 1.2), translate_percent=(-0.08, 0.08), p=0.9),
            NodeElastic(nodes=5, reach=BEND * self.input_size[1], p=0.5),
            A.RandomBrightnessContrast(brightness_limit=0.3, contrast_limit=0.3, p=0.5),
            A.RandomGamma(gamma_limit=(60, 160), p=0.4),
            A.GaussNoise(std_range=(0.01, 0.05), p=0.2),
            A.GaussianBlur(sigma_limit=(0.2, 1.5), p=0.2),
            A.InvertImg(p=0.1),
        )
        return (*mirror(self.schema), *upright) if self.augment else ()

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        return adamw(self, self.lr, self.weight_decay, self.warmup)

    @override
    def prepare(self, train: Sequence[Sample]) -> None:
        """Fit where each landmark is; nothing is assumed of one that no film shows."""
        points = torch.stack([sample.points for sample in train])
        known = points.isfinite().all(dim=-1).sum(dim=0)
        centre = points.nanmean(dim=0).nan_to_num()
        offset = (points - centre).nan_to_num()
        height, width = self.input_size
        moved = MOVED * torch.tensor([width, height])
        spread = (
            torch.einsum("fki,fkj->kij", offset, offset) / known.clamp(min=1)[:, None, None] + moved.square().diag()
        )
        self.centre.copy_(centre)
        self.precision.copy_(spread.inverse() * (known > 0)[:, None, None])

    def prior(self) -> Float[Tensor, "landmark height width"]:
        """Return the logarithm of that Gaussian on the heatmap grid, 0 at its centre."""
        height, width = self.input_size
        rows, columns = (torch.arange(n // STRIDE, device=self.centre.device) for n in (height, width))
        across = from_heatmap_grid(columns, STRIDE) - self.centre[:, :1]
        down = from_heatmap_grid(rows, STRIDE) - self.centre[:, 1:]
        xx, xy, yy = (self.precision[:, i, j, None] for i, j in ((0, 0), (0, 1), (1, 1)))
        return (
            -(xx * across**2)[:, None, :] / 2
            - (yy * down**2)[:, :, None] / 2
            - (xy * down)[:, :, None] * across[:, None, :]
        )

    def on_train_batch_end(self, outputs: STEP_OUTPUT, batch: Batch, batch_idx: int) -> None:
        """Take the new weights into the average."""
        self.average.update_parameters(self.network)

    def forward(self, image: UInt8[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch landmark height width"]:
        """Return log-probabilities over the pixels of each map, up to a constant, of the weights in training."""
        logits: Tensor = self.network(imagenet(image, self.statistics))
        return logits.float() + self.prior()

    def loss(self, batch: Batch) -> Tensor:
        """Divergence of the predicted distribution from a Gaussian round the landmark."""
        return spatial_kl(self(batch.image), self._targets(batch), batch.visible)

    def predict(self, batch: Batch) -> Prediction:
        """Decode the averaged network's distributions, over their peaks, and measure their spread."""
        logits = self.average(imagenet(batch.image, self.statistics)).float() + self.prior()
        return self._read((logits - logits.amax(dim=(-2, -1), keepdim=True)).exp())

    @override
    def perfect(self, batch: Batch) -> Prediction:
        return self._read(self._targets(batch))

    def _targets(self, batch: Batch) -> Float[Tensor, "batch landmark height width"]:
        height, width = self.input_size
        return gaussian(batch.points, (height // STRIDE, width // STRIDE), self.sigma, STRIDE)

    def _read(self, heatmap: Float[Tensor, "batch landmark height width"]) -> Prediction:
        points = decode(heatmap, self.codec, STRIDE, self.sigma)
        return Prediction(points, covariance(heatmap, points, STRIDE))


class PyramidNetwork(nn.Module):
    """Lateral 1x1 convolutions, added from coarse to fine and smoothed by 3x3 ones at each step, and a 1x1 head.

    Args:
        backbone: Answers a list of feature maps, finest first.
        channels: Stride -> channels of these maps.
        landmarks: Number of heatmaps.
        width: Channels of the pyramid.
    """

    def __init__(self, backbone: nn.Module, channels: Mapping[int, int], landmarks: int, width: int) -> None:
        super().__init__()
        self.backbone, self.coarsest = backbone, max(channels)
        self.laterals = nn.ModuleList(nn.Conv2d(before, width, kernel_size=1) for before in channels.values())
        self.smooth = nn.ModuleList(_conv(width) for _ in channels)
        self.head = nn.Conv2d(width, landmarks, kernel_size=1)

    def forward(self, film: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch landmark h w"]:
        """Map a film to one map per landmark at the stride of the finest features.

        Raises:
            ValueError: A side of the input does not divide by the coarsest stride.
        """
        if film.shape[-1] % self.coarsest or film.shape[-2] % self.coarsest:
            raise ValueError(f"the input's sides {tuple(film.shape[-2:])} must divide by {self.coarsest}.")
        maps = [lateral(features) for lateral, features in zip(self.laterals, self.backbone(film), strict=True)]
        merged: Tensor = self.smooth[-1](maps[-1])
        for lateral, smooth in zip(maps[-2::-1], self.smooth[-2::-1], strict=True):
            merged = smooth(lateral + interpolate(merged, size=lateral.shape[-2:], mode="bilinear"))
        output: Tensor = self.head(merged)
        return output


def _average(averaged: Tensor, current: Tensor, steps: Tensor | int, decay: float) -> Tensor:
    """Keep a share `decay` of the average; after n steps at most (1 + n) / (10 + n), to forget the first weights."""
    share = 1 - min(decay, (1 + int(steps)) / (10 + int(steps)))
    return averaged.lerp(current, share) if averaged.is_floating_point() else current


def _conv(width: int) -> nn.Sequential:
    """3x3 convolution, BatchNorm, ReLU."""
    conv = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
