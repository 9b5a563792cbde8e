"""Lateral cervical phantom: C2 to C7 in neutral pose, extension and flexion, and the files made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from datamodules.phantom.cervical.lateral import Shape, move, stack
from datamodules.phantom.cervical.neck import Neck, draw_neck
from datamodules.phantom.rendering import PhantomFilm, Radiograph, collimate, mark

View = Literal["LC", "LCE", "LCF"]
VIEWS: tuple[View, ...] = ("LC", "LCE", "LCF")
MIRRORED = (0, 2, 1, 4, 3, *(4 * v + 5 + k for v in range(6) for k in (1, 0, 3, 2)))
"""For each of the 29 landmarks the one that it becomes when a film is mirrored."""
MIRRORED_VERTEBRA = (1, 0, 3, 2, 4)
"""The same for the corners and the spinous process of one vertebra."""
# C2 to C7, T1 to T3 in millimetres: depth, front, back, slope, canal, reach, drop, thickness at root and tip
_SHAPES = np.array(
    [
        (17.5, 20.0, 19.0, 0.16, 19.0, 41.0, 9.0, 12.0, 11.0),
        (18.0, 14.0, 14.5, 0.16, 18.5, 33.0, 9.0, 8.0, 5.5),
        (18.2, 13.6, 14.0, 0.16, 18.0, 34.0, 10.0, 7.5, 5.5),
        (18.6, 13.2, 13.8, 0.15, 18.0, 36.0, 11.0, 7.5, 6.0),
        (19.5, 13.8, 14.2, 0.13, 18.0, 43.0, 13.0, 8.0, 7.0),
        (20.0, 15.6, 15.8, 0.11, 17.5, 54.0, 16.0, 9.0, 9.0),
        (20.5, 17.6, 18.0, 0.08, 17.0, 56.0, 22.0, 9.0, 9.0),
        (21.0, 19.0, 19.5, 0.05, 17.0, 54.0, 28.0, 9.0, 8.0),
        (21.5, 20.0, 20.5, 0.03, 17.0, 52.0, 32.0, 9.0, 8.0),
    ]
)
_DISCS = (5.2, 5.6, 5.8, 5.8, 5.8, 5.4, 4.8, 4.6)
# Inclination of C7, lordosis from C2 to C7 and extra inclination of the head, in degrees: mean and deviation.
_POSES = {
    "LC": ((22, 6), (14, 9), (0, 6)),
    "LCE": ((14, 6), (46, 9), (-16, 6)),
    "LCF": ((28, 6), (-17, 8), (4, 6)),
}


class Lateral(NamedTuple):
    """A film from the side with the points of each vertebra.

    Attributes:
        film: the radiograph and its dataset's landmarks.
        vertebrae: corners TL, TR, BL, BR and spinous process of every vertebra that crops are cut round.
        spacing: millimetres per pixel.
    """

    film: PhantomFilm
    vertebrae: Float[np.ndarray, "vertebra 5 2"]
    spacing: float


def cervical_film(seed: int, view: View = "LC", height: int = 512, *, patient: int | None = None) -> PhantomFilm:
    """Make one lateral cervical film.

    Args:
        seed: the same arguments give the same film.
        view: neutral (LC), extension (LCE) or flexion (LCF).
        height: film height in pixels.
        patient: films of one patient show the same bones; by default every seed is a patient of its own.

    Returns:
        The film with 29 landmarks: C2's dens, C1's two tubercles, C2's lower corners BL, BR, then TL, TR, BL, BR of C3
        to T1, left being the image's left whichever way the patient faces.
    """
    return cervical_lateral(seed, view, height, patient=patient).film


def cervical_lateral(seed: int, view: View = "LC", height: int = 512, *, patient: int | None = None) -> Lateral:
    """Make the same film, with the points of C3 to C7 that crops are cut round."""
    rng = np.random.default_rng([29, seed, VIEWS.index(view)])
    width = round(height * float(rng.uniform(0.74, 0.9)))
    body = np.random.default_rng([31, seed if patient is None else patient])
    neck = pose(rng, body, view, height, width)
    facing_left, inverted = bool(rng.random() < 0.25), bool(rng.random() < 0.2)
    radiograph = Radiograph(height, width, rng)
    draw_neck(radiograph, neck)
    image, points, vertebrae = expose(radiograph, inverted), neck.points, neck.vertebrae
    if facing_left:
        image = np.ascontiguousarray(image[:, ::-1])
        points, vertebrae = mirror(points, width, MIRRORED), mirror(vertebrae, width, MIRRORED_VERTEBRA)
    return Lateral(PhantomFilm(finish(image, rng, inverted), points, inverted), vertebrae, 1 / neck.mm)


def mirror(points: Float[np.ndarray, "*vertebra landmark 2"], width: int, order: tuple[int, ...]) -> np.ndarray:
    """Mirror landmarks left to right and exchange the names that go with it."""
    return np.asarray((points * (-1, 1) + (width - 1, 0))[..., list(order), :])


# --- geometry ---------------------------------------------------------------------------------------------------------


def pose(rng: np.random.Generator, body: np.random.Generator, view: View, height: int, width: int) -> Neck:
    """Bend a patient's neck for a view and put it on a film, all landmarks inside.

    Args:
        rng: source of what differs between films of a patient.
        body: source of what does not.
        view: which pose.
        height: film height in pixels.
        width: film width in pixels.
    """
    shapes, discs = _patient(body)
    stout, bone = float(body.uniform(0.85, 1.2)), float(body.uniform(0.75, 1.25))
    scale = height / float(rng.uniform(225, 285))
    low, bend, nod = (float(np.clip(rng.normal(m, s), m - 2 * s, m + 2 * s)) for m, s in _POSES[view])
    degrees = _inclinations(rng, low, bend)
    column = stack(shapes, degrees, discs, scale)
    top = column[0].at([(float(body.normal(-0.5, 0.8)), float(body.normal(-29, 1.2)))])[0]
    neck = Neck(column, top, column[0].degrees + nod, stout, bone, float(rng.normal(2, 9)))
    shift = _placing(rng, neck.points, np.array([width, height], dtype=np.float64))
    return neck._replace(column=move(column, shift), dens=top + shift)


def _patient(body: np.random.Generator) -> tuple[list[Shape], list[float]]:
    """Draw the sizes of a patient's vertebrae and discs; some discs are worn."""
    sizes = _SHAPES * body.normal(1, 0.035, _SHAPES.shape)
    sizes *= float(np.clip(body.normal(1, 0.07), 0.86, 1.14))
    sizes[:, 6] += body.normal(0, 1.5, len(sizes))
    discs = np.array(_DISCS) * body.uniform(0.85, 1.15, len(_DISCS))
    discs[3:5] *= body.choice([1.0, 0.75, 0.5], 2, p=[0.65, 0.2, 0.15])
    return [Shape(*row.tolist()) for row in sizes], [*map(float, discs), 4.5]


