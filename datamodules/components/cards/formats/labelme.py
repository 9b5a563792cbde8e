"""LabelMe: a JSON file per image, whose shapes of type `point` are the landmarks."""

from __future__ import annotations

from pathlib import Path

from datamodules.components.cards.formats.common import Labels, Source, collect, entry, point, read_json
from datamodules.components.errors import DataError


def read(source: Source) -> list[Labels]:
    """Return the labels of every file; shapes that are no points are passed over.

    Raises:
        DataError: An entry is not what it should be; file, entry and value are named.
    """
    return [_read(path, source) for path in source.paths]


def _read(path: Path, source: Source) -> Labels:
    content = read_json(path)
    shapes = entry(content, "shapes", list, str(path))
    pairs = []
    for index, shape in enumerate(shapes):
        place = f"{path}, shapes[{index}]"
        if not isinstance(shape, dict) or shape.get("shape_type", "point") != "point":
            continue
        values = entry(shape, "points", list, place)
        if len(values) != 1 or not isinstance(values[0], list) or len(values[0]) != 2:
            raise DataError(f"{place} has {values!r} where one point is needed; correct it in LabelMe.")
        pairs.append((str(entry(shape, "label", str, place)), point(values[0][0], values[0][1], place)))
    height, width = content.get("imageHeight"), content.get("imageWidth")
    size = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    image = content.get("imagePath") or path.stem
    return Labels(str(image), str(path), collect(pairs, str(path)), {}, size)
