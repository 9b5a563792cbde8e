"""Blur and contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994) on the device."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur  # type: ignore[import-untyped]

LEVELS = 256


def blur(image: Float[Tensor, "*batch height width"], kernel: int = 5, sigma: float = 1.0) -> Tensor:
    """Smooth with a Gaussian."""
    smooth: Tensor = gaussian_blur(image, [kernel, kernel], [sigma, sigma])
    return smooth


def clahe(
    image: Float[Tensor, "batch 1 height width"], limit: float = 2.0, tiles: int = 8
) -> Float[Tensor, "batch 1 height width"]:
    """Equalise every film in tiles, as OpenCV does it: the same levels up to rounding.

    Args:
        image: Grey levels 0 to 255; fractions are rounded.
        limit: How many times its fair share of a tile's pixels a grey level may have; the excess is spread evenly.
        tiles: Tiles across and down; their mappings are interpolated in between.

    Returns:
        Grey levels 0 to 255, not rounded.

    Raises:
        ValueError: The sides do not divide by `tiles`.
    """
    height, width = image.shape[-2:]
    if height % tiles or width % tiles:
        raise ValueError(f"CLAHE cuts {height}x{width} pixels into {tiles}x{tiles} tiles; the sides must divide by it.")
    levels = image.round().clamp(0, LEVELS - 1).long()[:, 0]
    mapping = _mappings(levels, limit, tiles)
    rows, row_weight = _neighbours(height, tiles, image.device)
    columns, column_weight = _neighbours(width, tiles, image.device)
    films = torch.arange(image.shape[0], device=image.device)[:, None, None]
    result = torch.zeros_like(levels, dtype=torch.float32)
    for row, down in zip(rows, row_weight, strict=True):
        for column, across in zip(columns, column_weight, strict=True):
            result += down[:, None] * across * mapping[films, (row[:, None] * tiles + column), levels]
    return result[:, None]


def _mappings(levels: Tensor, limit: float, tiles: int) -> Float[Tensor, "batch tile level"]:
    """Return the equalisation of every tile: its clipped histogram, summed up."""
    batch, height, width = levels.shape
    tiled = levels.view(batch, tiles, height // tiles, tiles, width // tiles).transpose(2, 3).flatten(3).flatten(1, 2)
    pixels = tiled.shape[-1]
    histogram = torch.zeros(batch, tiles**2, LEVELS, device=levels.device)
    histogram.scatter_add_(2, tiled, torch.ones_like(tiled, dtype=histogram.dtype))
    ceiling = max(1, int(limit * pixels / LEVELS))
    excess = (histogram - ceiling).clamp(min=0).sum(dim=-1, keepdim=True)
    histogram = histogram.clamp(max=ceiling) + (excess / LEVELS).floor()
    rest = excess % LEVELS
    step = (LEVELS / rest.clamp(min=1)).floor().clamp(min=1)
    level = torch.arange(LEVELS, device=levels.device)
    histogram += (level % step == 0) & (level < step * rest)
    return (histogram.cumsum(dim=-1) * (LEVELS - 1) / pixels).round().clamp(0, LEVELS - 1)


def _neighbours(side: int, tiles: int, device: torch.device) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return, per pixel of a side, the two tiles whose centres are nearest and their weights."""
    place = torch.arange(side, device=device) * (tiles / side) - 0.5
    first = place.floor()
    weight = place - first
    return tuple(n.long().clamp(0, tiles - 1) for n in (first, first + 1)), (1 - weight, weight)  # type: ignore[return-value]