def _inclinations(rng: np.random.Generator, low: float, bend: float) -> list[float]:
    """Share the lordosis out over the levels and continue it into the thorax, which bends the other way."""
    share = np.array([0.16, 0.19, 0.22, 0.23, 0.2]) * rng.uniform(0.7, 1.3, 5)
    above = low - bend * np.cumsum((share / share.sum())[::-1])[::-1]
    below = low + np.array([2.0, 0.0, -3.0]) + rng.normal(0, 1, 3)
    neck = np.concatenate([above, [low]]) + rng.normal(0, 1.2, 6)
    return [float(angle) for angle in np.concatenate([neck, below])]


def _placing(rng: np.random.Generator, points: Float[np.ndarray, "29 2"], size: Float[np.ndarray, " 2"]) -> np.ndarray:
    """Return the shift that puts the landmarks about the film's middle and none of them near its border."""
    low, high = points.min(axis=0), points.max(axis=0)
    wanted = size * rng.normal((0.45, 0.53), (0.03, 0.025))
    shift = wanted - (low + high) / 2
    shift = np.maximum(shift, 0.05 * size - low)
    return np.asarray(np.minimum(shift, 0.95 * size - high))


# --- exposure ---------------------------------------------------------------------------------------------------------


def expose(film: Radiograph, inverted: bool) -> UInt8[np.ndarray, "height width"]:
    """Expose and develop a lateral film with settings that vary as those of clinics do."""
    rng = film.rng
    film.add_gradient(float(rng.normal(0, 0.12)), float(rng.normal(0, 0.06)))
    return film.develop(
        inverted=inverted,
        photons=float(np.exp(rng.uniform(np.log(2e3), np.log(3e4)))),
        scatter=float(rng.uniform(0.05, 0.22)),
        unsharpness=float(rng.uniform(0.35, 0.75)),
        window=(float(rng.uniform(0.5, 5)), float(rng.uniform(93, 99))),
        gamma=float(rng.uniform(0.75, 1.2)),
        black=float(rng.uniform(0.0, 0.08)),
        white=float(rng.uniform(0.85, 1.0)),
        enhance=max(0.0, float(rng.normal(0.35, 0.4))),
    )


def finish(
    image: UInt8[np.ndarray, "height width"], rng: np.random.Generator, inverted: bool
) -> UInt8[np.ndarray, "height width"]:
    """Collimate and mark some films."""
    height, width = image.shape
    if rng.random() < 0.6:
        margins = rng.uniform(0.008, 0.035, 4) * height * (rng.random(4) < 0.7)
        image = collimate(image, tuple(margins), grey=255 if inverted else 0, soft=0.0015 * height)
    if rng.random() < 0.6:
        spot = (width * float(rng.choice([0.07, 0.86])), height * float(rng.uniform(0.1, 0.35)))
        text = str(rng.choice(["R", "L"]))
        image = mark(image, text, spot, size=0.022 * height, grey=15 if inverted else 250)
    return image


# --- files ------------------------------------------------------------------------------------------------------------


def write_cervical(root: Path, films: dict[View, int], names: Sequence[str], seed: int = 0, height: int = 512) -> None:
    """Write phantom films in the layout of `datamodules/cervical.py`: `images/*.png` and `landmarks.csv`.

    The n-th film of every view shows the n-th patient, so patients with an extension or a flexion film have a neutral
    one too, as in a clinic.

    Args:
        root: folder to write into; made if absent.
        films: number of films of each view.
        names: the 29 landmarks' names.
        seed: seed of the whole set.
        height: height of every film in pixels.
    """
    (root / "images").mkdir(parents=True, exist_ok=True)
    header = ["image", "view", "patient", *(f"{name}-{axis}" for name in names for axis in "xy")]
    rows = [",".join(header)]
    for view, count in films.items():
        for patient in range(count):
            film = cervical_film(1000 * seed + patient, view, height, patient=1000 * seed + patient)
            name = f"P{patient + 1:04d}-{view}.png"
            cv2.imwrite(str(root / "images" / name), film.image)
            rows.append(",".join([name, view, f"P{patient + 1:04d}", *(f"{v:.3f}" for v in film.points.ravel())]))
    (root / "landmarks.csv").write_text("\n".join(rows) + "\n")
