"""Distance of the predicted vertebra centres, and the films in which a crop around them would miss a landmark."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrics.base import Anatomy, Cases, Column, LandmarkMetric, present
from metrics.components.pooling import pooled_mean

FRAME = 512
"""Longer side of the film to which the distances refer, the input size of An et al.'s Pose-Net."""
SIDE = 1.5
"""Eq. 5: the side of a crop in distances between neighbouring centres."""
MOST_VERTEBRAE = 8
"""Of more vertebrae hardly ever all lie within their crops."""


def group_centres(
    points: Float[Tensor, "case landmark 2"],
    visible: Bool[Tensor, "case landmark"],
    groups: Sequence[Sequence[int]],
) -> Float[Tensor, "case group 2"]:
    """Average the landmarks of each vertebra.

    Args:
        points: (x, y).
        visible: False where a landmark is missing.
        groups: Landmark indices of each vertebra.

    Returns:
        The centres; NaN where a landmark of the vertebra is missing.

    Example:
        >>> corners = torch.tensor([[[0.0, 0.0], [8.0, 0.0], [0.0, 4.0], [8.0, 4.0]]])
        >>> group_centres(corners, torch.ones(1, 4, dtype=torch.bool), [(0, 1, 2, 3), (0, 1)])
        tensor([[[4., 2.],
                 [4., 0.]]])
    """
    shown = points.masked_fill(~visible[..., None], torch.nan)
    return torch.stack([shown[:, list(indices)].mean(1) for indices in groups], dim=1)


def predicted_centres(cases: Cases, groups: Sequence[Sequence[int]]) -> Float[Tensor, "case group 2"]:
    """Return the centres that an earlier stage of the method found, else the means of the predicted landmarks.

    Args:
        cases: Predictions and truth in original pixels.
        groups: Landmark indices of each vertebra.

    Returns:
        The centres; NaN where a landmark of the vertebra is missing from the truth.
    """
    counted = present(cases)
    found, own = (group_centres(points, counted, groups) for points in (cases.centres, cases.points))
    return torch.where(found.isnan(), own, found)


def crop_sides(centres: Float[Tensor, "*case group 2"], vertebrae: int) -> Float[Tensor, "*case group"]:
    """Give the side of the square crop around each centre (An et al., Eq. 5).

    It is 3/2 of the vertical distance to the neighbouring vertebra, of the mean of both for a vertebra between two.
    What follows the vertebrae (the sacrum) takes the side of the last one.

    Args:
        centres: Centres from top to bottom; NaN where unknown.
        vertebrae: How many of them, from the top, are whole vertebrae.

    Returns:
        Sides in the unit of the centres; NaN where no neighbour is known.

    Example:
        >>> heights = torch.tensor([0.0, 10.0, 30.0, 50.0, 70.0, 85.0])
        >>> crop_sides(torch.stack([torch.zeros(6), heights], dim=-1), vertebrae=5)
        tensor([15.0000, 22.5000, 30.0000, 30.0000, 30.0000, 30.0000])
    """
    gaps = centres[..., :vertebrae, 1].diff(dim=-1).abs()
    edge = torch.full_like(centres[..., :1, 1], torch.nan)
    neighbours = torch.stack([torch.cat([edge, gaps], dim=-1), torch.cat([gaps, edge], dim=-1)])
    sides = SIDE * neighbours.nanmean(0)
    rest = centres.shape[-2] - vertebrae
    return torch.cat([sides, sides[..., -1:].expand(*sides.shape[:-1], rest)], dim=-1)


def crop_outliers(cases: Cases, groups: Sequence[Sequence[int]]) -> Float[Tensor, " case"]:
    """Tell in which films a crop around a predicted centre misses a true landmark of its vertebra.

    Source: An et al., Sec. 4.2: "the proportion of images that do not include some landmarks in the image after
    pre-processing (i.e., cropping) using center coordinates". These are the centres of the method's first stage or,
    where it has none, the means of the predicted landmarks, so that the rule applies to every method. A vertebra that
    lacks a landmark is not looked at.

    Args:
        cases: Predictions and truth in original pixels.
        groups: Landmark indices of each vertebra, from top to bottom.

    Returns:
        1 for an outlier, 0 for an inlier, NaN where no vertebra has a crop.
    """
    centres = predicted_centres(cases, groups)
    sides = crop_sides(centres, _whole_vertebrae(groups))
    outside = [
        ((cases.target[:, list(indices)] - centres[:, None, group]).abs() > sides[:, group, None, None] / 2).flatten(1)
        for group, indices in enumerate(groups)
    ]
    outlier = torch.cat(outside, dim=-1).any(-1).to(cases.points.dtype)
    return outlier.masked_fill(sides.isnan().all(-1), torch.nan)


