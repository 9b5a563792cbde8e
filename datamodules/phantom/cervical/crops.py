"""Crops of single vertebrae as in Upadhyay et al. 2020: cut from lateral cervical phantoms and from lumbar ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from datamodules.phantom.cervical.films import (
    MIRRORED_VERTEBRA,
    VIEWS,
    Lateral,
    cervical_lateral,
    expose,
    finish,
    mirror,
)
from datamodules.phantom.cervical.lateral import Shape, Vertebra, draw_arch, draw_body, draw_discs, move, stack
from datamodules.phantom.rendering import PhantomFilm, Radiograph, ellipse, smooth_noise, spline

MARGIN = (0.12, 0.4)
"""Least and most that a crop is wider than its landmarks, on every side, as a share of their extent."""
# T12, L1 to L5 and S1 in millimetres: depth, front, back, slope, canal, reach, drop, thickness at root and tip
_LUMBAR = np.array(
    [
        (32.0, 25.0, 26.5, 0.0, 17.0, 50.0, 17.0, 16.0, 15.0),
        (34.0, 26.5, 28.0, 0.0, 18.0, 53.0, 12.0, 19.0, 19.0),
        (35.0, 27.5, 28.5, 0.0, 18.0, 56.0, 11.0, 21.0, 21.0),
        (36.0, 28.5, 28.5, 0.0, 18.0, 58.0, 10.0, 22.0, 22.0),
        (37.0, 28.5, 27.5, 0.0, 18.5, 56.0, 9.0, 20.0, 20.0),
        (37.5, 29.0, 25.5, 0.0, 19.0, 50.0, 8.0, 16.0, 14.0),
        (36.0, 30.0, 27.0, 0.0, 17.0, 38.0, 8.0, 14.0, 10.0),
    ]
)
_LUMBAR_DISCS = (6.5, 8.0, 9.0, 10.0, 11.0, 10.0)
_LUMBAR_TILT = (-9.0, -11.0, -9.0, -4.0, 4.0, 16.0, 34.0)
CERVICAL_LEVELS = ("C3", "C4", "C5", "C6", "C7")
LUMBAR_LEVELS = ("L1", "L2", "L3", "L4", "L5")


class Crop(NamedTuple):
    """One vertebra cut out of a film: grey values, its five points in the crop's pixels."""

    image: UInt8[np.ndarray, "height width"]
    points: Float[np.ndarray, "5 2"]


def cut(lateral: Lateral, vertebra: int, rng: np.random.Generator) -> Crop:
    """Cut a vertebra out of a film, with a random margin on every side, as far as the film goes."""
    image, points = lateral.film.image, lateral.vertebrae[vertebra]
    low, high = points.min(axis=0), points.max(axis=0)
    before, behind = rng.uniform(*MARGIN, (2, 2)) * (high - low)
    limit = np.array(image.shape[::-1])
    left, top = np.floor(np.clip(low - before, 0, limit - 8)).astype(int)
    right, bottom = np.ceil(np.clip(high + behind, (left + 8, top + 8), limit)).astype(int)
    return Crop(np.ascontiguousarray(image[top:bottom, left:right]), points - (left, top))


# --- lumbar films -----------------------------------------------------------------------------------------------------


def lumbar_lateral(seed: int, height: int = 640) -> Lateral:
    """Make one lateral lumbar film, of which crops are to be cut; what lies away from the column is only suggested.

    Args:
        seed: the same seed and height give the same film.
        height: film height in pixels.

    Returns:
        The film with the five points of L1 to L5.
    """
    rng = np.random.default_rng([37, seed])
    width, scale = round(0.72 * height), height / float(rng.uniform(225, 275))
    column = _lumbar_column(rng, height, width, scale)
    vertebrae = np.stack([vertebra.points for vertebra in column[1:6]])
    facing_left, inverted = bool(rng.random() < 0.25), bool(rng.random() < 0.2)
    film = Radiograph(height, width, rng)
    _trunk(film, column, scale)
    bone, soft = float(rng.uniform(0.75, 1.3)), float(rng.uniform(0.2, 0.7)) * scale
    draw_discs(film, column, 0.04)
    for vertebra in column:
        draw_body(film, vertebra, bone, soft)
    for vertebra in column:
        draw_arch(film, vertebra, bone, soft)
    image = expose(film, inverted)
    if facing_left:
        image, vertebrae = np.ascontiguousarray(image[:, ::-1]), mirror(vertebrae, width, MIRRORED_VERTEBRA)
    return Lateral(PhantomFilm(finish(image, rng, inverted), vertebrae.reshape(-1, 2), inverted), vertebrae, 1 / scale)


