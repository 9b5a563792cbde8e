"""Long CSV: a line per image and landmark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datamodules.components.cards.formats.common import ImageLabels, PointLabel, Source, attempt, point
from datamodules.components.cards.formats.tables import IMAGE, CsvRow, column, read_table
from datamodules.components.errors import DataError

Keys = tuple[str, str, str]


def parse(path: Path, source: Source) -> Iterator[ImageLabels | DataError]:
    """Yield the labels of every image, in the order of its first line, or what is wrong with them.

    Raises:
        DataError: The file is no table, or a column is not there.
    """
    spec = source.spec
    keys = spec.label, spec.x or "x", spec.y or "y"
    images: dict[str, list[CsvRow]] = {}
    for row in read_table(path, spec.delimiter):
        if isinstance(row, DataError):
            yield row
            continue
        _ = [column(row, key, what) for key, what in zip(keys, ("the label", "x", "y"), strict=True)]
        images.setdefault(column(row, spec.case, IMAGE), []).append(row)
    for image, rows in images.items():
        yield attempt(_labels, image, rows, keys, spec.decimal)


def _labels(image: str, rows: list[CsvRow], keys: Keys, decimal: str) -> ImageLabels:
    label, x, y = keys
    marks = [PointLabel(row.values[label], point(row.values[x], row.values[y], row.location, decimal)) for row in rows]
    others = {name: value for name, value in rows[0].values.items() if name not in keys}
    return ImageLabels(image, rows[0].location, marks, others)
