"""Wide CSV: a line per image, two columns per landmark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datamodules.components.cards.formats.common import ImageLabels, PointLabel, Source, attempt, in_order, point
from datamodules.components.cards.formats.tables import IMAGE, CsvRow, column, read_table
from datamodules.components.errors import DataError

X, Y = "{name}_x", "{name}_y"


def parse(path: Path, source: Source) -> Iterator[ImageLabels | DataError]:
    """Yield the labels of every line, or what is wrong with it.

    Raises:
        DataError: The file is no table, or a column is not there.
    """
    spec = source.spec
    rows = read_table(path, spec.delimiter, header=spec.header)
    columns = {label: [key.replace("{name}", label) for key in (spec.x or X, spec.y or Y)] for label in source.labels}
    if spec.header and (sound := next((row for row in rows if isinstance(row, CsvRow)), None)):
        for label, names in columns.items():
            _ = [column(sound, name, label) for name in names]
    for row in rows:
        if isinstance(row, DataError):
            yield row
        elif spec.header:
            yield attempt(_named, row, columns, source)
        else:
            yield attempt(_unnamed, row, source)


def _named(row: CsvRow, columns: dict[str, list[str]], source: Source) -> ImageLabels:
    marks = [
        PointLabel(label, point(row.values[x], row.values[y], row.location, source.spec.decimal))
        for label, (x, y) in columns.items()
    ]
    used = {name for names in columns.values() for name in names}
    others = {name: value for name, value in row.values.items() if name not in used}
    return ImageLabels(column(row, source.spec.case, IMAGE), row.location, marks, others)


def _unnamed(row: CsvRow, source: Source) -> ImageLabels:
    """Return the labels of a line that is the image, then x, y of every landmark in order."""
    image, *values = row.values.values()
    needed = 2 * source.landmarks
    if len(values) < needed or any(values[needed:]):
        raise DataError(
            f"{row.location} holds {len(values)} numbers after the image, but {source.landmarks} landmarks need "
            f"{needed}; correct the line or the card's names."
        )
    coordinates = zip(values[:needed:2], values[1:needed:2], strict=True)
    points = [point(x, y, row.location, source.spec.decimal) for x, y in coordinates]
    return ImageLabels(image, row.location, in_order(points, source, row.location))
