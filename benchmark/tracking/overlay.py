"""A film with true and predicted points, small enough to look at beside those of other runs."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SIDE: Final = 768
"""Pixels of the longer side at most."""
TRUE_COLOUR: Final = (70, 220, 110)
PREDICTED_COLOUR: Final = (255, 214, 10)
LEGEND: Final = "true points green, predicted points yellow, joined by a line"
RADIUS: Final = 4
_FRACTION_BITS: Final = 4


def draw_overlay(
    film: UInt8[np.ndarray, "height width"],
    size: tuple[float, float],
    points: Float[np.ndarray, "landmark 2"],
    truth: Float[np.ndarray, "landmark 2"],
) -> UInt8[np.ndarray, "rows columns 3"]:
    """Return a film in colour with its points; one that is not known is left out.

    Args:
        film: Grey values, at any size.
        size: (height, width) of the original film.
        points: Predicted (x, y) in pixels of the original film.
        truth: True (x, y); NaN where missing.
    """
    height, width = film.shape
    scale = min(1.0, SIDE / max(height, width))
    shape = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = cv2.cvtColor(cv2.resize(film, shape, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2RGB)
    ratio = np.array(shape) / np.array(size)[::-1]
    for point, true in zip((points + 0.5) * ratio - 0.5, (truth + 0.5) * ratio - 0.5, strict=True):
        if np.isfinite([point, true]).all():
            cv2.line(picture, _fixed(true), _fixed(point), PREDICTED_COLOUR, 1, cv2.LINE_AA, _FRACTION_BITS)
        for place, colour in ((true, TRUE_COLOUR), (point, PREDICTED_COLOUR)):
            if np.isfinite(place).all():
                cv2.circle(picture, _fixed(place), RADIUS << _FRACTION_BITS, colour, 1, cv2.LINE_AA, _FRACTION_BITS)
    return np.asarray(picture, dtype=np.uint8)


def _fixed(place: Float[np.ndarray, 2]) -> tuple[int, int]:
    """Return a place in OpenCV's numbers with a fixed binary point."""
    x, y = (math.floor(value * (1 << _FRACTION_BITS) + 0.5) for value in place.tolist())
    return x, y
