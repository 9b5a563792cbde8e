"""Metal on X-rays, drawn: pedicle screws, rods and plates with holes, necklaces, electrodes with their wires."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, UInt8

PIECES = 12
"""As many as can be laid over a film."""
FIELD = (0.15, 0.85)
"""Between these shares of the film's height and width lie their centres."""
_SHIFT = 4
"""Sub-pixel bits of OpenCV's drawing functions."""

Mask = UInt8[np.ndarray, "height width"]
DrawPiece = Callable[[Mask, Float[np.ndarray, " 2"], float, np.random.Generator], None]


def draw_metal(size: tuple[int, int], count: int, draw: np.random.Generator) -> Mask:
    """Return how much brighter pieces of metal make a film.

    The first pieces are the same whatever their number.

    Args:
        size: (height, width) of the film.
        count: How many, up to `PIECES`.
        draw: Decides what they are, their places and sizes.
    """
    total = np.zeros(size, np.uint8)
    for own in draw.spawn(PIECES)[:count]:
        piece = np.zeros(size, np.uint8)
        centre = own.uniform(*FIELD, 2) * size[::-1]
        DRAW_PIECES[own.integers(len(DRAW_PIECES))](piece, centre, float(max(size)), own)
        total = np.maximum(total, piece)
    return np.asarray(cv2.GaussianBlur(total, (0, 0), max(0.0008 * max(size), 0.3)))


def draw_screw(mask: Mask, centre: Float[np.ndarray, " 2"], side: float, draw: np.random.Generator) -> None:
    """A threaded shaft with its tulip-shaped head: 3 to 5 cm long on a film of 43 cm."""
    along, across = _axes(draw)
    length, radius = side * draw.uniform(0.07, 0.12), side * draw.uniform(0.006, 0.008)
    start, end = centre - along * length / 2, centre + along * length / 2
    tip = end + along * 2 * radius
    _polygon(
        mask, [start + across * radius, end + across * radius, tip, end - across * radius, start - across * radius], 230
    )
    for step in np.arange(0.25, 1.0, 0.07):
        middle = start + step * (end - start)
        _line(mask, middle - across * radius * 1.4, middle + across * radius * 1.4, 0.4 * radius, 230)
    head = start - along * radius
    corners = [
        head + along * 1.5 * radius * i + across * 2.2 * radius * j for i, j in ((1, 1), (1, -1), (-1, -1), (-1, 1))
    ]
    _polygon(mask, corners, 250)


def draw_plate(mask: Mask, centre: Float[np.ndarray, " 2"], side: float, draw: np.random.Generator) -> None:
    """A rod or a plate with holes, 8 to 15 cm long on a film of 43 cm."""
    along, across = _axes(draw)
    half, radius = side * draw.uniform(0.09, 0.17), side * draw.uniform(0.006, 0.014)
    bend = across * side * draw.uniform(-0.03, 0.03)
    points = [centre + t * along * half + (t * t - 0.5) * bend for t in np.linspace(-1, 1, 25)]
    for first, second in pairwise(points):
        _line(mask, first, second, 2 * radius, 225)
    if radius > 0.01 * side:
        for point in points[2::4]:
            _disc(mask, point, 0.5 * radius, 70)


def draw_necklace(mask: Mask, centre: Float[np.ndarray, " 2"], side: float, draw: np.random.Generator) -> None:
    """Beads along a hanging chain, 11 to 22 cm wide on a film of 43 cm, with a pendant."""
    wide, deep = side * draw.uniform(0.13, 0.26), side * draw.uniform(0.05, 0.11)
    radius = side * draw.uniform(0.003, 0.006)
    turn = draw.uniform(-0.3, 0.3)
    x = np.linspace(-1, 1, round(2.2 * (wide + deep) / (3 * radius)))
    hanging = np.stack([x * wide / 2, (0.5 - x**2) * deep], axis=1)
    rotated = hanging @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    for point in centre + rotated:
        _disc(mask, point, radius, 170)
    _disc(mask, centre + rotated[len(x) // 2] + (0, 3 * radius), 3.5 * radius, 235)


def draw_electrode(mask: Mask, centre: Float[np.ndarray, " 2"], side: float, draw: np.random.Generator) -> None:
    """An electrode's snap in its ring, with a wire that leaves the film."""
    along, across = _axes(draw)
    radius = side * draw.uniform(0.012, 0.018)
    swing = across * side * draw.uniform(-0.12, 0.12)
    points = [centre + t * along * side * 1.5 + math.sin(5 * t) * swing for t in np.linspace(0, 1, 60)]
    for first, second in pairwise(points):
        _line(mask, first, second, 0.003 * side, 110)
    _disc(mask, centre, radius, 70)
    _disc(mask, centre, 0.45 * radius, 235)


DRAW_PIECES: tuple[DrawPiece, ...] = (draw_screw, draw_plate, draw_necklace, draw_electrode)


def _axes(draw: np.random.Generator) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
    """A random direction and the one across it."""
    angle = draw.uniform(0, 2 * math.pi)
    return np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])


def _fixed(point: Float[np.ndarray, " 2"]) -> tuple[int, int]:
    x, y = (round(float(value) * 2**_SHIFT) for value in point)
    return x, y


def _disc(mask: Mask, centre: Float[np.ndarray, " 2"], radius: float, level: int) -> None:
    cv2.circle(mask, _fixed(centre), max(1, round(radius * 2**_SHIFT)), level, cv2.FILLED, cv2.LINE_AA, _SHIFT)


def _line(mask: Mask, start: Float[np.ndarray, " 2"], end: Float[np.ndarray, " 2"], width: float, level: int) -> None:
    cv2.line(mask, _fixed(start), _fixed(end), level, max(1, round(width)), cv2.LINE_AA, _SHIFT)


def _polygon(mask: Mask, points: list[Float[np.ndarray, " 2"]], level: int) -> None:
    cv2.fillPoly(mask, [np.array([_fixed(point) for point in points])], level, cv2.LINE_AA, _SHIFT)
