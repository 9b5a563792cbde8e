"""Share of cases whose mean radial error lies under a limit in millimetres."""

from jaxtyping import Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric, present
from metrics.components.pooling import pooled_percentage
from metrics.radial_error import radial_error

LIMITS = (1.5, 2.0)
"""Millimetres, from Upadhyay et al., Sec. 4."""


def share_within(
    case_errors: Float[Tensor, "*batch case"], limit: float, counts: Float[Tensor, "draw case"] | None = None
) -> Float[Tensor, "..."]:
    """Give the percentage of cases whose mean error is less than a limit.

    Args:
        case_errors: Mean error of each case; NaN where not applicable.
        limit: The limit in the same unit; an error equal to it does not count.
        counts: How often each draw has each case; every case once if None.

    Returns:
        Percentage in 0..100 of the applicable cases; NaN where there is none.

    Example:
        >>> import torch
        >>> share_within(torch.tensor([0.5, 2.0, 1.9, float("nan")]), limit=2.0)
        tensor(66.6667, dtype=torch.float64)
    """
    return pooled_percentage((case_errors < limit)[..., None], ~case_errors.isnan()[..., None], counts)


class ShareWithin(LandmarkMetric):
    """Share of cases with a mean radial error under 1.5 and 2 mm.

    Source: Upadhyay et al., BayeRegX, 2020, Sec. 4 ("94.7 % of scans have average euclidean error less than 2mm"). A
    case is what the dataset calls one: there, the crop of a vertebra.
    """

    title = "Share of cases within"
    requires = frozenset({"spacing"})

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give the mean radial error of each case.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            One column in millimetres; NaN where no landmark is visible or the spacing is unknown.
        """
        return radial_error(cases.points, cases.target, present(cases), cases.spacing).nanmean(-1, keepdim=True)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Count the cases under each limit.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `within_1.5mm` and `within_2mm` in %.
        """
        return {_name(limit): share_within(terms[..., 0], limit, counts) for limit in LIMITS}

    def columns(self) -> dict[str, Column]:
        """Describe one column per limit.

        Returns:
            Column name to its description.
        """
        return {_name(limit): Column(f"Cases under {limit:g} mm", "%", True) for limit in LIMITS}


def _name(limit: float) -> str:
    return f"within_{limit:g}mm"
