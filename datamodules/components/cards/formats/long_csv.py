"""Long CSV: a line per image and landmark."""

from __future__ import annotations

from datamodules.components.cards.formats.common import Labels, Line, Source, collect, column, point, read_table

Keys = tuple[str, str, str]


def read(source: Source) -> list[Labels]:
    """Return the labels of every image, in the order of its first line.

    Raises:
        DataError: A column or value is not what it should be; file, line and value are named.
    """
    spec = source.spec
    images: dict[str, list[Line]] = {}
    for path in source.paths:
        for line in read_table(path, spec.delimiter):
            images.setdefault(column(line, spec.case, "the image"), []).append(line)
    return [_labels(image, lines, source) for image, lines in images.items()]


def _labels(image: str, lines: list[Line], source: Source) -> Labels:
    spec = source.spec
    keys = spec.label, spec.x or "x", spec.y or "y"
    points = collect((_point(line, keys, spec.decimal) for line in lines), lines[0].place)
    others = {name: value for name, value in lines[0].values.items() if name not in keys}
    return Labels(image, lines[0].place, points, others)


def _point(line: Line, keys: Keys, decimal: str) -> tuple[str, tuple[float, float]]:
    label, x, y = (column(line, key, what) for key, what in zip(keys, ("the label", "x", "y"), strict=True))
    return label, point(x, y, line.place, decimal)
