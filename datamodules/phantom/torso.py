"""Everything on an AP spine film that is not the spine: chest, abdomen, pelvis and what hides the vertebrae.

Lengths are fractions of the film's height and heights are vertebral levels (0 is T1, 11 is T12, 16 is L5), so organs
follow the spine that is drawn. Side -1 is the image's left (the patient's right), +1 the image's right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from datamodules.phantom.rendering import Points, Radiograph, ellipse, smooth_noise, spline

SIDES = (-1, 1)
# Half width of the rib cage at each rib's lateral end and how far that end lies below its root.
_RIB_REACH = (0.085, 0.13, 0.165, 0.19, 0.21, 0.225, 0.235, 0.24, 0.24, 0.225, 0.16, 0.1)
_RIB_DROP = (0.03, 0.045, 0.055, 0.062, 0.07, 0.08, 0.09, 0.1, 0.12, 0.15, 0.125, 0.09)
_RIB_SHAPE = np.array([(0, 0), (0.28, -0.06), (0.6, 0.14), (0.86, 0.52), (1, 1)])
# Outline of the hip bone in half widths of L5, from the middle of L5's lower end plate outwards and down.
_ILIUM = np.array(
    [(1.6, 1.4), (1.75, 0.1), (2.3, -0.8), (3.5, -1.25), (4.8, -0.6), (5.6, 1), (4.8, 3), (2.8, 4.5), (1.8, 3)]
)
_LOW_RIB_SHAPE = np.array([(0, 0), (0.25, 0.1), (0.52, 0.36), (0.77, 0.68), (1, 1)])


class Torso:
    """Draws the parts of a trunk around a spine.

    Args:
        film: the film to draw on.
        centres: vertebral centres top to bottom, (x, y) pixels, shape (17, 2).
        corners: vertebral corners TL, TR, BL, BR, shape (17, 4, 2).
    """

    def __init__(
        self, film: Radiograph, centres: Float[np.ndarray, "17 2"], corners: Float[np.ndarray, "17 4 2"]
    ) -> None:
        self.film, self.centres, self.corners, self.rng = film, centres, corners, film.rng
        self.size = float(centres[16, 1] - centres[0, 1]) / 0.85
        self.thin = float(film.rng.uniform(0.9, 1.12))

    def at(self, out: float, level: float, side: int = 1) -> tuple[float, float]:
        """Pixel position `out` film heights from the trunk's axis at a vertebral level."""
        spine = np.interp(level, np.arange(17), self.centres[:, 0])
        axis = 0.55 * spine + 0.45 * self.centres[:, 0].mean()
        return float(axis + side * out * self.size * self.thin), self.height_of(level)

    def height_of(self, level: float) -> float:
        """Row of a vertebral level; levels outside of 0..16 continue with the end spacing."""
        rows = self.centres[:, 1]
        above, below = min(level, 0) * (rows[1] - rows[0]), max(level - 16, 0) * (rows[16] - rows[15])
        return float(np.interp(level, np.arange(17), rows) + above + below)

    def outline(self, knots: Sequence[tuple[float, float]], side: int = 1, *, samples: int = 60) -> Points:
        """Closed outline through knots of (out, level)."""
        return spline(np.array([self.at(out, level, side) for out, level in knots]), samples, closed=True)

    def curve(self, knots: Sequence[tuple[float, float]], side: int = 1, *, samples: int = 16) -> Points:
        """Open curve through knots of (out, level)."""
        return spline(np.array([self.at(out, level, side) for out, level in knots]), samples)

    def draw_behind(self) -> None:
        """Soft tissue, lungs, ribs and pelvis: everything drawn before the vertebrae."""
        self._body()
        self._lungs()
        self._mediastinum()
        self._abdomen()
        self._ribs()
        self._shoulders()
        self._pelvis()

    def _body(self) -> None:
        film, unit, waist = self.film, self.film.unit, self.rng.uniform(0.2, 0.3)
        right = [(0.07, -3), (0.08, -0.6), (0.16, 0.1), (0.27, 1.2), (0.3, 4), (0.26, 8), (waist, 12.5)]
        right += [(waist + 0.02, 14.5), (waist + 0.06, 19), (waist + 0.06, 24)]
        left = [self.at(out, level, -1) for out, level in reversed(right)]
        trunk = np.array([self.at(out, level) for out, level in right] + left)
        film.add_round(trunk, 0.95, soft=4 * unit, edge=0.16 * self.size)
        film.add_gradient(self.rng.uniform(-0.1, 0.7), self.rng.normal(0, 0.08))
        for sigma, depth in ((80, self.rng.uniform(0.02, 0.18)), (30, 0.06), (9, 0.025)):
            film.add_field(depth * smooth_noise(self.rng, film.height, film.width, sigma * unit))

    def _lungs(self) -> None:
        unit, air = self.film.unit, self.rng.uniform(0.5, 0.75)
        for side in SIDES:
            dome = 9.2 + 0.35 * (side == 1) + self.rng.normal(0, 0.35)
            knots = [(0.06, 0.7), (0.12, 1.3), (0.165, 2.8), (0.205, 5), (0.228, 7.2), (0.238, 9.2)]
            knots += [(0.236, dome + 1.5), (0.195, dome + 0.75), (0.15, dome + 0.2), (0.1, dome), (0.06, dome + 0.2)]
            knots += [(0.036, dome + 0.1), (0.04, 7.5), (0.04, 5.5), (0.036, 3.5), (0.04, 1.6)]
            lung = self.outline(knots, side)
            self.film.add_round(lung, -air, soft=1.2 * unit, edge=0.035 * self.size)
            self._vessels(side, dome)

    def _vessels(self, side: int, dome: float) -> None:
        unit, rng = self.film.unit, self.rng
        hilum = np.array(self.at(0.05, 5.2, side))
        self.film.add_ellipse(hilum, (11 * unit, 22 * unit), 0.16, degrees=8 * side, soft=4 * unit)
        for _ in range(9):
            end = np.array(self.at(rng.uniform(0.08, 0.19), rng.uniform(1.5, dome), side))
            bend = (hilum + end) / 2 + rng.normal(0, 8, 2) * unit
            path = spline(np.array([hilum + rng.normal(0, 6, 2) * unit, bend, end]), 7)
            width = np.linspace(2.6, 0.5, 7) * rng.uniform(0.6, 1.2) * unit
            self.film.add_tube(path, width, medulla=0.075, texture=0.0, soft=0.7 * unit)

    def _mediastinum(self) -> None:
        film, unit, rng = self.film, self.film.unit, self.rng
        heart = rng.uniform(0.085, 0.13)
        knots = [(0.0, 4.6), (0.045, 5.3), (heart, 7.3), (heart + 0.012, 9), (0.06, 10.2), (-0.03, 10), (-0.055, 8.3)]
        outline = self.outline([*knots, (-0.04, 6)])
        film.add_round(outline, rng.uniform(0.3, 0.5), soft=2.5 * unit, edge=0.05 * self.size)
        film.add_ellipse(self.at(0.035, 3.6), (0.026 * self.size, 0.03 * self.size), 0.2, soft=2 * unit)
        windpipe = self.curve([(0.004, -2), (0.0, 1.5), (-0.006, 4)], samples=8)
        film.add_tube(windpipe, 0.014 * self.size, medulla=-0.16, texture=0.0, soft=1.6 * unit)

    def _abdomen(self) -> None:
        film, unit, rng = self.film, self.film.unit, self.rng
        liver = [(0.0, 9.8), (0.1, 9.2), (0.2, 10), (0.25, 12), (0.18, 14), (0.08, 12.2)]
        film.add_round(self.outline(liver, -1), 0.18, soft=5 * unit, edge=0.06 * self.size)
        for side in SIDES:
            psoas = [(0.03, 11.5), (0.075, 14.5), (0.12, 18), (0.05, 18), (0.025, 14.5)]
            film.add_polygon(self.outline(psoas, side), 0.08, soft=2.5 * unit)
            film.add_ellipse(self.at(0.085, 12.2, side), (16 * unit, 30 * unit), 0.07, degrees=12 * side, soft=2 * unit)
        self._stomach()
        for _ in range(rng.integers(1, 5)):
            self._bowel_gas(rng.uniform(0.03, 0.22), rng.uniform(12.2, 17.5), int(rng.choice(SIDES)))

    def _stomach(self) -> None:
        """Gas under the left half of the diaphragm, with a fluid level when the film was taken standing."""
        x, y = self.at(self.rng.uniform(0.07, 0.12), self.rng.uniform(10.2, 10.9))
        size = self.rng.uniform(0.3, 1.0) * 0.05 * self.size
        bubble = ellipse((x, y), (1.2 * size, size), degrees=self.rng.uniform(-20, 20), power=2.3)
        bubble[:, 1] = np.minimum(bubble[:, 1], y + self.rng.uniform(0.1, 1) * size)
        self.film.add_polygon(bubble, -self.rng.uniform(0.15, 0.45), soft=1.2 * self.film.unit)

    def _bowel_gas(self, out: float, level: float, side: int) -> None:
        """A chain of gas pockets with the colon's folds between them."""
        rng, unit = self.rng, self.film.unit
        spot, step = np.array(self.at(out, level, side)), rng.normal(0, 1, 2)
        for _ in range(rng.integers(2, 7)):
            axes = (rng.uniform(5, 13) * unit, rng.uniform(4, 10) * unit)
            self.film.add_ellipse(spot, axes, -rng.uniform(0.12, 0.4), degrees=rng.uniform(0, 180), soft=unit)
            step = 0.7 * step + rng.normal(0, 0.6, 2)
            spot = spot + step / max(float(np.linalg.norm(step)), 0.3) * 13 * unit

    def _ribs(self) -> None:
        bright = self.rng.uniform(0.65, 1.3)
        for side in SIDES:
            spread = self.rng.uniform(0.93, 1.1)
            for rib in range(12):
                self._rib(rib, side, bright, spread * self.size * self.thin)

    def _rib(self, rib: int, side: int, bright: float, size: float) -> None:
        unit, jitter = self.film.unit, self.rng.normal(1, 0.04)
        top = self.corners[rib, 1 if side > 0 else 0]
        reach, drop = _RIB_REACH[rib] * size * jitter, _RIB_DROP[rib] * size
        lateral = self.at(0, rib)[0] + side * reach
        span = np.array([lateral - top[0], drop])
        root = top + np.array([-side * 5.0, 3.5]) * unit
        knots = root + (_LOW_RIB_SHAPE if rib > 8 else _RIB_SHAPE) * span
        radius = np.array([4.4, 5.0, 4.8, 4.2, 3.6]) * unit * (0.8 if rib in (0, 10, 11) else 1.0)
        grow = np.interp(np.linspace(0, 1, 14), np.linspace(0, 1, 5), radius)
        bright *= 0.65 if rib > 9 else 1.0
        depth = {"cortex": 0.1 * bright, "medulla": 0.06 * bright, "rim": 1.2 * unit}
        self.film.add_tube(spline(knots, 14), grow, **depth, soft=0.4 * unit)
        if rib < 9:
            front = knots[-1] + np.array([(0, 0), (-0.06, 0.3), (-0.28, 0.8), (-0.55, 1.0)]) * (span[0], 0.1 * size)
            front_depth = {"cortex": 0.04 * bright, "medulla": 0.045 * bright, "rim": 1.6 * unit}
            self.film.add_tube(spline(front, 10), np.linspace(3.2, 4.4, 10) * unit, **front_depth, soft=0.9 * unit)

    def _shoulders(self) -> None:
        unit, rng = self.film.unit, self.rng
        tilt, drop = rng.normal(0, 0.35), rng.uniform(2.2, 3.4)
        for side in SIDES:
            start = drop + 0.4 * rng.normal() + side * tilt
            knots = [(0.03, start), (0.08, start - 0.75), (0.15, start - 1.0), (0.23, start - 1.9)]
            radius = np.interp(np.linspace(0, 1, 16), [0, 0.2, 0.6, 1], [5.4, 4.0, 3.8, 5.0]) * unit
            clavicle = {"cortex": 0.2, "medulla": 0.1, "rim": 1.3 * unit}
            self.film.add_tube(self.curve(knots, side), radius, **clavicle, soft=0.6 * unit)
            blade = [(0.15, 2.0), (0.2, 1.6), (0.26, 2.6), (0.215, 6.8), (0.2, 7.2), (0.175, 4.5)]
            outline = self.outline(blade, side)
            self.film.add_bone(outline, cortex=0.1, medulla=0.06, rim=1.6 * unit, soft=1.2 * unit)

    def _pelvis(self) -> None:
        unit = self.film.unit
        end = self.corners[16, 2:].mean(axis=0)
        half = float(np.linalg.norm(self.corners[16, 3] - self.corners[16, 2])) / 2
        knots = [(-0.95, 0.22), (-1.5, 0.3), (-2.1, 0.7), (-1.5, 1.8), (-0.9, 3.2), (0, 3.8), (0.9, 3.2), (1.5, 1.8)]
        knots += [(2.1, 0.7), (1.5, 0.3), (0.95, 0.22), (0, 0.3)]
        sacrum = spline(end + np.array(knots) * half, 60, closed=True)
        self.film.add_bone(sacrum, cortex=0.12, medulla=0.1, rim=1.6 * unit, texture=0.22, soft=0.9 * unit)
        for row in range(3):
            for side in SIDES:
                hole = end + np.array([side * (0.72 - 0.12 * row), 1.0 + 0.75 * row]) * half
                self.film.add_ellipse(hole, (0.16 * half, 0.12 * half), -0.1, soft=0.7 * unit)
        self._hips(end, half)

    def _hips(self, end: Points, half: float) -> None:
        unit, high = self.film.unit, self.rng.normal(0, 0.15)
        for side in SIDES:
            wing = end + (_ILIUM + np.array([0, side * high])) * [side * half, half]
            bone = {"cortex": 0.12, "medulla": 0.09, "rim": 2 * unit, "texture": 0.22}
            self.film.add_bone(spline(wing, 60, closed=True), **bone, soft=unit)
