"""Labelled films in the formats that a card can name: long tables, COCO, LabelMe, CVAT and text files."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from datamodules.phantom.card_formats import (
    Labelled,
    number_text,
    write_dicom,
    write_private,
    write_table,
    write_wide,
)

__all__ = [
    "Labelled",
    "write_coco",
    "write_cvat",
    "write_dicom",
    "write_labelme",
    "write_long",
    "write_private",
    "write_text",
    "write_wide",
]


def write_long(path: Path, films: Sequence[Labelled], names: Sequence[str]) -> None:
    """Write a table with a line per film and landmark; missing landmarks have none."""
    rows = [
        [film.image, name, number_text(x), number_text(y)]
        for film in films
        for name, (x, y) in zip(names, film.points, strict=True)
        if np.isfinite(x)
    ]
    write_table(path, [["film", "landmark", "x", "y"], *rows])


def write_coco(path: Path, films: Sequence[Labelled], names: Sequence[str]) -> None:
    """Write COCO keypoints; missing ones have v = 0."""
    keypoints = [
        [value for x, y in film.points.tolist() for value in ((x, y, 2) if math.isfinite(x) else (0, 0, 0))]
        for film in films
    ]
    content = {
        "images": [
            {"id": index, "file_name": film.image, "height": film.size[0], "width": film.size[1]}
            for index, film in enumerate(films)
        ],
        "categories": [{"id": 1, "name": "film", "keypoints": list(names)}],
        "annotations": [
            {"id": index, "image_id": index, "category_id": 1, "keypoints": values}
            for index, values in enumerate(keypoints)
        ],
    }
    path.write_text(json.dumps(content))


def write_labelme(folder: Path, films: Sequence[Labelled], names: Sequence[str]) -> None:
    """Write a LabelMe file per film."""
    folder.mkdir(parents=True, exist_ok=True)
    for film in films:
        shapes = [
            {"label": name, "points": [point], "shape_type": "point"}
            for name, point in zip(names, film.points.tolist(), strict=True)
            if math.isfinite(point[0])
        ]
        content: dict[str, object] = {
            **{"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"../{film.image}", "imageData": None},
            **{"imageHeight": film.size[0], "imageWidth": film.size[1]},
        }
        (folder / f"{Path(film.image).stem}.json").write_text(json.dumps(content, indent=2))


def write_cvat(path: Path, films: Sequence[Labelled], names: Sequence[str]) -> None:
    """Write CVAT for images 1.1; missing landmarks are outside."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for index, film in enumerate(films):
        height, width = map(str, film.size)
        image = ElementTree.SubElement(root, "image", id=str(index), name=film.image, width=width, height=height)
        for name, (x, y) in zip(names, film.points, strict=True):
            there = bool(np.isfinite(x))
            text = f"{number_text(x)},{number_text(y)}" if there else "0,0"
            ElementTree.SubElement(image, "points", label=name, points=text, outside="0" if there else "1")
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def write_text(folder: Path, films: Sequence[Labelled]) -> None:
    """Write a text file per film, `x y` in the landmarks' order."""
    folder.mkdir(parents=True, exist_ok=True)
    for film in films:
        lines = [f"{number_text(x) or 'nan'} {number_text(y) or 'nan'}" for x, y in film.points]
        (folder / f"{Path(film.image).stem}.txt").write_text("\n".join(lines) + "\n")
