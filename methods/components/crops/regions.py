"""Rectangles of a film cut round points, on the device, and the way between their pixels and the film's."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

Size = tuple[int, int]
"""(height, width)."""


def cut(
    film: Float[Tensor, "batch 1 height width"],
    centres: Float[Tensor, "batch region 2"],
    size: Size,
    output: Size | None = None,
) -> Float[Tensor, "batch region h w"]:
    """Cut rectangles of `size` film pixels with their middle at `centres`, black beyond the film.

    Args:
        film: One channel.
        centres: (x, y) in film pixels, anywhere between them: pixels are interpolated linearly.
        size: Of a rectangle, in film pixels.
        output: Size to which the rectangles are resized, smoothed where they shrink; None keeps `size`.
    """
    middle = centres.new_tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])
    left, top = (centres.float() - middle).unbind(dim=-1)
    columns = left[..., None, None] + torch.arange(size[1], device=film.device)
    rows = top[..., None, None] + torch.arange(size[0], device=film.device)[:, None]
    height, width = film.shape[-2:]
    shape = (*centres.shape[:2], *size)
    x, y = (2 * columns / (width - 1) - 1).expand(shape), (2 * rows / (height - 1) - 1).expand(shape)
    grid = torch.stack([x, y], dim=-1).flatten(1, 2)
    regions = grid_sample(film, grid, mode="bilinear", padding_mode="zeros", align_corners=True).view(shape)
    if output is None or output == size:
        return regions
    return interpolate(regions, output, mode="bilinear", align_corners=False, antialias=True)


def to_region(
    points: Float[Tensor, "... 2"], centres: Float[Tensor, "... 2"], size: Size, output: Size | None = None
) -> Float[Tensor, "... 2"]:
    """Map film pixels to the pixels of a region that `cut` made with these arguments.

    Example:
        >>> to_region(torch.tensor([10.0, 10.0]), torch.tensor([10.0, 10.0]), (3, 5)).tolist()
        [2.0, 1.0]
    """
    half, scale = _half_and_scale(points, size, output)
    return (points - centres + half) * scale - 0.5


def from_region(
    points: Float[Tensor, "... 2"], centres: Float[Tensor, "... 2"], size: Size, output: Size | None = None
) -> Float[Tensor, "... 2"]:
    """Map the pixels of a region that `cut` made with these arguments back to film pixels.

    Example:
        >>> from_region(torch.tensor([2.0, 1.0]), torch.tensor([10.0, 10.0]), (3, 5)).tolist()
        [10.0, 10.0]
    """
    half, scale = _half_and_scale(points, size, output)
    return (points + 0.5) / scale - half + centres


def _half_and_scale(like: Tensor, size: Size, output: Size | None) -> tuple[Tensor, Tensor]:
    """Return half a region's (width, height) in film pixels, and region pixels per film pixel."""
    sides = like.new_tensor(size[::-1])
    resized = sides if output is None else like.new_tensor(output[::-1])
    return sides / 2, resized / sides
