"""AP spine phantom: 17 vertebrae T1-L5 under scoliosis, and the AASCE challenge's files made of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import scipy.io
from jaxtyping import Float

from datamodules.phantom.rendering import PhantomFilm, Points, Radiograph, collimate, ellipse, mark, spline, transform
from datamodules.phantom.torso import SIDES, Torso

VERTEBRAE = 17
# Mean size of T1..L5 on real AP films, as fractions of the film's height.
_WIDTH = (68, 62, 59.5, 58, 59, 60, 62, 64.5, 66.5, 68, 71, 76, 80.5, 83, 85.5, 88.5, 93)
_BODY = (25, 29, 31.5, 34.5, 36.5, 37.5, 37.5, 38, 39.5, 41.5, 42.5, 44.5, 47, 47.5, 48, 49, 46)
_PITCH = (37, 39, 43, 45, 46, 47, 48, 49, 51, 54, 57, 60, 64, 66.5, 67, 67, 64)


class SpineGeometry(NamedTuple):
    """Geometry of one spine, in pixels.

    Attributes:
        corners: TL, TR, BL, BR of each vertebra top to bottom, shape (17, 4, 2).
        tilt: inclination of each vertebra in degrees, clockwise on the screen, shape (17,).
        twist: axial rotation about the spine in degrees, shape (17,).
    """

    corners: Float[np.ndarray, "17 4 2"]
    tilt: Float[np.ndarray, " 17"]
    twist: Float[np.ndarray, " 17"]

    @property
    def centres(self) -> Float[np.ndarray, "17 2"]:
        """Mean of each vertebra's corners."""
        return np.asarray(self.corners.mean(axis=1))


def spine_film(seed: int, height: int = 512, width: int | None = None) -> PhantomFilm:
    """Make one AP spine film.

    Args:
        seed: the same seed, height and width give the same film.
        height: film height in pixels.
        width: film width in pixels; by default drawn so that height / width lies between 2 and 3.2, as in AASCE.

    Returns:
        The film with 68 landmarks: 17 vertebrae top to bottom, corners TL, TR, BL, BR (left is the image's left).
    """
    rng = np.random.default_rng(seed)
    narrow = float(rng.uniform(2.0, 3.0))
    width = round(height / narrow) if width is None else width
    column = make_column(rng, height, width)
    radiograph = Radiograph(height, width, rng)
    Torso(radiograph, column.centres, column.corners).draw_behind()
    draw_column(radiograph, column)
    if rng.random() < 0.06:
        _add_implant(radiograph, column)
    if rng.random() < 0.12:
        _stitch(radiograph)
    inverted = bool(rng.random() < 0.1)
    return PhantomFilm(_develop(radiograph, inverted), column.corners.reshape(-1, 2), inverted)


# --- geometry ---------------------------------------------------------------------------------------------------------


def make_column(rng: np.random.Generator, height: int, width: int) -> SpineGeometry:
    """Draw a spine: size, position and scoliosis; a curve too wide for the film is flattened until it fits."""
    sizes = np.array([_BODY, _PITCH, _WIDTH]) / 1000 * (1 + rng.normal(0, 0.02, (3, VERTEBRAE)))
    sizes[2] *= rng.uniform(0.88, 1.12)
    sizes[0] *= rng.uniform(0.92, 1.04)
    top, bottom = rng.uniform(0.005, 0.09), rng.uniform(0.83, 0.975)
    bend, wedge = _scoliosis(rng), rng.uniform(0.3, 0.8)
    shift, jitter = rng.normal(0, 0.04), rng.normal(0, 1.0, VERTEBRAE)
    for flatten in (1.0, 0.85, 0.7, 0.5, 0.3, 0.1, 0.0):
        corners, tilt = _stack(sizes, bend * flatten, wedge, jitter)
        first, last = corners[0, :2, 1].mean(), corners[-1, 2:, 1].mean()
        corners = (corners - [0, first]) * (bottom - top) / (last - first) * height
        middle = (corners[..., 0].min() + corners[..., 0].max()) / 2
        corners += [width * (0.5 + shift) - middle, top * height]
        if corners[..., 0].min() > 0.03 * width and corners[..., 0].max() < 0.97 * width:
            break
    twist = -np.gradient(np.gradient(corners.mean(axis=1)[:, 0])) / height * 4000
    return SpineGeometry(corners, tilt, np.clip(twist, -25, 25))


