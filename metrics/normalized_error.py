"""Normalised mean error, failure rate, and the cumulative error distribution with its area."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric, pooled_mean, pooled_percentage, present
from metrics.radial_error import radial_error

FAILURE_LIMITS = {"fr_08": 0.08, "fr_10": 0.10}
AUC_LIMIT = 0.10


def normalized_mean_error(
    points: Float[Tensor, "case landmark 2"],
    target: Float[Tensor, "case landmark 2"],
    visible: Bool[Tensor, "case landmark"],
    normalizer: tuple[int, int],
) -> Float[Tensor, " case"]:
    """Average each case's radial errors and divide by the true distance of two landmarks (Fard et al., Eq. 18).

    Args:
        points: Predicted (x, y) in original pixels.
        target: True (x, y) in original pixels.
        visible: False where the truth is missing; such points do not count.
        normalizer: Indices of the two landmarks whose true distance is d.

    Returns:
        NME as a fraction, one per case; NaN where a landmark of the normaliser is missing or d is 0.

    Example:
        >>> target = torch.tensor([[[0.0, 0.0], [0.0, 50.0]]])
        >>> normalized_mean_error(target + 3.0, target, torch.ones(1, 2, dtype=torch.bool), (0, 1))
        tensor([0.0849])
    """
    first, second = normalizer
    distance: Tensor = torch.linalg.vector_norm(target[:, first] - target[:, second], dim=-1)
    known = visible[:, first] & visible[:, second] & (distance > 0)
    return (radial_error(points, target, visible).nanmean(-1) / distance).masked_fill(~known, torch.nan)


def ced_curve(
    nme: Float[Tensor, "*resample case"], thresholds: Float[Tensor, " threshold"]
) -> Float[Tensor, "*resample threshold"]:
    """Give the cumulative error distribution: the share of cases whose NME is no greater than each threshold.

    Args:
        nme: NME of each case as a fraction; NaN where not applicable.
        thresholds: NME thresholds as fractions.

    Returns:
        Shares in 0..1 of the applicable cases; NaN where there is none.

    Example:
        >>> ced_curve(torch.tensor([0.02, 0.05, 0.2, float("nan")]), torch.tensor([0.01, 0.05, 0.1]))
        tensor([0.0000, 0.6667, 0.6667])
    """
    reached = (nme[..., None, :] <= thresholds[:, None]).sum(-1)
    return reached.to(nme.dtype) / nme.isnan().logical_not().sum(-1, keepdim=True)


def ced_area(nme: Float[Tensor, "*resample case"], limit: float = AUC_LIMIT) -> Float[Tensor, "*resample"]:
    """Integrate the CED curve from 0 to a limit and divide by the limit, so that 1 is perfect.

    The integral is exact: a case of error e contributes the stretch from e to the limit.

    Args:
        nme: NME of each case as a fraction; NaN where not applicable.
        limit: Upper end of the integral, as a fraction.

    Returns:
        Area in 0..1; NaN where no case applies.

    Example:
        >>> ced_area(torch.tensor([0.0, 0.05, 0.2, float("nan")]))
        tensor(0.5000)
    """
    return (1 - nme / limit).clamp(min=0).nanmean(-1)


class NormalizedError(LandmarkMetric):
    """NME, failure rates at .08 and .10, and the area under the CED curve.

    Source: Fard et al., Sagittal Cervical Spine Landmark Point Detection, 2022, Sec. IV-C, Tables 5 and 7.

    Its Eq. 18 prints one d for the whole set; here d is taken per case, as its aim of not depending on the size of the
    image requires. A case counts as failed if its NME exceeds the limit. The paper prints no upper limit for the area;
    .10 is used, the larger of its two failure limits, so that `auc` and `fr_10` share one curve. Its printed areas may
    rest on another limit: with .10, its Table 5 would need failed cases of an NME near 1 (PoseNet, LC).
    """

    title = "Normalised mean error"
    requires = frozenset({"normalizer"})

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give the NME of each case.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            One column, a fraction; NaN where the normaliser is missing.
        """
        assert self.anatomy.normalizer is not None  # `unsupported` saw to it
        return normalized_mean_error(cases.points, cases.target, present(cases), self.anatomy.normalizer)[:, None]

    def reduce(self, terms: Float[Tensor, "*resample case term"]) -> dict[str, Float[Tensor, "*resample"]]:
        """Summarise the cases' NME.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.

        Returns:
            `nme`, `fr_08` and `fr_10` in %, `auc` in 0..1.
        """
        known = ~terms.isnan()
        failures = {name: pooled_percentage(terms > limit, known) for name, limit in FAILURE_LIMITS.items()}
        return {"nme": 100 * pooled_mean(terms), **failures, "auc": ced_area(terms[..., 0])}

    def columns(self) -> dict[str, Column]:
        """Describe NME, failure rates and area.

        Returns:
            Column name to its description.
        """
        failures = {name: Column(f"FR {limit:.2f}", "%", False) for name, limit in FAILURE_LIMITS.items()}
        return {"nme": Column("NME", "%", False), **failures, "auc": Column(f"AUC {AUC_LIMIT:.2f}", "", True)}
