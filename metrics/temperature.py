"""Whether regions hold as many landmarks as they promise once covariances are calibrated on validation cases."""

import torch
from jaxtyping import Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric
from metrics.calibration import CURVE_TERMS, Calibration
from metrics.components.pooling import pooled_mean
from metrics.uncertainty import ERROR_CORRELATION, Uncertainty, floored, mahalanobis_squared, residuals

SHARED = 4.0
"""How many cases the common temperature of all landmarks counts for in that of each."""


def temperatures(cases: Cases) -> Float[Tensor, " landmark"]:
    """Fit the factor of each landmark's covariance with which the truth is most likely under the Gaussian.

    For n cases that is the mean of d^2 / 2, d being the Mahalanobis distance: temperature scaling (Guo et al., On
    Calibration of Modern Neural Networks, ICML 2017, Sec. 4.2) for a covariance. Few cases say little of one landmark,
    so the mean over all landmarks counts as `SHARED` further cases.

    Args:
        cases: Predictions and truth of cases that the method was not trained on.

    Returns:
        Factors of the covariances, float64; NaN for all where no landmark that counts has a covariance.
    """
    half = mahalanobis_squared(*residuals(cases, "px")) / 2
    count = half.isnan().logical_not().sum(0)
    return (half.nansum(0) + SHARED * half.nanmean()) / (count + SHARED)


class Temperature(LandmarkMetric):
    """Coverage, calibration error, likelihood and sharpness of covariances that are calibrated on validation cases.

    The same as `Calibration` and `Uncertainty` after each landmark's covariance is multiplied by its temperature, see
    `temperatures`. Where the budget says `calibrate`, these are cases that did not choose the checkpoint; otherwise
    they did, and the temperatures are a little too small.
    """

    title = "Calibrated covariance"
    requires = frozenset({"covariance", "validation"})

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Scale the covariances and give the terms of both metrics side by side.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            The columns of `Calibration`, then each landmark's likelihood and total variance.
        """
        covariance = floored(cases.covariance.double()) * cases.temperature.double()[..., None, None]
        scaled = cases._replace(covariance=covariance)
        likelihood, variance, _ = self._uncertainty.terms(scaled).chunk(3, dim=-1)
        return torch.cat([self._calibration.terms(scaled), likelihood, variance], dim=-1)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Summarise both.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            What `Calibration` and `Uncertainty` return, `_calibrated` behind each name, but for the correlation, which
            calibration is not about.
        """
        likelihood, variance = terms[..., CURVE_TERMS:].chunk(2, dim=-1)
        found = self._calibration.reduce(terms[..., :CURVE_TERMS], counts)
        found |= {"nll": pooled_mean(likelihood, counts), "sharpness": pooled_mean(variance, counts).sqrt()}
        return {f"{name}_calibrated": value for name, value in found.items()}

    def columns(self) -> dict[str, Column]:
        """Describe them.

        Returns:
            Column name to its description.
        """
        found = self._calibration.columns() | self._uncertainty.columns()
        return {
            f"{name}_calibrated": column._replace(title=f"{column.title}, calibrated")
            for name, column in found.items()
            if name != ERROR_CORRELATION
        }

    @property
    def _calibration(self) -> Calibration:
        return Calibration(self.anatomy)

    @property
    def _uncertainty(self) -> Uncertainty:
        return Uncertainty(self.anatomy)
