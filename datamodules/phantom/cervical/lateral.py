"""Vertebrae seen from the side, shared by the lateral phantoms: geometry in millimetres, drawing in film pixels.

A patient faces right: front is +x, the image's left is the back. A vertebra's own frame has its origin in the middle of
the body, x forwards, y downwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from datamodules.phantom.rendering import Points, Radiograph, rotation, spline, transform
from datamodules.phantom.spine import body_outline


class Shape(NamedTuple):
    """Size of one vertebra in millimetres.

    Attributes:
        depth: of the body from back to front.
        front: height of the body's front wall.
        back: height of its back wall.
        slope: how far the end plates fall from the middle to the front, as a share of that distance.
        canal: from the back wall to the lamina.
        reach: from the back wall to the tip of the spinous process.
        drop: of that tip below the body's middle.
        root: height of the spinous process where it begins.
        end: its height at the tip.
    """

    depth: float
    front: float
    back: float
    slope: float
    canal: float
    reach: float
    drop: float
    root: float
    end: float


class Vertebra(NamedTuple):
    """A vertebra on a film.

    Attributes:
        shape: its size in millimetres.
        centre: of the body, pixels.
        degrees: inclination, clockwise on the screen: the front goes down.
        scale: pixels per millimetre.
    """

    shape: Shape
    centre: Points
    degrees: float
    scale: float

    def at(self, local: Sequence[tuple[float, float]] | Points) -> Points:
        """Carry points from the vertebra's own frame to the film."""
        return transform(np.asarray(local, dtype=np.float64), self.centre, degrees=self.degrees, scale=self.scale)

    @property
    def corners(self) -> Float[np.ndarray, "4 2"]:
        """TL, TR, BL, BR as seen in the image: back above, front above, back below, front below."""
        half, front, back, slope = self.shape.depth / 2, *self.shape[1:4]
        local = [(-half, -back / 2), (half, -front / 2), (-half, back / 2), (half, front / 2)]
        return self.at([(x, y + slope * x) for x, y in local])

    @property
    def tip(self) -> Float[np.ndarray, " 2"]:
        """Tip of the spinous process."""
        shape = self.shape
        return np.asarray(self.at([(-shape.depth / 2 - shape.reach, shape.drop)])[0])

    @property
    def points(self) -> Float[np.ndarray, "5 2"]:
        """The four corners and the tip of the spinous process."""
        return np.concatenate([self.corners, self.tip[None]])


def stack(
    shapes: Sequence[Shape], degrees: Sequence[float], discs: Sequence[float], scale: float
) -> tuple[Vertebra, ...]:
    """Pile vertebrae from the lowest one, in the origin, upwards.

    Args:
        shapes: top to bottom.
        degrees: inclination of each.
        discs: height in millimetres of the disc below each.
        scale: pixels per millimetre.
    """
    centre, pile = np.zeros(2), [Vertebra(shapes[-1], np.zeros(2), degrees[-1], scale)]
    for upper in range(len(shapes) - 2, -1, -1):
        lower = pile[0]
        half = [(s.front + s.back) / 4 for s in (shapes[upper], lower.shape)]
        lean = (degrees[upper] + lower.degrees) / 2
        step = half[1] * _up(lower.degrees) + discs[upper] * _up(lean) + half[0] * _up(degrees[upper])
        centre = centre + scale * step
        pile.insert(0, Vertebra(shapes[upper], centre, degrees[upper], scale))
    return tuple(pile)


def move(column: Sequence[Vertebra], shift: Points) -> tuple[Vertebra, ...]:
    """Shift vertebrae by pixels."""
    return tuple(vertebra._replace(centre=vertebra.centre + shift) for vertebra in column)


def _up(degrees: float) -> Float[np.ndarray, " 2"]:
    return np.asarray(rotation(degrees) @ (0.0, -1.0))


# --- drawing ----------------------------------------------------------------------------------------------------------


