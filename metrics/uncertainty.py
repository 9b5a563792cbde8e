"""What a predicted covariance is worth: its likelihood and sharpness, and whether it ranks the errors."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric, pooled_mean, present

SMALLEST = 1e-4
"""Square pixels. A smaller variance is raised to this one: nobody knows a landmark to a hundredth of a pixel, and a
variance of 0 would make one landmark's likelihood decide the mean."""


def mahalanobis_squared(
    difference: Float[Tensor, "*case landmark 2"], covariance: Float[Tensor, "*case landmark 2 2"]
) -> Float[Tensor, "*case landmark"]:
    """Give d^2 = e^T C^-1 e, which is chi-square distributed with two degrees of freedom if C is right.

    Args:
        difference: Prediction minus truth.
        covariance: Positive definite, in the square of the same unit.

    Returns:
        Squared distances; NaN where an input is NaN.

    Example:
        >>> covariance = torch.tensor([[[4.0, 0.0], [0.0, 1.0]]])
        >>> mahalanobis_squared(torch.tensor([[2.0, 3.0]]), covariance)
        tensor([10.])
    """
    x, y = difference.unbind(-1)
    xx, xy, yy = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    return (yy * x * x - 2 * xy * x * y + xx * y * y) / determinant(covariance)


def determinant(covariance: Float[Tensor, "*case 2 2"]) -> Float[Tensor, "*case"]:
    """Give the determinant of symmetric 2 x 2 matrices; a region's area is in proportion to its root.

    Args:
        covariance: Symmetric.

    Returns:
        Determinants; NaN where an entry is.

    Example:
        >>> determinant(torch.tensor([[4.0, 1.0], [1.0, 2.0]]))
        tensor(7.)
    """
    return covariance[..., 0, 0] * covariance[..., 1, 1] - covariance[..., 0, 1].square()


