"""A text file per image: a line per landmark, `x y` in order or `label x y`."""

from __future__ import annotations

import re
from pathlib import Path

from datamodules.components.cards.formats.common import Labels, Point, Source, collect, in_order, point, read_text
from datamodules.components.errors import DataError

_BETWEEN = re.compile(r"[\s,;]+")


def read(source: Source) -> list[Labels]:
    """Return the labels of every file, whose name without suffix is the image's.

    Raises:
        DataError: A line is not what it should be, or their number is not the landmarks'; file, line and value are
            named.
    """
    return [_read(path, source) for path in source.paths]


def _read(path: Path, source: Source) -> Labels:
    pairs: list[tuple[str, Point]] = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if line <= source.spec.skip or not text.strip():
            continue
        *label, x, y = _fields(text, f"{path}, line {line}")
        pairs.append((label[0] if label else "", point(x, y, f"{path}, line {line}")))
    image = path.relative_to(source.root).with_suffix("").as_posix()
    if any(label for label, _ in pairs):
        return Labels(image, str(path), collect(pairs, str(path)))
    return Labels(image, str(path), in_order([found for _, found in pairs], source, str(path)))


def _fields(text: str, place: str) -> list[str]:
    fields = _BETWEEN.split(text.strip())
    if len(fields) not in (2, 3):
        raise DataError(f"{place} holds {text.strip()!r} where `x y` or `label x y` is needed; correct the line.")
    return fields
