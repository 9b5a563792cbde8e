"""Algorithm 1 of An et al. 2022: put back the vertebra that the centre maps have skipped."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from methods.components.heatmap import decode, highest_peaks, windows
from methods.components.structures.group_classes import order_along

SUSPICIOUS: Final = 1.4
"""A gap this many times the mean of the others is too wide for one disc."""
REACH: Final = 0.4
"""Share of the gap's height next to either of its ends in which no centre is looked for."""
TOLERATED: Final = 0.02
"""Share of films whose true centres may look skipped; the paper's first stage misses about as many."""


def descending(
    joint: Float[Tensor, "batch height width"], count: int, window: int
) -> Float[Tensor, "batch structure 2"]:
    """Return the (x, y) of the highest maxima of one map for all structures, from top to bottom (Kim et al. 2021).

    Args:
        joint: One map.
        count: How many maxima.
        window: Radius in map pixels within which the map has one maximum.
    """
    peaks = highest_peaks(joint, count, window)
    order = order_along(peaks.float(), torch.tensor([0.0, 1.0], device=joint.device))
    peaks = peaks.gather(1, order[..., None].expand_as(peaks))
    return decode(windows(joint, peaks, window), "quadratic")


def skips(peaks: Float[Tensor, "batch structure 2"]) -> Bool[Tensor, " batch"]:
    """Say whose widest gap is more than `SUSPICIOUS` times the mean of its other gaps (Sec. 3.2)."""
    gaps = (peaks[:, 1:] - peaks[:, :-1]).norm(dim=-1)
    widest = gaps.amax(dim=1)
    others = (gaps.sum(dim=1) - widest) / max(1, gaps.shape[1] - 1)
    return torch.gt(widest, SUSPICIOUS * others)


def rule_holds(centres: Float[Tensor, "film structure 2"]) -> bool:
    """Say whether `skips` is fit to judge a set's chains, by the true centres of its training films.

    The paper's factor is the widest gap of its lumbar ones, which are nearly equal. From T1 to L5 the gaps double, and
    the rule would take 257 of AASCE's 609 films with their true centres for skipped.

    Args:
        centres: True (x, y); a film with a missing (NaN) centre tells nothing.
    """
    return bool(skips(centres).float().mean() <= TOLERATED)


def repair(
    maps: Float[Tensor, "batch structure height width"], peaks: Float[Tensor, "batch structure 2"]
) -> Float[Tensor, "batch structure 2"]:
    """Look for a centre in the widest gap, where there is a suspicious one, and drop the topmost centre for it.

    Where the map of L1 answers T12, those below it are one vertebra too high as well, down to a gap of two. Within the
    gap, away from its ends by `REACH` of its height, the sum of all maps is highest at the centre that none has chosen.

    Args:
        maps: One centre map per structure, in anatomical order.
        peaks: (x, y) of each map's maximum in its pixels.

    Returns:
        The peaks, where a film needs it less the first and with the new one, which is a whole pixel. Fewer than four
        peaks stay as they are: the mean of the other gaps would be a single one. So do peaks whose gap has no row left.
    """
    structures = peaks.shape[1]
    if structures < 4:
        return peaks
    films = torch.arange(peaks.shape[0], device=peaks.device)
    place = (peaks[:, 1:] - peaks[:, :-1]).norm(dim=-1).argmax(dim=1)
    above, below = peaks[films, place, 1:], peaks[films, place + 1, 1:]
    margin = REACH * (below - above)
    rows = torch.arange(maps.shape[-2], device=maps.device)
    between = (rows >= above + margin) & (rows <= below - margin)
    total = maps.sum(dim=1).masked_fill(~between[..., None], -torch.inf)
    flat = total.flatten(1).argmax(dim=1)
    found = torch.stack([flat % maps.shape[-1], flat // maps.shape[-1]], dim=-1).to(peaks.dtype)
    position, place = torch.arange(structures, device=peaks.device)[:, None], place[:, None, None]
    repaired = torch.where(position < place, peaks.roll(-1, dims=1), peaks)
    repaired = torch.where(position == place, found[:, None], repaired)
    broken = skips(peaks) & between.any(dim=1)
    return torch.where(broken[:, None, None], repaired, peaks)
