"""What goes wrong with an X-ray film, at five severities: for robustness tests, on the film as it is stored.

`CORRUPTIONS` is the table: what each severity means, in physical terms. Lengths are shares of the film's longer side,
for films of any resolution to suffer alike; on a film of 43 cm one per cent is 4.3 mm. What is drawn at random (the
direction of a movement, the place of a screw) depends on the case and the corruption alone: a case looks the same for
every method and on every machine, and worse with every severity.

Bright is what absorbed much (bone, metal), dark what the beam reached unhindered.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from datamodules.components.images.metal import draw_metal
from datamodules.components.samples import Case
from datamodules.components.transforms import Affine, FilmChange, invert_affine, transform_points

Film = UInt8[np.ndarray, "height width"]
Apply = Callable[[Film, float, np.random.Generator], Film]
Move = Callable[[tuple[int, int], float, np.random.Generator], Affine]

SEVERITIES = (1, 2, 3, 4, 5)
VERSION = 1
"""Raise it when a corruption changes: stored predictions of the old one are then made anew."""

FILM_GRADIENT = 4.0
"""Slope of the logistic characteristic curve per factor of ten in exposure: at its middle a film of density 0 to 3 then
gains 3 per decade, as medical films do."""
DETECTOR = 1024
"""Detector elements along the longer side for which photons are counted: 0.42 mm on a film of 43 cm."""
ELECTRONIC_NOISE = 1.5
"""Standard deviation of the read-out, in photons."""
FOCAL_SHARE = 1 / 8
"""Standard deviation of the focal spot's penumbra, as a share of the movement."""
SCATTER = 0.06
"""What is left of the brightness under a shutter."""
PENUMBRA = 0.006
"""Width of a shutter's soft edge."""
SHUTTER_TILT = 3.0
"""Most degrees by which the shutters stand askew."""


def invert_polarity(film: Film, share: float, draw: np.random.Generator) -> Film:
    """Show a share of all films inverted: polarity is right or wrong, severe is how often it is wrong."""
    return np.bitwise_not(film) if draw.random() < share else film.copy()


def change_exposure(film: Film, stops: float, draw: np.random.Generator) -> Film:
    """Expose by so many doublings too much or too little, by a logistic characteristic curve: toe and shoulder clip.

    Every second film or so is over-exposed, and dark.
    """
    sign = draw.choice((-1.0, 1.0))
    value = (np.arange(256) + 0.5) / 256
    logit = np.log(value / (1 - value)) - sign * FILM_GRADIENT * stops * math.log10(2)
    return np.asarray(cv2.LUT(film, _bytes(256 / (1 + np.exp(-logit)) - 0.5)))


def add_noise(film: Film, photons: float, draw: np.random.Generator) -> Film:
    """Count photons: Poisson noise, strongest where the body absorbs most, and the read-out's Gaussian noise.

    Brightness is the logarithm of the exposure, white one tenth of black. Where nothing absorbs, so many photons reach
    each element of a detector that has `DETECTOR` of them along the longer side.
    """
    height, width = film.shape
    scale = min(1.0, DETECTOR / max(film.shape))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    seen = cv2.resize(film, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    area = (DETECTOR / max(seen.shape)) ** 2  # a coarser film has larger elements, which catch more
    counts = draw.poisson(photons * area * 10.0**-seen) + ELECTRONIC_NOISE * draw.standard_normal(seen.shape)
    noise = -np.log10(np.maximum(counts, 0.5) / (photons * area)) - seen
    grain = cv2.resize(noise.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return _bytes(film + 255.0 * grain)


def blur_movement(film: Film, length: float, draw: np.random.Generator) -> Film:
    """Let the patient move along a line of this length, and the focal spot soften the rest."""
    angle = draw.uniform(0.0, 180.0)
    pixels = length * max(film.shape)
    moved = cv2.filter2D(film, -1, _line(pixels, angle), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), max(pixels * FOCAL_SHARE, 0.1), borderType=cv2.BORDER_REPLICATE))


def close_shutters(film: Film, share: float, draw: np.random.Generator) -> Film:
    """Darken the borders, each side by half of this share of the film or up to all of it, a little askew."""
    left, right, top, bottom = 0.5 - share * draw.uniform(0.5, 1.0, 4)
    tilt = draw.uniform(-SHUTTER_TILT, SHUTTER_TILT)
    height, width = film.shape
    corners = np.array([(-left, -top), (right, -top), (right, bottom), (-left, bottom)]) * (width, height)
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), tilt, 1.0)
    corners = transform_points(turn, corners + ((width - 1) / 2, (height - 1) / 2))
    light = np.full(film.shape, round(255 * SCATTER), np.uint8)
    cv2.fillConvexPoly(light, np.rint(corners * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    edge = max(1, round(PENUMBRA * max(film.shape)))
    return np.asarray(cv2.multiply(film, cv2.blur(light, (edge, edge)), scale=1 / 255))


def rotate(film: Film, degrees: float, draw: np.random.Generator) -> Film:
    """Turn the film about its centre, either way, within its frame; what comes in at the corners is black."""
    height, width = film.shape
    return np.asarray(
        cv2.warpAffine(film, rotation(film.shape, degrees, draw), (width, height), flags=cv2.INTER_LINEAR)
    )


def rotation(size: tuple[int, int], degrees: float, draw: np.random.Generator) -> Affine:
    """Return the affine by which `rotate` moves points of a film of (height, width) pixels."""
    height, width = size
    signed = degrees * draw.choice((-1.0, 1.0))
    return np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), signed, 1.0))


