"""Sums, means, medians and shares over all cases and terms that are not missing, of the cases as they are or as drawn.

A bootstrap draws cases with replacement. It need not repeat their rows: `counts` tells how often each draw has each
case, and everything here weights a case by it. The result is what the repeated rows would give, in a fraction of the
time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

AT_ONCE: Final = 2_000_000
"""Numbers of a tensor with a value of each draw, case and term, so that it fits the memory."""


def pooled_sum(
    values: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
) -> Float[Tensor, "*batch term"] | Float[Tensor, "*batch draw term"]:
    """Add up each term over all cases in which it is not NaN.

    Args:
        values: Any numbers; NaN is left out.
        counts: How often each draw has each case; every case once, without the dimension of draws, if None.

    Returns:
        The sums; 0 where every value is NaN.

    Example:
        >>> values = torch.tensor([[1.0, float("nan")], [3.0, 5.0]])
        >>> pooled_sum(values), pooled_sum(values, torch.tensor([[2.0, 0.0]]))
        (tensor([4., 5.]), tensor([[2., 0.]]))
    """
    if counts is None:
        return values.nansum(-2)
    known = values.masked_fill(values.isnan(), 0)
    weights, infinite = counts.to(values.dtype), known.isinf()
    sums = weights @ known.masked_fill(infinite, 0)
    if infinite.any():  # 0 times infinity is NaN, but a case that is not drawn must not count
        above, below = (weights @ (known == sign * math.inf).to(values.dtype) > 0 for sign in (1, -1))
        sums = sums + sums.new_tensor(math.inf).where(above, sums.new_tensor(0.0))
        sums = sums - sums.new_tensor(math.inf).where(below, sums.new_tensor(0.0))
    return sums


def pooled_mean(
    values: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
) -> Float[Tensor, "*batch"] | Float[Tensor, "*batch draw"]:
    """Average over all cases and terms that are not NaN.

    Args:
        values: Any numbers; NaN is left out.
        counts: How often each draw has each case; every case once, without the dimension of draws, if None.

    Returns:
        The mean; NaN where every value is NaN.

    Example:
        >>> values = torch.tensor([[1.0, float("nan")], [2.0, 6.0]])
        >>> pooled_mean(values), pooled_mean(values, torch.tensor([[1.0, 1.0], [2.0, 0.0]]))
        (tensor(3.), tensor([3., 1.]))
    """
    if counts is None:
        return values.flatten(-2).nanmean(-1)
    known = values.isnan().logical_not().sum(-1).to(values.dtype)
    sums = pooled_sum(torch.stack([values.nansum(-1), known], dim=-1), counts)
    return sums[..., 0] / sums[..., 1]


def pooled_sd(
    values: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
) -> Float[Tensor, "*batch"] | Float[Tensor, "*batch draw"]:
    """Take the population standard deviation (division by n) over all cases and terms that are not NaN.

    Args:
        values: Any numbers; NaN is left out.
        counts: How often each draw has each case; every case once, without the dimension of draws, if None.

    Returns:
        The standard deviation; 0 for a single value, NaN where every value is NaN.

    Example:
        >>> values = torch.tensor([[1.0, float("nan")], [3.0, 5.0]])
        >>> pooled_sd(values), pooled_sd(values, torch.tensor([[2.0, 0.0]]))
        (tensor(1.6330), tensor([0.]))
    """
    offset = values - values.flatten(-2).nanmean(-1)[..., None, None]
    if counts is None:
        return offset.square().flatten(-2).nanmean(-1).sqrt()
    mean, square = pooled_mean(offset, counts), pooled_mean(offset.square(), counts)
    variance = square - mean.square()
    rounding = 8 * torch.finfo(values.dtype).eps * square  # a spread within rounding of zero is none
    return variance.masked_fill(variance <= rounding, 0).sqrt()


def pooled_median(
    values: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
) -> Float[Tensor, "*batch"] | Float[Tensor, "*batch draw"]:
    """Take the median over all cases and terms that are not NaN; of an even number, the mean of the middle two.

    Args:
        values: Any numbers; NaN is left out.
        counts: How often each draw has each case; every case once, without the dimension of draws, if None.

    Returns:
        The median; NaN where every value is NaN.

    Example:
        >>> values = torch.tensor([[1.0, float("nan")], [2.0, 6.0], [9.0, float("nan")]])
        >>> pooled_median(values), pooled_median(values, torch.tensor([[2.0, 1.0, 0.0]]))
        (tensor(4.), tensor([1.5000]))
    """
    if counts is None:
        flat = values.flatten(-2)
        ordered = torch.from_numpy(np.sort(flat.numpy(force=True))).to(flat.device)  # faster than torch's; NaN last
        total = ordered.isnan().logical_not().sum(-1)
        return ordered.gather(-1, _middle(total).clamp(max=ordered.shape[-1] - 1)).mean(-1)
    stacked = values.reshape(-1, *values.shape[-2:])
    medians = torch.stack([_drawn_median(part, counts) for part in stacked])
    return medians.reshape(*values.shape[:-2], len(counts))


def pooled_percentage(
    hit: Bool[Tensor, "*batch case term"],
    known: Bool[Tensor, "*batch case term"],
    counts: Float[Tensor, "draw case"] | None = None,
) -> Float[Tensor, "*batch"] | Float[Tensor, "*batch draw"]:
    """Give the share of hits among the known, in %.

    Args:
        hit: Whether a value counts as a hit.
        known: Whether a value counts at all.
        counts: How often each draw has each case; every case once, without the dimension of draws, if None.

    Returns:
        Percentage in 0..100; NaN where nothing is known.

    Example:
        >>> pooled_percentage(torch.tensor([[True, False], [True, True]]), torch.tensor([[True, True], [False, True]]))
        tensor(66.6667, dtype=torch.float64)
    """
    numbers = torch.stack([(hit & known).sum(-1), known.sum(-1)], dim=-1).double()
    sums = pooled_sum(numbers, counts)
    return 100 * sums[..., 0] / sums[..., 1]


def by_values(
    statistic: Callable[[Float[Tensor, "draw value"]], Float[Tensor, "*batch draw"]],
    values: Float[Tensor, "*batch case term"],
    counts: Float[Tensor, "draw case"],
) -> Float[Tensor, "*batch draw"]:
    """Work out a statistic that depends on the order of single values, for a few draws at a time.

    Args:
        statistic: Takes how often each draw has each value of the flattened cases and terms.
        values: What the statistic is of; only its shape is looked at.
        counts: How often each draw has each case.

    Returns:
        The statistic of each draw.
    """
    few = torch.split(counts.to(values.dtype), max(1, AT_ONCE // max(1, values.numel())))
    return torch.cat([statistic(part.repeat_interleave(values.shape[-1], dim=-1)) for part in few], dim=-1)


def _middle(total: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch 2"]:
    """Return the positions of the middle two of so many ordered values, the same one twice of an odd number."""
    return torch.stack([(total - 1).clamp(min=0) // 2, total // 2], dim=-1)


def _drawn_median(values: Float[Tensor, "case term"], counts: Float[Tensor, "draw case"]) -> Float[Tensor, " draw"]:
    """Take the median of each draw: find the block of the ordered values that holds its middle, then look within it."""
    flat = values.flatten().numpy(force=True)
    order = torch.from_numpy(np.argsort(flat, kind="stable")[: np.count_nonzero(~np.isnan(flat))])
    ordered, owner = values.flatten()[order], order // values.shape[-1]
    size = max(1, math.isqrt(len(order)))
    blocks = torch.arange(len(order)) // size
    held = torch.zeros(len(values), len(order) // size + 1, dtype=torch.float64)
    held.index_put_((owner, blocks), torch.ones(len(order), dtype=torch.float64), accumulate=True)
    below = (counts.double() @ held).cumsum(-1)  # values of each draw up to and with each block
    wanted = _middle(below[:, -1].long()).double()
    block = torch.searchsorted(below, wanted, right=True).clamp(max=held.shape[1] - 1)
    before = torch.nn.functional.pad(below, (1, 0)).gather(-1, block)
    place = block[..., None] * size + torch.arange(size)
    inside = place < len(order)
    place = place.clamp(max=max(0, len(order) - 1))
    if not len(order):
        return values.new_full((len(counts),), torch.nan)
    drawn = counts.double().gather(-1, owner[place].flatten(1)).reshape(place.shape).masked_fill(~inside, 0)
    reached = before[..., None] + drawn.cumsum(-1) > wanted[..., None]
    found = place.gather(-1, reached.long().argmax(-1, keepdim=True))[..., 0]
    return ordered[found].mean(-1).masked_fill(below[:, -1] == 0, torch.nan)
