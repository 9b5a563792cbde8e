"""Normalised mean error, failure rate, and the cumulative error distribution with its area."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric, present
from metrics.components.pooling import pooled_mean, pooled_percentage
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
    return radial_error(points, target, visible).nanmean(-1) / normalizing_distance(target, visible, normalizer)


def normalizing_distance(
    target: Float[Tensor, "case landmark 2"], visible: Bool[Tensor, "case landmark"], normalizer: tuple[int, int]
) -> Float[Tensor, " case"]:
    """Measure the true distance of two landmarks in each case.

    Args:
        target: True (x, y) in original pixels.
        visible: False where the truth is missing.
        normalizer: Indices of the two landmarks.

    Returns:
        Pixels; NaN where one of them is missing or both are in one place.

    Example:
        >>> target = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]])
        >>> normalizing_distance(target, torch.ones(1, 2, dtype=torch.bool), (0, 1))
        tensor([5.])
    """
    first, second = normalizer
    distance: Tensor = torch.linalg.vector_norm(target[:, first] - target[:, second], dim=-1)
    return distance.masked_fill(~(visible[:, first] & visible[:, second] & (distance > 0)), torch.nan)


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


def ced_area(
    nme: Float[Tensor, "*batch case"], limit: float = AUC_LIMIT, counts: Float[Tensor, "draw case"] | None = None
) -> Float[Tensor, "..."]:
    """Integrate the CED curve from 0 to a limit and divide by the limit, so that 1 is perfect.

    The integral is exact: a case of error e contributes the stretch from e to the limit.

    Args:
        nme: NME of each case as a fraction; NaN where not applicable.
        limit: Upper end of the integral, as a fraction.
        counts: How often each draw has each case; every case once if None.

    Returns:
        Area in 0..1; NaN where no case applies.

    Example:
        >>> ced_area(torch.tensor([0.0, 0.05, 0.2, float("nan")]))
        tensor(0.5000)
    """
    return pooled_mean((1 - nme / limit).clamp(min=0)[..., None], counts)


class NormalizedError(LandmarkMetric):
    """NME, failure rates at .08 and .10, the area under the CED curve, and the NME of each vertebra.

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
            Fractions, first of all landmarks, then of each vertebra's; NaN where the normaliser or all of these are
            missing.
        """
        assert self.anatomy.normalizer is not None  # `unsupported` saw to it
        distance = normalizing_distance(cases.target, present(cases), self.anatomy.normalizer)
        errors = radial_error(cases.points, cases.target, present(cases))
        every = range(errors.shape[-1])
        means = [errors[:, list(members)].nanmean(-1) for members in (every, *self.anatomy.groups.values())]
        return torch.stack(means, dim=-1) / distance[:, None]

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Summarise the cases' NME.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `nme`, `fr_08` and `fr_10` in %, `auc` in 0..1, and `nme_<vertebra>` in %.
        """
        nme, *parts = torch.split(terms, 1, dim=-1)
        failures = {
            name: pooled_percentage(nme > limit, ~nme.isnan(), counts) for name, limit in FAILURE_LIMITS.items()
        }
        vertebrae = {
            f"nme_{name}": 100 * pooled_mean(p, counts) for name, p in zip(self.anatomy.groups, parts, strict=True)
        }
        return {
            "nme": 100 * pooled_mean(nme, counts),
            **failures,
            "auc": ced_area(nme[..., 0], counts=counts),
            **vertebrae,
        }

    def columns(self) -> dict[str, Column]:
        """Describe NME, failure rates, area and the NME of each vertebra.

        Returns:
            Column name to its description.
        """
        failures = {name: Column(f"FR {limit:.2f}", "%", False) for name, limit in FAILURE_LIMITS.items()}
        vertebrae = {f"nme_{name}": Column(f"NME: {name}", "%", False) for name in self.anatomy.groups}
        area = Column(f"AUC {AUC_LIMIT:.2f}", "", True)
        return {"nme": Column("NME", "%", False), **failures, "auc": area, **vertebrae}
