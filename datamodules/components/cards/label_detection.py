"""Which format a folder's label files have, and which landmarks they name."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any

from datamodules.components.cards.card import Annotations
from datamodules.components.cards.film_index import visible_files
from datamodules.components.cards.formats import Source, parse_labels
from datamodules.components.cards.formats.common import MISSING, read_json, read_text
from datamodules.components.cards.formats.tables import read_table
from datamodules.components.errors import DataError

IMAGE = ("image", "film", "file", "filename", "file_name", "image_id", "case", "id", "name")
LABEL = ("landmark", "label", "point", "keypoint", "name")
WAYS = tuple(
    way for axis in "xX" for gap in ("_", ".", "-", " ", "") for way in ("{name}" + gap + axis, axis + gap + "{name}")
)
"""How a wide table may call a landmark's first column."""
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


@dataclass
class LabelFindings:
    """What the label files tell.

    Attributes:
        annotations: The card's `annotations`.
        names: The landmarks.
        files: The label files.
        columns: The table's columns that are no points, with their values.
    """

    annotations: dict[str, Any]
    names: list[str]
    files: list[Path]
    columns: Mapping[str, list[str]] = field(default_factory=dict)


def pattern_of(folder: Path, files: Sequence[Path]) -> str:
    """Return a pattern that matches the files: their common folder and, where they share it, their suffix.

    Example:
        >>> pattern_of(Path("set"), [Path("set/films/a/1.png"), Path("set/films/b/1.PNG")])
        'films/**/*.png'
    """
    suffixes = Counter(path.suffix.lower() for path in files)
    folders = {path.parent.relative_to(folder).as_posix() for path in files}
    shared = commonpath(folders)
    parts = [] if shared in ("", ".") else [glob.escape(Path(shared).as_posix())]
    suffix = next(iter(suffixes)) if len(suffixes) == 1 else ""
    return "/".join([*parts, *(["**"] if len(folders) > 1 else []), f"*{suffix}"])


def patterns_of(folder: Path, files: Sequence[Path]) -> str | list[str]:
    """Return the narrowest pattern that matches the label files and no others, or the files where there is none."""
    own: list[str] = [glob.escape(_relative(folder, path)) for path in files]
    same_name = [f"*/{glob.escape(files[0].name)}"] if len({path.name for path in files}) == 1 else []
    candidates: list[str] = [*(own if len(own) == 1 else ()), *same_name, pattern_of(folder, files)]
    for pattern in candidates:
        if visible_files(folder, pattern) == sorted(files):
            return pattern
    return own if len(own) <= len({path.parent for path in files}) * 3 else pattern_of(folder, files)


def find_labels(folder: Path, files: Sequence[Path]) -> LabelFindings:
    """Return what the label files of the first known format tell.

    Args:
        folder: Of the films and labels.
        files: Its files.

    Raises:
        DataError: There are none; a file that would be one but cannot be read is named.
    """
    refused: list[str] = []
    for suffixes, look in (
        ((".json",), _json),
        ((".xml",), _cvat),
        ((".csv", ".tsv"), _csv),
        ((".txt", ".pts", ".csv"), _texts),
    ):
        candidates = [path for path in files if path.suffix.lower() in suffixes]
        for findings in look(folder, candidates, refused):
            return findings
    reason = f": {refused[0]}" if refused else "; docs/private-data.md lists them: write the card by hand."
    raise DataError(f"{folder} holds no labels of a known format{reason}")


def _json(folder: Path, files: Sequence[Path], refused: list[str]) -> Iterator[LabelFindings]:
    labelme: list[Path] = []
    coco: dict[Path, Mapping[str, Any]] = {}
    for path in files:
        try:
            content = read_json(path)
        except DataError as error:
            refused.append(str(error))
            continue
        if isinstance(content.get("annotations"), list) and isinstance(content.get("images"), list):
            if any(isinstance(item, dict) and item.get("keypoints") for item in content["annotations"]):
                coco[path] = content
        elif isinstance(content.get("shapes"), list):
            labelme.append(path)
    if coco:
        yield _named("coco", folder, list(coco), _keypoints(coco))
    if labelme:
        yield _named("labelme", folder, labelme)


