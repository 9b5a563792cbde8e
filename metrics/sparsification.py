"""Whether leaving out the least certain landmarks leaves out the worst: the sparsification error."""

import torch
from jaxtyping import Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric
from metrics.uncertainty import residuals


def sparsification_curve(
    errors: Float[Tensor, "*resample value"], order_by: Float[Tensor, "*resample value"]
) -> Float[Tensor, "*resample value"]:
    """Give the mean of the remaining errors after the 0, 1, 2 ... landmarks with the largest `order_by` are left out.

    Landmarks that are equally uncertain are left out in random order: each counts with their mean error.

    Args:
        errors: Errors; NaN is left out.
        order_by: Uncertainties, or the errors themselves for the oracle; NaN where the error is.

    Returns:
        Mean errors, as many as there are values; NaN behind the last one.

    Example:
        >>> errors = torch.tensor([1.0, 4.0, 1.0])
        >>> sparsification_curve(errors, order_by=torch.tensor([0.1, 0.9, 0.2]))
        tensor([2., 1., 1.])
        >>> sparsification_curve(errors, order_by=torch.ones(3))
        tensor([2., 2., 2.])
    """
    keys, order = order_by.masked_fill(errors.isnan(), -torch.inf).sort(-1, descending=True)
    ordered = _mean_of_equals(errors.gather(-1, order).nan_to_num(0), keys)
    count = errors.isnan().logical_not().sum(-1, keepdim=True)
    left = count - torch.arange(errors.shape[-1], device=errors.device)
    remaining = ordered.flip(-1).cumsum(-1).flip(-1)
    return (remaining / left).masked_fill(left <= 0, torch.nan)


def sparsification_error(
    errors: Float[Tensor, "*resample value"], uncertainties: Float[Tensor, "*resample value"]
) -> Float[Tensor, "*resample"]:
    """Give the area between the sparsification curve and the oracle's, divided by the mean error (AUSE).

    Args:
        errors: Errors; NaN is left out.
        uncertainties: Of the same landmarks, in any unit, since only their order matters.

    Returns:
        0 if the uncertainties order the errors perfectly; NaN where there is no error at all.

    Example:
        >>> errors = torch.tensor([1.0, 2.0, 3.0])
        >>> sparsification_error(errors, 10 * errors), sparsification_error(errors, -errors)
        (tensor(0.), tensor(0.5000))
    """
    curve, oracle = sparsification_curve(errors, uncertainties), sparsification_curve(errors, errors)
    return (curve - oracle).nanmean(-1) / errors.nanmean(-1)


class Sparsification(LandmarkMetric):
    """Area under the sparsification error of the radial error against the predicted total variance.

    Source: Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow, ECCV 2018, Sec. 5, there
    normalised in the same way. Every number of landmarks is left out once, so no grid has to be chosen.
    """

    title = "Sparsification"
    requires = frozenset({"covariance"})

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give each landmark's radial error and total variance.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            K errors, then K variances, in the dataset's unit; NaN where missing.
        """
        difference, covariance = residuals(cases, self.anatomy.unit)
        error: Tensor = torch.linalg.vector_norm(difference, dim=-1)
        return torch.cat([error, covariance.diagonal(dim1=-2, dim2=-1).sum(-1)], dim=-1)

    def reduce(self, terms: Float[Tensor, "*resample case term"]) -> dict[str, Float[Tensor, "*resample"]]:
        """Sort the landmarks of all cases.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.

        Returns:
            `ause`, a fraction of the mean error.
        """
        error, variance = (part.flatten(-2) for part in terms.chunk(2, dim=-1))
        return {"ause": sparsification_error(error, variance)}

    def columns(self) -> dict[str, Column]:
        """Describe the area.

        Returns:
            Column name to its description.
        """
        return {"ause": Column("AUSE", "", False)}


def _mean_of_equals(
    values: Float[Tensor, "*resample value"], keys: Float[Tensor, "*resample value"]
) -> Float[Tensor, "*resample value"]:
    """Replace each value by the mean of those with the same key; equal keys are adjacent."""
    new = torch.cat([torch.zeros_like(keys[..., :1], dtype=torch.bool), keys[..., 1:] != keys[..., :-1]], dim=-1)
    group = new.cumsum(-1)
    sums = torch.zeros_like(values).scatter_add(-1, group, values)
    counts = torch.zeros_like(values).scatter_add(-1, group, torch.ones_like(values))
    return (sums / counts).gather(-1, group)
