"""Limbs: lines between landmarks of one structure, as non-directional part affinity fields."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import grid_sample

SAMPLES = 16


def line_field(
    start: Float[Tensor, "batch limb 2"], end: Float[Tensor, "batch limb 2"], size: tuple[int, int], thickness: float
) -> Float[Tensor, "batch limb height width"]:
    """Draw each limb as a line of ones on zeros: pixels within half the thickness of the segment.

    The field has no direction: it says that a limb runs here, not which way. A limb with a NaN end is not drawn.

    Args:
        start: (x, y) of one end in pixels of the field.
        end: (x, y) of the other.
        size: (height, width) of the field.
        thickness: Of the line, in pixels.
    """
    columns, rows = (torch.arange(n, device=start.device, dtype=start.dtype) for n in (size[1], size[0]))
    along = end - start
    across_x = columns - start[..., None, :1]
    across_y = rows[:, None] - start[..., None, 1:]
    length = (along**2).sum(dim=-1).clamp(min=1e-6)[..., None, None]
    share = ((across_x * along[..., None, :1] + across_y * along[..., None, 1:]) / length).clamp(0, 1)
    squared = (across_x - share * along[..., None, :1]) ** 2 + (across_y - share * along[..., None, 1:]) ** 2
    return (squared <= (thickness / 2) ** 2).to(start.dtype)


def limb_scores(
    field: Float[Tensor, "batch height width"], start: Tensor, end: Tensor
) -> Float[Tensor, "batch start end"]:
    """Average a field along the segment from every start to every end, given in its pixels (batch, point, 2)."""
    share = torch.linspace(0, 1, SAMPLES, device=field.device)[:, None]
    start, end = start.to(field.dtype)[:, :, None, None], end.to(field.dtype)[:, None, :, None]
    points = start + share * (end - start)
    limit = points.new_tensor([field.shape[-1] - 1, field.shape[-2] - 1])
    values = grid_sample(field[:, None], (2 * points / limit - 1).flatten(1, 2), align_corners=True)
    return values.mean(dim=-1).view(points.shape[:3])


def greedy_pairs(scores: Float[np.ndarray, "start end"], low: float) -> Int[np.ndarray, "pair 2"]:
    """Pair one to one, the highest score of what is left first, as long as it exceeds `low`.

    Example:
        >>> greedy_pairs(np.array([[0.9, 0.8, 0.1], [0.8, 0.1, 0.2]]), 0.15).tolist()
        [[0, 0], [1, 2]]
    """
    left, pairs = scores.astype(float), []
    while left.size and left.max() > low:
        start, end = np.unravel_index(left.argmax(), left.shape)
        left[start], left[:, end] = -np.inf, -np.inf
        pairs.append((start, end))
    return np.array(pairs, int).reshape(-1, 2)
