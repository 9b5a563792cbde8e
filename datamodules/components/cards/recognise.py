"""Recognising labels: which format a folder's annotation files have, and which landmarks they name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonpath
from pathlib import Path
from typing import Any

from datamodules.components.cards.formats.common import MISSING, read_json, read_table
from datamodules.components.errors import DataError

IMAGE = ("image", "film", "file", "filename", "file_name", "image_id", "case", "id", "name")
LABEL = ("landmark", "label", "point", "keypoint", "name")
WAYS = tuple(
    way for axis in "xX" for gap in ("_", ".", "-", " ", "") for way in ("{name}" + gap + axis, axis + gap + "{name}")
)
"""How a wide table may call a landmark's first column."""


@dataclass
class Findings:
    """What the labels tell.

    Attributes:
        annotations: The card's `annotations`.
        names: The landmarks.
        columns: The table's columns that are no points, with their values.
        images: How many images have labels.
    """

    annotations: dict[str, Any]
    names: list[str]
    columns: Mapping[str, list[str]] = field(default_factory=dict)
    images: int = 0


def pattern_of(folder: Path, files: Sequence[Path]) -> str:
    """Return a pattern for most of the files: their common folder and their commonest suffix.

    Example:
        >>> pattern_of(Path("set"), [Path("set/films/a/1.png"), Path("set/films/b/1.png")])
        'films/**/*.png'
    """
    suffix = Counter(path.suffix for path in files).most_common(1)[0][0]
    folders = {str(path.parent.relative_to(folder)) for path in files}
    shared = commonpath(folders)
    parts = [] if shared in ("", ".") else [Path(shared).as_posix()]
    return "/".join([*parts, *(["**"] if len(folders) > 1 else []), f"*{suffix}"])


def find_labels(folder: Path) -> Findings:
    """Return what the first label files of a known format tell.

    Raises:
        DataError: There are none.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for suffixes, look in (
        ((".json",), _json),
        ((".xml",), _cvat),
        ((".csv", ".tsv"), _csv),
        ((".txt", ".pts", ".csv"), _texts),
    ):
        candidates = [path for path in files if path.suffix.lower() in suffixes]
        for found in look(folder, candidates):
            return found
    raise DataError(
        f"{folder} holds no labels of a known format; docs/private-data.md lists them: write the card by hand."
    )


def _json(folder: Path, files: Sequence[Path]) -> Iterator[Findings]:
    labelme: list[tuple[Path, dict[str, Any]]] = []
    for path in files:
        try:
            content = read_json(path)
        except DataError:
            continue
        if isinstance(content.get("annotations"), list) and isinstance(content.get("images"), list):
            yield from (found for found in [_coco(folder, path, content)] if found.names)
        elif isinstance(content.get("shapes"), list):
            labelme.append((path, content))
    if labelme:
        shapes = [shape for _, content in labelme for shape in content["shapes"] if isinstance(shape, dict)]
        labels = [str(shape.get("label")) for shape in shapes if shape.get("shape_type", "point") == "point"]
        pattern = pattern_of(folder, [path for path, _ in labelme])
        yield Findings({"format": "labelme", "path": pattern}, _unique(labels), images=len(labelme))


def _coco(folder: Path, path: Path, content: Mapping[str, Any]) -> Findings:
    named = [item for item in content.get("categories", []) if isinstance(item, dict) and item.get("keypoints")]
    counts = [len(item.get("keypoints", [])) // 3 for item in content["annotations"] if isinstance(item, dict)]
    names = list(map(str, named[0]["keypoints"])) if named else _numbers(max(counts, default=0))
    return Findings({"format": "coco", "path": _relative(folder, path)}, names, images=len(counts))


def _cvat(folder: Path, files: Sequence[Path]) -> Iterator[Findings]:
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        labels = re.findall(r'<points\b[^>]*?\blabel="([^"]*)"', text)
        if labels:
            images = len(re.findall(r"<image\b", text))
            yield Findings({"format": "cvat", "path": _relative(folder, path)}, _unique(labels), images=images)


def _csv(folder: Path, files: Sequence[Path]) -> Iterator[Findings]:
    for path in files:
        try:
            lines = read_table(path)
        except DataError:
            continue
        columns = {name: [line.values[name] for line in lines] for name in lines[0].values}
        found = _long(columns) or _wide(columns) or _headless(list(columns))
        if found:
            found.annotations["path"] = _relative(folder, path)
            yield found


def _long(columns: Mapping[str, list[str]]) -> Findings | None:
    lower = {name.lower(): name for name in columns}
    label = next((lower[word] for word in LABEL if word in lower), None)
    if label is None or not {"x", "y"} <= lower.keys():
        return None
    case = next((name for name in columns if name.lower() in IMAGE and name != label), next(iter(columns)))
    spec = {"format": "long-csv", "path": "", "case": case, "label": label, "x": lower["x"], "y": lower["y"]}
    others = {name: values for name, values in columns.items() if name not in spec.values()}
    return Findings(spec, _unique(columns[label]), others, len(set(columns[case])))


def _wide(columns: Mapping[str, list[str]]) -> Findings | None:
    """Look for columns in pairs; the way of calling them that most pairs have is theirs."""
    names = {way: [name for name, _ in _pairs(way, columns)] for way in WAYS}
    best = max(WAYS, key=lambda way: len(names[way]))
    if not names[best]:
        return None
    used = {column for _, pair in _pairs(best, columns) for column in pair}
    others = {name: values for name, values in columns.items() if name not in used}
    case = next((name for name in others if name.lower() in IMAGE), next(iter(others), ""))
    spec = {"format": "wide-csv", "path": "", "case": case, "x": best, "y": _other_axis(best)}
    rest = {name: values for name, values in others.items() if name != case}
    return Findings(spec, names[best], rest, len(next(iter(columns.values()))))


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


def _headless(first: Sequence[str]) -> Findings | None:
    """A table without names: the image, then numbers."""
    if len(first) < 3 or len(first) % 2 == 0 or not all(map(_is_number, first[1:])):
        return None
    return Findings({"format": "wide-csv", "path": "", "header": False}, _numbers(len(first) // 2))


def _texts(folder: Path, files: Sequence[Path]) -> Iterator[Findings]:
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        groups.setdefault((path.parent, path.suffix), []).append(path)
    for group in sorted(groups.values(), key=len, reverse=True):
        lines = filter(None, map(str.strip, group[0].read_text(errors="replace").splitlines()))
        rows = [re.split(r"[\s,;]+", line) for line in lines]
        points = [row for row in rows if len(row) in (2, 3) and all(map(_is_number, row[-2:]))]
        if points and len(points) == len(rows):
            named = all(len(row) == 3 for row in points)
            names = [row[0] for row in points] if named else _numbers(len(points))
            yield Findings({"format": "text", "path": pattern_of(folder, group)}, names, images=len(group))


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _numbers(count: int) -> list[str]:
    return [f"p{index}" for index in range(1, count + 1)]


def _unique(labels: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(labels))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip().lower() in MISSING[1:]
    return True
