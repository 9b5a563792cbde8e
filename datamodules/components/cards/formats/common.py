"""What the parsers of label files share: input and result, numbers, JSON, and errors with file, entry and value."""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

from datamodules.components.cards.card import Annotations
from datamodules.components.errors import DataError

Point = tuple[float, float]
P = ParamSpec("P")
T = TypeVar("T")
MISSING = ("", "na", "n/a", "nan", "none", "null")
LONGEST_VALUE = 80
"""Characters of a value that an error shows."""

_shortened = reprlib.Repr()
_shortened.maxstring = _shortened.maxother = LONGEST_VALUE


class PointLabel(NamedTuple):
    """One labelled point.

    Attributes:
        label: What the file calls it.
        point: (x, y) as the file has it; NaN where missing.
        structure: The category, skeleton or group that it belongs to; empty where there is none.
    """

    label: str
    point: Point
    structure: str = ""


class ImageLabels(NamedTuple):
    """The labels of one image as a label file has them.

    Attributes:
        image: How the file names the image.
        location: File and line or entry, for messages.
        marks: The labelled points.
        columns: The other columns of its line, where the file is a table.
        size: (height, width) of the image the labels were made on, where the file says so.
        other_image: Another image that the file names, where it contradicts itself.
        embedded: Returns the bytes of the image that the file holds, for a file that contradicts itself.
    """

    image: str
    location: str
    marks: Sequence[PointLabel]
    columns: Mapping[str, str] = {}
    size: tuple[int, int] | None = None
    other_image: str = ""
    embedded: Callable[[], bytes] | None = None


class Source(NamedTuple):
    """What a parser is given.

    Attributes:
        root: The card's folder, from which `image` paths may be told.
        paths: The label files.
        spec: The card's `annotations`.
        labels: The labels that the card needs, the landmarks' in order first.
        landmarks: How many of the labels are landmarks.
    """

    root: Path
    paths: Sequence[Path]
    spec: Annotations
    labels: tuple[str, ...]
    landmarks: int

    @property
    def ordered(self) -> tuple[str, ...]:
        """The landmarks' labels, in order."""
        return self.labels[: self.landmarks]


def attempt(parse: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | DataError:
    """Return what `parse` returns, or the DataError that it raises: a flawed entry does not stop the others."""
    try:
        return parse(*args, **kwargs)
    except DataError as error:
        return error


def shown(value: object) -> str:
    """Return a value as an error shows it, without the middle of a long one."""
    return _shortened.repr(value)


def number(text: object, location: str, decimal: str = ".") -> float:
    """Return a finite number; NaN for an empty field and for words that mean missing.

    Raises:
        DataError: It is no number.
    """
    plain = str(text).strip() if isinstance(text, (str, int, float)) else ""
    if text is None or (isinstance(text, (str, float)) and plain.lower() in MISSING):
        return math.nan
    try:
        value = float(plain if decimal == "." else plain.replace(decimal, "."))
    except ValueError:
        value = math.inf
    if isinstance(text, bool) or math.isinf(value):
        cure = "correct it or leave it empty if missing"
        if decimal == "." and plain.count(",") == 1 and math.isfinite(_or_infinity(plain.replace(",", "."))):
            cure = "write `decimal: ','` under the card's annotations if this is a decimal comma"
        raise DataError(f"{location} holds {shown(text)} where a number is needed; {cure}.")
    return value


def _or_infinity(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.inf


def point(x: object, y: object, location: str, decimal: str = ".") -> Point:
    """Return a point; it is missing as a whole where a coordinate is."""
    values = number(x, location, decimal), number(y, location, decimal)
    return (math.nan, math.nan) if math.isnan(sum(values)) else values


def in_order(points: Sequence[Point], source: Source, location: str) -> list[PointLabel]:
    """Return the points as marks where the file has them in the landmarks' order, without labels.

    Raises:
        DataError: There are more or fewer of them.
    """
    if len(points) != source.landmarks:
        raise DataError(
            f"{location} has {len(points)} points, but the card has {source.landmarks} names; make them agree."
        )
    return [PointLabel(label, point) for label, point in zip(source.ordered, points, strict=True)]


def refuse_repeats(keys: Iterable[tuple[str, str]], location: str) -> None:
    """Raise a DataError for a (structure, label) that one image has twice."""
    seen: set[tuple[str, str]] = set()
    for structure, label in keys:
        if (structure, label) in seen:
            of = f" in {shown(structure)}" if structure else ""
            raise DataError(
                f"{location} has the label {shown(label)} twice{of} for one image; remove one of them, or give each "
                f"structure its own COCO category, CVAT skeleton or LabelMe group_id."
            )
        seen.add((structure, label))


def read_text(path: Path) -> str:
    """Return a text file.

    Raises:
        DataError: It is not there or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}, line 1 cannot be read as text ({error}); save it as UTF-8.") from error
    if "\0" in text:
        raise DataError(f"{path}, line 1 cannot be read as text (it holds zero bytes); save it as UTF-8.")
    return text


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        DataError: It is not there, is not JSON, is nested too deeply or is no object.
    """
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno} is not JSON ({error.msg}); export the file again.") from error
    except DataError:
        raise
    except (RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
        raise DataError(f"{path}, line 1 is not JSON of labels ({reason}); export the file again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}, line 1 holds no JSON object; export the file again.")
    return content


def entry(content: object, key: str, expected: type, location: str) -> Any:  # noqa: ANN401  # what JSON holds
    """Return a value of a JSON object.

    Raises:
        DataError: It is not there or of another type.
    """
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, expected) or isinstance(value, bool):
        raise DataError(
            f"{location} has {shown(value)} as {key!r} where a {expected.__name__} is needed; export the file again."
        )
    return value


def image_size(height: object, width: object) -> tuple[int, int] | None:
    """Return (height, width) where a file gives both as whole numbers."""
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
