"""Gaussian heatmaps and their decoding, on one grid.

A heatmap pixel h stands for the network pixel (h + .5) * stride - .5, so that encoding and decoding agree to the
sub-pixel at every stride.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Codec = Literal["argmax", "quadratic", "soft-argmax"]
CODECS: tuple[Codec, ...] = get_args(Codec)


def to_heatmap_grid(points: Float[Tensor, "... 2"], stride: float) -> Float[Tensor, "... 2"]:
    """Map network pixels to heatmap pixels."""
    return (points + 0.5) / stride - 0.5


def from_heatmap_grid(points: Float[Tensor, "... 2"], stride: float) -> Float[Tensor, "... 2"]:
    """Map heatmap pixels to network pixels."""
    return (points + 0.5) * stride - 0.5


def gaussian(
    points: Float[Tensor, "batch landmark 2"], size: tuple[int, int], sigma: float, stride: float = 1
) -> Float[Tensor, "batch landmark height width"]:
    """Render one unit-height Gaussian per landmark.

    Args:
        points: (x, y) in network pixels; a NaN point gives a NaN map, which losses leave out by `visible`.
        size: (height, width) of the heatmap.
        sigma: Standard deviation in heatmap pixels.
        stride: Network pixels per heatmap pixel.
    """
    centre = to_heatmap_grid(points, stride)
    columns = torch.arange(size[1], device=points.device, dtype=points.dtype)
    rows = torch.arange(size[0], device=points.device, dtype=points.dtype)
    across = torch.exp(-((columns - centre[..., :1]) ** 2) / (2 * sigma**2))
    down = torch.exp(-((rows - centre[..., 1:]) ** 2) / (2 * sigma**2))
    return down[..., :, None] * across[..., None, :]


def decode(
    heatmap: Float[Tensor, "batch landmark height width"], codec: Codec, stride: float = 1
) -> Float[Tensor, "batch landmark 2"]:
    """Find each map's landmark in network pixels.

    Args:
        heatmap: One map per landmark, high at the landmark.
        codec: `argmax` takes the highest pixel; `quadratic` adds one Newton step on the log-map (exact for a Gaussian;
            Zhang et al., "Distribution-aware coordinate representation", CVPR 2020, Eq. 7, without its smoothing);
            `soft-argmax` takes the centroid of the positive part in a window round the highest pixel.
        stride: Network pixels per heatmap pixel.

    Raises:
        ValueError: The codec is unknown.
    """
    heatmap = heatmap.float()
    peak = _peak(heatmap)
    if codec == "argmax":
        points = peak.to(heatmap.dtype)
    elif codec == "quadratic":
        points = peak + _newton_step(heatmap, peak)
    elif codec == "soft-argmax":
        points = _window_centroid(heatmap, peak)
    else:
        raise ValueError(f"there is no codec {codec!r}; choose one of {', '.join(CODECS)}.")
    return from_heatmap_grid(points, stride)


def _peak(heatmap: Float[Tensor, "batch landmark height width"]) -> Tensor:
    flat = heatmap.flatten(2).argmax(dim=-1)
    width = heatmap.shape[-1]
    return torch.stack([flat % width, flat // width], dim=-1)


def _patch(heatmap: Float[Tensor, "batch landmark height width"], peak: Tensor, radius: int) -> Tensor:
    """Cut a (2 radius + 1) square round each peak; pixels outside the map are NaN."""
    height, width = heatmap.shape[-2:]
    offsets = torch.arange(-radius, radius + 1, device=heatmap.device)
    columns, rows = peak[..., :1] + offsets, peak[..., 1:] + offsets
    inside = ((columns >= 0) & (columns < width))[..., None, :] & ((rows >= 0) & (rows < height))[..., :, None]
    flat = rows.clamp(0, height - 1)[..., :, None] * width + columns.clamp(0, width - 1)[..., None, :]
    values = heatmap.flatten(2).gather(2, flat.flatten(2)).view(flat.shape)
    return values.masked_fill(~inside, torch.nan)


def _newton_step(heatmap: Float[Tensor, "batch landmark height width"], peak: Tensor) -> Tensor:
    """Return -H^-1 g of the log-map at the peak, at most a pixel; zero where the log-map has no strict maximum."""
    p = _patch(heatmap, peak, 1).clamp(min=1e-10).log()
    gradient = torch.stack([p[..., 1, 2] - p[..., 1, 0], p[..., 2, 1] - p[..., 0, 1]], dim=-1) / 2
    xx = p[..., 1, 2] - 2 * p[..., 1, 1] + p[..., 1, 0]
    yy = p[..., 2, 1] - 2 * p[..., 1, 1] + p[..., 0, 1]
    xy = (p[..., 2, 2] - p[..., 2, 0] - p[..., 0, 2] + p[..., 0, 0]) / 4
    determinant = xx * yy - xy**2
    step = torch.stack(
        [xy * gradient[..., 1] - yy * gradient[..., 0], xy * gradient[..., 0] - xx * gradient[..., 1]], dim=-1
    ) / determinant.unsqueeze(-1)
    maximum = (determinant > 1e-12) & (xx < 0) & step.isfinite().all(dim=-1)
    return torch.where(maximum[..., None], step, 0.0).clamp(-1, 1)


def _window_centroid(heatmap: Float[Tensor, "batch landmark height width"], peak: Tensor, radius: int = 6) -> Tensor:
    weight = _patch(heatmap, peak, radius).nan_to_num(0.0).clamp(min=0)
    offsets = torch.arange(-radius, radius + 1, device=heatmap.device, dtype=heatmap.dtype)
    total = weight.sum(dim=(-2, -1)).clamp(min=1e-10)
    across = (weight.sum(dim=-2) * offsets).sum(dim=-1) / total
    down = (weight.sum(dim=-1) * offsets).sum(dim=-1) / total
    return peak + torch.stack([across, down], dim=-1)


def visible_mean(
    values: Float[Tensor, "batch landmark ..."], visible: Bool[Tensor, "batch landmark"]
) -> Float[Tensor, ""]:
    """Average over visible landmarks, indexing before reducing; zero (with zero gradients) when none is visible."""
    chosen = values[visible]
    return chosen.sum() / max(chosen.numel(), 1)
