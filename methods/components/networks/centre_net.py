"""Pose-Net: centre maps at stride 8 with an inner map on the way (Kim et al. 2021, as An et al. 2022 widen it)."""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from methods.components.networks.mnet import block, stem

STRIDE = 8
WIDE_BLOCKS = 5


class CentreNet(nn.Module):
    """A VGG-like trunk to stride 8, a branch that answers one inner map, and a head that sees both.

    The sizes follow convolutional pose machines (Wei et al., CVPR 2016): 3x3 blocks in the trunk, one wide block before
    the inner map, five wide blocks and a 1x1 block in the head.

    Args:
        outputs: Maps to answer.
        width: Channels at full resolution; the head has twice as many.
        kernel: Side of the wide filters, at stride 8.
        vanilla: See `block`.
    """

    def __init__(self, outputs: int, width: int = 64, kernel: int = 13, vanilla: bool = False) -> None:
        super().__init__()
        head = 2 * width

        def blocks(*channels: int, kernel: int = 3) -> list[nn.Module]:
            return [block(a, b, kernel, vanilla=vanilla) for a, b in pairwise(channels)]

        fine = [stem(width, vanilla=vanilla), *blocks(width, width), nn.MaxPool2d(2)]
        middle = [*blocks(width, 2 * width, 2 * width), nn.MaxPool2d(2)]
        coarse = [*blocks(2 * width, *[4 * width] * 3), nn.MaxPool2d(2)]
        self.trunk = nn.Sequential(*fine, *middle, *coarse, *blocks(4 * width, head))
        self.inner = nn.Sequential(*blocks(head, head, kernel=kernel), _answer(head, 1, vanilla))
        wide = blocks(head + 1, *[head] * WIDE_BLOCKS, kernel=kernel)
        self.head = nn.Sequential(*wide, *blocks(head, head, kernel=1), _answer(head, outputs, vanilla))

    def forward(self, film: Float[Tensor, "batch 1 height width"]) -> tuple[Tensor, Tensor]:
        """Return the inner map (batch, 1, h, w) and the centre maps (batch, output, h, w) at stride 8.

        Raises:
            ValueError: A side of the film does not divide by 8.
        """
        if film.shape[-1] % STRIDE or film.shape[-2] % STRIDE:
            raise ValueError(f"the centre net works at stride 8; {tuple(film.shape[-2:])} must divide by 8.")
        features = self.trunk(film)
        inner = self.inner(features)
        return inner.float(), self.head(torch.cat([features, inner], dim=1)).float()


def _answer(before: int, after: int, vanilla: bool) -> nn.Module:
    """Return the last 1x1 convolution, in a pre-activation block where blocks are so."""
    return nn.Conv2d(before, after, 1) if vanilla else block(before, after, 1)