def _scoliosis(rng: np.random.Generator, samples: int = 341) -> Float[np.ndarray, " samples"]:
    """Inclination in degrees along the spine, from T1's top to L5's bottom: none, one, two or three curves."""
    along = np.linspace(0, 1, samples)
    curves = rng.choice(4, p=[0.1, 0.4, 0.38, 0.12])
    cobb = rng.uniform(3, 9) if curves == 0 else float(np.clip(rng.lognormal(np.log(34), 0.45), 10, 70))
    side = rng.choice([1, -1], p=[0.7, 0.3])
    offset = np.zeros(samples)
    for curve in range(max(curves, 1)):
        centre = (curve + 1) / (max(curves, 1) + 1) + rng.normal(0, 0.05)
        reach = rng.uniform(0.2, 0.26) if curves <= 1 else rng.uniform(0.26, 0.34) / curves * 1.3
        offset += side * (-1) ** curve * rng.uniform(0.7, 1) * np.exp(-(((along - centre) / reach) ** 2))
    slope = np.gradient(offset)
    return np.asarray(slope / np.ptp(slope) * cobb + rng.normal(0, 1.5))


def _stack(
    sizes: Float[np.ndarray, "3 17"],
    bend: Float[np.ndarray, " samples"],
    wedge: float,
    jitter: Float[np.ndarray, " 17"],
) -> tuple[Float[np.ndarray, "17 4 2"], Float[np.ndarray, " 17"]]:
    """Pile vertebrae along a bent centre line; `wedge` is how far end plates follow the line within a vertebra."""
    body, pitch, wide = sizes
    start = np.cumsum(pitch) - pitch
    ends = np.stack([start, start + body], axis=1)  # arc length at which each vertebra begins and ends
    arc = np.linspace(0, ends[-1, 1], len(bend))
    lean = np.deg2rad(bend)
    step = np.stack([np.sin(lean), np.cos(lean)], axis=1) * arc[1]
    line = np.cumsum(step, axis=0)
    middle = np.interp(ends.mean(axis=1), arc, bend)
    plate = middle[:, None] + wedge * (np.interp(ends, arc, bend) - middle[:, None]) + 0.4 * jitter[:, None]
    mid = np.stack([np.interp(ends, arc, line[:, axis]) for axis in (0, 1)], axis=-1)
    angle = np.deg2rad(plate)
    across = np.stack([np.cos(angle), -np.sin(angle)], axis=-1) * wide[:, None, None] / 2
    across[:, 0] *= 0.97  # the lower end plate is the wider one
    corners = np.stack([mid - across, mid + across], axis=2)
    return corners.reshape(VERTEBRAE, 4, 2), -plate.mean(axis=1)


# --- drawing ----------------------------------------------------------------------------------------------------------


def draw_column(film: Radiograph, column: SpineGeometry) -> None:
    """Draw the 17 vertebrae and three of the neck; bodies first, then the arches that overlap them on a film."""
    dense, soft = float(film.rng.uniform(0.5, 1.4)), film.rng.uniform(0.0, 0.8) * film.unit
    for part in (_neck(column), column):
        for above, below in zip(part.corners[:-1], part.corners[1:], strict=True):
            disc = np.stack([above[2], above[3], below[1], below[0]])
            film.add_polygon(disc, 0.05 * dense, soft=0.6 * film.unit)
        for corners in part.corners:
            _add_body(film, corners, dense, soft)
        for index in range(len(part.corners)):
            _add_arch(film, part, index, dense)
    muscle = np.interp(np.linspace(0, 1, 30), np.linspace(0, 1, VERTEBRAE), _WIDTH) * 0.00054 * film.height
    path, depth = spline(column.centres[::2], 30), film.rng.uniform(0.05, 0.16)
    film.add_tube(path, muscle, medulla=depth, texture=0.0, soft=2.2 * film.unit)


def _neck(column: SpineGeometry) -> SpineGeometry:
    """C5-C7 above the first vertebra; they look like it, so where to start counting has to be learnt."""
    first = column.corners[0]
    up = (first[:2].mean(axis=0) - column.corners[1, :2].mean(axis=0)) * 0.95
    centre = first.mean(axis=0)
    corners = np.stack([transform(first - centre, centre + k * up, scale=0.9) for k in (3, 2, 1)])
    return SpineGeometry(corners, np.repeat(column.tilt[:1], 3), np.zeros(3))


def body_outline(corners: Float[np.ndarray, "4 2"]) -> Points:
    """Outline of a vertebral body: exact corners joined by slightly hollow end plates and a waist at the sides."""
    top_left, top_right, bottom_left, bottom_right = corners
    centre = corners.mean(axis=0)
    path = []
    for a, b, hollow in (
        (top_left, top_right, 0.07),
        (top_right, bottom_right, 0.09),
        (bottom_right, bottom_left, 0.08),
        (bottom_left, top_left, 0.09),
    ):
        t = np.linspace(0, 1, 8, endpoint=False)[:, None]
        path.append(a + t * (b - a) + hollow * np.sin(np.pi * t) * (centre - (a + b) / 2))
    return np.concatenate(path)