def draw_body(film: Radiograph, vertebra: Vertebra, bone: float, soft: float) -> None:
    """Draw a vertebral body: a shell round spongy bone, and the far rims of its end plates.

    Args:
        film: the film to draw on.
        vertebra: where it stands.
        bone: mineral, about 1.
        soft: blur in pixels.
    """
    mm, corners = vertebra.scale, vertebra.corners
    film.add_bone(body_outline(corners), cortex=0.13 * bone, medulla=0.2 * bone, rim=1.1 * mm, texture=0.28, soft=soft)
    for plate, other in ((corners[:2], corners[2:]), (corners[2:], corners[:2])):
        inset = film.rng.uniform(0.04, 0.14) * (other.mean(axis=0) - plate.mean(axis=0))
        ends = plate + 0.05 * (plate[::-1] - plate) + 0.3 * inset
        rim = spline(np.array([ends[0], plate.mean(axis=0) + inset, ends[1]]), 9)
        film.add_line(rim, 0.08 * bone, thickness=0.9 * mm, soft=soft + 0.25 * mm)


def spinous_outline(vertebra: Vertebra) -> Points:
    """Outline of the spinous process from the lamina backwards; it passes exactly through the tip."""
    shape = vertebra.shape
    root, tip = -shape.depth / 2 - shape.canal, -shape.depth / 2 - shape.reach
    high, end = shape.root / 2, shape.end / 2
    middle, fall = (root + tip) / 2, shape.drop
    knots = [
        *((root + 3, -high - 1), (root - 2, -0.8 * high), (middle, 0.45 * fall - 0.75 * high)),
        *((tip + 0.9 * end, fall - end), (tip, fall), (tip + 1.1 * end, fall + end)),
        *((middle, 0.6 * fall + 0.8 * high), (root - 2, 0.2 * fall + high), (root + 3, high + 1)),
    ]
    return spline(vertebra.at(knots), 48, closed=True)


def draw_arch(film: Radiograph, vertebra: Vertebra, bone: float, soft: float) -> None:
    """Draw pedicle, both articular pillars, lamina and spinous process; arguments as in `draw_body`."""
    mm, shape = vertebra.scale, vertebra.shape
    wall, tall = -shape.depth / 2, (shape.front + shape.back) / 2
    reach = shape.canal
    thin = {"cortex": 0.08 * bone, "medulla": 0.06 * bone, "rim": 0.9 * mm, "texture": 0.25}
    pedicle = [(wall + 1, -0.28 * tall), (wall - 0.35 * reach, -0.32 * tall), (wall - 0.35 * reach, 0.05 * tall)]
    film.add_bone(vertebra.at([*pedicle, (wall + 1, 0.1 * tall)]), **thin, soft=soft + 0.3 * mm)
    pillar = [(-0.4, -0.95), (0.0, -0.4), (-0.1, 0.25), (-0.5, 0.98), (-0.8, 0.85), (-0.78, 0.2), (-0.66, -0.4)]
    local = np.array(pillar) * (reach, 0.78 * tall) + (wall, 0.0)
    far = film.rng.normal(0, 0.7 * mm, 2)  # the two sides never project onto each other
    for shift, part in ((np.zeros(2), soft), (far, soft + 0.5 * mm)):
        film.add_bone(spline(vertebra.at(local), 40, closed=True) + shift, **thin, soft=part)
    process = {"cortex": 0.15 * bone, "medulla": 0.09 * bone, "rim": 1.1 * mm, "texture": 0.2}
    film.add_bone(spinous_outline(vertebra), **process, soft=soft)
    lamina = vertebra.at([(wall - reach + 1, -0.5 * shape.root - 2), (wall - reach + 1.5, 0.5 * shape.root + 2)])
    film.add_line(lamina, 0.12 * bone, thickness=1.3 * mm, soft=soft + 0.2 * mm)


def draw_discs(film: Radiograph, column: Sequence[Vertebra], depth: float) -> None:
    """Draw the discs between neighbours, a little denser than what lies round them."""
    for upper, lower in pairwise(column):
        disc = np.stack([upper.corners[2], upper.corners[3], lower.corners[1], lower.corners[0]])
        film.add_polygon(disc, depth, soft=0.5 * upper.scale)
