"""COCO keypoints: JSON with `images`, `annotations` (x, y, v each) and the names in `categories`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from datamodules.components.cards.formats.common import (
    ImageLabels,
    Point,
    PointLabel,
    Source,
    attempt,
    entry,
    image_size,
    in_order,
    point,
    read_json,
    shown,
)
from datamodules.components.errors import DataError

Entries = list[tuple[str, dict[str, Any]]]


def parse(path: Path, source: Source) -> Iterator[ImageLabels | DataError]:
    """Yield the labels of every image that has keypoints, or what is wrong with them; v = 0 means missing.

    An annotation's category is its structure. Annotations without keypoints are passed over. A file name is relative to
    the JSON file.

    Raises:
        DataError: The file is not JSON, or lacks one of the lists.
    """
    content = read_json(path)
    images = {str(item.get("id")): item for item in _objects(content, "images", path)}
    categories = {str(item.get("id")): item for item in _objects(content, "categories", path, needed=False)}
    annotated: dict[str, Entries] = {}
    for index, annotation in enumerate(_objects(content, "annotations", path)):
        location = f"{path}, annotations[{index}]"
        image = str(annotation.get("image_id"))
        if image not in images:
            yield DataError(f"{location} is of image {shown(annotation.get('image_id'))}, which `images` lacks.")
        elif annotation.get("keypoints") not in (None, []):
            annotated.setdefault(image, []).append((location, annotation))
    for image, entries in annotated.items():
        yield attempt(_labels, path, images[image], entries, categories, source)


def _labels(
    path: Path, image: Mapping[str, Any], entries: Entries, categories: Mapping[str, Mapping[str, Any]], source: Source
) -> ImageLabels:
    marks: list[PointLabel] = []
    for location, annotation in entries:
        points = _points(entry(annotation, "keypoints", list, location), location)
        category = categories.get(str(annotation.get("category_id")), {})
        structure = str(category.get("name", ""))
        if names := category.get("keypoints"):
            marks += _named(names, points, structure, location)
        elif len(entries) == 1:
            marks += in_order(points, source, location)
        else:
            marks += [PointLabel(str(index), point, structure) for index, point in enumerate(points, 1)]
    location = entries[0][0]
    folder = path.parent.relative_to(source.root).as_posix()
    name = entry(image, "file_name", str, location)
    own = name if folder == "." else f"{folder}/{name}"
    return ImageLabels(own, location, marks, {}, image_size(image.get("height"), image.get("width")))


def _objects(content: Mapping[str, Any], key: str, path: Path, *, needed: bool = True) -> list[dict[str, Any]]:
    values = content.get(key, None if needed else [])
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DataError(f"{path}, line 1 has no list of objects {key!r}; export it as COCO keypoints again.")
    return values


def _points(values: Sequence[object], location: str) -> list[Point]:
    if len(values) % 3:
        raise DataError(f"{location} has {len(values)} keypoint values, which are no triples x, y, v; export it again.")
    triples = zip(values[::3], values[1::3], values[2::3], strict=True)
    return [(math.nan, math.nan) if v == 0 else point(x, y, location) for x, y, v in triples]


def _named(names: object, points: Sequence[Point], structure: str, location: str) -> list[PointLabel]:
    if not isinstance(names, list) or len(names) != len(points):
        raise DataError(f"{location} has {len(points)} keypoints, but its category names others; export it again.")
    return [PointLabel(str(name), point, structure) for name, point in zip(names, points, strict=True)]
