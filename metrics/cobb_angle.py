"""The three Cobb angles of the AASCE challenge, from the corners of the vertebrae."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from metrics.base import Anatomy, Cases, Column, LandmarkMetric, Measurement, present
from metrics.components.pooling import pooled_mean


def cobb_angles(
    points: Float[Tensor, "*case landmark 2"], height: Float[Tensor, "*case"] | float
) -> Float[Tensor, "*case 3"]:
    """Measure three Cobb angles by the rule of the AASCE challenge, which its `angles.csv` follows.

    A vertebra's direction runs between the mid-points of its left and right sides. The first angle is the largest
    between any two vertebrae, `upper` and `lower`. In a spine that is not S-shaped the other two are between the first
    vertebra and `upper` and between `lower` and the last. In an S-shaped one whose pair lies in the upper half of the
    film they are the largest at `upper` looking up and at `lower` looking down; otherwise both are sought upwards, from
    `upper` and from where the second was found. They are therefore not the PT, MT and TL angles of the clinic.

    Args:
        points: Corners in original pixels, four per vertebra (TL, TR, BL, BR), vertebrae from top to bottom.
        height: Height of the film in pixels.

    Returns:
        The angles in degrees. A vertebra whose sides coincide has no direction, and its angle to any other is 0.

    Example:
        >>> corners = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 5.0], [9.0, 5.0]])
        >>> tilted = corners + torch.tensor([[0.0, 0.0], [0.0, 9.0], [0.0, 0.0], [0.0, 9.0]])
        >>> cobb_angles(torch.cat([corners, tilted + 20.0, corners + 60.0]), height=100.0).round()
        tensor([45.,  0., 45.], dtype=torch.float64)
    """
    corners = points.double().reshape(*points.shape[:-2], -1, 4, 2)
    angle = _pairwise_angles(corners)
    vertebrae = angle.shape[-1]
    # The first largest in reading order: of a symmetric matrix this has upper < lower.
    pair = angle.flatten(-2).argmax(-1)
    upper, lower = pair // vertebrae, pair % vertebrae
    above, found = _largest_above(angle, upper)
    bottom = corners[..., 2:, 1].mean(-1)
    high = _pick(bottom, upper) + _pick(bottom, lower) < torch.as_tensor(height, device=points.device)
    third = torch.where(high, _largest_below(angle, lower), _largest_above(angle, found)[0])
    curved = _is_s_shaped(corners)
    second = torch.where(curved, above, _pick(angle[..., 0, :], upper))
    third = torch.where(curved, third, _pick(angle[..., -1, :], lower))
    return torch.stack([_pick(angle.flatten(-2), pair), second, third], dim=-1)


def symmetric_error(predicted: Float[Tensor, "*case 3"], target: Float[Tensor, "*case 3"]) -> Float[Tensor, "*case"]:
    """Give SMAPE's term of each film: the sum of absolute differences over the sum of all angles.

    Source: Wang et al., shape-constrained multi-stage cascade, Eq. 14.

    Args:
        predicted: Predicted angles in degrees.
        target: True angles in degrees.

    Returns:
        A fraction in 0..1, one per film; 0 where all angles are 0.

    Example:
        >>> symmetric_error(torch.tensor([30.0, 10.0, 0.0]), torch.tensor([20.0, 10.0, 10.0]))
        tensor(0.2500)
    """
    total = (predicted + target).sum(-1)
    return (predicted - target).abs().sum(-1) / total.masked_fill(total == 0, 1)


class CobbAngle(LandmarkMetric):
    """SMAPE and mean absolute error of the three Cobb angles over films, as in the AASCE challenge.

    The true angles are computed from the true corners by the same rule, which reproduces the challenge's `angles.csv`
    on all its 609 films. A film that lacks a corner or its height is left out.
    """

    title = "Cobb angle"
    requires = frozenset({"groups", "size"})

    @classmethod
    def unsupported(cls, anatomy: Anatomy) -> str | None:
        """Ask for at least three vertebrae of four corners, and for nothing but such vertebrae.

        Args:
            anatomy: The dataset's landmarks, groups, normaliser, radii and unit.

        Returns:
            The reason in one sentence, or None.
        """
        if reason := super().unsupported(anatomy):
            return reason
        if odd := [name for name, corners in anatomy.groups.items() if len(corners) != 4]:
            return f"The group {odd[0]!r} has {len(anatomy.groups[odd[0]])} landmarks instead of four corners."
        if len(anatomy.groups) < 3:
            return f"The dataset has {len(anatomy.groups)} vertebrae, and Cobb angles need at least three."
        return None

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give the three predicted and the three true angles of each film.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            Six columns in degrees; NaN where a corner or the film's height is missing.
        """
        corners = [index for group in self.anatomy.groups.values() for index in group]
        height = cases.size[:, 0]
        known = present(cases)[:, corners].all(-1) & height.isfinite()
        angles = [cobb_angles(points[:, corners], height) for points in (cases.points, cases.target)]
        return torch.cat(angles, dim=-1).masked_fill(~known[:, None], torch.nan)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Compare the angles.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `cobb_smape` in % and `cobb_mae` in degrees, the latter over all three angles of all films.
        """
        predicted, target = terms.chunk(2, dim=-1)
        smape = 100 * pooled_mean(symmetric_error(predicted, target)[..., None], counts)
        return {"cobb_smape": smape, "cobb_mae": pooled_mean((predicted - target).abs(), counts)}

    def measure(self, cases: Cases) -> dict[str, Measurement]:
        """Measure the three angles, see `cobb_angles`.

        Args:
            cases: Predictions in original pixels.

        Returns:
            `cobb_1`, the largest angle, to `cobb_3` in degrees.
        """
        corners = [index for group in self.anatomy.groups.values() for index in group]
        angles = cobb_angles(cases.points[:, corners], cases.size[:, 0])
        return {f"cobb_{place}": Measurement(values, "deg") for place, values in enumerate(angles.unbind(-1), 1)}

    def columns(self) -> dict[str, Column]:
        """Describe SMAPE and mean absolute error.

        Returns:
            Column name to its description.
        """
        return {"cobb_smape": Column("Cobb SMAPE", "%", False), "cobb_mae": Column("Cobb MAE", "deg", False)}


def _pairwise_angles(corners: Float[Tensor, "*case vertebra 4 2"]) -> Float[Tensor, "*case vertebra vertebra"]:
    left, right = corners[..., [0, 2], :].mean(-2), corners[..., [1, 3], :].mean(-2)
    direction = right - left
    length = torch.linalg.vector_norm(direction, dim=-1)
    dot = (direction[..., :, None, :] * direction[..., None, :, :]).sum(-1)
    cosine = dot / (length[..., :, None] * length[..., None, :])
    # The challenge rounds to 8 decimals, which also makes parallel vertebrae exactly parallel.
    return torch.rad2deg(cosine.round(decimals=8).clamp(-1, 1).acos().nan_to_num(0))


def _is_s_shaped(corners: Float[Tensor, "*case vertebra 4 2"]) -> Bool[Tensor, "*case"]:
    """Tell whether the edges' mid-points fall on both sides of the chord from the first to the last.

    As in the challenge (the labels of 12 films depend on it) the last two mid-points are not looked at. It compares
    two sums instead of signs, and an upright chord makes them NaN, which counts as S-shaped.
    """
    middle = torch.stack([corners[..., :2, :].mean(-2), corners[..., 2:, :].mean(-2)], dim=-2).flatten(-3, -2)
    first, last = middle[..., :1, :], middle[..., -1:, :]
    along = (middle[..., :-2, :] - last) / (first - last)
    side = along[..., 1] - along[..., 0]
    products = side[..., :, None] * side[..., None, :]
    return products.sum((-2, -1)).ne(products.abs().sum((-2, -1)))


def _pick(values: Float[Tensor, "*case vertebra"], index: Int[Tensor, "*case"]) -> Float[Tensor, "*case"]:
    return values.gather(-1, index[..., None])[..., 0]


def _row(angle: Float[Tensor, "*case row column"], index: Int[Tensor, "*case"]) -> Float[Tensor, "*case column"]:
    rows = index[..., None, None].expand(*angle.shape[:-2], 1, angle.shape[-1])
    return angle.gather(-2, rows)[..., 0, :]


def _largest_above(
    angle: Float[Tensor, "*case row column"], start: Int[Tensor, "*case"]
) -> tuple[Float[Tensor, "*case"], Int[Tensor, "*case"]]:
    outside = torch.arange(angle.shape[-1], device=angle.device) > start[..., None]
    largest = _row(angle, start).masked_fill(outside, -1).max(-1)
    return largest.values, largest.indices


def _largest_below(angle: Float[Tensor, "*case row column"], start: Int[Tensor, "*case"]) -> Float[Tensor, "*case"]:
    outside = torch.arange(angle.shape[-1], device=angle.device) < start[..., None]
    return _row(angle, start).masked_fill(outside, -1).amax(-1)
