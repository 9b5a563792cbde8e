"""Limbs: lines between landmarks of one structure, as non-directional part affinity fields."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from torch import Tensor
from torch.nn.functional import grid_sample

SAMPLES = 16


def limb_tree(structure: Float[Tensor, "slot 2"], axis: Float[Tensor, " 2"]) -> Int[Tensor, "limb 2"]:
    """Join the landmarks of a structure by limbs that lie across the axis along which structures follow each other.

    Limbs along the axis continue each other from structure to structure, so that their field hardly tells which of two
    neighbours a landmark belongs to.

    Args:
        structure: (x, y) of its landmarks.
        axis: Vector from the first structure towards the last.

    Returns:
        The landmarks that each limb joins; the first of the two is landmark 0 or the end of an earlier limb.
    """
    offsets = (structure[:, None] - structure).double().numpy()
    unit = (axis / axis.norm()).double().numpy()
    along = np.abs(offsets @ unit)
    across = np.abs(offsets @ (unit[::-1] * (1, -1)))
    cost = along - across
    tree = minimum_spanning_tree(cost - cost.min() + 1)  # zero would be no edge
    order, parents = breadth_first_order(tree, 0, directed=False)
    return torch.tensor([(parents[slot], slot) for slot in order[1:]], dtype=torch.long).view(-1, 2)


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


def pair(scores: Float[Tensor, "batch start end"]) -> Int[Tensor, "batch start"]:
    """Return for each start the end that it is paired with: one to one, with the highest total score."""
    pairs = [linear_sum_assignment(score, maximize=True)[1] for score in scores.detach().cpu().double().numpy()]
    return torch.from_numpy(np.stack(pairs)).to(scores.device)
