"""LabelMe: a JSON file per image, whose shapes of type `point` are the landmarks."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from datamodules.components.cards.formats.common import (
    ImageLabels,
    PointLabel,
    Source,
    entry,
    image_size,
    point,
    read_json,
    shown,
)
from datamodules.components.errors import DataError


def parse(path: Path, source: Source) -> Iterator[ImageLabels | DataError]:
    """Yield the labels of a file; shapes that are no points are passed over.

    A point with a `group_id` belongs to that structure, which is called by the group's shape that is no point where
    there is one with a label. A file whose `imagePath` contradicts its own name names both images.

    Raises:
        DataError: An entry is not what it should be; file, entry and value are named.
    """
    content = read_json(path)
    shapes = entry(content, "shapes", list, str(path))
    structures = _structures(shapes)
    marks = []
    for index, shape in enumerate(shapes):
        location = f"{path}, shapes[{index}]"
        if not isinstance(shape, dict) or shape.get("shape_type", "point") != "point":
            continue
        values = entry(shape, "points", list, location)
        if len(values) != 1 or not isinstance(values[0], list) or len(values[0]) != 2:
            raise DataError(f"{location} has {shown(values)} where one point is needed; correct it in LabelMe.")
        label = str(entry(shape, "label", str, location))
        marks.append(PointLabel(label, point(values[0][0], values[0][1], location), structures.get(_group(shape), "")))
    yield _image_labels(path, source, content, marks)


def embedded_image(path: Path) -> bytes:
    """Return the image that a file holds as `imageData`; empty where it holds none."""
    try:
        return base64.b64decode(read_json(path).get("imageData") or "")
    except (DataError, TypeError, binascii.Error, ValueError):
        return b""


def _image_labels(path: Path, source: Source, content: dict[str, Any], marks: list[PointLabel]) -> ImageLabels:
    size = image_size(content.get("imageHeight"), content.get("imageWidth"))
    named = str(content.get("imagePath") or path.stem)
    if _stem(named) == path.stem:
        return ImageLabels(named, str(path), marks, {}, size)
    own = path.relative_to(source.root).with_suffix("").as_posix()
    return ImageLabels(own, str(path), marks, {}, size, named, partial(embedded_image, path))


def _stem(image: str) -> str:
    return PurePosixPath(image.replace("\\", "/")).stem


def _structures(shapes: list[Any]) -> dict[str, str]:
    """Return each group's name: the label of its shape that is no point, or its number."""
    structures: dict[str, str] = {}
    for shape in shapes:
        group = _group(shape)
        if group and shape.get("shape_type", "point") == "point":
            structures.setdefault(group, group)
        elif group and isinstance(shape.get("label"), str):
            structures[group] = shape["label"]
    return structures


def _group(shape: object) -> str:
    group = shape.get("group_id") if isinstance(shape, dict) else None
    return "" if group is None else str(group)
