"""Lateral lumbar phantom: L1-L5 and S1 with what hides them, 22 landmarks exact by construction.

What makes the real films hard (An et al. 2022, Sec. 4) occurs here: dark L1-L4, lower ribs and diaphragm over L1, iliac
crests over L5 and S1, L5 that looks like S1 or S1 that looks like L5, broken vertebrae.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from datamodules.phantom.lumbar.anatomy import FIRST_LUMBAR, LEVELS, Condition, Spine, make_spine
from datamodules.phantom.lumbar.flank import Flank
from datamodules.phantom.rendering import PhantomFilm, Points, Radiograph, collimate, mark, spline

_FLIP = np.arange(22).reshape(-1, 2)[:, ::-1].ravel()
# Arch of a lumbar vertebra, in depths and heights of its body from the body's centre: x to the back, y down.
_SPINOUS = np.array(
    [(0.98, -0.06), (1.25, -0.02), (1.55, 0.06), (1.74, 0.2), (1.76, 0.5), (1.62, 0.66), (1.3, 0.56), (1.02, 0.4)]
)
# The broad process with which a sacralised L5 joins the sacrum.
_WING = np.array([(0.15, -0.25), (0.7, -0.1), (1.05, 0.5), (0.9, 1.25), (0.4, 1.3), (-0.05, 0.7)])
# S1-S5, in depths of its end plate from the middle of that.
_SACRUM = np.array(
    [
        *[(-0.5, 0), (-0.44, 0.3), (-0.37, 0.72), (-0.22, 1.2), (0.02, 1.7), (0.3, 2.15), (0.52, 2.6), (0.6, 2.95)],
        *[(0.78, 2.9), (0.86, 2.4), (0.86, 1.9), (0.9, 1.3), (0.96, 0.8), (0.84, 0.3), (0.5, 0)],
    ]
)


class LumbarFilm(NamedTuple):
    """A lateral lumbar radiograph.

    Attributes:
        film: grey values, the 22 landmarks and polarity.
        condition: what is wrong with the spine.
        dark: vertebrae L1..L4 that can hardly be seen, by index of `LEVELS`.
        mirrored: whether the patient faces the image's right.
    """

    film: PhantomFilm
    condition: Condition
    dark: tuple[int, ...]
    mirrored: bool


def lumbar_film(
    seed: int, height: int = 512, width: int | None = None, span: float | None = None, mirror: float = 0.06
) -> LumbarFilm:
    """Make one lateral lumbar film.

    Args:
        seed: the same seed and sizes give the same film.
        height: film height in pixels.
        width: film width in pixels; by default drawn between .5 and .85 of the height, as on collimated films.
        span: millimetres from the film's upper to its lower edge; None lets the lumbar spine fill most of it.
        mirror: share of films whose patient faces the image's right.
    """
    rng = np.random.default_rng(seed)
    narrow = float(rng.uniform(0.5, 0.85))
    width = round(height * narrow) if width is None else width
    spine = make_spine(rng, (height, width), span)
    radiograph = Radiograph(height, width, rng)
    flank = Flank(radiograph, spine)
    flank.draw_behind()
    dark = draw_spine(radiograph, spine)
    flank.draw_before()
    for level in dark:
        _darken(radiograph, spine, level)
    if rng.random() < 0.05:
        _add_screws(radiograph, spine)
    inverted, mirrored = bool(rng.random() < 0.08), bool(rng.random() < mirror)
    image = develop(radiograph, inverted, mirrored=mirrored)
    points = spine.points
    if mirrored:
        points = (np.array([width - 1.0, 0.0]) + points * (-1.0, 1.0))[_FLIP]
    return LumbarFilm(PhantomFilm(image, points, inverted), spine.condition, dark, mirrored)


def draw_spine(film: Radiograph, spine: Spine) -> tuple[int, ...]:
    """Draw the sacrum and T8..L5, the arches before the bodies that overlap them; return the faint vertebrae."""
    rng = film.rng
    dense, soft = float(rng.uniform(0.6, 1.35)), float(rng.uniform(0.0, 0.5)) * spine.scale
    visible = np.full(len(LEVELS), dense)
    dark = _faint(rng)
    visible[list(dark)] *= rng.uniform(0.12, 0.4)
    visible[:FIRST_LUMBAR] *= 0.75
    _add_sacrum(film, spine, dense)
    if spine.condition.transition == "sacralised":
        wing = spline(spine.at(len(LEVELS) - 1, _WING), 30, closed=True)
        film.add_bone(wing, cortex=0.03 * dense, medulla=0.1 * dense, rim=2 * spine.scale, soft=1.2 * spine.scale)
    for level in range(len(LEVELS)):
        _add_arch(film, spine, level, float(visible[level]))
    for level in range(len(LEVELS)):
        _add_body(film, spine, level, float(visible[level]), soft)
    return dark


def _faint(rng: np.random.Generator) -> tuple[int, ...]:
    """Choose none, one or two neighbours of L1..L4 to be hidden; L1 most often."""
    if rng.random() > 0.22:
        return ()
    first = int(rng.choice(4, p=[0.45, 0.25, 0.18, 0.12]))
    count = int(rng.integers(1, 3))
    return tuple(FIRST_LUMBAR + level for level in range(first, min(first + count, 4)))


def _darken(film: Radiograph, spine: Spine, level: int) -> None:
    """Cover a vertebra with a dark shadow, as gas or over-exposed lung does."""
    wide, tall = spine.size(level)
    spot = spine.corners[level].mean(axis=0) + film.rng.normal(0, 0.15, 2) * (wide, tall)
    axes = film.rng.uniform(0.6, 1.1) * wide, film.rng.uniform(0.6, 1.0) * tall
    film.add_ellipse(spot, axes, -film.rng.uniform(0.1, 0.4), degrees=film.rng.uniform(0, 180), soft=0.12 * wide)


def body_outline(corners: Float[np.ndarray, "4 2"], hollow: Sequence[float]) -> Points:
    """Outline of a vertebral body: exact corners, hollow end plates, waisted walls.

    Args:
        corners: TL, TR, BL, BR.
        hollow: how deep the upper and the lower end plate are, as a share of half the body's height.
    """
    top_left, top_right, bottom_left, bottom_right = corners
    centre = corners.mean(axis=0)
    path = []
    for a, b, depth in (
        (top_left, top_right, hollow[0]),
        (top_right, bottom_right, 0.07),
        (bottom_right, bottom_left, hollow[1]),
        (bottom_left, top_left, 0.09),
    ):
        t = np.linspace(0, 1, 9, endpoint=False)[:, None]
        path.append(a + t * (b - a) + depth * np.sin(np.pi * t) * (centre - (a + b) / 2))
    return np.concatenate(path)


def _add_body(film: Radiograph, spine: Spine, level: int, dense: float, soft: float) -> None:
    corners, mm = spine.corners[level], spine.scale
    outline = body_outline(corners, spine.hollow[level])
    crushed = 1.25 if spine.condition.fracture[level] else 1.0
    film.add_bone(outline, cortex=0.12 * dense, medulla=0.13 * dense * crushed, rim=1.5 * mm, texture=0.2, soft=soft)
    for plate, other, hollow in zip(
        (corners[:2], corners[2:]), (corners[2:], corners[:2]), spine.hollow[level], strict=True
    ):
        # the rim of the end plate that is further from the film projects a little inside of the near one
        inset = (0.5 * hollow + 0.06 * film.rng.uniform(0.0, 1.6)) * (other.mean(axis=0) - plate.mean(axis=0))
        ends = plate + 0.05 * (plate[::-1] - plate)
        curve = spline(np.array([ends[0], plate.mean(axis=0) + inset, ends[1]]), 9)
        film.add_line(curve, 0.1 * dense, thickness=1.4 * mm, soft=0.5 * mm)
    if film.rng.random() < 0.2:
        _add_spur(film, spine, level, dense)


def _add_spur(film: Radiograph, spine: Spine, level: int, dense: float) -> None:
    """A beak of bone that grows from a front corner; the landmark stays at the corner."""
    corner = int(film.rng.choice([0, 2]))
    at, wide = spine.corners[level, corner], spine.size(level)[0]
    out = spine.corners[level, corner] - spine.corners[level, corner + 1]
    tip = at + film.rng.uniform(0.08, 0.2) * out + np.array([0.0, (1 - corner) * film.rng.uniform(-0.02, 0.08) * wide])
    base = at - 0.1 * out
    film.add_tube(np.array([base, at, tip]), np.array([2.2, 1.8, 0.6]) * spine.scale, medulla=0.12 * dense, soft=0.3)


def _add_arch(film: Radiograph, spine: Spine, level: int, dense: float) -> None:
    """Pedicles, joint processes and spinous process, both sides over each other and a little apart."""
    rng, mm = film.rng, spine.scale
    wide, tall = spine.sound_size(level)
    lumbar = level >= FIRST_LUMBAR
    shrink = np.array([1.0, 1.0]) if lumbar else np.array([0.85, 1.2])
    spinous = _SPINOUS * shrink + (np.zeros(2) if lumbar else np.outer(_SPINOUS[:, 0] - 0.9, [0.0, 0.9]))
    film.add_bone(
        spline(spine.at(level, spinous), 30, closed=True),
        cortex=0.06 * dense,
        medulla=0.06 * dense,
        rim=1.6 * mm,
        soft=0.8 * mm,
    )
    apart = rng.normal(0, 0.045, 2)
    for side in (0, 1):
        move = side * apart
        bone = {"cortex": 0.045 * dense, "medulla": 0.04 * dense, "rim": 1.4 * mm, "soft": (0.4 + 0.5 * side) * mm}
        pedicle = np.array([(0.42, -0.26), (0.62, -0.25), (0.84, -0.2)]) + move
        film.add_tube(spine.at(level, pedicle), np.array([0.2, 0.16, 0.2]) * tall, **bone)
        upper = np.array([(0.78, -0.1), (0.8, -0.4), (0.74, -0.72)]) + move
        film.add_tube(spine.at(level, upper), np.array([0.13, 0.12, 0.07]) * tall, **bone)
        lower = np.array([(0.8, -0.12), (0.93, 0.25), (0.94, 0.6), (0.9, 0.9)]) + move
        film.add_tube(spine.at(level, spline(lower, 8)), np.linspace(0.16, 0.1, 8) * tall, **bone)
        if lumbar:  # the transverse process, seen end on
            spot = spine.at(level, np.array([(0.5, -0.1)]) + move)[0]
            film.add_ellipse(spot, (0.09 * wide, 0.12 * wide), 0.05 * dense, soft=0.8 * mm)


def _add_sacrum(film: Radiograph, spine: Spine, dense: float) -> None:
    """S1-S5 with S1's end plate exactly at its landmarks, remnants of discs and the crest behind the canal."""
    mm, rng = spine.scale, film.rng
    lumbarised = spine.condition.transition == "lumbarised"
    outline = np.concatenate([spine.below(_SACRUM[:1]), spline(spine.below(_SACRUM[:-1]), 50)[1:], spine.sacrum[1:]])
    film.add_bone(outline, cortex=0.1 * dense, medulla=0.1 * dense, rim=1.6 * mm, texture=0.2, soft=0.5 * mm)
    plate = np.array([(-0.47, 0.0), (0.0, rng.uniform(0.02, 0.06)), (0.47, 0.0)])
    film.add_line(spline(spine.below(plate), 9), 0.12 * dense, thickness=1.5 * mm, soft=0.5 * mm)
    if lumbarised:  # S1 is square and a whole disc lies below it
        body = spine.below(np.array([(-0.5, 0.0), (0.5, 0.0), (-0.43, 0.74), (0.45, 0.72)]))
        film.add_bone(
            body_outline(body, (0.05, 0.08)), cortex=0.12 * dense, medulla=0.06 * dense, rim=1.5 * mm, soft=0.3 * mm
        )
        disc = spine.below(np.array([(-0.4, 0.76), (0.44, 0.74), (0.44, 0.88), (-0.36, 0.92)]))
        film.add_polygon(disc, -0.16 * dense, soft=0.6 * mm)
    for row, (front, back, y) in enumerate(((-0.38, 0.36, 0.72), (-0.2, 0.42, 1.22), (0.04, 0.5, 1.66))):
        line = spine.below(np.array([(front, y), (0.5 * (front + back), y + 0.02), (back, y - 0.04 * row)]))
        film.add_line(spline(line, 7), -0.08 * dense, thickness=(3.0 - 0.5 * row) * mm, soft=0.8 * mm)
    crest = spline(spine.below(np.array([(0.98, 0.25), (1.12, 0.6), (1.06, 1.1), (1.02, 1.6), (0.96, 2.1)])), 16)
    bumps = (0.1 + 0.03 * np.sin(np.linspace(0, 8 * np.pi, 16))) * np.linalg.norm(spine.sacrum[1] - spine.sacrum[0])
    film.add_tube(crest, bumps, cortex=0.05 * dense, medulla=0.06 * dense, rim=1.4 * mm, soft=0.8 * mm)


