"""Lumbar lordosis and the slip of each vertebra on the one below, from the 22 points of a lateral lumbar film."""

from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrics.base import Anatomy, Cases, Column, LandmarkMetric, Measurement, present
from metrics.components.pooling import pooled_mean

VERTEBRAE = ("L1", "L2", "L3", "L4", "L5", "S1")
"""The groups: four corners each (TL, TR, BL, BR as seen in the image), of the sacrum the two ends of its end plate."""
LEVELS = tuple(f"{upper}-{lower}" for upper, lower in pairwise(VERTEBRAE))
CORNERS = 4


def lordosis(upper: Float[Tensor, "*case 2 2"], lower: Float[Tensor, "*case 2 2"]) -> Float[Tensor, "*case"]:
    """Measure the angle between two end plates.

    Between the upper end plates of L1 and S1 this is the lumbar lordosis angle (Cobb's L1-S1).

    Args:
        upper: The image-left and image-right end of the upper plate, x right and y down.
        lower: Those of the lower plate.

    Returns:
        Degrees in -180..180, by which `lower` is turned against `upper`, clockwise positive: lordosis is positive in a
        patient who faces right and negative in one who faces left.

    Example:
        >>> flat, steep = torch.tensor([[0.0, 0.0], [9.0, 0.0]]), torch.tensor([[0.0, 0.0], [5.0, 5.0]])
        >>> lordosis(flat, steep), lordosis(steep, flat)
        (tensor(45.), tensor(-45.))
    """
    first, second = upper[..., 1, :] - upper[..., 0, :], lower[..., 1, :] - lower[..., 0, :]
    cross = first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]
    return torch.rad2deg(torch.atan2(cross, (first * second).sum(-1)))


def slip(
    above: Float[Tensor, "*case 2"], posterior: Float[Tensor, "*case 2"], anterior: Float[Tensor, "*case 2"]
) -> Float[Tensor, "*case"]:
    """Measure how far a vertebra has slipped on the one below, in % of the end plate it stands on.

    Taillard's percentage (J Bone Joint Surg 1954), whose quarters are Meyerding's grades: the posterior lower corner of
    the upper vertebra is projected onto the upper end plate of the lower one.

    Args:
        above: Posterior lower corner of the upper vertebra.
        posterior: Posterior end of the lower vertebra's upper end plate.
        anterior: Its anterior end.

    Returns:
        Slip in %, positive to the front (anterolisthesis).

    Example:
        >>> slip(torch.tensor([10.0, -5.0]), torch.tensor([0.0, 0.0]), torch.tensor([40.0, 0.0]))
        tensor(25.)
    """
    plate = anterior - posterior
    return 100 * ((above - posterior) * plate).sum(-1) / plate.square().sum(-1)


