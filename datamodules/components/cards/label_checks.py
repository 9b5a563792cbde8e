"""Labels that cannot be right: placeholders, other units, exchanged axes, labels of another image, odd spacings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float

from datamodules.components.errors import DataError
from datamodules.components.samples import Case
from datamodules.components.schema import LandmarkSchema

FEWEST_REPEATS, SHARE_OF_REPEATS = 3, 0.05
"""An exact point is odd where so many films, and such a share of all films, have it for one landmark."""
FEWEST_FILMS = 5
"""Films from which a set has a usual shape."""
EXTENT_MM = (5.0, 2500.0)
"""Plausible lengths of a film's longer side: a dental film to a whole body."""
LARGEST_SPACING_MM = 10.0
FAR = 0.1
"""Of the film: a mean distance from the usual shape that exchanged axes may explain."""
HALF = 0.5
MOST = 0.8
PERCENT = 100.0


def refuse_other_units(cases: Iterable[Case]) -> None:
    """Refuse points that are shares or per cent of the film rather than pixels.

    Raises:
        DataError: All points of all films are at most 1, or at most 100 on films that are all larger.
    """
    cases = [case for case in cases if case.visible.any()]
    values = [case.points[case.visible] for case in cases]
    if not values or min(float(points.min()) for points in values) < 0:
        return
    top = max(float(points.max()) for points in values)
    smallest = min(min(case.size) for case in cases)
    for limit, unit, words in ((1.0, "fraction", "shares"), (PERCENT, "percent", "per cent")):
        if top <= limit < smallest - 1:
            raise DataError(
                f"no coordinate of any film is above {limit:g}, on films of {smallest} px and more, so the points "
                f"seem to be {words} of the film, or of a smaller copy; write `unit: {unit}` under the card's "
                f"annotations, or `unit: px` if they are pixels all the same."
            )


def case_oddities(case: Case, schema: LandmarkSchema, labelled: tuple[int, int] | None) -> Iterator[str]:
    """Describe what is odd about one film's labels and spacing.

    Args:
        case: The film.
        schema: Its landmarks.
        labelled: (height, width) of the image that the labels were made on, where the label file says so.
    """
    height, width = case.size
    points = case.points[case.visible]
    outside = [*_outside(case, schema)]
    if labelled and labelled != case.size:
        yield (
            f"labelled on an image of {labelled[1]} x {labelled[0]} px, but the film has {width} x {height} px; label "
            f"the film itself, or restore the image that was labelled."
        )
    if outside and _is_inside(points[:, ::-1], case.size).all():
        yield "some points lie outside the film, but none would with x and y exchanged."
    yield from outside
    if len(points) > 1 and (points >= 0).all() and points.max() <= 1 and min(case.size) > 2:
        yield "all its points lie within the first pixel: they seem to be shares of the film."
    yield from _same_places(case, schema)
    yield from _odd_spacing(case)


def set_oddities(cases: Sequence[Case], schema: LandmarkSchema) -> Iterator[tuple[str, str]]:
    """Yield the case and what is odd about its labels beside those of the other films; no case where it is all."""
    yield from _repeated_points(cases, schema)
    if len(cases) >= FEWEST_FILMS:
        yield from _exchanged_axes(cases)
        yield from _whole_set(cases, schema)


def _is_inside(points: Float[np.ndarray, "landmark 2"], size: tuple[int, int]) -> Bool[np.ndarray, " landmark"]:
    height, width = size
    return np.asarray(((points >= -0.5) & (points <= (width - 0.5, height - 0.5))).all(axis=1))


def _outside(case: Case, schema: LandmarkSchema) -> Iterator[str]:
    height, width = case.size
    for name, point in zip(schema.names, case.points, strict=True):
        if np.isfinite(point[0]) and not _is_inside(point[None], case.size)[0]:
            yield f"{name} at ({point[0]:g}, {point[1]:g}) lies outside the film of {width} x {height} px."


def _same_places(case: Case, schema: LandmarkSchema) -> Iterator[str]:
    """Describe landmarks of one film at exactly the same point."""
    first: dict[tuple[float, ...], str] = {}
    for name, point in zip(schema.names, case.points.tolist(), strict=True):
        if math.isfinite(point[0]) and (other := first.setdefault(tuple(point), name)) != name:
            yield f"{name} and {other} are the same point ({point[0]:g}, {point[1]:g})."


def _odd_spacing(case: Case) -> Iterator[str]:
    x, y = case.spacing
    if not (math.isfinite(x) and math.isfinite(y)):
        return
    longest = max(case.size[1] * x, case.size[0] * y)
    if not EXTENT_MM[0] <= longest <= EXTENT_MM[1] or max(x, y) > LARGEST_SPACING_MM:
        yield f"its spacing of {x:g} x {y:g} mm per pixel makes a film of {longest:g} mm, which is implausible."
    elif max(x, y) > 2 * min(x, y):
        yield f"its spacing of {x:g} mm in x and {y:g} mm in y is far from square."


def _repeated_points(cases: Sequence[Case], schema: LandmarkSchema) -> Iterator[tuple[str, str]]:
    """Name films that share one landmark's exact point with many others."""
    for index, name in enumerate(schema.names):
        points = {case.name: tuple(case.points[index].tolist()) for case in cases if case.visible[index]}
        limit = max(FEWEST_REPEATS, SHARE_OF_REPEATS * len(points))
        often = {point: count for point, count in Counter(points.values()).items() if count >= limit}
        for case, (x, y) in points.items():
            if (x, y) in often:
                yield case, f"{name} at ({x:g}, {y:g}) is the same point in {often[x, y]} films: a placeholder?"


def _shapes(cases: Sequence[Case]) -> Float[np.ndarray, "case landmark 2"]:
    """Return every film's points as shares of its width and height."""
    return np.stack([case.points / case.size[::-1] for case in cases])


def _exchanged_axes(cases: Sequence[Case]) -> Iterator[tuple[str, str]]:
    """Name films whose points lie nearer the set's usual shape once x and y are exchanged."""
    shapes = _shapes(cases)
    seen = np.isfinite(shapes).all(axis=2).any(axis=0)
    if not seen.any():
        return
    usual = np.nanmedian(shapes[:, seen], axis=0)
    for case, shape in zip(cases, shapes[:, seen], strict=True):
        if np.isfinite(shape).any():
            turned = shape[:, ::-1] * np.array(case.size) / case.size[::-1]
            as_is, exchanged = (float(np.nanmean(np.abs(s - usual))) for s in (shape, turned))
            if as_is > FAR and exchanged < as_is / 2:
                yield case.name, "its points resemble the other films' once x and y are exchanged."


def _whole_set(cases: Sequence[Case], schema: LandmarkSchema) -> Iterator[tuple[str, str]]:
    """Describe what is odd about all films alike."""
    points = [case.points[case.visible] / case.size[::-1] for case in cases if case.visible.any()]
    if points and len(schema) > 1 and (np.concatenate(points).max(axis=0) < HALF).all():
        yield "", "no landmark of any film lies in its right or lower half: labels made on smaller copies?"
    pairs = np.array([schema.index(pair) for pair in schema.flips], int).reshape(-1, 2)
    apart = np.concatenate([np.abs(case.points[pairs[:, 0]] - case.points[pairs[:, 1]]) for case in cases])
    apart = apart[np.isfinite(apart).all(axis=1)]
    if len(apart) and (apart[:, 1] > 2 * apart[:, 0]).mean() > MOST:
        yield "", "the pairs of `flips` lie above each other rather than side by side: are x and y exchanged?"
