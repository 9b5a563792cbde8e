"""Parsers of label files, one module per format, and the labels of a folder from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datamodules.components.cards.formats import coco, cvat, labelme, long_csv, text, wide_csv
from datamodules.components.cards.formats.common import ImageLabels, Point, PointLabel, Source, refuse_repeats
from datamodules.components.errors import DataError

PARSERS: Mapping[str, Callable[[Path, Source], Iterator[ImageLabels | DataError]]] = {
    "wide-csv": wide_csv.parse,
    "long-csv": long_csv.parse,
    "coco": coco.parse,
    "labelme": labelme.parse,
    "cvat": cvat.parse,
    "text": text.parse,
}
"""By the `format` of the card's `annotations`."""

__all__ = ["PARSERS", "ImageLabels", "Labels", "ParsedLabels", "Source", "parse_labels"]


class Labels(NamedTuple):
    """The labels of one image.

    Attributes:
        entry: What the label file has.
        points: Label to (x, y) as the file has it; NaN where missing.
    """

    entry: ImageLabels
    points: Mapping[str, Point]


class ParsedLabels(NamedTuple):
    """The labels of a folder.

    Attributes:
        labels: Of each image.
        flaws: One sentence per file or entry that cannot be used, with file, line or entry, and value.
    """

    labels: list[Labels]
    flaws: list[str]


def parse_labels(source: Source) -> ParsedLabels:
    """Parse every label file; a flawed file or entry does not stop the others.

    A landmark has the name of its label alone, as long as no image has a label in two structures (COCO categories, CVAT
    skeletons, LabelMe groups); where one has, landmarks in structures are called `structure-label`, in all images.
    """
    entries: list[ImageLabels] = []
    flaws: list[str] = []
    for path in source.paths:
        try:
            for parsed in PARSERS[source.spec.format](path, source):
                if isinstance(parsed, DataError):
                    flaws.append(str(parsed))
                else:
                    entries.append(parsed)
        except DataError as error:
            flaws.append(str(error))
    by_structure = any(_has_label_in_two_structures(entry.marks) for entry in entries)
    labels = []
    for entry in entries:
        try:
            refuse_repeats([(mark.structure, mark.label) for mark in entry.marks], entry.location)
            named = [(_name(mark, by_structure=by_structure), mark.point) for mark in entry.marks]
            refuse_repeats([("", name) for name, _ in named], entry.location)
            labels.append(Labels(entry, dict(named)))
        except DataError as error:
            flaws.append(str(error))
    return ParsedLabels(labels, flaws)


def _has_label_in_two_structures(marks: Sequence[PointLabel]) -> bool:
    return len({mark.label for mark in marks}) < len({(mark.structure, mark.label) for mark in marks})


def _name(mark: PointLabel, *, by_structure: bool) -> str:
    """Return a landmark's name; a label that begins with its structure has it already."""
    own = not mark.structure or mark.label.startswith((f"{mark.structure}-", f"{mark.structure}_"))
    return mark.label if own or not by_structure else f"{mark.structure}-{mark.label}"
