"""A text file per image: a line per landmark, `x y` in order or `label x y`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from datamodules.components.cards.formats.common import (
    ImageLabels,
    PointLabel,
    Source,
    in_order,
    point,
    read_text,
    shown,
)
from datamodules.components.errors import DataError

_BETWEEN = re.compile(r"[\s,;]+")


def parse(path: Path, source: Source) -> Iterator[ImageLabels | DataError]:
    """Yield the labels of a file, whose name without suffix is the image's.

    Raises:
        DataError: A line is not what it should be, or their number is not the landmarks'; file, line and value are
            named.
    """
    marks = []
    for line, text in enumerate(read_text(path).splitlines(), 1):
        if line <= source.spec.skip or not text.strip():
            continue
        *label, x, y = _fields(text, f"{path}, line {line}")
        marks.append(PointLabel(label[0] if label else "", point(x, y, f"{path}, line {line}")))
    image = path.relative_to(source.root).with_suffix("").as_posix()
    if not any(mark.label for mark in marks):
        marks = in_order([mark.point for mark in marks], source, str(path))
    yield ImageLabels(image, str(path), marks)


def _fields(text: str, location: str) -> list[str]:
    fields = _BETWEEN.split(text.strip())
    if len(fields) not in (2, 3):
        raise DataError(f"{location} holds {shown(text.strip())} where `x y` or `label x y` is needed; correct it.")
    return fields
