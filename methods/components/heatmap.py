"""Gaussian heatmaps, their decoding and their spread, on one grid.

A heatmap pixel h stands for the network pixel (h + .5) * stride - .5, so that encoding and decoding agree to the
sub-pixel at every stride.
"""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d

Codec = Literal["argmax", "quadratic", "dark", "soft-argmax", "three-point"]
CODECS: tuple[Codec, ...] = get_args(Codec)
NOISE: Final = 0.1
"""What of a map stays below this share of its peak is noise to `covariance`."""
UNSMOOTHED: Final = 4.0
"""So many sigma from a map's edges `dark` does not smooth: there its window would reach beyond the map."""
CROWD: Final = 100
"""At most so many blobs of a map are read, the highest ones: an untrained network answers thousands."""


def to_heatmap_grid(points: Float[Tensor, "... 2"], stride: float) -> Float[Tensor, "... 2"]:
    """Map network pixels to heatmap pixels."""
    return (points + 0.5) / stride - 0.5


def from_heatmap_grid(points: Float[Tensor, "... 2"], stride: float) -> Float[Tensor, "... 2"]:
    """Map heatmap pixels to network pixels."""
    return (points + 0.5) * stride - 0.5


def gaussian(
    points: Float[Tensor, "batch landmark 2"], size: tuple[int, int], sigma: float | Tensor, stride: float = 1
) -> Float[Tensor, "batch landmark height width"]:
    """Render one unit-height Gaussian per landmark.

    Args:
        points: (x, y) in network pixels; a NaN point gives a NaN map, which losses leave out by `visible`.
        size: (height, width) of the heatmap.
        sigma: Standard deviation in heatmap pixels; a tensor of widths goes with (batch, landmark, 1).
        stride: Network pixels per heatmap pixel.
    """
    centre = to_heatmap_grid(points, stride)
    columns = torch.arange(size[1], device=points.device, dtype=points.dtype)
    rows = torch.arange(size[0], device=points.device, dtype=points.dtype)
    across = torch.exp(-((columns - centre[..., :1]) ** 2) / (2 * sigma**2))
    down = torch.exp(-((rows - centre[..., 1:]) ** 2) / (2 * sigma**2))
    return down[..., :, None] * across[..., None, :]


def decode(
    heatmap: Float[Tensor, "batch landmark height width"], codec: Codec, stride: float = 1, sigma: float = 1.5
) -> Float[Tensor, "batch landmark 2"]:
    """Find each map's landmark in network pixels.

    Args:
        heatmap: One map per landmark, high at the landmark.
        codec: `argmax` takes the highest pixel; `quadratic` adds one Newton step on the log-map, exact for a Gaussian;
            `dark` smooths the map before that, as the targets were (Zhang et al., "Distribution-aware coordinate
            representation for human pose estimation", CVPR 2020), but not at the map's edges, where a smoothed peak
            moves inwards; `soft-argmax` takes the centroid of the positive part in a window of four sigma round the
            highest pixel; `three-point` takes the centroid of the three highest pixels, wherever they are, weighted by
            their positive part.
        stride: Network pixels per heatmap pixel.
        sigma: The targets' standard deviation in heatmap pixels.

    Raises:
        ValueError: The codec is unknown.
    """
    heatmap = heatmap.float()
    peak = _peak(heatmap)
    if codec == "argmax":
        points = peak.to(heatmap.dtype)
    elif codec == "quadratic":
        points = peak + _newton_step(heatmap, peak)
    elif codec == "dark":
        smooth = _smooth(heatmap, sigma)
        top = _peak(smooth)
        far = peak.new_tensor([heatmap.shape[-1] - 1, heatmap.shape[-2] - 1])
        inside = ((peak >= UNSMOOTHED * sigma) & (far - peak >= UNSMOOTHED * sigma)).all(dim=-1, keepdim=True)
        points = torch.where(inside, top + _newton_step(smooth, top), peak + _newton_step(heatmap, peak))
    elif codec == "soft-argmax":
        points = _window_centroid(heatmap, peak, radius=math.ceil(4 * sigma))
    elif codec == "three-point":
        points = _centroid_of_highest(heatmap, 3)
    else:
        raise ValueError(f"there is no codec {codec!r}; choose one of {', '.join(CODECS)}.")
    return from_heatmap_grid(points, stride)


