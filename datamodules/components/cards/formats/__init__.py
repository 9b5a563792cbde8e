"""Readers of annotation files, one module per format."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from datamodules.components.cards.formats import coco, cvat, labelme, long_csv, text, wide_csv
from datamodules.components.cards.formats.common import Labels, Source

READERS: Mapping[str, Callable[[Source], list[Labels]]] = {
    "wide-csv": wide_csv.read,
    "long-csv": long_csv.read,
    "coco": coco.read,
    "labelme": labelme.read,
    "cvat": cvat.read,
    "text": text.read,
}
"""By the card's `annotations: format`."""

__all__ = ["READERS", "Labels", "Source"]