def _add_body(film: Radiograph, corners: Float[np.ndarray, "4 2"], dense: float, soft: float) -> None:
    unit = film.unit
    spongy = {"medulla": 0.1 * dense, "texture": 0.3}
    film.add_bone(body_outline(corners), cortex=0.1 * dense, rim=1.5 * unit, soft=soft, **spongy)
    for plate, other in ((corners[:2], corners[2:]), (corners[2:], corners[:2])):
        # the far rim of the end plate: beams diverge, so it projects a little inside of the near one
        inset = 0.1 * film.rng.uniform(0.5, 1.6) * (other.mean(axis=0) - plate.mean(axis=0))
        ends = plate + 0.06 * (plate[::-1] - plate)
        curve = spline(np.array([ends[0], plate.mean(axis=0) + inset, ends[1]]), 9)
        film.add_line(curve, 0.1 * dense, thickness=1.3 * unit, soft=0.5 * unit)


def _add_arch(film: Radiograph, column: SpineGeometry, index: int, dense: float) -> None:
    """Pedicles, laminae, transverse and spinous process of one vertebra, moved sideways by its axial rotation."""
    unit, rng, corners = film.unit, film.rng, column.corners[index]
    wide = float(np.linalg.norm(corners[1] - corners[0]))
    tall = float(np.linalg.norm(corners[2:].mean(axis=0) - corners[:2].mean(axis=0)))
    frame = {"centre": corners.mean(axis=0), "degrees": float(column.tilt[index])}
    turn = float(np.sin(np.deg2rad(column.twist[index])))
    lumbar = max(0.0, (index - 10) / 6)
    for side in SIDES:
        out = side * (0.33 - 0.02 * lumbar) + 0.35 * turn
        pedicle = ellipse((out * wide, -0.14 * tall), (0.1 * wide * (1 - 0.5 * side * turn), 0.23 * tall))
        ring = {"cortex": 0.2 * dense, "medulla": 0.02, "rim": unit}
        film.add_bone(transform(pedicle, **frame), **ring, soft=0.35 * unit)
        length = 0.62 + 0.22 * lumbar if index > 11 or index < 3 else 0.56
        process = np.array([(0.38 * side, -0.12), (0.5 * side, -0.13), (length * side, -0.2 + rng.normal(0, 0.04))])
        radius = np.array([0.13, 0.1, 0.07]) * tall
        bone = {"cortex": 0.07 * dense, "medulla": 0.06 * dense, "rim": unit}
        film.add_tube(transform(process * (wide, tall), **frame), radius, **bone, soft=0.5 * unit)
        lamina = np.array([(out, 0.1), (0.14 * side, 0.3), (0.2 * side, 0.62)])
        film.add_tube(
            transform(lamina * (wide, tall), **frame),
            0.08 * wide,
            cortex=0.09 * dense,
            medulla=0.03,
            rim=unit,
            soft=0.7 * unit,
        )
    spinous = ellipse((-0.3 * turn * wide, 0.42 * tall), (0.07 * wide, (0.32 - 0.06 * lumbar) * tall), power=1.6)
    film.add_bone(transform(spinous, **frame), cortex=0.2 * dense, medulla=0.05, rim=unit, soft=0.35 * unit)


def _add_implant(film: Radiograph, column: SpineGeometry) -> None:
    """Two rods with pedicle screws over part of the spine: metal hides the edges behind it."""
    rng, unit = film.rng, film.unit
    first, last = int(rng.integers(1, 6)), int(rng.integers(11, 16))
    for side in SIDES:
        heads = column.centres[first : last + 1] + np.array([side * 0.034 * film.height, 0.0])
        rod = spline(heads[np.linspace(0, len(heads) - 1, 5).astype(int)], 30)
        film.add_tube(rod, 2.4 * unit, medulla=2.2, texture=0.0, soft=0.3 * unit)
        for index in range(0, len(heads), int(rng.integers(1, 3))):
            film.add_ellipse(heads[index], (4.2 * unit, 5.2 * unit), 2.0, rounded=False)
            tip = heads[index] + np.array([-side * 15.0, rng.normal(0, 3)]) * unit
            film.add_tube(np.array([heads[index], tip]), 1.7 * unit, medulla=1.6, texture=0.0, soft=0.3 * unit)


