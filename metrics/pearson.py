"""Pearson correlation between predicted and true coordinates."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric, present
from metrics.components.pooling import pooled_sum
from metrics.coordinate_mse import normalized_coordinates


def coordinate_sums(
    points: Float[Tensor, "case landmark 2"],
    target: Float[Tensor, "case landmark 2"],
    visible: Bool[Tensor, "case landmark"],
) -> Float[Tensor, "case 6"]:
    """Add up what a correlation needs, over the visible coordinates of each case.

    Args:
        points: Predicted coordinates p.
        target: True coordinates t.
        visible: False where the truth is missing; such points do not count.

    Returns:
        The number of coordinates and the sums of p, t, p^2, t^2 and p t.

    Example:
        >>> points, target = torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0]]])
        >>> coordinate_sums(points, target, torch.tensor([[True]]))
        tensor([[ 2.,  3.,  7.,  5., 25., 11.]])
    """
    hidden = ~visible[..., None]
    p, t = points.masked_fill(hidden, 0).flatten(1), target.masked_fill(hidden, 0).flatten(1)
    count = 2 * visible.sum(-1).to(p.dtype)
    return torch.stack([count, p.sum(-1), t.sum(-1), (p * p).sum(-1), (t * t).sum(-1), (p * t).sum(-1)], dim=-1)


def pearson_rho(sums: Float[Tensor, "*resample 6"]) -> Float[Tensor, "*resample"]:
    """Work out Pearson's correlation from sums.

    Args:
        sums: The count and the sums of p, t, p^2, t^2 and p t, as from `coordinate_sums`; float64 is advised.

    Returns:
        Correlation in -1..1; NaN where there is no point or no spread.

    Example:
        >>> pearson_rho(torch.tensor([4.0, 6.0, 12.0, 14.0, 56.0, 28.0]))
        tensor(1.)
    """
    n, p, t, pp, tt, pt = sums.unbind(-1)
    spread_p, spread_t = n * pp - p * p, n * tt - t * t
    # A spread within rounding of zero is none: it would give a correlation of noise.
    rounding = 8 * torch.finfo(sums.dtype).eps
    flat = (spread_p <= rounding * n * pp) | (spread_t <= rounding * n * tt)
    return ((n * pt - p * t) / (spread_p * spread_t).sqrt()).clamp(-1, 1).masked_fill(flat, torch.nan)


class Pearson(LandmarkMetric):
    """Correlation of all predicted with all true normalised coordinates, x and y of all cases pooled.

    Source: Ao and Wu, FARNet, Table 5. Pooled like this the position of a landmark within the body dominates: the mean
    shape alone reaches .94 on AASCE, so a value near 1 says little.
    """

    title = "Pearson correlation"
    requires = frozenset({"size"})

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give each case's sums of normalised coordinates.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            Six columns, see `coordinate_sums`; NaN where the film's size is unknown.
        """
        points, target = (normalized_coordinates(xy.double(), cases.size) for xy in (cases.points, cases.target))
        unknown = ~cases.size.isfinite().all(-1, keepdim=True)
        return coordinate_sums(points, target, present(cases)).masked_fill(unknown, torch.nan)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Correlate the coordinates of all cases.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `rho` in -1..1.
        """
        return {"rho": pearson_rho(pooled_sum(terms, counts))}

    def columns(self) -> dict[str, Column]:
        """Describe the correlation.

        Returns:
            Column name to its description.
        """
        return {"rho": Column("Pearson rho", "", True)}
