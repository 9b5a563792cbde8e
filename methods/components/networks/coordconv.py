"""CoordConv, a convolution that sees where it is (Liu et al., "An intriguing failing of ... CNNs", NeurIPS 2018)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def coordinates(like: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch 2 height width"]:
    """Return the x and the y of every pixel, -1 at the first and 1 at the last column and row.

    Example:
        >>> x, y = coordinates(torch.zeros(1, 4, 2, 3))[0]
        >>> x.tolist(), y.tolist()
        ([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]], [[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    """
    height, width = like.shape[-2:]
    across, down = (torch.linspace(-1, 1, side, device=like.device, dtype=like.dtype) for side in (width, height))
    return torch.stack([across.expand(height, width), down[:, None].expand(height, width)]).expand(
        like.shape[0], -1, -1, -1
    )


class CoordConv2d(nn.Conv2d):
    """A convolution of the features and, concatenated to them, their pixels' coordinates.

    Args:
        before: Channels of the features, without the coordinates.
        after: Channels of the answer.
        kernel: Odd side of the filter; the size of the features is kept.
    """

    def __init__(self, before: int, after: int, kernel: int = 3) -> None:
        super().__init__(before + 2, after, kernel, padding=kernel // 2)

    def forward(self, input: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel2 h w"]:
        """Concatenate x and y, then convolve."""
        return super().forward(torch.cat([input, coordinates(input)], dim=1))
