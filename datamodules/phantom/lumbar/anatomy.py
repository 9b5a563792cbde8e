"""Geometry of a lumbar spine seen from the side: T8 to S1 with wear, fractures, slips and transitional vertebrae.

A patient faces the image's left: x grows to the back, y downwards. Sizes are millimetres on the film, that is anatomy
magnified by the beam; angles are degrees, clockwise on the screen.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from datamodules.phantom.rendering import Points, transform

LEVELS = (*(f"T{i}" for i in range(8, 13)), *(f"L{i}" for i in range(1, 6)))
FIRST_LUMBAR = LEVELS.index("L1")
MAGNIFICATION = 1.16

# Mean sizes of T8..L5 in millimetres, and of the disc below each.
_FRONT = (19.5, 20.5, 22, 23, 24.5, 26.5, 27.5, 28, 28, 28.5)
_BACK = (20.5, 21.5, 23.5, 24.8, 26.2, 27.8, 28, 28, 27, 24.5)
_DEPTH = (27, 28, 29, 30, 31.5, 33, 34, 35, 35.5, 35.5)
_DISC_FRONT = (4, 4.2, 4.6, 5, 6.2, 8.5, 10.5, 12.5, 14.5, 14.5)
_DISC_BACK = (4.2, 4.4, 4.6, 4.8, 5.4, 6, 6.5, 7, 7, 5.5)
_SACRUM_DEPTH = 34.0
# How often T8..L5 breaks, relatively: most breaks are where the stiff chest ends.
_BREAKS = (0.02, 0.03, 0.05, 0.12, 0.27, 0.28, 0.11, 0.07, 0.04, 0.01)

Transition = Literal["", "sacralised", "lumbarised"]


class Condition(NamedTuple):
    """What is wrong with a spine; per vertebra in the order of `LEVELS`.

    Attributes:
        fracture: type of each vertebra's fracture: `wedge`, `biconcave`, `crush` or empty.
        disc: height of the disc below as a share of a sound one.
        slip: how far a vertebra has slipped to the front on the one below, as a share of its depth; negative: back.
        transition: whether L5 looks like a part of the sacrum, or S1 like a lumbar vertebra.
    """

    fracture: tuple[str, ...]
    disc: Float[np.ndarray, " level"]
    slip: Float[np.ndarray, " level"]
    transition: Transition


class Spine(NamedTuple):
    """One spine on a film, patient facing the image's left, in pixels.

    Attributes:
        corners: TL, TR, BL, BR of T8..L5 top to bottom, shape (10, 4, 2).
        sacrum: front and back end of S1's upper end plate, shape (2, 2).
        hollow: depth of each vertebra's upper and lower end plate as a share of half its height, shape (10, 2).
        scale: pixels per millimetre.
        condition: what is wrong with it.
    """

    corners: Float[np.ndarray, "level 4 2"]
    sacrum: Float[np.ndarray, "2 2"]
    hollow: Float[np.ndarray, "level 2"]
    scale: float
    condition: Condition

    @property
    def points(self) -> Float[np.ndarray, "22 2"]:
        """The landmarks: L1..L5 with TL, TR, BL, BR, then S1's two."""
        return np.concatenate([self.corners[FIRST_LUMBAR:].reshape(-1, 2), self.sacrum])

    def size(self, level: int) -> tuple[float, float]:
        """(depth, height) of a vertebral body in pixels."""
        top_left, top_right, bottom_left, bottom_right = self.corners[level]
        wide = np.linalg.norm(top_right + bottom_right - top_left - bottom_left) / 2
        tall = np.linalg.norm(bottom_left + bottom_right - top_left - top_right) / 2
        return float(wide), float(tall)

    def tilt(self, level: int) -> float:
        """Inclination of a vertebral body in degrees."""
        return degrees_of(self.corners[level, [1, 3]].mean(axis=0) - self.corners[level, [0, 2]].mean(axis=0))

    def at(self, level: int, local: Points) -> Points:
        """Carry points from a vertebra's frame (origin: the body's centre, units: its depth and height) to the film."""
        return transform(
            np.asarray(local) * self.sound_size(level), self.corners[level].mean(axis=0), degrees=self.tilt(level)
        )

    def sound_size(self, level: int) -> tuple[float, float]:
        """(depth, height) in pixels without a fracture's loss of height: a vertebra's arch does not collapse."""
        wide, tall = self.size(level)
        return wide, max(tall, 0.72 * wide)

    def below(self, local: Points) -> Points:
        """Carry points from the sacrum's frame (origin: middle of its end plate, unit: its depth) to the film."""
        along = self.sacrum[1] - self.sacrum[0]
        depth = float(np.linalg.norm(along))
        return transform(np.asarray(local), self.sacrum.mean(axis=0), degrees=degrees_of(along), scale=depth)

    def beside(self, local: Points) -> Points:
        """Carry points in millimetres from the middle of S1's end plate, not turned, to the film."""
        return transform(np.asarray(local), self.sacrum.mean(axis=0), scale=self.scale * MAGNIFICATION)

    def level_at(self, level: float) -> Float[np.ndarray, " 2"]:
        """Centre of a level, fractions included; above T8 the chest goes on, below L5 the trunk straight down."""
        centres = self.corners.mean(axis=1)
        inside = [np.interp(level, np.arange(len(LEVELS)), centres[:, axis]) for axis in (0, 1)]
        down = np.array([0.0, centres[-1, 1] - centres[-2, 1]])
        beyond = min(level, 0.0) * (centres[1] - centres[0]) + max(level - len(LEVELS) + 1, 0.0) * down
        return np.asarray(np.array(inside) + beyond)


