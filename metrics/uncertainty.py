"""What a predicted covariance is worth: its likelihood and sharpness, and whether it ranks the errors."""

import math
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric, present
from metrics.components.pooling import by_values, pooled_mean

SMALLEST = 1e-4
"""Square pixels. A smaller variance is raised to this one: nobody knows a landmark to a hundredth of a pixel, and a
variance of 0 would make one landmark's likelihood decide the mean."""
ERROR_CORRELATION = "error_correlation"


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


def ranks(
    values: Float[Tensor, "*batch value"], counts: Float[Tensor, "draw value"] | None = None
) -> Float[Tensor, "*batch value"] | Float[Tensor, "*batch draw value"]:
    """Rank from 1, equal values sharing their mean rank.

    Args:
        values: Any numbers; NaN is left out.
        counts: How often each draw has each value; every value once, without the dimension of draws, if None.

    Returns:
        Ranks; NaN where the value is.

    Example:
        >>> ranks(torch.tensor([5.0, 2.0, float("nan"), 5.0]))
        tensor([2.5000, 1.0000,    nan, 2.5000], dtype=torch.float64)
    """
    filled = values.masked_fill(values.isnan(), torch.inf).contiguous()
    ordered = filled.sort(-1).values
    first, last = (torch.searchsorted(ordered, filled, right=right) for right in (False, True))
    missing = values.isnan()
    if counts is None:
        return ((first + last + 1).double() / 2).masked_fill(missing, torch.nan)
    drawn = counts.double().masked_fill(missing[..., None, :], 0)
    up_to = torch.take_along_dim(drawn, filled.argsort(-1)[..., None, :], dim=-1).cumsum(-1)
    up_to = torch.nn.functional.pad(up_to, (1, 0))
    below, with_equals = (torch.take_along_dim(up_to, place[..., None, :], dim=-1) for place in (first, last))
    return ((below + with_equals + 1) / 2).masked_fill(missing[..., None, :], torch.nan)


def rank_correlation(
    first: Float[Tensor, "*batch value"],
    second: Float[Tensor, "*batch value"],
    counts: Float[Tensor, "draw value"] | None = None,
) -> Float[Tensor, "*batch"] | Float[Tensor, "*batch draw"]:
    """Give Spearman's correlation of pairs.

    Args:
        first: Any numbers.
        second: As many; NaN where `first` is NaN.
        counts: How often each draw has each value; every value once, without the dimension of draws, if None.

    Returns:
        Correlation in -1..1; NaN where one of them does not vary.

    Example:
        >>> rank_correlation(torch.tensor([1.0, 2.0, 30.0]), torch.tensor([0.1, 0.2, 0.3]))
        tensor(1., dtype=torch.float64)
    """
    one, other = (ranks(values, counts) for values in (first, second))
    weights = torch.ones_like(one) if counts is None else counts.double().expand_as(one)
    weights = weights.masked_fill(one.isnan(), 0)
    mean = (one * weights).nansum(-1, keepdim=True) / weights.sum(-1, keepdim=True)  # the same of both
    x, y = one - mean, other - mean
    return (weights * x * y).nansum(-1) / ((weights * x * x).nansum(-1) * (weights * y * y).nansum(-1)).sqrt()


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

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Pool the landmarks of all cases.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `nll` in nats, `sharpness` in the dataset's unit, `error_correlation` in -1..1.
        """
        likelihood, variance, error = terms.chunk(3, dim=-1)
        correlate = partial(rank_correlation, error.flatten(-2), variance.flatten(-2))
        return {
            "nll": pooled_mean(likelihood, counts),
            "sharpness": pooled_mean(variance, counts).sqrt(),
            ERROR_CORRELATION: correlate() if counts is None else by_values(correlate, error, counts),
        }

    def columns(self) -> dict[str, Column]:
        """Describe likelihood, sharpness and correlation.

        Returns:
            Column name to its description.
        """
        return {
            "nll": Column(f"NLL ({self.anatomy.unit})", "", False),
            "sharpness": Column("Sharpness", self.anatomy.unit, None),
            ERROR_CORRELATION: Column("Error-uncertainty correlation", "", True),
        }
