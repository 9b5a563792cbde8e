"""What the readers of annotation files share: the result, numbers, tables, and errors with file, place and value."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datamodules.components.cards.card import Annotations
from datamodules.components.cards.values import nearest
from datamodules.components.errors import DataError

Point = tuple[float, float]
MISSING = ("", "na", "n/a", "nan", "none", "null")
DELIMITERS = ",;\t|"


class Labels(NamedTuple):
    """The labels of one image as an annotation file has them.

    Attributes:
        image: How the file names the image.
        place: File and line or entry, for messages.
        points: Label to (x, y); NaN where missing.
        columns: The other columns of its line, where the file is a table.
        size: (height, width) of the image the labels were made on, where the file says so.
    """

    image: str
    place: str
    points: Mapping[str, Point]
    columns: Mapping[str, str] = {}
    size: tuple[int, int] | None = None


class Source(NamedTuple):
    """What a reader is given.

    Attributes:
        root: The card's folder, from which `image` paths may be told.
        paths: The annotation files.
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


class Line(NamedTuple):
    """A line of a table.

    Attributes:
        place: File and line.
        values: Column to value, stripped.
    """

    place: str
    values: Mapping[str, str]


def number(text: object, place: str, decimal: str = ".") -> float:
    """Return a finite number; NaN for an empty field and for words that mean missing.

    Raises:
        DataError: It is no number.
    """
    plain = str(text).strip()
    if text is None or plain.lower() in MISSING:
        return math.nan
    try:
        value = float(plain if decimal == "." else plain.replace(decimal, "."))
    except ValueError:
        value = math.inf
    if isinstance(text, bool) or math.isinf(value):
        raise DataError(f"{place} holds {plain!r} where a number is needed; correct it or leave it empty if missing.")
    return value


def point(x: object, y: object, place: str, decimal: str = ".") -> Point:
    """Return a point; it is missing as a whole where a coordinate is."""
    values = number(x, place, decimal), number(y, place, decimal)
    return (math.nan, math.nan) if math.isnan(sum(values)) else values


def collect(pairs: Iterable[tuple[str, Point]], place: str) -> dict[str, Point]:
    """Return label to point.

    Raises:
        DataError: A label stands twice.
    """
    points: dict[str, Point] = {}
    for label, found in pairs:
        if label in points:
            raise DataError(f"{place} has the label {label!r} twice for one image; remove one of them.")
        points[label] = found
    return points


def in_order(values: Sequence[Point], source: Source, place: str) -> dict[str, Point]:
    """Return label to point where the file has the points in the landmarks' order, without labels.

    Raises:
        DataError: There are more or fewer of them.
    """
    if len(values) != source.landmarks:
        raise DataError(
            f"{place} has {len(values)} points, but the card has {source.landmarks} names; make them agree."
        )
    return dict(zip(source.ordered, values, strict=True))


def read_text(path: Path) -> str:
    """Return a text file.

    Raises:
        DataError: It is not there or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}); save it as UTF-8.") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        DataError: It is not there, is not JSON or is no object.
    """
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}, line {error.lineno} is not JSON ({error.msg}); export the file again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}, line 1 holds no JSON object; export the file again.")
    return content


def entry(content: object, key: str, kind: type, place: str) -> Any:  # noqa: ANN401  # what JSON holds
    """Return a value of a JSON object.

    Raises:
        DataError: It is not there or of another kind.
    """
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{place} has {value!r} as {key!r} where a {kind.__name__} is needed; export the file again.")
    return value


def read_table(path: Path, delimiter: str = "", *, header: bool = True) -> list[Line]:
    """Return a CSV file's lines; without a header the columns are called 0, 1, 2 ...

    Raises:
        DataError: It is no text, or a line has more or fewer values than the first.
    """
    text = read_text(path)
    first = text.partition("\n")[0]
    delimiter = delimiter or max(DELIMITERS, key=first.count)
    reader = csv.reader(text.splitlines(), delimiter=delimiter)
    names: list[str] | None = None
    lines = []
    for row in reader:
        if not any(value.strip() for value in row):
            continue
        if names is None:
            names = [value.strip() for value in row] if header else [str(index) for index in range(len(row))]
            if len(set(names)) < len(names):
                raise DataError(f"{path}, line {reader.line_num} names a column twice; rename one of them.")
            if header:
                continue
        place = f"{path}, line {reader.line_num}"
        if len(row) != len(names):
            raise DataError(f"{place} holds {len(row)} values instead of {len(names)}; correct the line.")
        lines.append(Line(place, dict(zip(names, map(str.strip, row), strict=True))))
    if not lines:
        raise DataError(f"{path}, line 1: the table is empty; give it a line per image.")
    return lines


def column(line: Line, name: str, what: str) -> str:
    """Return a value of a line; an empty `name` means the first column.

    Raises:
        DataError: There is no such column.
    """
    name = name or next(iter(line.values))
    if name not in line.values:
        raise DataError(f"{line.place}: there is no column {name!r} for {what}; {nearest(name, list(line.values))}")
    return line.values[name]