class LumbarAngles(LandmarkMetric):
    """Mean absolute difference between predicted and true lordosis angle and slips.

    Lordosis is Cobb's angle between the upper end plates of L1 and S1; the slip at L1-L2 to L5-S1 is Taillard's. What
    is posterior is read from the true sacrum, whose end plate slopes down to the front. Spacing is used where it is
    known, so that pixels that are not square do not matter. A measure that lacks a point is left out.
    """

    title = "Lumbar angles"
    requires = frozenset({"groups"})

    @classmethod
    def unsupported(cls, anatomy: Anatomy) -> str | None:
        """Ask for L1 to L5 with four corners and S1 with the two ends of its upper end plate.

        Args:
            anatomy: The dataset's landmarks, groups, normaliser, radii and unit.

        Returns:
            The reason in one sentence, or None.
        """
        if reason := super().unsupported(anatomy):
            return reason
        for name in VERTEBRAE:
            wanted, count = 2 if name == "S1" else CORNERS, len(anatomy.groups.get(name, ()))
            if count != wanted:
                return f"The vertebra {name!r} has {count} landmarks in this dataset; {wanted} are needed."
        return None

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give the absolute differences of each film.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            Lordosis in degrees, then the slips from L1-L2 to L5-S1 in % of the plate; NaN where a point is missing.
        """
        hidden = ~present(cases)[..., None]
        points, target = (_square(xy, cases).masked_fill(hidden, torch.nan) for xy in (cases.points, cases.target))
        right_is_back = self._right_is_back(target)
        measured = [self._measure(xy, right_is_back) for xy in (points, target)]
        difference = (measured[0] - measured[1]).abs()
        angle = difference[:, :1]
        return torch.cat([torch.minimum(angle, 360 - angle), difference[:, 1:]], dim=-1)

    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Average the differences.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.
            counts: How often each draw has each case; every case once if None.

        Returns:
            `lordosis_mae` in degrees, `slip_mae` over all levels and for each, in % of the end plate.
        """
        slips = terms[..., 1:]
        levels = {_column(level): pooled_mean(slips[..., i : i + 1], counts) for i, level in enumerate(LEVELS)}
        return {"lordosis_mae": pooled_mean(terms[..., :1], counts), "slip_mae": pooled_mean(slips, counts), **levels}

    def columns(self) -> dict[str, Column]:
        """Describe the differences.

        Returns:
            Column name to its description.
        """
        levels = {_column(level): Column(f"Slip MAE {level}", "%", False) for level in LEVELS}
        total = {"lordosis_mae": Column("Lordosis MAE", "deg", False), "slip_mae": Column("Slip MAE", "%", False)}
        return total | levels

    def measure(self, cases: Cases) -> dict[str, Measurement]:
        """Measure lordosis and slips; what is posterior is read from the predicted sacrum.

        Args:
            cases: Predictions in original pixels.

        Returns:
            `lordosis` in degrees and `slip_L1-L2` ... in % of the end plate.
        """
        points = _square(cases.points, cases)
        angle, *slips = self._measure(points, self._right_is_back(points)).unbind(-1)
        levels = {f"slip_{level}": Measurement(values, "%") for level, values in zip(LEVELS, slips, strict=True)}
        return {"lordosis": Measurement(angle, "deg"), **levels}

    def _right_is_back(self, points: Float[Tensor, "case landmark 2"]) -> Bool[Tensor, " case"]:
        """Tell whether the image-right end of the sacrum's plate is its posterior one: it slopes down to the front."""
        sacrum = points[:, self.anatomy.groups["S1"]]
        return sacrum[:, 1, 1] < sacrum[:, 0, 1]

    def _measure(self, points: Float[Tensor, "case landmark 2"], right_is_back: Tensor) -> Float[Tensor, "case 6"]:
        """Return the lordosis and the five slips."""
        groups = [self.anatomy.groups[name] for name in VERTEBRAE]
        plates = [points[:, list(group[:2])] for group in groups]
        slips = [
            slip(
                _end(points[:, list(above[2:])], right_is_back),
                _end(plate, right_is_back),
                _end(plate, ~right_is_back),
            )
            for above, plate in zip(groups, plates[1:], strict=False)
        ]
        known = points[:, groups[-1]].isfinite().all(-1).all(-1)
        measured = torch.stack([lordosis(plates[0], plates[-1]), *slips], dim=-1)
        return measured.masked_fill(~known[:, None], torch.nan)


def _square(points: Float[Tensor, "case landmark 2"], cases: Cases) -> Float[Tensor, "case landmark 2"]:
    """Return points in millimetres where the spacing is known, so that pixels need not be square."""
    return points * torch.where(cases.spacing.isfinite().all(-1, keepdim=True), cases.spacing, 1.0)[:, None]


def _end(plate: Float[Tensor, "case 2 2"], right: Tensor) -> Float[Tensor, "case 2"]:
    """Pick the image-right end of a plate where `right`, else the image-left one."""
    return torch.where(right[:, None], plate[:, 1], plate[:, 0])


def _column(level: str) -> str:
    return f"slip_mae_{level}"
