"""Success detection rate: the share of landmarks found within a radius."""

from jaxtyping import Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric, present
from metrics.components.pooling import pooled_percentage
from metrics.radial_error import radial_error

ROUNDING = 1e-9
"""Relative: labels in whole pixels put many errors exactly on a radius, where the last bit must not decide."""


def success_detection_rate(
    errors: Float[Tensor, "*batch case landmark"], radius: float, counts: Float[Tensor, "draw case"] | None = None
) -> Float[Tensor, "..."]:
    """Give the percentage of landmarks whose radial error is no greater than a radius.

    Args:
        errors: Radial errors in any unit; NaN where not applicable.
        radius: Radius in the same unit; an error equal to it counts as a success.
        counts: How often each draw has each case; every case once if None.

    Returns:
        Percentage in 0..100 over all errors that are not NaN; NaN where there is none.

    Example:
        >>> import torch
        >>> success_detection_rate(torch.tensor([[0.5, 2.0], [3.0, float("nan")]]), radius=2.0)
        tensor(66.6667, dtype=torch.float64)
    """
    return pooled_percentage(errors <= radius * (1 + ROUNDING), ~errors.isnan(), counts)


class SuccessDetectionRate(LandmarkMetric):
    """Share of all present landmarks of all cases that lie within the dataset's radii, in the dataset's unit.

    Source: ISBI 2015 challenge (2, 2.5, 3 and 4 mm); Ao and Wu, FARNet, Tables 3 and 4.
    """

    title = "Success detection rate"
    requires = frozenset({"radii"})

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give the radial errors of each case in the dataset's unit.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            K columns; NaN where missing, or where the unit is mm and the spacing is unknown.
        """
        spacing = cases.spacing if self.anatomy.unit == "mm" else None
        return radial_error(cases.points, cases.target, present(cases), spacing)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Count the successes at each radius.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            One percentage per radius, such as `sdr_2.5mm`.
        """
        return {self._name(radius): success_detection_rate(terms, radius, counts) for radius in self.anatomy.radii}

    def columns(self) -> dict[str, Column]:
        """Describe one column per radius.

        Returns:
            Column name to its description.
        """
        unit = self.anatomy.unit
        return {self._name(radius): Column(f"SDR {radius:g} {unit}", "%", True) for radius in self.anatomy.radii}

    def _name(self, radius: float) -> str:
        return f"sdr_{radius:g}{self.anatomy.unit}"
