"""Pairs of films that belong together as a table for machines and a page for eyes."""

from __future__ import annotations

import base64
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import cv2
import jinja2
import numpy as np
import pandas as pd
from jaxtyping import UInt8

from datamodules.audit.duplicates import DuplicatePair, FilmSignature, align
from datamodules.audit.leaks import Audit, Finding

TEMPLATES = Path(__file__).parent / "templates"
QUALITY = 80
"""Of the JPEG pictures, in percent."""
OUTSIDE = 224
"""Grey where only one of two films has anything."""


class Pictures(NamedTuple):
    """Two films and their difference, each as a `data:` address."""

    first: str
    second: str
    difference: str


def write_audit(name: str, found: Audit, folder: Path) -> None:
    """Write `pairs.csv` and `index.html`, which needs no other file.

    Args:
        name: Of the dataset.
        found: What the audit found; without pictures where it has none.
        folder: Where to; made if absent.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(Finding.__dataclass_fields__)
    table = pd.DataFrame([finding.facts for finding in found.findings], columns=columns)
    table.to_csv(folder / "pairs.csv", index=False, lineterminator="\n")
    pairs = list(zip_longest(found.findings, (_pictures(*films) for films in found.pictures)))
    text = render("audit.html.j2", name=name, found=found, pairs=pairs)
    (folder / "index.html").write_text(text, encoding="utf-8")


def render(template: str, **values: object) -> str:
    """Return a page from one of this package's templates; values are escaped."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return pages.get_template(template).render(values)


def _pictures(first: FilmSignature, second: FilmSignature, pair: DuplicatePair) -> Pictures:
    return Pictures(
        to_jpeg_address(first.image), to_jpeg_address(second.image), to_jpeg_address(difference(first, second, pair))
    )


def difference(first: FilmSignature, second: FilmSignature, pair: DuplicatePair) -> UInt8[np.ndarray, "height width"]:
    """Return how far two films differ where the first one is, black for not at all.

    The second film is laid over the first and given its mean and spread of brightness, negative where it is inverted.
    """
    moved, both = align(second.image, pair.affine, first.image.shape)
    a, b = first.image.astype(np.float32), moved.astype(np.float32)
    spread = (-1 if pair.symmetry.inverted else 1) * a[both].std() / max(float(b[both].std()), 1.0)
    away = np.abs(a - a[both].mean() - spread * (b - b[both].mean()))
    return np.where(both, np.clip(away, 0, 255), OUTSIDE).astype(np.uint8)


def to_jpeg_address(image: UInt8[np.ndarray, "height width"]) -> str:
    """Return an image as a `data:` address of a JPEG."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