def floored(covariance: Float[Tensor, "*case 2 2"], smallest: float = SMALLEST) -> Float[Tensor, "*case 2 2"]:
    """Raise both eigenvalues by as much as brings the smaller one to a floor.

    Args:
        covariance: Symmetric.
        smallest: The floor, in the covariance's unit.

    Returns:
        A positive definite covariance; the same one where nothing had to be raised.

    Example:
        >>> floored(torch.diag(torch.tensor([2.0, 0.0])), smallest=0.5)
        tensor([[2.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    middle = (covariance[..., 0, 0] + covariance[..., 1, 1]) / 2
    half = (covariance[..., 0, 0] - covariance[..., 1, 1]) / 2
    least = middle - torch.hypot(half, covariance[..., 0, 1])
    lift = (smallest - least).clamp(min=0)
    return covariance + lift[..., None, None] * torch.eye(2, dtype=covariance.dtype, device=covariance.device)


def residuals(
    cases: Cases, unit: Literal["mm", "px"]
) -> tuple[Float[Tensor, "case landmark 2"], Float[Tensor, "case landmark 2 2"]]:
    """Give errors and covariances of the landmarks that count.

    Args:
        cases: Predictions and truth in original pixels.
        unit: Whether to convert both by the film's spacing.

    Returns:
        Prediction minus truth, and the floored covariance, in float64; NaN where the truth is missing.
    """
    scale = cases.spacing.double() if unit == "mm" else torch.ones_like(cases.spacing, dtype=torch.float64)
    hidden = ~present(cases)[..., None]
    difference = (cases.points - cases.target).double() * scale[:, None]
    covariance = floored(cases.covariance.double()) * scale[:, None, :, None] * scale[:, None, None, :]
    return difference.masked_fill(hidden, torch.nan), covariance.masked_fill(hidden[..., None], torch.nan)


def gaussian_nll(
    difference: Float[Tensor, "*case landmark 2"], covariance: Float[Tensor, "*case landmark 2 2"]
) -> Float[Tensor, "*case landmark"]:
    """Give the negative log-likelihood of the truth under the predicted Gaussian, in nats.

    If the covariance is right, its expectation is 1 + ln(2 pi) + ln(det C) / 2.

    Args:
        difference: Prediction minus truth.
        covariance: Positive definite, in the square of the same unit, on which the result depends.

    Returns:
        One value per landmark; NaN where an input is NaN.

    Example:
        >>> gaussian_nll(torch.zeros(1, 2), torch.eye(2)[None])
        tensor([1.8379])
    """
    half_log_det = determinant(covariance).log() / 2
    return mahalanobis_squared(difference, covariance) / 2 + half_log_det + math.log(2 * math.pi)


def ranks(values: Float[Tensor, "*resample value"]) -> Float[Tensor, "*resample value"]:
    """Rank from 1, equal values sharing their mean rank.

    Args:
        values: Any numbers; NaN is left out.

    Returns:
        Ranks; NaN where the value is.

    Example:
        >>> ranks(torch.tensor([5.0, 2.0, float("nan"), 5.0]))
        tensor([2.5000, 1.0000,    nan, 2.5000], dtype=torch.float64)
    """
    filled = values.masked_fill(values.isnan(), torch.inf).contiguous()
    ordered = filled.sort(-1).values
    first, last = (torch.searchsorted(ordered, filled, right=right) for right in (False, True))
    return ((first + last + 1).double() / 2).masked_fill(values.isnan(), torch.nan)


def rank_correlation(
    first: Float[Tensor, "*resample value"], second: Float[Tensor, "*resample value"]
) -> Float[Tensor, "*resample"]:
    """Give Spearman's correlation of pairs.

    Args:
        first: Any numbers.
        second: As many; NaN where `first` is NaN.

    Returns:
        Correlation in -1..1; NaN where one of them does not vary.

    Example:
        >>> rank_correlation(torch.tensor([1.0, 2.0, 30.0]), torch.tensor([0.1, 0.2, 0.3]))
        tensor(1., dtype=torch.float64)
    """
    x, y = (values - values.nanmean(-1, keepdim=True) for values in (ranks(first), ranks(second)))
    return (x * y).nansum(-1) / ((x * x).nansum(-1) * (y * y).nansum(-1)).sqrt()


class Uncertainty(LandmarkMetric):
    """Likelihood, sharpness and error-uncertainty correlation of a method that gives a covariance.

    Sharpness is the root of the mean total variance, comparable to a root mean squared radial error; smaller is better
    only for a method that is calibrated. The correlation is Spearman's between each landmark's radial error and its
    sigma_p = sqrt(var_x + var_y) (Upadhyay et al., BayeRegX, Eq. 17). Errors and covariances are taken in the dataset's
    unit, on which the likelihood depends.
    """

    title = "Uncertainty"
    requires = frozenset({"covariance"})

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give each landmark's likelihood, total variance and error.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            K negative log-likelihoods, K variances and K radial errors; NaN where missing.
        """
        difference, covariance = residuals(cases, self.anatomy.unit)
        variance = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
        error: Tensor = torch.linalg.vector_norm(difference, dim=-1)
        return torch.cat([gaussian_nll(difference, covariance), variance, error], dim=-1)

    def reduce(self, terms: Float[Tensor, "*resample case term"]) -> dict[str, Float[Tensor, "*resample"]]:
        """Pool the landmarks of all cases.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.

        Returns:
            `nll` in nats, `sharpness` in the dataset's unit, `error_correlation` in -1..1.
        """
        likelihood, variance, error = terms.chunk(3, dim=-1)
        return {
            "nll": pooled_mean(likelihood),
            "sharpness": pooled_mean(variance).sqrt(),
            "error_correlation": rank_correlation(error.flatten(-2), variance.flatten(-2)),
        }

    def columns(self) -> dict[str, Column]:
        """Describe likelihood, sharpness and correlation.

        Returns:
            Column name to its description.
        """
        return {
            "nll": Column(f"NLL ({self.anatomy.unit})", "", False),
            "sharpness": Column("Sharpness", self.anatomy.unit, None),
            "error_correlation": Column("Error-uncertainty correlation", "", True),
        }