def covariance(
    heatmap: Float[Tensor, "batch landmark height width"], points: Float[Tensor, "batch landmark 2"], stride: float = 1
) -> Float[Tensor, "batch landmark 2 2"]:
    """Measure each map's spread about its decoded point, in square network pixels.

    A pixel weighs what it rises above a tenth of the map's peak, so that noise does not count; the part of a Gaussian's
    second moments that is lost thereby is put back. So a Gaussian map, isotropic or not, gives its own covariance, and
    a second mode or a point beside the peak adds to it. A map without a positive peak counts as uniform. The result
    is positive definite: no variance is below that of a uniform heatmap pixel, stride^2 / 12.

    Args:
        heatmap: One map per landmark, high at the landmark.
        points: The maps' landmarks in network pixels, as `decode` returns them.
        stride: Network pixels per heatmap pixel.
    """
    weight = _share_above_noise(heatmap.float())
    columns, rows = (torch.arange(side, device=heatmap.device) for side in (heatmap.shape[-1], heatmap.shape[-2]))
    centre = to_heatmap_grid(points.float(), stride)
    across, down = columns - centre[..., :1], rows - centre[..., 1:]
    xx = (weight.sum(dim=-2) * across**2).sum(dim=-1)
    yy = (weight.sum(dim=-1) * down**2).sum(dim=-1)
    xy = ((weight * across[..., None, :]).sum(dim=-1) * down).sum(dim=-1)
    moments = torch.stack([xx, xy, xy, yy], dim=-1).view(*xx.shape, 2, 2) / _kept_moment(NOISE)
    return _lift(moments, low=1 / 12) * stride**2


