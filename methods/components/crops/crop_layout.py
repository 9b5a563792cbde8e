"""Which landmarks are read from one crop: a crop for every group, and outputs for every size of groups."""

from __future__ import annotations

from typing import NamedTuple

from methods.base import LandmarkSchema
from methods.components.structures.group_classes import group_classes


class CropLayout(NamedTuple):
    """Which landmarks are read from one crop, and which output of the network each of them is.

    Attributes:
        structures: Landmark positions of each crop.
        structure_of: The crop of each landmark.
        slot_of: The output of each landmark.
        slots: How many outputs there are.
    """

    structures: tuple[tuple[int, ...], ...]
    structure_of: list[int]
    slot_of: list[int]
    slots: int


def crop_layout(schema: LandmarkSchema) -> CropLayout:
    """Give every group a crop and every size of groups its own outputs; without groups there is one crop of all.

    Example:
        >>> crop_layout(LandmarkSchema(("a1", "a2", "b1", "b2", "tip"), {"a": ("a1", "a2"), "b": ("b1", "b2")}))
        CropLayout(structures=((0, 1), (2, 3), (4,)), structure_of=[0, 0, 1, 1, 2], slot_of=[0, 1, 0, 1, 2], slots=3)
    """
    found = group_classes(schema) if schema.groups else ((tuple(range(len(schema))),),)
    places: dict[int, tuple[int, int]] = {}
    structures: list[tuple[int, ...]] = []
    first = 0
    for kind in found:
        for members in kind:
            places |= {landmark: (len(structures), first + slot) for slot, landmark in enumerate(members)}
            structures.append(members)
        first += len(kind[0])
    crop_of, slot_of = zip(*(places[landmark] for landmark in range(len(schema))), strict=True)
    return CropLayout(tuple(structures), list(crop_of), list(slot_of), first)
