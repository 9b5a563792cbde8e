"""Radial error: the distance between predicted and true landmark, in pixels and millimetres."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric, present
from metrics.components.pooling import pooled_mean, pooled_median, pooled_sd


def radial_error(
    points: Float[Tensor, "case landmark 2"],
    target: Float[Tensor, "case landmark 2"],
    visible: Bool[Tensor, "case landmark"],
    spacing: Float[Tensor, "case 2"] | None = None,
) -> Float[Tensor, "case landmark"]:
    """Measure the Euclidean distance between predicted and true landmarks.

    Args:
        points: Predicted (x, y) in original pixels.
        target: True (x, y) in original pixels.
        visible: False where the truth is missing.
        spacing: Millimetres per pixel along x and y, which may differ; None for a result in pixels.

    Returns:
        Distances in pixels, or in millimetres if `spacing` is given; NaN where the truth or the spacing is missing.

    Example:
        >>> points, target = torch.tensor([[[3.0, 4.0]]]), torch.zeros(1, 1, 2)
        >>> radial_error(points, target, torch.tensor([[True]]))
        tensor([[5.]])
        >>> radial_error(points, target, torch.tensor([[True]]), spacing=torch.tensor([[2.0, 0.5]]))
        tensor([[6.3246]])
    """
    difference = points - target
    if spacing is not None:
        difference = difference * spacing[:, None]
    distance: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return distance.masked_fill(~visible, torch.nan)


class RadialError(LandmarkMetric):
    """Mean, standard deviation and median of the radial error over all present landmarks of all cases, pooled.

    The standard deviation is the "+-" that the papers print: the spread of all pooled errors (division by n), neither
    the spread of per-case means nor a standard error. Millimetres appear only where the dataset's unit is mm.
    """

    title = "Radial error"

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give the radial errors of each case in px, followed by those in mm where the dataset's unit is mm.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            K columns in pixels, then K in millimetres if the unit is mm; NaN where missing.
        """
        counted = present(cases)
        pixels = radial_error(cases.points, cases.target, counted)
        if self.anatomy.unit == "px":
            return pixels
        return torch.cat([pixels, radial_error(cases.points, cases.target, counted, cases.spacing)], dim=-1)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Pool the radial errors.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `mre_px, sd_px, median_px` and, where the unit is mm, `mre_mm, sd_mm, median_mm`.
        """
        summary = {}
        for unit, errors in zip(self._units, terms.chunk(len(self._units), dim=-1), strict=True):
            summary[f"mre_{unit}"] = pooled_mean(errors, counts)
            summary[f"sd_{unit}"] = pooled_sd(errors, counts)
            summary[f"median_{unit}"] = pooled_median(errors, counts)
        return summary

    def columns(self) -> dict[str, Column]:
        """Describe mean, sd and median per unit.

        Returns:
            Column name to its description.
        """
        titles = {"mre": "MRE", "sd": "SD", "median": "Median"}
        return {f"{key}_{unit}": Column(title, unit, False) for unit in self._units for key, title in titles.items()}

    @property
    def _units(self) -> tuple[str, ...]:
        return ("px", "mm") if self.anatomy.unit == "mm" else ("px",)
