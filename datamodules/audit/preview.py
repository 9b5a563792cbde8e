"""A page of films with their landmarks drawn on, to see that labels and films belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datamodules.audit.page import render, to_jpeg_address
from datamodules.base import Case, DataError, LandmarkDataModule
from datamodules.components.transforms import Box, InputSpec, invert_affine, to_image_affine, transform_points

SIDE = 900
"""Pixels of a drawn film's longer side at most."""
NAMED = 30
"""Landmarks up to which names stand beside the numbers; more are named in a list below the film."""


class DrawnLandmark(NamedTuple):
    """A landmark on a drawn film.

    Attributes:
        number: Its place in the schema, from 1.
        name: Its name.
        x: Column in pixels of the drawn film.
        y: Row.
    """

    number: int
    name: str
    x: float
    y: float


class DrawnFilm(NamedTuple):
    """A film of the page.

    Attributes:
        case: Its name.
        image: The film as a `data:` address.
        width: Of the drawn film in pixels.
        height: The same.
        landmarks: Those that are labelled.
        absent: Names of those that are not.
        edges: (x, y, x, y) of the lines between landmarks.
        facts: A line of numbers.
        oddities: What is odd about it.
    """

    case: str
    image: str
    width: int
    height: int
    landmarks: tuple[DrawnLandmark, ...]
    absent: tuple[str, ...]
    edges: tuple[tuple[float, float, float, float], ...]
    facts: str
    oddities: tuple[str, ...]


def write_preview(data: LandmarkDataModule, folder: Path, count: int, *, private: bool) -> Path:
    """Write `index.html`, which needs no other file, with films of a dataset and their landmarks.

    Args:
        data: The dataset.
        folder: Where to; made if absent.
        count: How many films; odd ones come first, the others are spread over the set.
        private: Whether the page says that it must stay on this machine.

    Returns:
        The page.

    Raises:
        DataError: The folder is not this dataset, or holds no film that can be read.
    """
    films = [_drawn(data, data.inventory.cases[name]) for name in chosen(data, count)]
    page = folder / "index.html"
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text(render("preview.html.j2", data=data, films=films, named=NAMED, private=private), encoding="utf-8")
    return page


def chosen(data: LandmarkDataModule, count: int) -> tuple[str, ...]:
    """Return the cases that are shown: up to half of them odd ones, then others, evenly spread over the set."""
    odd, names = data.inventory.odd_cases, list(data.inventory.cases)
    first = odd[: max(1, count // 2)]
    others = [name for name in names if name not in first]
    places = np.linspace(0, len(others) - 1, min(max(count - len(first), 0), len(others))).round().astype(int)
    return (*first[:count], *(others[place] for place in places))


def _drawn(data: LandmarkDataModule, case: Case) -> DrawnFilm:
    height, width = case.size
    scale = min(1.0, SIDE / max(case.size))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    box, spec = Box(0, 0, width, height), InputSpec(size)
    image = data.films.read(case.film, box, spec, exif=case.exif)
    points = transform_points(invert_affine(to_image_affine(box, spec)), case.points)
    names, there = data.schema.names, case.visible
    numbered = enumerate(zip(names, points.tolist(), there, strict=True), 1)
    landmarks = [DrawnLandmark(number, name, x, y) for number, (name, (x, y), labelled) in numbered if labelled]
    pairs = [data.schema.index(edge) for edge in data.schema.edges]
    edges = [(*points[one].tolist(), *points[other].tolist()) for one, other in pairs if there[one] and there[other]]
    oddities = [text for text in data.inventory.oddities if text.startswith(f"{case.name}: ")]
    return DrawnFilm(
        case.name,
        to_jpeg_address(image),
        size[1],
        size[0],
        tuple(landmarks),
        tuple(name for name, labelled in zip(names, there, strict=True) if not labelled),
        tuple(edges),
        "; ".join(_facts(data, case)),
        tuple(text.partition(": ")[2] for text in oddities),
    )


def _facts(data: LandmarkDataModule, case: Case) -> Iterator[str]:
    numbers = data.inventory.statistics[case.name]
    yield f"{case.size[1]} x {case.size[0]} px"
    known = np.isfinite(case.spacing).all()
    yield f"{case.spacing[0]:.4g} x {case.spacing[1]:.4g} mm per pixel" if known else "spacing unknown"
    yield f"{numbers.levels} grey levels, {numbers.clipped:.1%} black or white"
    if data.patient_rule:
        yield f"patient {case.patient}"
    yield from _part(data, case.name)


def _part(data: LandmarkDataModule, case: str) -> Sequence[str]:
    """Return the parts of the first split that a case is in."""
    try:
        split = data.split
    except DataError:  # too few films to split are no reason not to look at them
        return []
    parts = {"train": split.train, "val": split.val, **split.tests}
    return [part for part, cases in parts.items() if case in cases]