def _lumbar_column(rng: np.random.Generator, height: int, width: int, scale: float) -> tuple[Vertebra, ...]:
    sizes = _LUMBAR * rng.normal(1, 0.035, _LUMBAR.shape) * float(np.clip(rng.normal(1, 0.07), 0.86, 1.14))
    sizes[:, 3] = rng.normal(0, 0.015, len(sizes))
    shapes = [Shape(*row.tolist()) for row in sizes]
    discs = np.array(_LUMBAR_DISCS) * rng.uniform(0.7, 1.15, len(_LUMBAR_DISCS))
    tilts = np.array(_LUMBAR_TILT) * rng.normal(1, 0.2) + rng.normal(0, 4) + rng.normal(0, 1.5, len(shapes))
    column = stack(shapes, [float(t) for t in tilts], [float(d) for d in discs], scale)
    middle = np.mean([vertebra.centre for vertebra in column[1:6]], axis=0)
    return move(column, np.array([0.58 * width, 0.47 * height]) + rng.normal(0, 0.015 * height, 2) - middle)


def _trunk(film: Radiograph, column: Sequence[Vertebra], mm: float) -> None:
    """Add the trunk, bowel gas in front of the column, the lowest ribs and the crests of the hip bones."""
    rng, centres = film.rng, np.array([vertebra.centre for vertebra in column])
    middle = float(centres[:, 0].mean())
    edge = [(-135, -0.1), (-112, 0.3), (-105, 0.6), (-140, 1.1), (110, 1.1), (115, 0.6), (110, 0.3), (120, -0.1)]
    body = np.array([(middle + x * mm, y * film.height) for x, y in edge])
    film.add_round(spline(body, 80, closed=True), rng.uniform(1.0, 1.4), edge=70 * mm, soft=3 * mm)
    for sigma, amount in ((30, 0.1), (10, 0.04), (4, 0.015)):
        film.add_field(amount * smooth_noise(rng, film.height, film.width, sigma * mm))
    for _ in range(rng.integers(3, 12)):
        spot = (middle + rng.uniform(5, 90) * mm, rng.uniform(0.1, 0.9) * film.height)
        film.add_ellipse(spot, (rng.uniform(5, 16) * mm, rng.uniform(4, 11) * mm), -rng.uniform(0.05, 0.3), soft=2 * mm)
    for side in rng.normal(0, 5, 2) * mm:
        rib = centres[0] + np.array([(-20, -12), (-8, 14), (18, 40), (45, 58)]) * mm + side
        film.add_tube(spline(rib, 30), 4 * mm, cortex=0.09, medulla=0.06, rim=1.2 * mm, soft=0.8 * mm)
        crest = centres[5] + np.array([(-75, 25), (-45, -14), (0, -22), (40, 2), (55, 50), (0, 90), (-60, 80)]) * mm
        film.add_bone(spline(crest + side, 60, closed=True), cortex=0.12, medulla=0.08, rim=2 * mm, soft=1.2 * mm)
    hip = ellipse(centres[6] + np.array([-6, 40]) * mm, (30 * mm, 46 * mm), degrees=-20)
    film.add_bone(hip, cortex=0.08, medulla=0.12, rim=2 * mm, soft=1.2 * mm)


# --- files ------------------------------------------------------------------------------------------------------------


def write_cervical_crops(root: Path, patients: int, names: Sequence[str], seed: int = 0, height: int = 512) -> None:
    """Write C3 to C7 of one film per patient, in neutral pose, extension or flexion in turn; see `_write`."""

    def draw(number: int, patient: int) -> Lateral:
        return cervical_lateral(number, VIEWS[patient % 3], height)

    _write(root, patients, CERVICAL_LEVELS, names, seed, draw)


def write_lumbar_crops(root: Path, patients: int, names: Sequence[str], seed: int = 0, height: int = 512) -> None:
    """Write L1 to L5 of one film per patient; see `_write`."""
    _write(root, patients, LUMBAR_LEVELS, names, seed, lambda number, patient: lumbar_lateral(number, height))


def _write(
    root: Path,
    patients: int,
    levels: Sequence[str],
    names: Sequence[str],
    seed: int,
    draw: Callable[[int, int], Lateral],
) -> None:
    """Write crops in the layout of the crop datasets: `images/<patient>-<level>.png` and `landmarks.csv`."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    axes = [f"{name}-{axis}" for name in names for axis in "xy"]
    rows = [",".join(["image", "patient", "level", "spacing-x", "spacing-y", *axes])]
    for patient in range(patients):
        lateral, rng = draw(1000 * seed + patient, patient), np.random.default_rng([41, seed, patient])
        spacing = f"{lateral.spacing:.6f}"
        for index, level in enumerate(levels):
            crop, name = cut(lateral, index, rng), f"P{patient + 1:04d}-{level}.png"
            cv2.imwrite(str(root / "images" / name), crop.image)
            row = [name, f"P{patient + 1:04d}", level, spacing, spacing, *(f"{v:.3f}" for v in crop.points.ravel())]
            rows.append(",".join(row))
    (root / "landmarks.csv").write_text("\n".join(rows) + "\n")
