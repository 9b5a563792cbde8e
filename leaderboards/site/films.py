"""The gallery: which cases are shown, and what is drawn over their films."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float

from benchmark.predictions import Predictions
from benchmark.thumbnails import DatasetRequest, FilmRequest, thumbnail_size
from leaderboards.boards.board import Board, Row
from leaderboards.boards.numbers import number
from leaderboards.site.charts.uncertainty_classes import CLASSES, COLOURS, Grading
from leaderboards.site.run_predictions import mean_of

PARTS: Final = 4
"""Overlays are drawn in whole numbers of a quarter of a pixel, which is half of the bytes."""
REGION: Final = 0.5
"""Probability of the ellipses."""

Draw = Callable[[DatasetRequest, Sequence[FilmRequest]], Mapping[str, Path]]
"""Gives the thumbnails, JPEG files, of the films that may be shown, by case."""


class Answered(NamedTuple):
    """A row with what its runs answered: see `figures.Answers`."""

    row: Row
    predicted: Predictions
    errors: Float[np.ndarray, "case landmark"]
    grading: Grading | None = None


class Marks(NamedTuple):
    """The predicted points of one class of certainty, or of a film that is not graded.

    Attributes:
        name: The class; empty where points are not graded.
        colour: Of the class; empty where points are not graded.
        points: SVG path of the points.
        regions: SVG path of the ellipses round those that have a covariance.
    """

    name: str
    colour: str
    points: str
    regions: str


class Overlay(NamedTuple):
    """One film with what a method answered.

    Attributes:
        which: `best`, `median` or `worst`.
        case: Its id.
        error: Its mean error, as text with its unit.
        summary: For those who do not see it.
        image: The thumbnail, relative to the site.
        width: Of the thumbnail.
        height: Of the thumbnail.
        truth: SVG path of the true points.
        links: SVG path of the lines between true and predicted ones.
        predicted: The predicted points by class of certainty.
    """

    which: str
    case: str
    error: str
    summary: str
    image: str
    width: int
    height: int
    truth: str
    links: str
    predicted: tuple[Marks, ...]


class Gallery(NamedTuple):
    """A row's films.

    Attributes:
        row: The row.
        overlays: Its best, median and worst case.
        certainty: Classes of certainty, their colours and their ranges of sigma_p, where points are graded.
        source: Whose limits these are, as a sentence.
        regions: Whether regions are drawn.
    """

    row: Row
    overlays: tuple[Overlay, ...]
    certainty: tuple[tuple[str, str, str], ...]
    source: str
    regions: bool


def place_of(board: Board) -> DatasetRequest:
    """Return where the films of a board are to be looked for."""
    return DatasetRequest(board.dataset, board.protocol, board.content, board.phantom)


def extremes(series: Answered) -> dict[str, int]:
    """Return the positions of the best, the median and the worst case of a row's first seed, by mean error."""
    count = max(series.row.cases, 1)
    means = np.array([mean_of(errors) for errors in series.errors[:count]])
    order = [int(i) for i in np.argsort(means, kind="stable") if math.isfinite(means[i])]
    if not order:
        return {}
    chosen = {"best": order[0], "median": order[(len(order) - 1) // 2], "worst": order[-1]}
    return {which: case for which, case in chosen.items() if which == "median" or len(order) > 2}


def film_of(predicted: Predictions, case: int) -> FilmRequest:
    """Return what the gallery asks for."""
    height, width = predicted.size[case]
    return FilmRequest(predicted.cases[case], predicted.truth[case], (int(height), int(width)))


def image_name(place: DatasetRequest, case: str) -> str:
    """Return a thumbnail's path in the site: a hash, since case ids may hold any character."""
    digest = hashlib.sha256(f"{place.content}/{case}".encode()).hexdigest()[:12]
    return f"films/{place.name}/{digest}.jpg"


def gallery(place: DatasetRequest, series: Answered, unit: str, images: Mapping[str, Path]) -> Gallery:
    """Draw a row's best, median and worst case as far as their films are there."""
    cases = {which: i for which, i in extremes(series).items() if series.predicted.cases[i] in images}
    overlays = tuple(_overlay(place, series, unit, which, case) for which, case in cases.items())
    regions, grading = any(marks.regions for overlay in overlays for marks in overlay.predicted), series.grading
    if grading is None:
        return Gallery(series.row, overlays, (), "", regions)
    return Gallery(
        series.row, overlays, tuple(zip(CLASSES, COLOURS, grading.words, strict=True)), grading.source, regions
    )


def _overlay(place: DatasetRequest, series: Answered, unit: str, which: str, case: int) -> Overlay:
    predicted, errors = series.predicted, series.errors[case]
    height, width = (int(side) for side in predicted.size[case])
    small = thumbnail_size((height, width))
    scale = np.array([small[1] / width, small[0] / height])
    points, truth = ((side[case] + 0.5) * scale for side in (predicted.points, predicted.truth))
    known = np.isfinite(truth).all(-1)
    mean, worst = mean_of(errors), int(np.nanargmax(errors))
    text = f"{number(mean, unit)} {unit}"
    return Overlay(
        which,
        predicted.cases[case],
        text,
        f"Film {predicted.cases[case]}, the {which} case of {series.row.label}: mean error {text}; largest at "
        f"{predicted.landmarks[worst]}, {number(float(errors[worst]), unit)} {unit}.",
        image_name(place, predicted.cases[case]),
        small[1],
        small[0],
        _dots(truth[known]),
        "".join(f"M{_xy(a)}l{_xy(b - a)}" for a, b in zip(truth[known], points[known], strict=True)),
        _marks(series, case, points, scale),
    )


def _marks(series: Answered, case: int, points: np.ndarray, scale: np.ndarray) -> tuple[Marks, ...]:
    covariance = series.predicted.covariance[case]
    known = np.isfinite(covariance).all((-2, -1))
    ellipses = np.array(
        [
            _ellipse(point, entry, scale) if has else ""
            for point, entry, has in zip(points, covariance, known, strict=True)
        ]
    )
    if series.grading is None:
        return (Marks("", "", _dots(points), "".join(ellipses)),)
    classes = series.grading.classes(series.predicted)[case]
    found = (
        Marks(name, colour, _dots(points[classes == k]), "".join(ellipses[classes == k]))
        for k, (name, colour) in enumerate(zip(CLASSES, COLOURS, strict=True))
    )
    return tuple(marks for marks in found if marks.points)


def _dots(points: np.ndarray) -> str:
    return "".join(f"M{_xy(point)}h0" for point in points)


def _ellipse(point: np.ndarray, entry: np.ndarray, scale: np.ndarray) -> str:
    """Return the ellipse that holds `REGION` of a Gaussian, as an SVG path of two arcs."""
    values, vectors = np.linalg.eigh(entry * np.outer(scale, scale))
    radii = np.sqrt(np.clip(values, 0, None) * -2 * math.log(1 - REGION))
    axis = vectors[:, 1] * radii[1]
    angle = math.degrees(math.atan2(vectors[1, 1], vectors[0, 1]))
    arc = f"{_whole(radii[1])} {_whole(radii[0])} {angle:.0f} 1 0 "
    return f"M{_xy(point - axis)}a{arc}{_xy(2 * axis)}a{arc}{_xy(-2 * axis)}"


def _xy(point: np.ndarray) -> str:
    """Write a point for an SVG path, in parts of a thumbnail's pixel."""
    x, y = map(_whole, point)
    return f"{x}{y}" if y.startswith("-") else f"{x} {y}"


def _whole(value: float) -> str:
    return str(round(float(value) * PARTS))
