"""Everything on a lateral lumbar film that is not the spine: trunk, lungs, ribs, pelvis, bowel and what hides bone.

Positions are millimetres from the middle of S1's end plate (x to the back, y down) or follow the spine's levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from datamodules.phantom.lumbar.anatomy import FIRST_LUMBAR, MAGNIFICATION, Spine
from datamodules.phantom.rendering import Points, Radiograph, ellipse, smooth_noise, spline

# Hip bone seen from the side: crest from the front spine over the top to the back spine, notch, socket.
_ILIUM = np.array(
    [
        *[(-72, 18), (-66, -8), (-48, -32), (-22, -47), (6, -52), (34, -44), (56, -24), (66, 2), (58, 22)],
        *[(40, 30), (26, 48), (14, 78), (-8, 96), (-36, 92), (-54, 66), (-62, 42)],
    ]
)
_CREST = slice(1, 8)
# Front ends of ribs 8 to 12 from their vertebrae; the last two float.
_RIB_ENDS = ((-104, 74), (-98, 78), (-88, 82), (-46, 84), (12, 74))


class Flank:
    """Draws the parts of a trunk around a spine seen from the side.

    Args:
        film: the film to draw on.
        spine: the spine, patient facing the image's left.
    """

    def __init__(self, film: Radiograph, spine: Spine) -> None:
        self.film, self.spine, self.rng = film, spine, film.rng
        self.mm = spine.scale * MAGNIFICATION
        self.fat = float(film.rng.uniform(0.85, 1.25))

    def draw_behind(self) -> None:
        """Draw trunk, lungs, vessels, bowel and ribs: everything before the vertebrae."""
        self._trunk()
        self._lungs()
        self._organs()
        for _ in range(self.rng.integers(2, 7)):
            self._gas()
        self._ribs()

    def draw_before(self) -> None:
        """Draw the pelvis and what covers the spine: everything after the vertebrae."""
        self._pelvis()
        if self.rng.random() < 0.35:
            self._gas(over_spine=True)

    def along(self, level: float, back: float) -> Float[np.ndarray, " 2"]:
        """Pixel position `back` millimetres behind the spine's axis at a level, 0 being T8 and 9 L5."""
        centre = self.spine.level_at(level)
        axis = 0.6 * centre[0] + 0.4 * self.spine.corners[FIRST_LUMBAR:, :, 0].mean()
        return np.array([axis + back * self.mm, centre[1]])

    def path(self, knots: Sequence[tuple[float, float]], samples: int, *, closed: bool = False) -> Points:
        """Curve through knots of (level, back)."""
        return spline(np.array([self.along(level, back) for level, back in knots]), samples, closed=closed)

    def _trunk(self) -> None:
        film, rng, fat, unit = self.film, self.rng, self.fat, self.film.unit
        front = [(-6, -110), (0, -112), (3, -105), (6, -100), (9, -112), (12, -108), (16, -95)]
        back = [(16, 138), (12.5, 132), (10.3, 108), (8.6, 80), (6, 66), (3, 70), (0, 76), (-6, 70)]
        skin = [(level, at * fat if at < 0 else at * (0.7 + 0.3 * fat)) for level, at in (*front, *back)]
        trunk = np.array([self.along(level, at) for level, at in skin])
        film.add_round(spline(trunk, 70, closed=True), 1.15, soft=2.5 * unit, edge=62 * self.mm)
        inside = np.minimum(film.depth, 1.0)
        muscle = self.path([(-3, 34), (2, 36), (6, 34), (9, 46), (10.5, 54)], 24)
        film.add_tube(muscle, 24 * self.mm, medulla=0.14, texture=0.0, soft=8 * self.mm)
        film.add_gradient(rng.uniform(-0.1, 0.45), rng.normal(0, 0.08))
        for sigma, depth in ((70, rng.uniform(0.03, 0.12)), (25, 0.05), (8, 0.02)):
            film.add_field(depth * inside * smooth_noise(rng, film.height, film.width, sigma * unit))

    def _lungs(self) -> None:
        """Air above two domes of the diaphragm, which fall to the back as far as L1."""
        air = self.rng.uniform(0.25, 0.6)
        peak, reach = self.rng.normal(2.0, 0.7), self.rng.normal(4.7, 0.5)
        for side in (0.0, self.rng.uniform(0.25, 0.7)):
            dome = [(peak + 0.5 + side, -98), (peak + side, -66), (peak + 0.15 + side, -30), (peak + 1.0 + side, 6)]
            recess = [(reach - 0.8 + side, 34), (reach + side, 50), (reach - 1.2 + side, 60), (0, 64), (-7, 50)]
            lung = self.path([*dome, *recess, (-7, -90)], 70, closed=True)
            self.film.add_round(lung, -0.5 * air, soft=1.2 * self.film.unit, edge=14 * self.mm)
        for _ in range(5):
            start = self.along(self.rng.uniform(-2, 0), self.rng.uniform(-60, 10))
            end = self.along(self.rng.uniform(0.5, 2.5), self.rng.uniform(-60, 40))
            width = np.linspace(2.2, 0.7, 6) * self.mm
            self.film.add_tube(spline(np.array([start, end]), 6), width, medulla=0.05, texture=0.0, soft=1.5 * self.mm)

    def _organs(self) -> None:
        film, mm, rng = self.film, self.mm, self.rng
        liver = [(2.5, -95), (2.6, -40), (4.2, -26), (6.0, -52), (5.6, -95)]
        film.add_round(self.path(liver, 40, closed=True), 0.16, soft=6 * mm, edge=25 * mm)
        film.add_ellipse(self.along(5.6, 14), (24 * mm, 46 * mm), 0.08, degrees=-8, soft=4 * mm)
        vessel = self.path([(0, -34), (4, -33), (6.5, -35), (8.2, -33)], 40)
        film.add_tube(vessel, 9 * mm, medulla=0.07, texture=0.0, soft=3 * mm)
        if rng.random() < 0.3:  # calcium in the aorta's wall
            for _ in range(rng.integers(3, 9)):
                start = int(rng.integers(14, 38))
                wall = vessel[start : start + 2] + np.array([rng.choice([-8.0, 8.0]) * mm, 0.0])
                film.add_line(wall, rng.uniform(0.05, 0.16), thickness=1.3 * mm, soft=0.7 * mm)

    def _gas(self, *, over_spine: bool = False) -> None:
        """A chain of gas pockets with the colon's folds between them, in front of the spine or over it."""
        rng, mm = self.rng, self.mm
        spot = self.along(rng.uniform(4.5, 9.5), rng.uniform(-24, 18) if over_spine else rng.uniform(-90, -38))
        step, strength = rng.normal(0, 1, 2), rng.uniform(0.06, 0.16) if over_spine else rng.uniform(0.1, 0.34)
        for _ in range(rng.integers(2, 8)):
            axes = rng.uniform(6, 15) * mm, rng.uniform(5, 11) * mm
            depth = -strength * rng.uniform(0.5, 1.0)
            self.film.add_ellipse(spot, axes, depth, degrees=rng.uniform(0, 180), soft=1.6 * mm)
            step = 0.7 * step + rng.normal(0, 0.6, 2)
            spot = spot + step / max(float(np.linalg.norm(step)), 0.3) * 15 * mm

    def _ribs(self) -> None:
        """Ribs 8 to 12 of both sides, from the vertebra back and down, then forwards."""
        bright = self.rng.uniform(0.7, 1.5)
        for side in (0.0, 1.0):
            shift = side * self.rng.normal(0, 7, 2) + side * np.array([3.0, 5.0])
            for level in range(5):
                self._rib(level, shift, bright * (1.0 - 0.25 * side), 1.0 + 0.08 * side)

    def _rib(self, level: int, shift: Float[np.ndarray, " 2"], bright: float, wide: float) -> None:
        mm, rng = self.mm, self.rng
        end = np.array(_RIB_ENDS[level]) * rng.normal(1.0, 0.06)
        bow = 62 - 3 * level if level < 4 else 44
        turn = [(20, -4), (0.82 * bow, 8), (bow, 30), (0.72 * bow, 50)]
        far = end if level == 4 else np.array((0.25 * end[0] + 14, 64))
        knots = [*turn, *(() if level == 4 else (far,)), end]
        root = self.spine.corners[level].mean(axis=0)
        points = root + (np.array(knots) * wide + shift * np.linspace(0.3, 1, len(knots))[:, None]) * mm
        radius = np.interp(np.linspace(0, 1, 22), [0, 0.25, 0.8, 1], [3.4, 4.6, 5.2, 3.8]) * mm
        depth = {"cortex": 0.085 * bright, "medulla": 0.045 * bright, "rim": 1.1 * mm}
        self.film.add_tube(spline(points, 22), radius, **depth, soft=0.6 * mm)

    def _pelvis(self) -> None:
        """Both hip bones, one larger and a little shifted, over L5 and the sacrum, and the heads of the femurs."""
        rng, mm, spine = self.rng, self.mm, self.spine
        bright, high = rng.uniform(0.55, 1.2), rng.normal(0, 9)
        low = 9.0 if spine.condition.transition == "lumbarised" else 0.0
        shift = np.array([rng.normal(4, 6), high + low])
        for side in (0, 1):
            shift = shift + side * rng.normal([4, 6], [6, 7])
            knots = _ILIUM * (1 + 0.07 * side) + shift
            soft = (0.7 + 0.6 * side) * mm
            wing = spline(spine.beside(knots), 70, closed=True)
            self.film.add_bone(
                wing, cortex=0.03 * bright, medulla=0.075 * bright, rim=3 * mm, texture=0.15, soft=2 * soft
            )
            crest = spline(spine.beside(knots[_CREST]), 26)
            self.film.add_tube(crest, 2.4 * mm, medulla=0.1 * bright, texture=0.15, soft=1.1 * mm)
            head = spine.beside(np.array([(-26.0, 92.0)]) + shift)[0]
            ball = ellipse(head, (23 * mm, 23 * mm))
            self.film.add_bone(ball, cortex=0.04 * bright, medulla=0.08 * bright, rim=2 * mm, soft=soft)
        seat = spine.beside(np.array([(-70, 60), (70, 40), (80, 200), (-80, 200)]) + shift)
        self.film.add_polygon(seat, 0.22, soft=24 * mm)
