"""Vertebrae and what else a schema's groups are: their kinds, centres, sizes and end plates."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from methods.base import LandmarkSchema
from methods.components.structures.group_classes import group_classes

Pair = tuple[int, int]


class StructureClass(NamedTuple):
    """Structures that look alike.

    Attributes:
        positions: Among all structures.
        landmarks: The landmarks of each, slot by slot.
        plates: The end plates, as pairs of slots: the landmarks that trade places in a mirrored film.
    """

    positions: tuple[int, ...]
    landmarks: tuple[tuple[int, ...], ...]
    plates: tuple[Pair, ...]

    @property
    def slots(self) -> int:
        """Landmarks per structure."""
        return len(self.landmarks[0])


class SpineStructures(NamedTuple):
    """What a schema's film shows: its vertebrae and other groups in anatomical order, then lone landmarks.

    Attributes:
        members: The landmarks of each structure.
        classes: Structures of one size, the vertebrae (the class with the most structures) first.
        hosts: For each structure, the vertebra, counted among these, whose spacing stands for its own: itself, or else
            the one before it, or else the first.
    """

    members: tuple[tuple[int, ...], ...]
    classes: tuple[StructureClass, ...]
    hosts: tuple[int, ...]

    @property
    def vertebrae(self) -> tuple[int, ...]:
        """The positions of the vertebrae among the structures."""
        return self.classes[0].positions

    @property
    def chained(self) -> int:
        """How many structures, from the first on, follow each other in anatomical order."""
        return sum(len(landmarks) > 1 for landmarks in self.members)

    def centres(self, points: Float[Tensor, "batch landmark 2"]) -> Float[Tensor, "batch structure 2"]:
        """Return the mean of each structure's landmarks, NaN where one is missing."""
        return torch.stack([points[:, own].mean(dim=1) for own in map(list, self.members)], dim=1)


def spine_structures(schema: LandmarkSchema) -> SpineStructures:
    """Sort a schema's groups, and as structures of their own the landmarks of no group, into kinds of one size.

    Example:
        >>> names = ("L4-l", "L4-r", "L5-l", "L5-r", "S1")
        >>> groups = {"L4": names[:2], "L5": names[2:4], "S1": names[4:]}
        >>> found = spine_structures(LandmarkSchema(names, groups, flips=((names[0], names[1]),)))
        >>> found.members, [kind.positions for kind in found.classes], found.hosts, found.classes[0].plates
        (((0, 1), (2, 3), (4,)), [(0, 1), (2,)], (0, 1, 1), ((0, 1),))
    """
    found = sorted(group_classes(schema), key=lambda kind: (len(kind), len(kind[0])), reverse=True)
    order = list(schema.group_index.values())
    members = sorted(
        (own for kind in found for own in kind),
        key=lambda own: (len(own) == 1, order.index(own) if own in order else len(order), own[0]),
    )
    flips = schema.flip_index
    sorted_kinds = tuple(
        StructureClass(
            tuple(sorted(map(members.index, kind))), tuple(sorted(kind, key=members.index)), _plates(kind[0], flips)
        )
        for kind in found
    )
    vertebrae = sorted_kinds[0].positions
    hosts = tuple(max(0, sum(vertebra <= structure for vertebra in vertebrae) - 1) for structure in range(len(members)))
    return SpineStructures(tuple(members), sorted_kinds, hosts)


def _plates(landmarks: tuple[int, ...], flips: tuple[int, ...]) -> tuple[Pair, ...]:
    """Return the pairs of slots of one structure that trade places, upper first as the schema lists them.

    Where the schema names none, two or four landmarks are in the suite's order: TL, TR, BL, BR.
    """
    partner = {slot: flips[landmark] for slot, landmark in enumerate(landmarks)}
    pairs = ((slot, landmarks.index(other)) for slot, other in partner.items() if other in landmarks)
    plates = tuple(pair for pair in pairs if pair[0] < pair[1])
    return plates or {2: ((0, 1),), 4: ((0, 1), (2, 3))}.get(len(landmarks), ())


class Frame(NamedTuple):
    """The parallelogram of a vertebra's body: its centre, one side across and one down; NaN where not known."""

    centre: Float[Tensor, "*shape 2"]
    across: Float[Tensor, "*shape 2"]
    down: Float[Tensor, "*shape 2"]

    @property
    def height(self) -> Float[Tensor, " *shape"]:
        """Length of the side down."""
        return torch.hypot(*self.down.unbind(dim=-1))


def frames(points: Float[Tensor, "*shape slot 2"], plates: tuple[Pair, ...]) -> Frame:
    """Return the frames of structures: between the first and the last of two or more end plates, else the bounding box.

    Example:
        >>> corners = torch.tensor([[0.0, 0.0], [8.0, 2.0], [0.0, 4.0], [8.0, 6.0]])
        >>> centre, across, down = frames(corners, ((0, 1), (2, 3)))
        >>> centre.tolist(), across.tolist(), down.tolist()
        ([4.0, 3.0], [8.0, 2.0], [0.0, 4.0])
    """
    if len(plates) > 1:
        (a, b), (c, d) = plates[0], plates[-1]
        upper, lower = points[..., [a, b], :], points[..., [c, d], :]
        across = (upper[..., 1, :] - upper[..., 0, :] + lower[..., 1, :] - lower[..., 0, :]) / 2
        top, bottom = upper.mean(dim=-2), lower.mean(dim=-2)
        return Frame((top + bottom) / 2, across, bottom - top)
    low, high = points.amin(dim=-2), points.amax(dim=-2)
    sides = torch.diag_embed(high - low)
    return Frame((low + high) / 2, sides[..., 0, :], sides[..., 1, :])


def landmark_sigma(
    points: Float[Tensor, "*shape slot 2"], plates: tuple[Pair, ...], typical: float
) -> Float[Tensor, " *shape"]:
    """Return sigma of a structure's landmark maps (below Eq. 6 and 7), at least a pixel.

    A tenth of the mean diagonal between its end plates; with one end plate a sixth of its length; without any a tenth
    of the bounding box's diagonal. Where that is unknown (NaN) or nothing, as of a single landmark, it is `typical`.

    Example:
        >>> corners = torch.tensor([[0.0, 0.0], [30.0, 0.0], [0.0, 40.0], [30.0, 40.0]])
        >>> landmark_sigma(corners, ((0, 1), (2, 3)), 9.0), landmark_sigma(corners[:2], ((0, 1),), 9.0)
        (tensor(5.), tensor(5.))
    """
    if len(plates) > 1:
        (a, b), (c, d) = plates[0], plates[-1]
        lines, share = points[..., [d, c], :] - points[..., [a, b], :], 10
    elif plates:
        ((a, b),) = plates
        lines, share = points[..., [b], :] - points[..., [a], :], 6
    else:
        lines, share = (points.amax(dim=-2) - points.amin(dim=-2))[..., None, :], 10
    sigma = torch.hypot(*lines.unbind(dim=-1)).mean(dim=-1) / share
    return torch.where(sigma > 0, sigma, typical).clamp(min=1)