def _add_screws(film: Radiograph, spine: Spine) -> None:
    """Pedicle screws and a rod over two or three levels: metal hides the edges behind it."""
    rng, mm = film.rng, spine.scale
    first = int(rng.integers(FIRST_LUMBAR + 1, len(LEVELS) - 1))
    levels = range(first, min(first + int(rng.integers(2, 4)), len(LEVELS)))
    heads = []
    for level in levels:
        shaft = spine.at(level, np.array([(1.05, -0.2), (-0.25, -0.12)]))
        heads.append(shaft[0])
        film.add_tube(shaft, np.array([3.2, 2.2]) * mm, medulla=1.3, texture=0.0, soft=0.3 * mm)
        film.add_ellipse(shaft[0], (6 * mm, 6.5 * mm), 1.8, rounded=False)
    film.add_tube(spline(np.array(heads), 12), 2.8 * mm, medulla=1.8, texture=0.0, soft=0.3 * mm)


def develop(film: Radiograph, inverted: bool, *, mirrored: bool = False) -> UInt8[np.ndarray, "height width"]:
    """Expose with settings as varied as on real lumbar films, mirror if asked, then collimate and mark some of them."""
    rng, unit = film.rng, film.unit
    image = film.develop(
        inverted=inverted,
        photons=float(np.exp(rng.uniform(np.log(2.5e3), np.log(6e4)))),
        scatter=rng.uniform(0.1, 0.45),
        unsharpness=rng.uniform(0.35, 0.9),
        window=(rng.uniform(0.5, 12), rng.uniform(98.5, 100)),
        gamma=rng.uniform(0.75, 1.25),
        black=rng.uniform(0.0, 0.08),
        white=rng.uniform(0.7, 1.0),
        enhance=max(0.0, rng.normal(0.4, 0.45)),
    )
    image = np.ascontiguousarray(image[:, ::-1] if mirrored else image)
    if rng.random() < 0.4:
        covered = rng.uniform(0, 0.025, 4) * film.height * (rng.random(4) < 0.6)
        left, top, right, bottom = map(float, covered)
        image = collimate(image, (left, top, right, bottom), grey=255 if inverted else 0, soft=0.8 * unit)
    if rng.random() < 0.35:
        spot = (film.width * rng.choice([0.04, 0.86]), film.height * rng.uniform(0.08, 0.3))
        image = mark(image, str(rng.choice(["L", "R"])), spot, size=14 * unit)
    return image
