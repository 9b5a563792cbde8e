"""Whether the regions of a predicted covariance hold as many landmarks as they promise."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric
from metrics.components.pooling import pooled_mean, pooled_sum
from metrics.uncertainty import mahalanobis_squared, residuals

REGIONS = (0.5, 0.9, 0.95)
"""Probabilities of the regions whose coverage has a column, of those in `GRID`."""
GRID = tuple(step / 20 for step in range(1, 20))
"""Probabilities at which the calibration curve is compared with the diagonal."""
CURVE_TERMS = len(GRID) + 1
"""Columns of `Calibration.terms`."""


def region_probability(distance_squared: Float[Tensor, "*value"]) -> Float[Tensor, "*value"]:
    """Give the probability of the smallest region of the predicted Gaussian that holds the truth.

    The chi-square distribution with two degrees of freedom: 1 - exp(-d^2 / 2). If the covariance is right, the result
    is uniform in 0..1.

    Args:
        distance_squared: Squared Mahalanobis distances.

    Returns:
        Probabilities; NaN where the distance is.

    Example:
        >>> region_probability(torch.tensor([0.0, 1.386294, 5.991465]))
        tensor([0.0000, 0.5000, 0.9500])
    """
    return -torch.expm1(-distance_squared / 2)


def calibration_curve(
    probabilities: Float[Tensor, "*resample case landmark"], levels: Sequence[float] = GRID
) -> Float[Tensor, "*resample level"]:
    """Give the share of landmarks within the predicted region of each level.

    Args:
        probabilities: From `region_probability`; NaN where not applicable.
        levels: Probabilities of the regions.

    Returns:
        Shares in 0..1, on the diagonal for a calibrated method and above it for one that is too cautious; NaN where no
        landmark applies.

    Example:
        >>> calibration_curve(torch.tensor([[0.1, 0.6], [0.8, float("nan")]]), levels=(0.5, 0.9))
        tensor([0.3333, 1.0000])
    """
    unknown = probabilities.isnan()
    shares = [pooled_mean((probabilities <= p).to(probabilities.dtype).masked_fill(unknown, torch.nan)) for p in levels]
    return torch.stack(shares, dim=-1)


class Calibration(LandmarkMetric):
    """Coverage of the 50, 90 and 95 % regions, and the mean distance of the calibration curve from the diagonal.

    Source: Kuleshov et al., Accurate Uncertainties for Deep Learning, ICML 2018, Sec. 3.5, with elliptic regions of a
    bivariate Gaussian in place of quantiles; the error is the mean absolute one over 5, 10, ... 95 %. None of it
    depends on the unit.
    """

    title = "Calibration"
    requires = frozenset({"covariance"})

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Count the landmarks of each case within the regions.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            One column per level of `GRID`, then the number of landmarks that are there.
        """
        probabilities = region_probability(mahalanobis_squared(*residuals(cases, "px")))
        count = probabilities.isnan().logical_not().sum(-1, keepdim=True)
        within = calibration_curve(probabilities[:, None]).nan_to_num(0) * count
        return torch.cat([within, count], dim=-1)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Pool the landmarks of all cases.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `coverage_50`, `coverage_90`, `coverage_95` and `calibration_error`, all in %.
        """
        sums = pooled_sum(terms, counts)
        curve = 100 * sums[..., :-1] / sums[..., -1:]
        error = (curve - 100 * curve.new_tensor(GRID)).abs().mean(-1)
        return {**{_name(level): curve[..., GRID.index(level)] for level in REGIONS}, "calibration_error": error}

    def columns(self) -> dict[str, Column]:
        """Describe coverages and calibration error.

        Returns:
            Column name to its description.
        """
        coverage = {_name(level): Column(f"Coverage of {100 * level:g} % regions", "%", None) for level in REGIONS}
        return {**coverage, "calibration_error": Column("Calibration error", "%", False)}


def _name(level: float) -> str:
    return f"coverage_{100 * level:g}"
