"""Lumbar vertebrae labelled by their end plates: the schema, the csv of BUU-LSPINE and what may be odd about it.

One row per end plate from L1's upper one downwards, `x1,y1,x2,y2,label`, no header: both its ends in original pixels,
the one on the image's left first, and a label of the level (0 is healthy), which may be left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from datamodules.components.errors import DataError
from datamodules.components.labels.parsing import parse_row, read_lines, whole
from datamodules.components.schema import LandmarkSchema

LUMBAR = tuple(f"L{i}" for i in range(1, 6))
CORNERS = ("TL", "TR", "BL", "BR")
SACRUM = "S1"
LATERAL_POINTS = 22
AP_POINTS = 20

_HEALTHY = {"", "0", "0.0", "nan"}


class EndPlates(NamedTuple):
    """What a csv of end plates says.

    Attributes:
        points: (x, y) of both ends of each end plate, top to bottom, left end first; NaN where missing.
        labels: The text after each end plate's coordinates, empty where there is none.
    """

    points: Float[np.ndarray, "landmark 2"]
    labels: tuple[str, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether no level carries a label other than 0."""
        return set(self.labels) <= _HEALTHY


def end_plate_schema(*, sacrum: bool) -> LandmarkSchema:
    """Return the landmarks of L1-L5, TL, TR, BL, BR as seen in the image, and the two of S1's upper end plate.

    The NME is normalised by the spine's length between L1-TL and L5-BL.

    Example:
        >>> lateral = end_plate_schema(sacrum=True)
        >>> len(lateral), lateral.names[:5], lateral.groups["S1"]
        (22, ('L1-TL', 'L1-TR', 'L1-BL', 'L1-BR', 'L2-TL'), ('S1-TL', 'S1-TR'))
    """
    groups = {vertebra: tuple(f"{vertebra}-{corner}" for corner in CORNERS) for vertebra in LUMBAR}
    if sacrum:
        groups[SACRUM] = (f"{SACRUM}-TL", f"{SACRUM}-TR")
    names = tuple(name for members in groups.values() for name in members)
    return LandmarkSchema(
        names=names,
        groups=groups,
        flips=tuple(zip(names[::2], names[1::2], strict=True)),
        edges=tuple(edge for members in groups.values() for edge in _outline(members)),
        normalizer=("L1-TL", "L5-BL"),
        structure="vertebra",
    )


def read_end_plates(path: Path, count: int) -> EndPlates:
    """Read a csv of `count` points, two a line.

    Raises:
        DataError: There are more or fewer lines, or a line does not hold four numbers; file, line and value are named.
    """
    lines = read_lines(path)
    first = 2 if lines and lines[0].strip().lower().startswith("x1") else 1  # some copies have a header
    rows = lines[first - 1 :]
    if len(rows) != count // 2:
        end = min(len(lines), count // 2 + first - 1)
        raise DataError(
            f"{path}, line {end}: the file holds {len(rows)} end plates instead of {count // 2}; restore the original "
            f"label file, or remove it with its film if the spine has another number of vertebrae."
        )
    fields = [row.split(",") for row in rows]
    numbers = [parse_row(cells[:4], 4, path, line) for line, cells in enumerate(fields, first)]
    labels = tuple(",".join(cells[4:]).strip() for cells in fields)
    return EndPlates(whole(np.stack(numbers).reshape(count, 2)), labels)


def write_end_plates(path: Path, points: Float[np.ndarray, "landmark 2"], labels: tuple[str, ...] = ()) -> None:
    """Write points, two a line with four decimals as in BUU-LSPINE; a missing label is 0."""
    rows = points.reshape(-1, 4)
    texts = labels or ("0",) * len(rows)
    lines = (",".join([*(f"{x:.4f}" for x in row), text]) for row, text in zip(rows, texts, strict=True))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def end_plate_oddities(
    points: Float[np.ndarray, "landmark 2"], size: tuple[int, int], schema: LandmarkSchema
) -> Iterator[str]:
    """Describe end plates whose ends are exchanged, vertebrae that do not descend and points outside of the film."""
    height, width = size
    for name, (x, y) in zip(schema.names, points, strict=True):
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5) and np.isfinite(x):
            yield f"{name} at ({x:g}, {y:g}) lies outside the film of {width} x {height} px."
    for (left, right), (one, two) in zip(schema.flips, points.reshape(-1, 2, 2), strict=True):
        if one[0] > two[0]:
            yield f"{left} lies to the right of {right}."
    centres = {group: points[list(index), 1].mean() for group, index in schema.group_index.items()}
    for (upper, above), (lower, below) in pairwise(centres.items()):
        if below <= above:
            yield f"the centre of {lower} is not below that of {upper}."


def _outline(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the sides of a vertebra, or the one end plate of the sacrum."""
    ring = [names[i] for i in (0, 1, 3, 2, 0)] if len(names) == len(CORNERS) else list(names)
    yield from pairwise(ring)
