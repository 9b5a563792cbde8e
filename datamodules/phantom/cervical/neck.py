"""What a lateral cervical film shows round the vertebrae: head, atlas and axis, throat, skin, shoulders and chest.

Lengths are millimetres; outlines of the head are those of the lateral skull phantom, carried along by the axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from datamodules.phantom.cervical.lateral import Vertebra, draw_arch, draw_body, draw_discs
from datamodules.phantom.rendering import Points, Radiograph, ellipse, smooth_noise, spline, transform
from datamodules.phantom.skull import outlines as template

DENS_TIP = np.array([566.0, 1478.0])
"""Of the skull's template, in its units of .1 mm: where its head is nailed to our axis."""
AXIS = np.array([(-8.5, -7.5), (-5.5, -26.0), (5.0, -27.0), (8.0, -9.0)])
"""Knots of the axis between its lower corners: back of the body, back and front of the dens, front of the body."""
CHIN, NAPE = 93, 56
"""Where the template's skin turns from the face into the neck, and from the back of the head into it."""

_BACK = int(template.CURVES["atlas_back"][:, 0].argmin())
_FRONT = int(template.CURVES["atlas_front"][:, 0].argmax())


class Neck(NamedTuple):
    """A posed neck on a film, patient facing right.

    Attributes:
        column: C2 to C7, then T1 to T3; the body of C2 is a vertebra whose upper corners are not landmarks.
        dens: tip of the dens, pixels.
        tilt: inclination of the head in degrees, clockwise: the face goes down.
        stout: soft tissue round the column, about 1.
        bone: mineral, about 1.
        shoulder: how far the shoulders rise, in millimetres above the top of T1.
    """

    column: tuple[Vertebra, ...]
    dens: Float[np.ndarray, " 2"]
    tilt: float
    stout: float
    bone: float
    shoulder: float

    @property
    def mm(self) -> float:
        """Pixels per millimetre."""
        return self.column[0].scale

    @property
    def points(self) -> Float[np.ndarray, "29 2"]:
        """C2's dens, C1's tubercles, C2's lower corners, then the corners of C3 to T1; left is the back."""
        arches = np.stack([self.head("atlas_back")[_BACK], self.head("atlas_front")[_FRONT]])
        corners = [self.column[0].corners[2:], *(vertebra.corners for vertebra in self.column[1:7])]
        return np.concatenate([self.dens[None], arches, *corners])

    @property
    def vertebrae(self) -> Float[np.ndarray, "5 5 2"]:
        """Corners and spinous process of C3 to C7."""
        return np.stack([vertebra.points for vertebra in self.column[1:6]])

    def head(self, name: str) -> Points:
        """Return a curve of the skull's template on this film."""
        return transform(template.CURVES[name] - DENS_TIP, self.dens, degrees=self.tilt, scale=0.1 * self.mm)

    def beside(self, offsets: Sequence[tuple[float, float]]) -> Points:
        """Return points beside the column: (level, millimetres before the body's middle); level 0 is C2, 8 is T3.

        Levels beyond them, from -2 to 11, continue the column.
        """
        centres = np.array([v.centre for v in self.column])
        above, below = centres[0] + 2 * (centres[0] - centres[1]), centres[-1] + 3 * (centres[-1] - centres[-2])
        centres = np.vstack([above, centres, below])
        inner = [v.degrees for v in self.column]
        degrees = np.array([self.tilt * 0.3 + inner[0] * 0.7, *inner, inner[-1]])
        known = np.array([-2, *range(len(inner)), len(inner) + 2])
        points = []
        for level, before in offsets:
            middle = [np.interp(level, known, centres[:, axis]) for axis in (0, 1)]
            angle = np.deg2rad(np.interp(level, known, degrees))
            points.append(np.array(middle) + before * self.mm * np.array([np.cos(angle), np.sin(angle)]))
        return np.array(points)


def draw_neck(film: Radiograph, neck: Neck) -> None:
    """Draw everything a lateral cervical film shows."""
    _skin(film, neck)
    _skull(film, neck)
    _jaw(film, neck)
    _throat(film, neck)
    _vertebrae(film, neck)
    _chest(film, neck)