def _keypoints(files: Mapping[Path, Mapping[str, Any]]) -> int:
    """Return the largest number of keypoints of an annotation, for files that do not name them."""
    annotations = (item for content in files.values() for item in content["annotations"] if isinstance(item, dict))
    counts = (len(item["keypoints"]) // 3 for item in annotations if isinstance(item.get("keypoints"), list))
    return max(counts, default=0)


def _named(form: Any, folder: Path, files: list[Path], unnamed: int = 0) -> LabelFindings:  # noqa: ANN401
    """Return what files tell that name their landmarks; numbers for the names where they do not."""
    numbers = _numbers(unnamed)
    spec = Annotations(form, tuple(_relative(folder, path) for path in files))
    labels, _ = parse_labels(Source(folder, files, spec, tuple(numbers), unnamed))
    names = list(dict.fromkeys(name for item in labels for name in item.points))
    return LabelFindings({"format": form, "path": patterns_of(folder, files)}, names, files)


def _cvat(folder: Path, files: Sequence[Path], refused: list[str]) -> Iterator[LabelFindings]:
    found = []
    for path in files:
        spec = Annotations("cvat", (path.name,))
        labels, flaws = parse_labels(Source(folder, [path], spec, (), 0))
        refused += flaws
        found += [path] if labels else []
    if found:
        yield _named("cvat", folder, found)


def _csv(folder: Path, files: Sequence[Path], refused: list[str]) -> Iterator[LabelFindings]:
    """Look for the first table of points, and for others like it."""
    tables: list[LabelFindings] = []
    for path in files:
        try:
            rows = [row for row in read_table(path) if not isinstance(row, DataError)]
        except DataError as error:
            refused.append(str(error))
            continue
        columns = {name: [row.values[name] for row in rows] for name in (rows[0].values if rows else ())}
        findings = _long(columns) or _wide(columns) or _headless(list(columns))
        if findings:
            findings.files = [path]
            tables.append(findings)
    if not tables:
        return
    first = tables[0]
    alike = [table for table in tables if (table.annotations, table.names) == (first.annotations, first.names)]
    first.files = [path for table in alike for path in table.files]
    first.columns = {name: [v for table in alike for v in table.columns.get(name, ())] for name in first.columns}
    first.annotations["path"] = patterns_of(folder, first.files)
    yield first


def _long(columns: Mapping[str, list[str]]) -> LabelFindings | None:
    lower = {name.lower(): name for name in columns}
    label = next((lower[word] for word in LABEL if word in lower), None)
    if label is None or not {"x", "y"} <= lower.keys():
        return None
    case = next((name for name in columns if name.lower() in IMAGE and name != label), next(iter(columns)))
    spec = {"format": "long-csv", "path": "", "case": case, "label": label, "x": lower["x"], "y": lower["y"]}
    others = {name: values for name, values in columns.items() if name not in spec.values()}
    spec |= _decimal(columns[lower["x"]])
    return LabelFindings(spec, list(dict.fromkeys(columns[label])), [], others)


def _wide(columns: Mapping[str, list[str]]) -> LabelFindings | None:
    """Look for columns in pairs; the way of calling them that most pairs have is theirs."""
    names = {way: [name for name, _ in _pairs(way, columns)] for way in WAYS}
    best = max(WAYS, key=lambda way: len(names[way]))
    if not names[best]:
        return None
    used = {column for _, pair in _pairs(best, columns) for column in pair}
    others = {name: values for name, values in columns.items() if name not in used}
    case = next((name for name in others if name.lower() in IMAGE), next(iter(others), ""))
    spec = {"format": "wide-csv", "path": "", "case": case, "x": best, "y": _other_axis(best)}
    spec |= _decimal([value for name in used for value in columns[name]])
    rest = {name: values for name, values in others.items() if name != case}
    return LabelFindings(spec, names[best], [], rest)


def _pairs(way: str, columns: Mapping[str, object]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each landmark whose two columns are called in a way."""
    before, after = way.split("{name}")
    for column in columns:
        name = column[len(before) : len(column) - len(after)]
        other = _other_axis(way).replace("{name}", name)
        if name and way.replace("{name}", name) == column and other in columns:
            yield name, (column, other)


def _other_axis(way: str) -> str:
    """Return the way of calling the second column."""
    return way.translate(str.maketrans("xX", "yY"))


def _headless(first: Sequence[str]) -> LabelFindings | None:
    """Look for a table without names: the image, then numbers."""
    values = first[1:]
    if len(first) < 3 or len(first) % 2 == 0 or not all(_is_number(v) or _DECIMAL_COMMA.fullmatch(v) for v in values):
        return None
    spec = {"format": "wide-csv", "path": "", "header": False, **_decimal(values)}
    return LabelFindings(spec, _numbers(len(values) // 2), [])


def _texts(folder: Path, files: Sequence[Path], refused: list[str]) -> Iterator[LabelFindings]:
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        groups.setdefault((path.parent, path.suffix), []).append(path)
    for group in sorted(groups.values(), key=len, reverse=True):
        try:
            text = read_text(group[0])
        except DataError as error:
            refused.append(str(error))
            continue
        rows = [re.split(r"[\s,;]+", line.strip()) for line in text.splitlines() if line.strip()]
        points = [row for row in rows if len(row) in (2, 3) and all(map(_is_number, row[-2:]))]
        if points and len(points) == len(rows):
            named = all(len(row) == 3 for row in points)
            names = [row[0] for row in points] if named else _numbers(len(points))
            spec = {"format": "text", "path": patterns_of(folder, group)}
            yield LabelFindings(spec, names, group)


def _decimal(values: Sequence[str]) -> dict[str, str]:
    """Return the card's `decimal` where numbers have a comma."""
    return {"decimal": ","} if any(_DECIMAL_COMMA.fullmatch(value) for value in values) else {}


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _numbers(count: int) -> list[str]:
    return [f"p{index}" for index in range(1, count + 1)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in MISSING[1:]
    return True
