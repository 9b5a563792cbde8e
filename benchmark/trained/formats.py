"""Predicted landmarks in the formats that people and annotation programs read."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
import pandas as pd

from benchmark.store import write_atomically
from benchmark.trained.measures import MeasureTable
from benchmark.trained.predict import FilmLandmarks, Predicted

Format = Literal["csv", "json", "coco", "labelme"]
CORNER: Final = 0.5
"""What LabelMe adds to our coordinates: its (0, 0) is the outer corner of the first pixel, ours its centre."""


def write_landmarks(path: Path, predicted: Predicted, measured: MeasureTable, kind: Format) -> list[Path]:
    """Write landmarks and measures.

    Args:
        path: The file; for LabelMe, which has a file per film, the folder.
        predicted: The landmarks.
        measured: The measures of the same films.
        kind: The format.

    Returns:
        The files that were written; of LabelMe's the folder.
    """
    return WRITERS[kind](path, predicted, measured)


def format_of(path: Path) -> Format:
    """Return the format that a file's name asks for: CSV or JSON; a name without a suffix is LabelMe's folder.

    Raises:
        ValueError: The suffix is none of them.
    """
    known: dict[str, Format] = {".csv": "csv", ".json": "json", "": "labelme"}
    if path.suffix.lower() not in known:
        formats = ", ".join(get_args(Format))
        raise ValueError(f"{path} names no format; end it in .csv or .json, or choose one with --format: {formats}.")
    return known[path.suffix.lower()]


def landmark_table(predicted: Predicted) -> pd.DataFrame:
    """Return one row per film and landmark, in pixels of the film and, where its spacing is known, in millimetres."""
    rows = [row for item in predicted.films for row in _rows(item, predicted)]
    return pd.DataFrame(rows)


def measure_table(predicted: Predicted, measured: MeasureTable) -> pd.DataFrame:
    """Return one row per film, a column per measure with its unit."""
    columns = [f"{name}_{unit.replace('%', 'percent')}" if unit else name for name, unit in measured.units.items()]
    table = pd.DataFrame(measured.films, columns=columns)
    table.insert(0, "film", [str(item.film.path) for item in predicted.films])
    return table


def _rows(item: FilmLandmarks, predicted: Predicted) -> list[dict[str, Any]]:
    film, answer = item
    (spacing_x, spacing_y), (height, width) = film.spacing, film.size
    mm = math.sqrt(spacing_x * spacing_y)
    sigma = np.sqrt(answer.covariance[:, 0, 0] + answer.covariance[:, 1, 1])
    level = f"{100 * predicted.level:g}"
    return [
        {
            "film": str(film.path),
            "landmark": name,
            "x": x,
            "y": y,
            "x_mm": x * spacing_x,
            "y_mm": y * spacing_y,
            "sigma_px": sigma[place],
            "sigma_mm": sigma[place] * mm,
            f"radius_{level}_px": answer.radius[place],
            f"radius_{level}_mm": answer.radius[place] * mm,
            "cov_xx": answer.covariance[place, 0, 0],
            "cov_xy": answer.covariance[place, 0, 1],
            "cov_yy": answer.covariance[place, 1, 1],
            "width": width,
            "height": height,
            "spacing_x": spacing_x,
            "spacing_y": spacing_y,
        }
        for place, (name, (x, y)) in enumerate(zip(predicted.schema.names, answer.points.tolist(), strict=True))
    ]


def _write_csv(path: Path, predicted: Predicted, measured: MeasureTable) -> list[Path]:
    files = [_write_table(path, landmark_table(predicted))]
    if measured.units:
        files.append(_write_table(path.with_name(f"{path.stem}-measures.csv"), measure_table(predicted, measured)))
    return files


def _write_table(path: Path, table: pd.DataFrame) -> Path:
    write_atomically(path, lambda file: table.to_csv(file, index=False, float_format="%.6g", lineterminator="\n"))
    return path


def _write_json(path: Path, predicted: Predicted, measured: MeasureTable) -> list[Path]:
    films = []
    for item, values in zip(predicted.films, measured.films, strict=True):
        rows = [{k: v for k, v in row.items() if k not in _OF_FILM} for row in _rows(item, predicted)]
        own = {"film": str(item.film.path), "height": item.film.size[0], "width": item.film.size[1]}
        units = {name: {"value": v, "unit": u} for (name, u), v in zip(measured.units.items(), values, strict=True)}
        films.append({**own, "spacing": list(item.film.spacing), "landmarks": rows, "measures": units})
    unread = [{"film": str(path), "reason": reason} for path, reason in predicted.problems.items()]
    return [_write_object(path, {"films": films, "unread": unread})]


_OF_FILM: Final = frozenset({"film", "width", "height", "spacing_x", "spacing_y"})


def _write_coco(path: Path, predicted: Predicted, measured: MeasureTable) -> list[Path]:
    """Write COCO keypoints; file names are relative to the JSON file, pixel centres are at integers."""
    del measured
    schema = predicted.schema
    lines = [[a + 1 for a in schema.index(edge)] for edge in schema.edges]
    category = {"id": 1, "name": "film", "keypoints": list(schema.names), "skeleton": lines}
    images, annotations = [], []
    for number, (film, answer) in enumerate(predicted.films, 1):
        name = _relative(film.path, path.parent)
        images.append({"id": number, "file_name": name, "height": film.size[0], "width": film.size[1]})
        low, high = answer.points.min(axis=0), answer.points.max(axis=0)
        box = [*low.tolist(), *(high - low).tolist()]
        annotations.append(
            {
                "id": number,
                "image_id": number,
                "category_id": 1,
                "num_keypoints": len(schema),
                "keypoints": [value for x, y in answer.points.tolist() for value in (x, y, 2)],
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
            }
        )
    return [_write_object(path, {"images": images, "annotations": annotations, "categories": [category]})]


def _write_labelme(path: Path, predicted: Predicted, measured: MeasureTable) -> list[Path]:
    """Write a file per film into a folder, named like the film; the picture is found beside its own file."""
    del measured
    files = [item.film.path.resolve() for item in predicted.films]
    above = Path(os.path.commonpath([file.parent for file in files])) if files else path
    for (film, answer), file in zip(predicted.films, files, strict=True):
        target = path / file.relative_to(above).with_suffix(".json")
        shapes: list[dict[str, Any]] = [
            {"label": name, "points": [[x + CORNER, y + CORNER]], "group_id": None, "shape_type": "point", "flags": {}}
            for name, (x, y) in zip(predicted.schema.names, answer.points.tolist(), strict=True)
        ]
        picture = {"imagePath": _relative(file, target.parent), "imageData": None}
        size = {"imageHeight": film.size[0], "imageWidth": film.size[1]}
        _write_object(target, {"version": "5.5.0", "flags": {}, "shapes": shapes, **picture, **size})
    return [path]


def _relative(path: Path, folder: Path) -> str:
    """Return a path as seen from a folder, with forward slashes."""
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _write_object(path: Path, content: Mapping[str, Any]) -> Path:
    text = json.dumps(_finite(content), indent=1, allow_nan=False)
    write_atomically(path, lambda file: file.write_text(text + "\n", encoding="utf-8"))
    return path


def _finite(value: Any) -> Any:  # noqa: ANN401  # any part of a JSON document
    """Return it with null where JSON has no number."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    number = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(number, float) and not math.isfinite(number) else number


WRITERS: Final[Mapping[Format, Callable[[Path, Predicted, MeasureTable], list[Path]]]] = {
    "csv": _write_csv,
    "json": _write_json,
    "coco": _write_coco,
    "labelme": _write_labelme,
}