def no_crops(groups: Sequence[Sequence[int]]) -> str | None:
    """Say why vertebrae have no crops by Eq. 5.

    Args:
        groups: Landmark indices of each vertebra, from top to bottom.

    Returns:
        The reason in one sentence, or None if they have.
    """
    if _whole_vertebrae(groups) < 2:
        return "The size of a crop follows from the distance of two vertebrae, and the dataset has fewer."
    if len(groups) > MOST_VERTEBRAE:
        return f"A film counts only if all vertebrae lie within their crops, and {len(groups)} hardly ever do."
    return None


class CentreDistance(LandmarkMetric):
    """Mean distance of the vertebra centres over all films and over the inliers, and the share of outliers.

    Source: An et al., Part Affinity Fields and CoordConv for Lumbar Vertebrae, 2022, Eq. 5 and Tables 2 to 4. A centre
    is the mean of its vertebra's landmarks. Distances are in pixels of a film whose longer side has 512, as in the
    paper, so films of different sizes are comparable. Predicted centres are those of a method's first stage, as in the
    paper; of a method without one, and of runs that did not store them, the means of the final landmarks.
    """

    title = "Centre distance"
    requires = frozenset({"groups", "size"})

    @classmethod
    def unsupported(cls, anatomy: Anatomy) -> str | None:
        """Ask for at least two vertebrae, and for no whole spine.

        Args:
            anatomy: The dataset's landmarks, groups, normaliser, radii and unit.

        Returns:
            The reason in one sentence, or None.
        """
        if reason := super().unsupported(anatomy):
            return reason
        return no_crops(list(anatomy.groups.values()))

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give the distance of each centre and whether the film is an outlier.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            One column per vertebra, NaN where it is incomplete or the film's size unknown; then 1, 0 or NaN.
        """
        groups = list(self.anatomy.groups.values())
        predicted, true = predicted_centres(cases, groups), group_centres(cases.target, present(cases), groups)
        distance = torch.linalg.vector_norm(predicted - true, dim=-1) * FRAME / cases.size.amax(-1, keepdim=True)
        return torch.cat([distance, crop_outliers(cases, groups)[:, None]], dim=-1)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Average the distances over all films and over the inliers.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `centre_outliers` in %; `centre` and `centre_inlier`, over all vertebrae and for each, at 512.
        """
        distance, outlier = terms[..., :-1], terms[..., -1:]
        summary = {"centre_outliers": 100 * pooled_mean(outlier, counts)}
        for key, kept in (("centre", distance), ("centre_inlier", distance.masked_fill(outlier != 0, torch.nan))):
            summary[key] = pooled_mean(kept, counts)
            summary |= {
                f"{key}_{name}": pooled_mean(kept[..., i : i + 1], counts) for i, name in enumerate(self.anatomy.groups)
            }
        return summary

    def columns(self) -> dict[str, Column]:
        """Describe the share of outliers and the distances.

        Returns:
            Column name to its description.
        """
        columns = {"centre_outliers": Column("Centre outliers", "%", False)}
        for key, title in (("centre", "Centre at 512"), ("centre_inlier", "Centre at 512, inliers")):
            columns[key] = Column(title, "px", False)
            columns |= {f"{key}_{name}": Column(f"{title}: {name}", "px", False) for name in self.anatomy.groups}
        return columns


def _whole_vertebrae(groups: Sequence[Sequence[int]]) -> int:
    """Count the groups without an end plate (two landmarks) that closes the row, as the sacrum does."""
    return len(groups) - (len(groups) > 1 and len(groups[-1]) == 2)
