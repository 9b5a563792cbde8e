"""Regions with guaranteed coverage, fitted on the validation cases: split conformal prediction."""

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from jaxtyping import Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric, present
from metrics.components.pooling import pooled_mean, pooled_median
from metrics.uncertainty import determinant, floored, mahalanobis_squared

LEVELS = (0.5, 0.9, 0.95)
"""Guaranteed coverages; the last dimension of `Cases.quantiles`."""


def region_shapes(cases: Cases) -> Float[Tensor, "case landmark 2 2"]:
    """Give the shape of each region: the predicted covariance, or a circle of 1 pixel where a method gives none.

    Args:
        cases: Predictions in original pixels.

    Returns:
        Positive definite, in square pixels, float64.
    """
    covariance = cases.covariance.double()
    circle = torch.eye(2, dtype=covariance.dtype, device=covariance.device)
    return torch.where(covariance.isfinite().all(-1).all(-1)[..., None, None], floored(covariance), circle)


def nonconformity(cases: Cases) -> Float[Tensor, "case landmark"]:
    """Measure how far each truth lies from its prediction: the Mahalanobis distance for the region's shape.

    Without a covariance it is the radial error in pixels.

    Args:
        cases: Predictions and truth in original pixels.

    Returns:
        Distances; NaN where the truth is missing.
    """
    difference = (cases.points - cases.target).double().masked_fill(~present(cases)[..., None], torch.nan)
    return mahalanobis_squared(difference, region_shapes(cases)).sqrt()


def conformal_quantiles(
    scores: Float[Tensor, "case landmark"], levels: Sequence[float] = LEVELS
) -> Float[Tensor, "landmark level"]:
    """Give the size of the regions: the ceil((n + 1) p)-th smallest of the n scores of each landmark.

    A new case that is exchangeable with these falls within with probability at least p (Vovk et al. 2005; Lei et al.,
    J Am Stat Assoc 2018, Theorem 2.2). Each landmark has its own, because landmarks of one case are not independent.

    Args:
        scores: Nonconformity of cases that the method was not trained on; NaN is left out.
        levels: Guaranteed coverages p.

    Returns:
        Quantiles; infinite where n is too small for the guarantee (90 % needs 9 cases, 95 % needs 19).

    Example:
        >>> conformal_quantiles(torch.arange(1.0, 10.0)[:, None], levels=(0.5, 0.9, 0.95))
        tensor([[5., 9., inf]])
    """
    ordered = scores.masked_fill(scores.isnan(), torch.inf).sort(0).values
    ordered = torch.cat([ordered, scores.new_full((1, scores.shape[1]), torch.inf)])
    counts = scores.isnan().logical_not().sum(0)
    wanted = [[math.ceil((n + 1) * Fraction(str(p))) for p in levels] for n in counts.tolist()]
    position = torch.tensor(wanted, device=scores.device).clamp(max=len(scores) + 1) - 1
    return ordered.T.gather(-1, position)


class Conformal(LandmarkMetric):
    """Coverage and size of conformal regions at 50, 90 and 95 %.

    A region is the ellipse of the predicted covariance, or a circle for a method without one, scaled by the run's
    quantile from its own validation cases. The size is the median over landmarks of the radius of a circle of the same
    area, which is never larger than the film. The guarantee is that of exchangeable cases: it does not hold where test
    films come from elsewhere than validation films, and the validation films have chosen the checkpoint, so the
    coverage that is measured stands beside it. Where there are too few validation cases for a level, the region is the
    whole film.
    """

    title = "Conformal regions"
    requires = frozenset({"validation"})

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Tell which landmarks lie in their regions, and how large these are.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            For each level K columns of 1 or 0, then for each level K radii in the dataset's unit; NaN where missing.
        """
        hidden = ~(present(cases)[..., None] & ~cases.quantiles.isnan())
        scores = nonconformity(cases)[..., None]
        covered = (scores <= cases.quantiles).to(scores.dtype)
        radius = cases.quantiles.double() * determinant(region_shapes(cases)).pow(0.25)[..., None]
        film = (cases.size.double().prod(-1) / math.pi).sqrt()[:, None, None]
        radius = torch.fmin(radius, film)
        if self.anatomy.unit == "mm":
            radius = radius * cases.spacing.double().prod(-1).sqrt()[:, None, None]
        both = [values.masked_fill(hidden, torch.nan).mT.flatten(1) for values in (covered, radius)]
        return torch.cat(both, dim=-1)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Pool the landmarks of all cases.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `conformal_coverage_50` ... in % and `conformal_radius_50` ... in the dataset's unit.
        """
        parts = terms.chunk(2 * len(LEVELS), dim=-1)
        coverage = {
            _name("coverage", p): 100 * pooled_mean(part, counts) for p, part in zip(LEVELS, parts, strict=False)
        }
        radii = zip(LEVELS, parts[len(LEVELS) :], strict=True)
        return {**coverage, **{_name("radius", p): pooled_median(part, counts) for p, part in radii}}

    def columns(self) -> dict[str, Column]:
        """Describe coverage and size at each level.

        Returns:
            Column name to its description.
        """
        titles = {p: f"{100 * p:g} % conformal regions" for p in LEVELS}
        coverage = {_name("coverage", p): Column(f"Coverage of {titles[p]}", "%", None) for p in LEVELS}
        radii = {_name("radius", p): Column(f"Radius of {titles[p]}", self.anatomy.unit, False) for p in LEVELS}
        return coverage | radii


def _name(quantity: str, level: float) -> str:
    return f"conformal_{quantity}_{100 * level:g}"