def degrees_of(vector: Float[np.ndarray, " 2"]) -> float:
    """Angle of a vector against the image's x axis, clockwise on the screen."""
    return float(np.rad2deg(np.arctan2(vector[1], vector[0])))


def make_spine(rng: np.random.Generator, size: tuple[int, int], span: float | None = None) -> Spine:
    """Draw a spine: shape, condition, pose and position on the film; all 22 landmarks lie inside.

    Args:
        rng: source of every random choice.
        size: (height, width) of the film in pixels.
        span: millimetres from the film's upper to its lower edge; None lets the lumbar spine fill half to three
            quarters of the height, as on collimated films.
    """
    height, width = size
    condition = draw_condition(rng)
    corners, sacrum, hollow = _pile(rng, condition)
    landmarks = np.concatenate([corners[FIRST_LUMBAR:].reshape(-1, 2), sacrum])
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    share = (high[1] - low[1]) / span if span else rng.uniform(0.5, 0.74)
    scale = min(
        share * height / (high[1] - low[1]), 0.9 * width / (high[0] - low[0]), 0.9 * height / (high[1] - low[1])
    )
    free = np.array([width, height]) - scale * (high - low)
    spot = free * np.clip([rng.normal(0.47, 0.09), rng.normal(0.5, 0.1)], 0.08, 0.92)
    move = spot - scale * low
    return Spine(corners * scale + move, sacrum * scale + move, hollow, float(scale), condition)


def draw_condition(rng: np.random.Generator) -> Condition:
    """Draw what is wrong with a spine: nothing with a third of them."""
    count = len(LEVELS)
    fracture, disc, slip = [""] * count, np.ones(count), np.zeros(count)
    worn = rng.random() < 0.45
    if worn:
        disc[FIRST_LUMBAR:] *= 1 - rng.uniform(0, 0.75, 5) * (rng.random(5) < [0.15, 0.2, 0.25, 0.4, 0.5])
    if rng.random() < 0.16:
        for level in rng.choice(count, rng.integers(1, 4), replace=False, p=_BREAKS):
            fracture[level] = str(rng.choice(["wedge", "biconcave", "crush"], p=[0.5, 0.3, 0.2]))
    if rng.random() < 0.14:
        level = int(rng.choice([6, 7, 8, 9], p=[0.1, 0.2, 0.4, 0.3]))
        slip[level] = rng.uniform(0.08, 0.32) if rng.random() < 0.75 else -rng.uniform(0.05, 0.12)
    transition: Transition = ""
    if rng.random() < 0.12:
        transition = "sacralised" if rng.random() < 0.6 else "lumbarised"
    if transition == "sacralised":
        disc[-1] *= rng.uniform(0.25, 0.45)
        slip[-1] = 0.0
    return Condition(tuple(fracture), disc, slip, transition)


