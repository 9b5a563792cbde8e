"""Whether leaving out the least certain landmarks leaves out the worst: the sparsification error."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric
from metrics.components.pooling import by_values
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
    ordered = _mean_of_equals(errors.gather(-1, order).nan_to_num(0), keys, torch.ones_like(errors))
    count = errors.isnan().logical_not().sum(-1, keepdim=True)
    left = count - torch.arange(errors.shape[-1], device=errors.device)
    remaining = ordered.flip(-1).cumsum(-1).flip(-1)
    return (remaining / left).masked_fill(left <= 0, torch.nan)


def sparsification_error(
    errors: Float[Tensor, "*batch value"],
    uncertainties: Float[Tensor, "*batch value"],
    counts: Float[Tensor, "draw value"] | None = None,
) -> Float[Tensor, "*batch"] | Float[Tensor, "*batch draw"]:
    """Give the area between the sparsification curve and the oracle's, divided by the mean error (AUSE).

    Args:
        errors: Errors; NaN is left out.
        uncertainties: Of the same landmarks, in any unit, since only their order matters.
        counts: How often each draw has each landmark; every one once, without the dimension of draws, if None.

    Returns:
        0 if the uncertainties order the errors perfectly; NaN where there is no error at all.

    Example:
        >>> errors = torch.tensor([1.0, 2.0, 3.0])
        >>> sparsification_error(errors, 10 * errors), sparsification_error(errors, -errors)
        (tensor(0.), tensor(0.5000))
    """
    if counts is not None:
        excess = _drawn_area(errors, uncertainties, counts) - _drawn_area(errors, errors, counts)
        return excess / (counts * errors[..., None, :].nan_to_num(0)).sum(-1)
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

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Sort the landmarks of all cases.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `ause`, a fraction of the mean error.
        """
        error, variance = terms.chunk(2, dim=-1)
        area = partial(sparsification_error, error.flatten(-2), variance.flatten(-2))
        return {"ause": area() if counts is None else by_values(area, error, counts)}

    def columns(self) -> dict[str, Column]:
        """Describe the area.

        Returns:
            Column name to its description.
        """
        return {"ause": Column("AUSE", "", False)}


def _drawn_area(
    errors: Float[Tensor, "*batch value"],
    order_by: Float[Tensor, "*batch value"],
    counts: Float[Tensor, "draw value"],
) -> Float[Tensor, "*batch draw"]:
    """Add up a draw's sparsification curve, without its repeated values.

    Let n equal values m be left out one by one while others of sum S and number L stay. The means of what is left,
    (S + i m) / (L + i) for i = n ... 1, add up to n m + (S - m L) (H(L + n) - H(L)) with the harmonic numbers H.
    """
    keys, order = order_by.masked_fill(errors.isnan(), -torch.inf).sort(-1, descending=True)
    counted = counts.to(errors.dtype).masked_fill(errors.isnan()[..., None, :], 0)
    times = torch.take_along_dim(counted, order[..., None, :], dim=-1)
    ordered = errors.gather(-1, order).nan_to_num(0)[..., None, :].expand_as(times)
    means = _mean_of_equals(ordered, keys[..., None, :].expand_as(times), times)
    left, total = (part.flip(-1).cumsum(-1).flip(-1) - part for part in (times, times * means))
    steps = torch.arange(1, int(times.sum(-1).max()) + 1, dtype=errors.dtype, device=errors.device)
    harmonic = torch.nn.functional.pad((1 / steps).cumsum(-1), (1, 0))
    grown = harmonic[(left + times).long()] - harmonic[left.long()]
    return (times * means + (total - means * left) * grown).sum(-1)


def _mean_of_equals(
    values: Float[Tensor, "*batch value"], keys: Float[Tensor, "*batch value"], times: Float[Tensor, "*batch value"]
) -> Float[Tensor, "*batch value"]:
    """Replace each value, which is there so many times, by the mean of those with the same key, its neighbours."""
    new = torch.cat([torch.zeros_like(keys[..., :1], dtype=torch.bool), keys[..., 1:] != keys[..., :-1]], dim=-1)
    group = new.cumsum(-1)
    sums = torch.zeros_like(values).scatter_add(-1, group, values * times)
    counts = torch.zeros_like(values).scatter_add(-1, group, times)
    return (sums / counts.clamp(min=1)).gather(-1, group)
