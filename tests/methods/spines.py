"""Schemas of spines, and drawn points for them."""

from __future__ import annotations

import torch
from torch import Tensor

from datamodules.base import LandmarkSchema
from datamodules.components.labels.end_plates import end_plate_schema
from methods.components.structures.vertebrae import spine_structures

LUMBAR = end_plate_schema(sacrum=True)
SPINE = LandmarkSchema(
    tuple(f"V{v}-{c}" for v in range(17) for c in "abcd"),
    groups={f"V{v}": tuple(f"V{v}-{c}" for c in "abcd") for v in range(17)},
)
NECK = LandmarkSchema(
    ("dens", "C2-l", "C2-r", *(f"C{v}-{c}" for v in (3, 4, 5) for c in ("TL", "TR", "BL", "BR", "process"))),
    groups={
        "C2": ("C2-l", "C2-r"),
        **{f"C{v}": tuple(f"C{v}-{c}" for c in ("TL", "TR", "BL", "BR", "process")) for v in (3, 4, 5)},
    },
    flips=(("C2-l", "C2-r"), *((f"C{v}-{s}L", f"C{v}-{s}R") for v in (3, 4, 5) for s in "TB")),
)


def spine_points(schema: LandmarkSchema, films: int = 2, side: int = 128) -> Tensor:
    """Draw one vertebra below the other, slightly tilted, in films of `side` pixels."""
    found = spine_structures(schema)
    step = 0.8 * side / len(found.members)
    points = torch.zeros(films, len(schema), 2)
    for structure, members in enumerate(found.members):
        corners = torch.tensor([[0, 0], [1.1, 0.1], [0.05, 0.7], [1.15, 0.8], [2.0, 0.4]])[: len(members)]
        points[:, list(members)] = (
            torch.tensor([0.35 * side + structure, 0.1 * side + structure * step]) + corners * 0.9 * step
        )
    return points + torch.rand(films, len(schema), 2, generator=torch.Generator().manual_seed(2))
