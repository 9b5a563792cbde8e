"""Wide tables of landmarks: one CSV line per image, two columns `<name>-x`, `<name>-y` per landmark."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from datamodules.components.errors import DataError
from datamodules.components.labels.parsing import parse_row, read_lines, whole


class PointRow(NamedTuple):
    """One line of a table.

    Attributes:
        line: Its number in the file, from 1.
        facts: Column -> text, of the columns that are not coordinates.
        points: (x, y) in pixels of the image; NaN where both cells or one of them are empty or `nan`.
    """

    line: int
    facts: dict[str, str]
    points: Float[np.ndarray, "landmark 2"]


TABLE = "landmarks.csv"
"""The name of such a table in a dataset's folder."""


def point_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of these landmarks.

    Example:
        >>> point_columns(("TL", "SP"))
        ('TL-x', 'TL-y', 'SP-x', 'SP-y')
    """
    return tuple(f"{name}-{axis}" for name in names for axis in "xy")


def read_point_table(path: Path, facts: Sequence[str], names: Sequence[str]) -> Iterator[PointRow]:
    """Yield the rows of a table with a header; columns may stand in any order and others are ignored.

    Args:
        path: The CSV file.
        facts: The columns beside the coordinates that must be there.
        names: The landmarks.

    Raises:
        DataError: A column is missing, a line has more or fewer cells than the header, or a coordinate is no number.
    """
    rows = csv.reader(read_lines(path))
    header = [cell.strip() for cell in next(rows, [])]
    wanted = point_columns(names)
    if absent := [column for column in (*facts, *wanted) if column not in header]:
        raise DataError(f"{path}, line 1 has no column {absent[0]!r}; a table needs {', '.join((*facts, *wanted))}.")
    at = [header.index(column) for column in wanted]
    for cells in rows:
        line = rows.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise DataError(f"{path}, line {line} has {len(cells)} cells where the header has {len(header)}.")
        values = parse_row([cells[i].strip() or "nan" for i in at], len(at), path, line)
        known = {column: cells[header.index(column)].strip() for column in facts}
        yield PointRow(line, known, whole(values.reshape(-1, 2)))


def outside(points: Float[np.ndarray, "landmark 2"], names: Sequence[str], size: tuple[int, int]) -> Iterator[str]:
    """Describe the points that lie outside of a film of `size` (height, width)."""
    height, width = size
    for name, (x, y) in zip(names, points, strict=True):
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5) and np.isfinite(x):
            yield f"{name} at ({x:g}, {y:g}) lies outside the film of {width} x {height} px."