def occlude_with_metal(film: Film, count: float, draw: np.random.Generator) -> Film:
    """Lay so many pieces of metal over the film; they absorb in addition to what lies below."""
    return np.asarray(cv2.add(film, draw_metal(film.shape, round(count), draw)))


def downscale(film: Film, side: float, draw: np.random.Generator) -> Film:
    """Keep so many pixels along the longer side, and blow them up to the film's own size again."""
    del draw  # nothing is left to chance
    height, width = film.shape
    scale = side / max(film.shape)
    if scale >= 1:
        return film.copy()
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(film, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


class Corruption(NamedTuple):
    """One line of the table.

    Attributes:
        levels: What `apply` takes at each severity, mildest first.
        meaning: What a level means, with `{}` for its number.
        apply: Film, level and the case's random numbers to the corrupted film.
        move: Size, level and the same random numbers to the affine by which points move; None where they stay.
        factor: From a level to the number that `meaning` shows.
    """

    levels: tuple[float, float, float, float, float]
    meaning: str
    apply: Apply
    move: Move | None = None
    factor: float = 1.0

    def describe(self, severity: int) -> str:
        """Say what a severity means.

        Example:
            >>> CORRUPTIONS["blur"].describe(5)
            'moved by 3 % of the film'
        """
        return self.meaning.format(f"{self.factor * self.levels[severity - 1]:g}")


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        "polarity": Corruption((0.2, 0.4, 0.6, 0.8, 1.0), "{} % of the films inverted", invert_polarity, factor=100),
        "exposure": Corruption((0.5, 1, 1.5, 2, 2.5), "{} stops over or under", change_exposure),
        "noise": Corruption((1000, 300, 100, 30, 10), "{} photons per detector element", add_noise),
        "blur": Corruption((0.0025, 0.005, 0.01, 0.02, 0.03), "moved by {} % of the film", blur_movement, factor=100),
        "collimation": Corruption((0.03, 0.06, 0.09, 0.12, 0.15), "up to {} % shut a side", close_shutters, factor=100),
        "rotation": Corruption((2, 4, 7, 10, 15), "turned by {}°", rotate, rotation),
        "metal": Corruption((1, 2, 4, 7, 12), "{} pieces of metal", occlude_with_metal),
        "downscaling": Corruption((400, 256, 160, 100, 64), "{} px along the longer side", downscale),
    }
)


def corruption(case: Case, name: str, severity: int) -> FilmChange:
    """Return what a corruption does to a case's film.

    Args:
        case: Whose name decides what is drawn.
        name: One of `CORRUPTIONS`.
        severity: 1 to 5.
    """
    kind = CORRUPTIONS[name]
    level = kind.levels[severity - 1]
    moved = np.eye(2, 3) if kind.move is None else kind.move(case.size, level, _draw(case.name, name))
    return FilmChange(partial(_apply, kind.apply, level, case.name, name), invert_affine(moved))


def corrupt(film: Film, case: str, name: str, severity: int) -> Film:
    """Return a case's corrupted film; the one given stays as it is."""
    kind = CORRUPTIONS[name]
    return _apply(kind.apply, kind.levels[severity - 1], case, name, film)


def _apply(apply: Apply, level: float, case: str, name: str, film: Film) -> Film:
    return apply(film, level, _draw(case, name))


def _draw(case: str, name: str) -> np.random.Generator:
    """The same random numbers for all severities, so that they add up; no `hash`, which changes with the process."""
    digest = hashlib.sha256(f"{name}|{case}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def _line(length: float, angle: float) -> Float[np.ndarray, "k k"]:
    """A kernel that averages along a line through its centre."""
    half = math.ceil(length / 2) + 1
    row = np.clip(length / 2 + 0.5 - np.abs(np.arange(-half, half + 1)), 0, 1)
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    kernel[half] = row
    turn = cv2.getRotationMatrix2D((half, half), angle, 1.0)
    turned = cv2.warpAffine(kernel, turn, kernel.shape, flags=cv2.INTER_LINEAR)
    return np.asarray(turned / turned.sum())


def _bytes(values: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    return np.asarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
