"""COCO keypoints: one JSON file with `images`, `annotations` (x, y, v each) and the names in `categories`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.components.cards.formats.common import (
    Labels,
    Point,
    Source,
    collect,
    entry,
    in_order,
    point,
    read_json,
)
from datamodules.components.errors import DataError


def read(source: Source) -> list[Labels]:
    """Return the labels of every annotation; v = 0 means missing.

    Raises:
        DataError: An entry is not what it should be; file, entry and value are named.
    """
    return [labels for path in source.paths for labels in _read(path, source)]


def _read(path: Path, source: Source) -> list[Labels]:
    content = read_json(path)
    images = {str(item.get("id")): item for item in _objects(content, "images", path)}
    names = {str(item.get("id")): item.get("keypoints") for item in _objects(content, "categories", path, needed=False)}
    found = []
    for index, annotation in enumerate(_objects(content, "annotations", path)):
        place = f"{path}, annotations[{index}]"
        image = images.get(str(annotation.get("image_id")))
        if image is None:
            raise DataError(f"{place} is of image {annotation.get('image_id')!r}, which `images` lacks; add the image.")
        values = _points(entry(annotation, "keypoints", list, place), place)
        labels = names.get(str(annotation.get("category_id")))
        points = collect(_named(labels, values, place), place) if labels else in_order(values, source, place)
        found.append(Labels(entry(image, "file_name", str, place), place, points, {}, _size(image)))
    return found


def _objects(content: Mapping[str, Any], key: str, path: Path, *, needed: bool = True) -> list[dict[str, Any]]:
    values = content.get(key, None if needed else [])
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DataError(f"{path} has no list of objects {key!r}; export it as COCO keypoints again.")
    return values


def _points(values: Sequence[object], place: str) -> list[Point]:
    if len(values) % 3:
        raise DataError(f"{place} has {len(values)} keypoint values, which are no triples x, y, v; export it again.")
    triples = zip(values[::3], values[1::3], values[2::3], strict=True)
    return [(math.nan, math.nan) if v == 0 else point(x, y, place) for x, y, v in triples]


def _named(labels: object, values: Sequence[Point], place: str) -> list[tuple[str, Point]]:
    if not isinstance(labels, list) or len(labels) != len(values):
        raise DataError(f"{place} has {len(values)} keypoints, but its category names others; export it again.")
    return list(zip(map(str, labels), values, strict=True))


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