def _stitch(film: Radiograph) -> None:
    """A long film is often put together from two exposures: a step in density at a row, with a seam."""
    row, step = int(film.rng.uniform(0.35, 0.65) * film.height), film.rng.normal(0, 0.12)
    film.depth[row:] += np.float32(step)
    film.depth[row : row + max(1, round(2 * film.unit))] += np.float32(0.08)


def _develop(film: Radiograph, inverted: bool) -> np.ndarray:
    """Expose with settings as varied as those of the real films, then collimate and mark some of them."""
    rng, unit = film.rng, film.unit
    image = film.develop(
        inverted=inverted,
        photons=float(np.exp(rng.uniform(np.log(3e3), np.log(1e5)))),
        scatter=rng.uniform(0.1, 0.5),
        unsharpness=rng.uniform(0.35, 1.0),
        window=(rng.uniform(0.5, 14), rng.uniform(98, 100)),
        gamma=rng.uniform(0.75, 1.3),
        black=rng.uniform(0.0, 0.12),
        white=rng.uniform(0.62, 1.0),
        enhance=max(0.0, rng.normal(0.2, 0.4)),
    )
    if rng.random() < 0.35:
        left, top, right, bottom = rng.uniform(0.008, 0.025, 4) * film.height * (rng.random(4) < 0.4)
        image = collimate(image, (left, top, right, bottom), grey=255 if inverted else 0, soft=0.8 * unit)
    if rng.random() < 0.3:
        spot = (film.width * rng.choice([0.05, 0.86]), film.height * rng.uniform(0.15, 0.5))
        image = mark(image, str(rng.choice(["L", "R", "AP", "ER"])), spot, size=12 * unit)
    return image


# --- files ------------------------------------------------------------------------------------------------------------


def write_aasce(
    root: Path,
    train: int,
    test: int,
    seed: int = 0,
    height: int = 512,
    angles: Callable[[Points, int], Float[np.ndarray, " 3"]] | None = None,
) -> None:
    """Write phantom films in the AASCE challenge's layout.

    `data/{training,test}/<film>.jpg`, `labels/{training,test}/<film>.jpg.mat` (key `p2`, 68 x 2 pixels), and beside
    the latter `filenames.csv` and `landmarks.csv` (68 x then 68 y, as fractions of the film's width and height).

    Args:
        root: folder to write into; made if absent.
        train: number of training films.
        test: number of test films.
        seed: seed of the whole set.
        height: height of every film in pixels.
        angles: maps landmarks (68, 2) and the film's height to the three Cobb angles; None leaves `angles.csv` out.
    """
    names = _film_names(train, test, np.random.default_rng(seed))
    seeds = np.random.SeedSequence(seed).generate_state(train + test)
    for split, part in (("training", slice(0, train)), ("test", slice(train, train + test))):
        _write_split(root, split, names[part], [int(value) for value in seeds[part]], height, angles)


def _film_names(train: int, test: int, rng: np.random.Generator) -> list[str]:
    """Names as in AASCE: a session date, a patient's number, a letter per film of that patient."""
    names: list[str] = []
    patient = 0
    for count, day in ((train, date(2016, 7, 20)), (test, date(2017, 2, 7))):
        end = len(names) + count
        while len(names) < end:
            patient += 1
            day += timedelta(days=int(rng.random() < 0.1))
            films = min(int(rng.integers(1, 5)), end - len(names))
            names += [f"sunhl-1th-{day:%d-%b-%Y}-{patient} {'ABCD'[i]} AP.jpg" for i in range(films)]
    return sorted(names[:train]) + sorted(names[train:])


def _write_split(
    root: Path,
    split: str,
    names: list[str],
    seeds: list[int],
    height: int,
    angles: Callable[[Points, int], Float[np.ndarray, " 3"]] | None,
) -> None:
    images, labels = root / "data" / split, root / "labels" / split
    images.mkdir(parents=True, exist_ok=True)
    labels.mkdir(parents=True, exist_ok=True)
    fractions, cobb = [], []
    for name, seed in zip(names, seeds, strict=True):
        film = spine_film(seed, height)
        cv2.imwrite(str(images / name), film.image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        scipy.io.savemat(labels / f"{name}.mat", {"p2": film.points})
        fractions.append((film.points / film.image.shape[::-1]).T.ravel())
        if angles is not None:
            cobb.append(angles(film.points, height))
    (labels / "filenames.csv").write_text("".join(f"{name}\n" for name in names))
    np.savetxt(labels / "landmarks.csv", np.reshape(fractions, (-1, 136)), fmt="%.7g", delimiter=",")
    if angles is not None:
        np.savetxt(labels / "angles.csv", np.reshape(cobb, (-1, 3)), fmt="%.5g", delimiter=",")