def _pile(
    rng: np.random.Generator, condition: Condition
) -> tuple[Float[np.ndarray, "level 4 2"], Float[np.ndarray, "2 2"], Float[np.ndarray, "level 2"]]:
    """Pile vertebrae on the sacrum, in millimetres on the film: corners, S1's end plate, hollows of the end plates."""
    body, disc, depth, hollow = _sizes(rng, condition)
    lordosis = _wedges(body, depth)[FIRST_LUMBAR:].sum() + _wedges(disc, depth)[FIRST_LUMBAR:].sum()
    slope = -(0.74 * lordosis + rng.normal(2, 4.5))
    wide = depth[-1] * _SACRUM_DEPTH / _DEPTH[-1]
    middle, angle = np.zeros(2), slope
    plates = [_plate(middle, angle, wide)]
    for level in reversed(range(len(LEVELS))):
        push = -condition.slip[level] * depth[level]
        middle, angle = _rise(middle, angle, disc[:, level], depth[level], push)
        lower = _plate(middle, angle, depth[level])
        middle, angle = _rise(middle, angle, body[:, level], depth[level], 0.0)
        plates += [lower, _plate(middle, angle, depth[level] * rng.uniform(0.95, 0.99))]
    column = np.array(plates[:0:-1]).reshape(len(LEVELS), 4, 2)
    return column, plates[0], hollow


def _sizes(
    rng: np.random.Generator, condition: Condition
) -> tuple[
    Float[np.ndarray, "2 level"],
    Float[np.ndarray, "2 level"],
    Float[np.ndarray, " level"],
    Float[np.ndarray, "level 2"],
]:
    """Front and back heights of bodies and discs, depths, and hollows of the end plates."""
    tall, curve = rng.uniform(0.9, 1.1, 2)
    body = np.array([_FRONT, _BACK]) * (1 + rng.normal(0, 0.02, (2, len(LEVELS)))) * tall
    depth = np.array(_DEPTH) * (1 + rng.normal(0, 0.015, len(LEVELS))) * tall * curve
    disc = np.array([_DISC_FRONT, _DISC_BACK]) * (1 + rng.normal(0, 0.05, (2, len(LEVELS)))) * tall
    lordotic = np.clip(rng.normal(1.0, 0.3), 0.25, 1.7)
    for pair, share in ((disc, 1.0), (body, 0.5)):
        mean = pair.mean(axis=0)
        pair[:, FIRST_LUMBAR:] += ((lordotic - 1) * share * (pair - mean))[:, FIRST_LUMBAR:]
    disc = np.maximum(disc * condition.disc, 1.2)
    hollow = rng.uniform(0.03, 0.11) * rng.uniform(0.6, 1.4, (len(LEVELS), 2))
    for level, fracture in enumerate(condition.fracture):
        if fracture:
            loss = rng.uniform(0.25, 0.6)
            body[:, level] *= {"wedge": (1 - loss, 1 - 0.15 * loss), "crush": (1 - loss, 1 - 0.8 * loss)}.get(
                fracture, (1 - 0.25 * loss, 1 - 0.25 * loss)
            )
            hollow[level] = rng.uniform(0.25, 0.5, 2) if fracture == "biconcave" else rng.uniform(0.05, 0.25, 2)
    return body * MAGNIFICATION, disc * MAGNIFICATION, depth * MAGNIFICATION, hollow


def _wedges(heights: Float[np.ndarray, "2 level"], depth: Float[np.ndarray, " level"]) -> Float[np.ndarray, " level"]:
    """Angle in degrees between a body's or a disc's two end plates; positive where the front is taller."""
    return np.asarray(np.rad2deg((heights[0] - heights[1]) / depth))


def _plate(middle: Float[np.ndarray, " 2"], angle: float, wide: float) -> Float[np.ndarray, "2 2"]:
    return transform(np.array([(-wide / 2, 0.0), (wide / 2, 0.0)]), middle, degrees=angle)


def _rise(
    middle: Float[np.ndarray, " 2"], angle: float, heights: Float[np.ndarray, " 2"], wide: float, push: float
) -> tuple[Float[np.ndarray, " 2"], float]:
    """Go from an end plate up to the next one, across a body or a disc, pushed to the back by `push`."""
    front, back = heights
    wedge = float(np.rad2deg((front - back) / wide))
    step = transform(np.array([(push, -(front + back) / 2)]), np.zeros(2), degrees=angle + wedge / 2)[0]
    return middle + step, angle + wedge
