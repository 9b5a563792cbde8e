"""M-Net: a U-Net that reads its image at every scale and averages an answer of every scale (Fu et al., TMI 2018)."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d

from methods.components.networks.coordconv import CoordConv2d

LEVELS = 5


def block(before: int, after: int, kernel: int = 3, *, vanilla: bool = False, coordinates: bool = False) -> nn.Module:
    """Return a convolutional block that keeps the resolution.

    Args:
        before: Channels in.
        after: Channels out.
        kernel: Odd side of the filter.
        vanilla: Convolution, BatchNorm and ReLU, as in Kim et al. 2021; otherwise the pre-activation design of An et
            al. 2022: instance norm, ReLU, convolution.
        coordinates: Whether the convolution is a CoordConv.
    """
    conv = conv2d(before, after, kernel, coordinates=coordinates)
    if vanilla:
        return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True))
    return nn.Sequential(nn.InstanceNorm2d(before, affine=True), nn.ReLU(inplace=True), conv)


def conv2d(before: int, after: int, kernel: int = 3, *, coordinates: bool = False) -> nn.Module:
    """Return a convolution or CoordConv that keeps the resolution."""
    return CoordConv2d(before, after, kernel) if coordinates else nn.Conv2d(before, after, kernel, padding=kernel // 2)


def stem(after: int, *, vanilla: bool = False, coordinates: bool = False) -> nn.Module:
    """Return the block that reads a grey image: without the norm and ReLU in front, which would cut its dark half."""
    return (
        block(1, after, vanilla=True, coordinates=coordinates) if vanilla else conv2d(1, after, coordinates=coordinates)
    )


class MNet(nn.Module):
    """Five levels down and up with a grey image, halved again and again, at the first four; sides divide by 16.

    Every level of the decoder answers through a 1x1 block of its own, enlarged to the image's size; their mean is the
    answer.

    Args:
        outputs: Maps to answer.
        width: Channels at full resolution; they double at each level.
        coordconv: In how many of the encoder's levels, from the first on, convolutions are CoordConvs.
        vanilla: See `block`.
    """

    def __init__(self, outputs: int, width: int = 32, coordconv: int = 2, vanilla: bool = False) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(LEVELS)]
        located = [level < coordconv for level in range(LEVELS)]
        self.images = nn.ModuleList(
            stem(channels, vanilla=vanilla, coordinates=coordinates)
            for channels, coordinates in zip(widths[:-1], located[:-1], strict=True)
        )
        entered = [widths[0], *(fine + coarse for fine, coarse in pairwise(widths[:-1])), widths[-2]]
        self.down = nn.ModuleList(
            _level(before, after, 1 if after == widths[0] else 2, vanilla, coordinates)
            for before, after, coordinates in zip(entered, widths, located, strict=True)
        )
        rising = widths[::-1]
        self.raises = nn.ModuleList(nn.ConvTranspose2d(low, high, 2, stride=2) for low, high in pairwise(rising))
        self.up = nn.ModuleList(_level(2 * channels, channels, 2, vanilla, False) for channels in rising[1:])
        self.answers = nn.ModuleList(
            nn.Conv2d(channels, outputs, 1) if vanilla else block(channels, outputs, 1) for channels in rising[1:]
        )

    def forward(self, image: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch output height width"]:
        """Map a grey image to maps of its size.

        Raises:
            ValueError: A side of the image does not divide by 16.
        """
        if image.shape[-1] % 16 or image.shape[-2] % 16:
            raise ValueError(f"M-Net halves its image 4 times; {tuple(image.shape[-2:])} must divide by 16.")
        features = self.down[0](self.images[0](image))
        scaled, skips = image, [features]
        for read, down in zip(self.images[1:], self.down[1:-1], strict=True):
            scaled = avg_pool2d(scaled, 2)
            features = down(torch.cat([read(scaled), max_pool2d(features, 2)], dim=1))
            skips.append(features)
        features = self.down[-1](max_pool2d(features, 2))
        maps = []
        for enlarge, up, answer in zip(self.raises, self.up, self.answers, strict=True):
            features = up(torch.cat([enlarge(features), skips.pop()], dim=1))
            maps.append(interpolate(answer(features), image.shape[-2:], mode="bilinear", align_corners=False))
        return torch.stack(maps).mean(dim=0)


def _level(before: int, after: int, blocks: int, vanilla: bool, coordinates: bool) -> nn.Sequential:
    """Return some blocks, the first of which changes the channels."""
    channels = [before, *[after] * blocks]
    return nn.Sequential(*(block(a, b, vanilla=vanilla, coordinates=coordinates) for a, b in pairwise(channels)))