def highest_peaks(
    heatmap: Float[Tensor, "batch height width"], count: int, radius: int = 1
) -> Int[Tensor, "batch peak 2"]:
    """Return the (x, y) of the `count` highest local maxima of each map, highest first.

    A pixel is a local maximum if none in the square of `radius` round it is higher; of equal ones, which bfloat16 makes
    of every blob, only one is. Where there are fewer, other pixels follow.
    """
    _, winner = max_pool2d(heatmap, 2 * radius + 1, stride=1, padding=radius, return_indices=True)
    own = torch.arange(winner[0].numel(), device=heatmap.device)
    suppressed = torch.where(winner.flatten(1) == own, heatmap.flatten(1), -torch.inf)
    flat = suppressed.topk(count, dim=1).indices
    return torch.stack([flat % heatmap.shape[-1], flat // heatmap.shape[-1]], dim=-1)


class Blobs(NamedTuple):
    """Connected components of what exceeds a threshold in a map: their (x, y) centroids and highest pixels."""

    centroids: Float[np.ndarray, "blob 2"]
    peaks: Int[np.ndarray, "blob 2"]


def find_blobs(heatmap: Float[np.ndarray, "height width"], threshold: float) -> Blobs:
    """Find the components, joined across corners of pixels too, of what is above a threshold.

    Example:
        >>> find_blobs(np.array([[0.0, 0.9, 0.6, 0.0, 0.7]]), 0.5)
        Blobs(centroids=array([[1.5, 0. ],
               [4. , 0. ]]), peaks=array([[1, 0],
               [4, 0]]))
    """
    labels, count = ndimage.label(heatmap > threshold, structure=np.ones((3, 3)))
    numbers = np.arange(1, count + 1)
    if count > CROWD:
        numbers = np.sort(np.argsort(-ndimage.maximum(heatmap, labels, numbers))[:CROWD]) + 1
    centroids = ndimage.center_of_mass(labels > 0, labels, numbers)
    peaks = ndimage.maximum_position(heatmap, labels, numbers)
    return Blobs(
        np.array(centroids, float).reshape(-1, 2)[:, ::-1].copy(), np.array(peaks, int).reshape(-1, 2)[:, ::-1]
    )


def windows(
    heatmap: Float[Tensor, "batch height width"], peaks: Int[Tensor, "batch peak 2"], radius: int
) -> Float[Tensor, "batch peak height width"]:
    """Return one map per peak: the heatmap in a square round it, without what is higher, and zero elsewhere.

    So every map has its highest pixel at its peak, and `decode` and `covariance` read it as one landmark's. Round a
    peak that is not positive the fill is lower still.
    """
    columns = torch.arange(heatmap.shape[-1], device=heatmap.device)
    rows = torch.arange(heatmap.shape[-2], device=heatmap.device)
    near = (columns - peaks[..., :1]).abs()[..., None, :] <= radius
    near = near & ((rows - peaks[..., 1:]).abs()[..., :, None] <= radius)
    batch = torch.arange(heatmap.shape[0], device=heatmap.device)[:, None]
    height = heatmap[batch, peaks[..., 1], peaks[..., 0]][..., None, None]
    fill = torch.where(height > 0, 0.0, height - 1)
    return torch.where(near & (heatmap[:, None] <= height), heatmap[:, None], fill)


def _share_above_noise(heatmap: Float[Tensor, "batch landmark height width"]) -> Tensor:
    """Return weights that sum to 1: a map over its peak, less `NOISE`; equal ones where nothing is positive."""
    peak = heatmap.amax(dim=(-2, -1), keepdim=True)
    weight = torch.where(peak > 0, (heatmap / peak - NOISE).clamp(min=0), 1.0)
    return weight / weight.sum(dim=(-2, -1), keepdim=True)


def _kept_moment(share: float) -> float:
    """Return the share of a 2-D Gaussian's second moments that stays when `share` of its height is taken off it.

    With u half the squared Mahalanobis distance it is the mean of u under the weight exp(-u) - share over
    0 <= u <= -ln share; without the cut that mean is 1.
    """
    end = -math.log(share)
    return (1 - share * (1 + end + end**2 / 2)) / (1 - share * (1 + end))


def _lift(matrix: Float[Tensor, "... 2 2"], low: float) -> Tensor:
    """Add to the diagonal of symmetric matrices what their smaller eigenvalue lacks to `low`."""
    xx, xy, yy = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 1, 1]
    smaller = (xx + yy - torch.hypot(xx - yy, 2 * xy)) / 2
    return matrix + (low - smaller).clamp(min=0)[..., None, None] * torch.eye(2, device=matrix.device)


def _smooth(heatmap: Float[Tensor, "batch landmark height width"], sigma: float) -> Tensor:
    """Convolve with a Gaussian, in full precision under autocast too."""
    radius = math.ceil(4 * sigma)
    offsets = torch.arange(-radius, radius + 1, device=heatmap.device, dtype=heatmap.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    with torch.autocast(heatmap.device.type, enabled=False):
        smoothed = conv2d(heatmap.flatten(0, 1)[:, None], kernel.view(1, 1, -1, 1), padding=(radius, 0))
        return conv2d(smoothed, kernel.view(1, 1, 1, -1), padding=(0, radius)).view_as(heatmap)


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
    """Return -H^-1 g of the log-map, from the peak and at most a pixel; zero where the log-map has no strict maximum.

    It is taken at the peak, or beside it where the peak is at the edge of the map and has no neighbour on one side.
    """
    height, width = heatmap.shape[-2:]
    at = peak.clamp(min=1).minimum(peak.new_tensor([width - 2, height - 2]))
    p = _patch(heatmap, at, 1).clamp(min=1e-10).log()
    gradient = torch.stack([p[..., 1, 2] - p[..., 1, 0], p[..., 2, 1] - p[..., 0, 1]], dim=-1) / 2
    xx = p[..., 1, 2] - 2 * p[..., 1, 1] + p[..., 1, 0]
    yy = p[..., 2, 1] - 2 * p[..., 1, 1] + p[..., 0, 1]
    xy = (p[..., 2, 2] - p[..., 2, 0] - p[..., 0, 2] + p[..., 0, 0]) / 4
    determinant = xx * yy - xy**2
    step = torch.stack(
        [xy * gradient[..., 1] - yy * gradient[..., 0], xy * gradient[..., 0] - xx * gradient[..., 1]], dim=-1
    ) / determinant.unsqueeze(-1)
    maximum = (determinant > 1e-12) & (xx < 0) & step.isfinite().all(dim=-1)
    return torch.where(maximum[..., None], at + step - peak, 0.0).clamp(-1, 1)


def _window_centroid(heatmap: Float[Tensor, "batch landmark height width"], peak: Tensor, radius: int) -> Tensor:
    weight = _patch(heatmap, peak, radius).nan_to_num(0.0).clamp(min=0)
    offsets = torch.arange(-radius, radius + 1, device=heatmap.device, dtype=heatmap.dtype)
    total = weight.sum(dim=(-2, -1)).clamp(min=1e-10)
    across = (weight.sum(dim=-2) * offsets).sum(dim=-1) / total
    down = (weight.sum(dim=-1) * offsets).sum(dim=-1) / total
    return peak + torch.stack([across, down], dim=-1)


def _centroid_of_highest(heatmap: Float[Tensor, "batch landmark height width"], count: int) -> Tensor:
    height, width = heatmap.shape[-2:]
    value, flat = heatmap.flatten(2).topk(min(count, height * width))
    weight = value.clamp(min=1e-10)[..., None]
    return (torch.stack([flat % width, flat // width], dim=-1) * weight).sum(dim=2) / weight.sum(dim=2)
