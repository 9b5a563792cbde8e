"""A detector of structures that we train: a map of each one's centre and a map of how large it is."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate

from methods.components.crops.crops import Crops
from methods.components.heatmap import decode, gaussian
from methods.components.images.intensity import imagenet
from methods.components.losses import l1, spatial_kl
from methods.components.networks.unet import UNetwork


class BoxDetector(nn.Module):
    """A small U-Net on a reduced film, in the place of YOLOv3, whose boxes are called "pre-trained" in the paper.

    Args:
        structures: How many boxes a film has.
        width: Channels of the U-Net at its finest scale.
        sigma: Width of the centres' Gaussians in reduced pixels.
        stride: Film pixels per pixel of the reduced film; the film's sides divide by 16 times this.
    """

    size: Tensor

    def __init__(self, structures: int, width: int, sigma: float, stride: int = 4) -> None:
        super().__init__()
        self.stride, self.sigma = stride, sigma
        self.network = UNetwork(structures + 2, width, dropout=0.0)
        self.register_buffer("size", torch.ones(structures, 2))

    def fit(self, boxes: Crops) -> None:
        """Learn the mean size of every structure from the training films' boxes."""
        self.size.copy_(boxes.size.mean(dim=0))

    def forward(self, film: UInt8[Tensor, "batch 1 height width"]) -> tuple[Tensor, Tensor]:
        """Return logits of every structure's centre and, in two channels, the logarithm of size over mean size."""
        height, width = (side // self.stride for side in film.shape[-2:])
        small = interpolate(imagenet(film), (height, width), mode="bilinear", antialias=True)
        maps = self.network(small).float()
        return cast("Tensor", maps[:, :-2]), cast("Tensor", maps[:, -2:])

    def loss(
        self, film: UInt8[Tensor, "batch 1 height width"], truth: Crops, known: Bool[Tensor, "batch box"]
    ) -> Float[Tensor, ""]:
        """Divergence of the centres from Gaussians, and L1 of the logarithms of sizes at the true centres."""
        logits, sizes = self(film)
        target = gaussian(truth.centre, (logits.shape[-2], logits.shape[-1]), self.sigma, self.stride)
        wanted = (truth.size / self.size).log()
        return spatial_kl(logits, target, known) + l1(self._read(sizes, truth.centre, film), wanted, known)

    def predict(self, film: UInt8[Tensor, "batch 1 height width"]) -> Crops:
        """Return one box per structure, in film pixels."""
        logits, sizes = self(film)
        heatmap = (logits - logits.amax(dim=(-2, -1), keepdim=True)).exp()
        centre = decode(heatmap, "quadratic", self.stride, self.sigma)
        return Crops(centre, self.size * self._read(sizes, centre, film).clamp(-1, 1).exp())

    def _read(self, sizes: Tensor, centre: Float[Tensor, "batch box 2"], film: Tensor) -> Float[Tensor, "batch box 2"]:
        limit = centre.new_tensor([film.shape[-1], film.shape[-2]])
        grid = (2 * centre + 1) / limit - 1
        return grid_sample(sizes, grid[:, None], padding_mode="border", align_corners=False)[:, :, 0].mT
