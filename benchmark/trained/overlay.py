"""Pictures of films with their predicted landmarks, small and light enough to leave the anatomy visible."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageFont

from benchmark.trained.films import Film
from benchmark.trained.predict import FilmAnswer, Predicted
from datamodules.components.images.image_io import read_film

SIDE = 1600
"""Pixels of a picture's longer side at most."""
FINE = 3
"""Shapes are drawn so many times larger and then shrunk, so that their edges are smooth."""
DOT, RING = 1.6, 6.0
POINT_COLOUR, REGION_COLOUR, TEXT_COLOUR = (255, 214, 10, 255), (120, 220, 255, 150), (255, 255, 255, 230)
SHADOW = (0, 0, 0, 200)
TEXT_SIZE = 15
ELLIPSE_POINTS = 64


def write_overlays(folder: Path, predicted: Predicted, *, names: bool) -> list[Path]:
    """Draw every film with its landmarks into a PNG file of a folder.

    A landmark is a dot in a thin ring. A light ellipse around it is the conformal region where the network was
    calibrated, else one standard deviation where it states a covariance.

    Args:
        folder: Where to; made if absent.
        predicted: The landmarks.
        names: Write each landmark's name beside it.

    Returns:
        The pictures, in the order of the films.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for (film, answer), name in zip(predicted.films, _file_names(predicted), strict=True):
        picture = draw(film, answer, predicted.schema.names if names else ())
        picture.save(folder / name)
        files.append(folder / name)
    return files


def draw(film: Film, answer: FilmAnswer, names: tuple[str, ...]) -> Image.Image:
    """Return a film with its landmarks.

    Args:
        film: The film.
        answer: Its landmarks in pixels of the film.
        names: To write beside the points; none if empty.

    Raises:
        DataError: The film cannot be read any more.
    """
    pixels = read_film(film.path)
    scale = min(1.0, SIDE / max(pixels.shape))
    width, height = (max(1, round(side * scale)) for side in pixels.shape[::-1])
    shown = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    picture = Image.fromarray(shown).convert("RGBA")
    layer = Image.new("RGBA", (width * FINE, height * FINE))
    pen = ImageDraw.Draw(layer)
    points = ((answer.points + 0.5) * scale - 0.5) * FINE
    for outline in _regions(answer):
        pen.line([tuple(p) for p in ((outline + 0.5) * scale * FINE).tolist()], REGION_COLOUR, width=FINE)
    for x, y in points[np.isfinite(points).all(axis=1)].tolist():
        _circle(pen, x, y, (RING + 1) * FINE, outline=SHADOW, width=FINE)
        _circle(pen, x, y, RING * FINE, outline=POINT_COLOUR, width=FINE)
        _circle(pen, x, y, DOT * FINE, fill=POINT_COLOUR)
    picture.alpha_composite(layer.resize((width, height), Image.Resampling.LANCZOS))
    _write_names(picture, names, points / FINE)
    return picture.convert("RGB")


def _file_names(predicted: Predicted) -> Iterator[str]:
    """Yield a name per film; films of one name in several folders are numbered."""
    used: dict[str, int] = {}
    for item in predicted.films:
        stem = item.film.path.stem
        used[stem] = used.get(stem, 0) + 1
        yield f"{stem}.png" if used[stem] == 1 else f"{stem}-{used[stem]}.png"


def _regions(answer: FilmAnswer) -> Iterator[Float[np.ndarray, "point 2"]]:
    """Yield the outline of each landmark's region in pixels of the film; nothing where nothing is known of it."""
    angles = np.linspace(0, 2 * math.pi, ELLIPSE_POINTS)
    circle = np.stack([np.cos(angles), np.sin(angles)])
    for point, covariance, radius in zip(answer.points, answer.covariance, answer.radius, strict=True):
        if np.isfinite(covariance).all():
            values, axes = np.linalg.eigh(covariance)
            lengths = np.sqrt(values.clip(min=0))
            area = math.sqrt(lengths.prod())
            factor = radius / area if math.isfinite(radius) and area > 0 else 1.0
            yield point + (axes @ (factor * lengths[:, None] * circle)).T
        elif math.isfinite(radius):
            yield point + radius * circle.T


def _circle(
    pen: ImageDraw.ImageDraw,
    x: float,
    y: float,
    radius: float,
    *,
    fill: tuple[int, ...] | None = None,
    outline: tuple[int, ...] | None = None,
    width: int = 1,
) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill, outline=outline, width=width)


def _write_names(picture: Image.Image, names: tuple[str, ...], points: Float[np.ndarray, "landmark 2"]) -> None:
    """Write names beside their points, from top to bottom, each below those that it would cover."""
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(TEXT_SIZE)
    written: list[tuple[float, float, float, float]] = []
    for name, (x, y) in sorted(zip(names, points.tolist(), strict=False), key=lambda item: item[1][1]):
        if not math.isfinite(x + y):
            continue
        right = x + RING + 4 + pen.textlength(name, font) > picture.width
        column, anchor = (x - RING - 4, "rm") if right else (x + RING + 4, "lm")
        row = y
        while any(_meet(pen.textbbox((column, row), name, font, anchor), box) for box in written):
            row += 1
        written.append(pen.textbbox((column, row), name, font, anchor))
        pen.text((column, row), name, TEXT_COLOUR, font, anchor, stroke_width=2, stroke_fill=SHADOW)


def _meet(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Tell whether two rectangles (left, top, right, bottom) overlap."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