def _skin(film: Radiograph, neck: Neck) -> None:
    """Add neck, head and trunk as one body, and its uneven muscle."""
    mm, rng = neck.mm, film.rng
    film.add_round(_silhouette(film, neck), rng.uniform(0.8, 1.1), edge=48 * mm, soft=1.6 * mm)
    strap = spline(neck.beside([(-1.2, -46), (1.5, -38), (3.5, -40), (5.5, -50), (7, -66)]), 30)
    film.add_tube(strap, np.linspace(17, 32, 30) * mm * neck.stout, medulla=0.1, texture=0, soft=9 * mm)
    for sigma, amount in ((34, 0.06), (11, 0.03), (4, 0.012)):
        clouds = smooth_noise(rng, film.height, film.width, sigma * mm)
        film.add_field(amount * clouds * np.minimum(film.depth, 1))


def _silhouette(film: Radiograph, neck: Neck) -> Points:
    """Outline of head, neck and trunk together, as far as half a film beyond the film."""
    front = [(8, 175), (7.4, 120), (6.6, 76), (5.6, 60), (4.6, 54), (3.6, 52), (2.6, 53), (1.4, 56), (0.2, 40)]
    back = [(-1.6, -60), (0.2, -70), (1.6, -68), (3.0, -70), (4.4, -78), (5.8, -96), (7.0, -130), (8, -190)]
    trunk = spline(neck.beside([(level, x * neck.stout) for level, x in [*back, *front]]), 160)
    skin, step = neck.head("skin"), max(film.height / 160, 1.0)
    grid = np.zeros((320, round(2 * film.width / step)), dtype=np.uint8)
    origin = np.array([film.width, film.height]) / 2
    for part in (trunk, np.concatenate([skin[CHIN:], skin[:NAPE]])):
        cv2.fillPoly(grid, [np.round((part + origin) / step).astype(np.int32)], 1)
    fold = max(round(34 * neck.mm / step), 3)  # skin does not fold as sharply as the parts meet
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (fold, fold))
    contours, _ = cv2.findContours(
        cv2.morphologyEx(grid, cv2.MORPH_CLOSE, disc), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    largest = np.asarray(max(contours, key=cv2.contourArea)[:, 0], dtype=np.float64)
    smooth = gaussian_filter1d(largest, 2.0, axis=0, mode="wrap")
    return np.asarray((smooth + 0.5) * step - 0.5 - origin)


def _skull(film: Radiograph, neck: Neck) -> None:
    """Add vault, brain, skull base and the upper face."""
    u, bone = 0.1 * neck.mm, neck.bone
    film.add_round(neck.head("brain"), 0.75, edge=500 * u, soft=22 * u)
    film.add_bone(neck.head("vault"), cortex=0.5 * bone, medulla=0.4 * bone, rim=17 * u, texture=0.06, soft=5 * u)
    film.add_bone(neck.head("brain"), cortex=0.4 * bone, medulla=-0.1 * bone, rim=26 * u, texture=0.1, soft=7 * u)
    film.add_bone(neck.head("petrous"), cortex=0.1 * bone, medulla=0.4 * bone, rim=30 * u, texture=0.12, soft=26 * u)
    film.add_polygon(neck.head("skull_base"), 0.35 * bone, soft=22 * u)
    film.add_bone(neck.head("sphenoid_sinus"), cortex=0.2 * bone, medulla=-0.2, rim=8 * u, texture=0, soft=5 * u)
    film.add_bone(neck.head("maxillary_sinus"), cortex=0.2 * bone, medulla=-0.16, rim=7 * u, texture=0, soft=4 * u)
    film.add_bone(neck.head("maxilla"), cortex=0.14 * bone, medulla=0.26 * bone, rim=9 * u, texture=0.2, soft=3 * u)
    film.add_bone(neck.head("palate"), cortex=0.24 * bone, medulla=0.14 * bone, rim=6 * u, texture=0.1, soft=3 * u)
    film.add_bone(neck.head("zygoma"), cortex=0.12 * bone, medulla=0.18 * bone, rim=10 * u, soft=8 * u)
    low, high = neck.head("mastoid_cells").min(axis=0), neck.head("mastoid_cells").max(axis=0)
    for spot in film.rng.uniform(low, high, (16, 2)):
        film.add_ellipse(spot, (film.rng.uniform(8, 20) * u, film.rng.uniform(8, 20) * u), -0.1, soft=5 * u)


def _jaw(film: Radiograph, neck: Neck) -> None:
    """Add the mandible's two sides, the tongue and the teeth with their fillings."""
    u, bone, rng = 0.1 * neck.mm, neck.bone, film.rng
    outline = neck.head("mandible")
    far = rng.normal((-35, -10), (25, 20)) * u
    film.add_bone(outline + far, cortex=0.18 * bone, medulla=0.12 * bone, rim=13 * u, soft=7 * u)
    film.add_bone(outline, cortex=0.26 * bone, medulla=0.18 * bone, rim=14 * u, texture=0.12, soft=3 * u)
    film.add_bone(neck.head("symphysis"), cortex=0.3 * bone, medulla=0.05 * bone, rim=12 * u, texture=0.1, soft=3 * u)
    arch = neck.head("upper_arch")
    down = transform(np.array([[0.0, 1.0]]), np.zeros(2), degrees=neck.tilt)[0]
    for index in np.linspace(0, 0.82 * len(arch), 6).astype(int):
        for side in (-1, 1):
            crown = arch[index] + side * 48 * u * down
            tooth = ellipse(crown + side * 50 * u * down, (34 * u, 98 * u), degrees=neck.tilt + rng.normal(0, 5))
            film.add_bone(tooth, cortex=0.1 * bone, medulla=0.2 * bone, rim=6 * u, texture=0.05, soft=3 * u)
            if rng.random() < 0.22:
                film.add_ellipse(crown, (24 * u, 17 * u), 1.9, soft=2 * u, rounded=False)


def _throat(film: Radiograph, neck: Neck) -> None:
    """Take pharynx and windpipe away in front of the column; add epiglottis, hyoid and the larynx's cartilage."""
    mm, rng = neck.mm, film.rng
    wide, air = rng.uniform(0.8, 1.3), rng.uniform(0.28, 0.42)
    path = [(-1.8, 15), (-0.8, 16), (0.2, 18), (1.2, 19), (2.2, 21), (3.2, 27), (4.2, 30), (5.2, 31), (7, 32), (11, 30)]
    radius = np.array([7.5, 6.5, 5.5, 6.5, 7.0, 5.0, 6.5, 8.0, 8.5, 8.5]) * wide * mm
    line = spline(neck.beside(path), 60)
    film.add_tube(line, np.interp(np.linspace(0, 9, 60), np.arange(10), radius), medulla=-air, texture=0, soft=1.4 * mm)
    lid = spline(neck.beside([(2.5, 29), (2.0, 28), (1.5, 25)]), 12)
    film.add_tube(lid, np.array([2.4] * 8 + [2.0, 1.7, 1.4, 1.0]) * mm, medulla=0.13, texture=0, soft=0.6 * mm)
    hyoid = spline(neck.beside([(1.75, 30), (1.9, 38), (2.1, 46)]), 12)
    film.add_tube(hyoid, np.linspace(1.4, 3.4, 12) * mm, cortex=0.12, medulla=0.12, rim=0.8 * mm, soft=0.5 * mm)
    shield = neck.beside([(2.7, 44), (3.4, 48), (4.4, 43), (4.3, 33), (3.2, 34)])
    film.add_polygon(spline(shield, 40, closed=True), rng.uniform(0.02, 0.12), soft=1.5 * mm)
    for _ in range(rng.integers(0, 5)):
        spot = neck.beside([(rng.uniform(3, 4.6), rng.uniform(34, 46))])[0]
        film.add_ellipse(spot, (2.4 * mm, 3.6 * mm), rng.uniform(0.04, 0.2), degrees=rng.uniform(0, 90), soft=1.2 * mm)


def axis_outline(neck: Neck) -> Points:
    """Outline of the axis' body with its dens; the lower corners and the dens' tip are exact."""
    axis = neck.column[0]
    back, front = axis.corners[2:]
    knots = axis.at(AXIS)
    tip = neck.dens
    side = spline(np.array([back, knots[0], knots[1], tip, knots[2], knots[3], front]), 49)
    plate = spline(np.array([front, (front + back) / 2 + 0.05 * (tip - front), back]), 12)
    return np.concatenate([side, plate[1:-1]])


def _vertebrae(film: Radiograph, neck: Neck) -> None:
    """Add atlas, axis, C3 to T3 and, in few patients, a plate on their front."""
    mm, bone, rng = neck.mm, neck.bone, film.rng
    soft = rng.uniform(0.15, 0.5) * mm
    for name in ("atlas_front", "atlas_back"):
        film.add_bone(neck.head(name), cortex=0.2 * bone, medulla=0.14 * bone, rim=0.9 * mm, soft=soft)
    mass = ellipse(neck.beside([(-1.15, -3)])[0], (8 * mm, 6.5 * mm), degrees=neck.tilt, power=2.6)
    film.add_bone(mass, cortex=0.06 * bone, medulla=0.1 * bone, rim=1.2 * mm, soft=1.2 * mm)
    draw_discs(film, neck.column, 0.03)
    film.add_bone(axis_outline(neck), cortex=0.14 * bone, medulla=0.2 * bone, rim=1.2 * mm, texture=0.25, soft=soft)
    for vertebra in neck.column[1:]:
        draw_body(film, vertebra, bone, soft)
    for vertebra in neck.column:
        draw_arch(film, vertebra, bone, soft)
    if rng.random() < 0.06:
        _plate(film, neck)


def _plate(film: Radiograph, neck: Neck) -> None:
    """Add the metal of a fusion: a plate in front of two or three bodies, with a screw into each."""
    first, count = int(film.rng.integers(2, 4)), int(film.rng.integers(2, 4))
    fused = neck.column[first : first + count]
    fronts = np.array([v.at([(v.shape.depth / 2 + 1.5, 0.0)])[0] for v in fused])
    film.add_tube(fronts, 1.2 * neck.mm, medulla=2.2, texture=0, soft=0.2 * neck.mm)
    for vertebra in fused:
        screw = vertebra.at([(vertebra.shape.depth / 2, -1.0), (-vertebra.shape.depth / 2 + 5, 1.0)])
        film.add_tube(screw, 1.5 * neck.mm, medulla=1.7, texture=0, soft=0.2 * neck.mm)


def _chest(film: Radiograph, neck: Neck) -> None:
    """Add shoulders, clavicle and first ribs, which hide the lower vertebrae, and the lungs' tips."""
    mm, rng, bone = neck.mm, film.rng, neck.bone
    top = neck.column[6].corners[:2].mean(axis=0) - (0, neck.shoulder * mm)
    for reach, rise, depth in ((1.0, 0.0, 0.4), (0.8, 16.0, 0.35), (1.15, 30.0, 0.4)):
        hill = [(-260, 90), (-130, 30), (-70, 8), (-20, 0), (35, 10), (90, 45), (150, 110), (150, 300), (-260, 300)]
        outline = top + (np.array(hill) * (reach, 1.0) + (rng.normal(0, 6), rise)) * mm
        film.add_polygon(spline(outline, 60, closed=True), depth, soft=9 * mm)
    lung = ellipse(top + np.array([22, 62]) * mm, (26 * mm, 40 * mm), degrees=-12)
    film.add_round(lung, -rng.uniform(0.1, 0.35), soft=5 * mm)
    for _ in range(2):
        start = top + rng.normal((-30, 22), 5) * mm
        collar = spline(np.array([start, start + np.array([45, 4]) * mm, start + np.array([85, 22]) * mm]), 20)
        film.add_tube(collar, 4.5 * mm, cortex=0.12 * bone, medulla=0.1 * bone, rim=1.3 * mm, soft=1.6 * mm)
