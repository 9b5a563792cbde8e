"""Which of two films a label file holds a copy of."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.components.errors import DataError
from datamodules.components.images.image_io import film_size, read_film

ALIKE = 0.95
"""Correlation of the grey levels of a film with those of a copy that was windowed or compressed."""


def shows(data: bytes, film: Path, other: Path) -> Path | None:
    """Return the one of two films that an embedded image shows; None where it shows neither or does not tell.

    Args:
        data: An image file's bytes.
        film: One film.
        other: Another film.
    """
    alike = [likeness(data, path) for path in (film, other)]
    if max(alike) < ALIKE or alike[0] == alike[1]:
        return None
    return film if alike[0] > alike[1] else other


def likeness(data: bytes, film: Path) -> float:
    """Return the correlation of an embedded image with a film; -1 where they cannot be compared."""
    if not data:
        return -1.0
    try:
        if data == film.read_bytes():
            return 1.0
        with Image.open(io.BytesIO(data)) as image:
            if (image.height, image.width) != film_size(film):
                return -1.0
            pixels = np.asarray(image.convert("L"), np.float64)
        with np.errstate(invalid="ignore"):  # of a film of one grey level
            return float(np.nan_to_num(np.corrcoef(pixels.ravel(), read_film(film).ravel())[0, 1], nan=-1.0))
    except (DataError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return -1.0
