"""Wide CSV: a line per image, two columns per landmark."""

from __future__ import annotations

from datamodules.components.cards.formats.common import (
    Labels,
    Line,
    Source,
    collect,
    column,
    in_order,
    point,
    read_table,
)
from datamodules.components.errors import DataError

X, Y = "{name}_x", "{name}_y"


def read(source: Source) -> list[Labels]:
    """Return the labels of every line.

    Raises:
        DataError: A column or value is not what it should be; file, line and value are named.
    """
    spec = source.spec
    lines = [line for path in source.paths for line in read_table(path, spec.delimiter, header=spec.header)]
    return [_labels(line, source) if spec.header else _unnamed(line, source) for line in lines]


def _labels(line: Line, source: Source) -> Labels:
    spec = source.spec
    keys = {label: [key.replace("{name}", label) for key in (spec.x or X, spec.y or Y)] for label in source.labels}
    pairs = [
        (label, point(column(line, x, label), column(line, y, label), line.place, spec.decimal))
        for label, (x, y) in keys.items()
    ]
    used = {name for names in keys.values() for name in names}
    others = {name: value for name, value in line.values.items() if name not in used}
    return Labels(column(line, spec.case, "the image"), line.place, collect(pairs, line.place), others)


def _unnamed(line: Line, source: Source) -> Labels:
    """The image, then x, y of every landmark in order."""
    image, *values = line.values.values()
    if len(values) != 2 * source.landmarks:
        raise DataError(
            f"{line.place} holds {len(values)} numbers after the image, but {source.landmarks} landmarks need "
            f"{2 * source.landmarks}; correct the line or the card's names."
        )
    points = [point(x, y, line.place, source.spec.decimal) for x, y in zip(values[::2], values[1::2], strict=True)]
    return Labels(image, line.place, in_order(points, source, line.place))
