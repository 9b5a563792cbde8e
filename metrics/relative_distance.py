"""Distance of the corners relative to the size of their vertebra, and the vertebrae that were missed."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrics.base import Anatomy, Cases, Column, LandmarkMetric, present
from metrics.centre_distance import crop_outliers, no_crops
from metrics.components.pooling import pooled_mean, pooled_sd, pooled_sum
from metrics.radial_error import radial_error

OUTLIER = 20.0
"""A vertebra whose mean RD exceeds this percentage counts as missed (An et al., Sec. 4.3)."""
BESIDE = (1, 0, 3, 2)
"""The corner on the other side, of TL, TR, BL, BR."""
ABOVE_OR_BELOW = (2, 3, 0, 1)
"""The corner above or below it."""


def relative_distance(
    points: Float[Tensor, "*case corner 2"],
    target: Float[Tensor, "*case corner 2"],
    visible: Bool[Tensor, "*case corner"],
) -> Float[Tensor, "*case corner"]:
    """Measure the distance of each corner in units of its own vertebra (An et al., Eq. 12 to 15).

    Of four corners, the error along x is divided by the length of the true edge to the corner beside, the error along
    y by that to the corner above or below (Eq. 12 to 14). Of the two ends of an end plate, the distance is divided by
    its true length (Eq. 15).

    Args:
        points: Predicted corners of one vertebra: TL, TR, BL, BR, or the two ends of the sacrum's end plate.
        target: True corners.
        visible: False where the truth is missing.

    Returns:
        RD in %; NaN where the corner or one that its edges need is missing.

    Example:
        >>> target = torch.tensor([[0.0, 0.0], [40.0, 0.0], [0.0, 30.0], [40.0, 30.0]])
        >>> relative_distance(target + 3.0, target, torch.ones(4, dtype=torch.bool))
        tensor([12.5000, 12.5000, 12.5000, 12.5000])
    """
    true = target.masked_fill(~visible[..., None], torch.nan)
    error = points.masked_fill(~visible[..., None], torch.nan) - true
    if target.shape[-2] == 2:
        size = torch.linalg.vector_norm(true[..., 1:, :] - true[..., :1, :], dim=-1, keepdim=True)
    else:
        other = [true[..., list(corner), :] for corner in (BESIDE, ABOVE_OR_BELOW)]
        size = torch.stack([torch.linalg.vector_norm(corner - true, dim=-1) for corner in other], dim=-1)
    relative: Tensor = torch.linalg.vector_norm(error / size, dim=-1)
    return 100 * relative


def sample_sd(
    values: Float[Tensor, "*batch case vertebra"], counts: Float[Tensor, "draw case"] | None = None
) -> Float[Tensor, "..."]:
    """Take the sample standard deviation (division by n - 1) over films and vertebrae that are not NaN.

    Args:
        values: Any numbers; NaN is left out.
        counts: How often each draw has each film; every film once if None.

    Returns:
        The standard deviation; NaN of a single value.

    Example:
        >>> sample_sd(torch.tensor([[1.0, float("nan")], [3.0, 5.0]]))
        tensor(2.0000)
    """
    count = pooled_sum(values.isfinite().to(values.dtype), counts).sum(-1)
    return pooled_sd(values, counts) * (count / (count - 1)).sqrt()


class RelativeDistance(LandmarkMetric):
    """D in pixels, RD in % of the vertebra and the share of missed vertebrae.

    Source: An et al., Part Affinity Fields and CoordConv for Lumbar Vertebrae, 2022, Eq. 12 to 15 and Tables 5 to 9.
    As in the paper, "inliers" are the films in which every crop around a predicted centre holds its landmarks (see
    `centre_distance`), and the numbers per vertebra are those of the inliers. The paper's Totals, `d_total` and
    `rd_total`, are the unweighted means of the vertebrae's numbers, in which a corner of the sacrum counts twice as
    much as one of L1; their spread is the sample standard deviation over films and vertebrae. Means over the landmarks
    of the inliers and of all films stand beside: a method must not gain by missing a film altogether. Groups of other
    than four or two landmarks do not count. Single vertebrae and whole spines, which have no such crops, have the means
    over all films only.
    """

    title = "Relative distance"
    requires = frozenset({"groups"})

    @classmethod
    def unsupported(cls, anatomy: Anatomy) -> str | None:
        """Ask for a vertebra with four corners or an end plate with two ends.

        Args:
            anatomy: The dataset's landmarks, groups, normaliser, radii and unit.

        Returns:
            The reason in one sentence, or None.
        """
        if reason := super().unsupported(anatomy):
            return reason
        if not any(len(corners) in (2, 4) for corners in anatomy.groups.values()):
            return "No group of the dataset has four corners or the two ends of an end plate."
        return None

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give each vertebra's mean D and RD, and whether the film is an outlier.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            D of each corner in pixels, RD of each in %, the mean RD of each vertebra, NaN where missing; then 1 for an
            outlier, else 0.
        """
        counted, measured = present(cases), list(self._measured.values())
        distance = radial_error(cases.points, cases.target, counted)
        relative = torch.cat(
            [
                relative_distance(*(field[:, list(i)] for field in (cases.points, cases.target, counted)))
                for i in measured
            ],
            dim=-1,
        )
        means = torch.stack(
            [part.nanmean(-1) for part in torch.split(relative, [len(i) for i in measured], dim=-1)], dim=-1
        )
        outlier = crop_outliers(cases, list(self.anatomy.groups.values())).nan_to_num(0)[:, None]
        return torch.cat([distance[:, [i for group in measured for i in group]], relative, means, outlier], dim=-1)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Average D and RD and count the missed vertebrae.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `d` in pixels, `rd` in % and `rd_outliers` in %: over all films, over the inliers, and of each vertebra over
            the inliers; for `d` and `rd` the paper's total and its standard deviation.
        """
        sizes = [len(corners) for corners in self._measured.values()]
        distance, relative, means, outlier = torch.split(terms, [sum(sizes), sum(sizes), len(sizes), 1], dim=-1)
        missed = torch.where(means.isnan(), means, 100 * (means > OUTLIER).to(means.dtype))
        summary: dict[str, Tensor] = {}
        for key, values in (("d", distance), ("rd", relative), ("rd_outliers", missed)):
            summary[key] = pooled_mean(values, counts)
            if self._has_crops:
                inliers = values.masked_fill(outlier != 0, torch.nan)
                parts = torch.split(inliers, [1] * len(sizes) if key == "rd_outliers" else sizes, dim=-1)
                named = zip(self._measured, parts, strict=True)
                summary[f"{key}_inlier"] = pooled_mean(inliers, counts)
                summary |= {f"{key}_{name}": pooled_mean(part, counts) for name, part in named}
                if key != "rd_outliers":
                    vertebrae = torch.stack([part.nanmean(-1) for part in parts], dim=-1)
                    averages = [pooled_mean(one[..., None], counts) for one in vertebrae.unbind(-1)]
                    summary[f"{key}_total"] = torch.stack(averages).nanmean(0)
                    summary[f"{key}_total_sd"] = sample_sd(vertebrae, counts)
        return summary

    def columns(self) -> dict[str, Column]:
        """Describe D, RD and the missed vertebrae.

        Returns:
            Column name to its description.
        """
        columns: dict[str, Column] = {}
        for key, title, unit in (("d", "D", "px"), ("rd", "RD", "%"), ("rd_outliers", "Vertebrae missed", "%")):
            columns[key] = Column(title, unit, False)
            if self._has_crops:
                columns[f"{key}_inlier"] = Column(f"{title}, inliers", unit, False)
                columns |= {
                    f"{key}_{name}": Column(f"{title}, inliers: {name}", unit, False) for name in self._measured
                }
                if key != "rd_outliers":
                    columns[f"{key}_total"] = Column(f"{title}, inliers: mean of the vertebrae", unit, False)
                    columns[f"{key}_total_sd"] = Column(f"{title}, inliers: SD over films and vertebrae", unit, False)
        return columns

    @property
    def _measured(self) -> dict[str, tuple[int, ...]]:
        return {name: corners for name, corners in self.anatomy.groups.items() if len(corners) in (2, 4)}

    @property
    def _has_crops(self) -> bool:
        return no_crops(list(self.anatomy.groups.values())) is None
