"""Everything a lateral skull film shows: bone, soft tissue, teeth, neck and the head holder, drawn around a posed head.

Lengths in the code are official pixels (.1 mm) times `PosedHead.unit`. Optical depths were set by eye against real
films.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy.interpolate import RBFInterpolator

from datamodules.phantom.rendering import Map, Points, Radiograph, rotation, spline
from datamodules.phantom.skull import outlines as template

UPPER_INCISOR, LOWER_INCISOR = 11, 10  # rows of the incisal edges, which move freely of the bone around them


class PosedHead(NamedTuple):
    """A posed head: landmarks in film pixels, the warp from template to film pixels, film pixels per official pixel."""

    points: Points
    warp: RBFInterpolator
    unit: float


class _Look(NamedTuple):
    """What differs between films of the same head: mineral, far-side offset (film pixels), thickness of the head."""

    bone: float
    far: Points
    head: float


def draw_head(film: Radiograph, head: PosedHead) -> None:
    """Add a head with its holder to an empty film; mineral, thickness and the far side's offset are drawn at random."""
    rng = film.rng
    parts = _outlines(head)
    far = rng.normal((-30, -12), (18, 14)) * head.unit
    look = _Look(float(rng.uniform(0.75, 1.2)), far, float(rng.uniform(0.85, 1.15)))
    for part in (_soft_tissue, _cranium, _face, _mandible, _neck, _fine_lines):
        part(film, head, parts, look)
    _incisors(film, head, look)
    _back_teeth(film, head, parts["upper_arch"], look)
    _ear_rod(film, head, look)
    _nose_rest(film, head)


def _outlines(head: PosedHead) -> dict[str, Points]:
    """All template curves on the film, by name, in one evaluation of the warp."""
    names = list(template.CURVES)
    moved = head.warp(np.vstack([template.CURVES[name] for name in names]))
    ends = np.cumsum([len(template.CURVES[name]) for name in names])[:-1]
    return dict(zip(names, np.split(moved, ends), strict=True))


# --- bone and soft tissue ---------------------------------------------------------------------------------------------


def _soft_tissue(film: Radiograph, head: PosedHead, parts: dict[str, Points], look: _Look) -> None:
    """Add skin, brain and neck, and take the airway away."""
    u = head.unit
    film.add_round(parts["skin"], 0.62 * look.head, edge=330 * u, soft=6 * u)
    film.add_round(parts["brain"], 0.62 * look.head, edge=700 * u, soft=22 * u)
    film.add_polygon(parts["shoulder"], 1.6, soft=16 * u)
    film.add_round(parts["pharynx"], -0.26 * look.head, soft=9 * u)
    film.add_polygon(parts["mouth"], -0.1, soft=5 * u)
    film.add_polygon(parts["nasal_cavity"], -0.12, soft=16 * u)
    film.add_tube(parts["soft_palate"], np.linspace(22, 34, len(parts["soft_palate"])) * u, medulla=0.12, soft=6 * u)


def _cranium(film: Radiograph, head: PosedHead, parts: dict[str, Points], look: _Look) -> None:
    """Add the vault with its two tables, the skull base and its air cells."""
    u, bone = head.unit, look.bone
    film.add_bone(parts["vault"], cortex=0.50 * bone, medulla=0.52 * bone, rim=17 * u, texture=0.06, soft=3 * u)
    film.add_bone(parts["brain"], cortex=0.50 * bone, medulla=-0.16 * bone, rim=26 * u, texture=0.1, soft=6 * u)
    film.add_bone(parts["petrous"], cortex=0.05 * bone, medulla=0.34 * bone, rim=30 * u, texture=0.3, soft=26 * u)
    film.add_polygon(parts["skull_base"], 0.30 * bone, soft=22 * u)
    film.add_bone(parts["sphenoid_sinus"], cortex=0.22 * bone, medulla=-0.26, rim=8 * u, texture=0.0, soft=4 * u)
    film.add_bone(parts["frontal_sinus"], cortex=0.20 * bone, medulla=-0.30, rim=6 * u, texture=0.0, soft=3 * u)
    film.add_bone(parts["pterygoid_gap"], cortex=0.18 * bone, medulla=-0.20, rim=7 * u, texture=0.0, soft=2 * u)
    _air_cells(film, head, parts["mastoid_cells"], 22, 20)
    _air_cells(film, head, parts["ethmoid"], 12, 34)


def _air_cells(film: Radiograph, head: PosedHead, region: Points, count: int, size: float) -> None:
    """Add a honeycomb of `count` thin-walled air cells of up to `size` official pixels, as in mastoid and ethmoid."""
    low, high = region.min(axis=0), region.max(axis=0)
    for at in film.rng.uniform(low, high, (count, 2)):
        if cv2.pointPolygonTest(region.astype(np.float32), (float(at[0]), float(at[1])), measureDist=False) >= 0:
            radius = float(film.rng.uniform(0.4, 1)) * size * head.unit
            cell = _circle(at, radius) + film.rng.normal(0, 0.12 * radius, (32, 1))
            film.add_bone(cell, cortex=0.16, medulla=-0.13, rim=5 * head.unit, texture=0.0, soft=2.5 * head.unit)


def _face(film: Radiograph, head: PosedHead, parts: dict[str, Points], look: _Look) -> None:
    """Add orbit, nose, maxilla with its sinus, palate and zygoma."""
    u, bone = head.unit, look.bone
    film.add_bone(parts["orbit"], cortex=0.10 * bone, medulla=-0.05, rim=14 * u, texture=0.0, soft=5 * u)
    film.add_bone(parts["maxillary_sinus"], cortex=0.24 * bone, medulla=-0.16, rim=7 * u, texture=0.0, soft=3 * u)
    film.add_bone(parts["nasal_bone"], cortex=0.16 * bone, medulla=0.12 * bone, rim=8 * u, soft=3 * u)
    film.add_bone(parts["maxilla"], cortex=0.14 * bone, medulla=0.26 * bone, rim=9 * u, texture=0.2, soft=2 * u)
    film.add_bone(parts["palate"], cortex=0.24 * bone, medulla=0.14 * bone, rim=6 * u, texture=0.1, soft=1.5 * u)
    film.add_polygon(parts["ethmoid"], 0.16 * bone, soft=24 * u)
    film.add_bone(parts["zygoma"], cortex=0.12 * bone, medulla=0.18 * bone, rim=10 * u, soft=7 * u)
    for name in ("turbinate_middle", "turbinate_lower"):
        film.add_tube(parts[name], 24 * u, medulla=0.14, texture=0.3, soft=10 * u)


def _mandible(film: Radiograph, head: PosedHead, parts: dict[str, Points], look: _Look) -> None:
    """Add the mandible: a sharp near side that carries the landmarks, a displaced soft far side, the chin's shell."""
    u, bone = head.unit, look.bone
    outline = parts["mandible"]
    # The sides meet at the chin, so the far outline departs from the near one towards the ramus only.
    apart = np.clip((head.points[5, 0] - outline[:, :1]) / (300 * u), 0, 1) ** 1.5
    film.add_bone(outline + look.far * apart, cortex=0.2 * bone, medulla=0.14 * bone, rim=12 * u, soft=4 * u)
    film.add_bone(outline, cortex=0.26 * bone, medulla=0.20 * bone, rim=13 * u, texture=0.12, soft=1.5 * u)
    film.add_bone(parts["symphysis"], cortex=0.34 * bone, medulla=0.05 * bone, rim=11 * u, texture=0.1, soft=2 * u)


def _fine_lines(film: Radiograph, head: PosedHead, parts: dict[str, Points], look: _Look) -> None:
    """Add the cortical lines seen edge-on, sharp or blurred, all drawn on two layers."""
    sharp = [("fossa_roof", 9), ("sella", 10), ("base_line", 12), ("orbit_rim", 10), ("pterygoid", 7)]
    faint = [
        *(("fossa_roof_far", 10), ("clivus", 12), ("sphenoid_wing", 14), ("orbit_rim_far", 9), ("orbit_floor", 9)),
        *(("key_ridge", 9), ("sinus_back", 7), ("canal", 8), ("oblique", 14)),
    ]
    wisps = _wisps(film, head) + [(_bent(film, head, parts[name]), 9 * head.unit) for name in ("suture", "lambda")]
    for names, depth, soft in ((sharp, 0.34, 2.0), (faint, 0.21, 4.0)):
        curves = [(parts[name], width * head.unit) for name, width in names]
        field = _line_layer(film, curves if names is sharp else curves + wisps)
        film.add_field(cv2.GaussianBlur(field, (0, 0), max(soft * head.unit, 0.35)) * np.float32(depth * look.bone))
    grooves = [(_bent(film, head, parts[name]), 12 * head.unit) for name in ("vessel", "vessel_far")]
    vessels = _line_layer(film, grooves)
    film.add_field(cv2.GaussianBlur(vessels, (0, 0), max(5 * head.unit, 0.5)) * np.float32(-0.09))


def _bent(film: Radiograph, head: PosedHead, curve: Points) -> Points:
    """Shift, turn and wave a curve of the vault, so that no two films share it."""
    rng, middle = film.rng, curve.mean(axis=0)
    wave = np.cumsum(rng.normal(0, 7 * head.unit, curve.shape), axis=0)
    return np.asarray(
        (curve + wave - middle) @ rotation(rng.normal(0, 12)).T + middle + rng.normal(0, 60 * head.unit, 2)
    )


def _wisps(film: Radiograph, head: PosedHead) -> list[tuple[Points, float]]:
    """Short unnamed lines of skull base and midface: the clutter that hides sella and orbitale on real films."""
    rng, curves = film.rng, []
    corner, opposite = (
        head.points[18] + np.array([-60, -190]) * head.unit,
        head.points[2] + np.array([-60, 150]) * head.unit,
    )
    for start in rng.uniform(np.minimum(corner, opposite), np.maximum(corner, opposite), (18, 2)):
        angle, length = rng.uniform(-0.9, 0.9), rng.uniform(60, 190) * head.unit
        knots = start + np.outer([0, 0.5, 1], [np.cos(angle), np.sin(angle)]) * length
        knots[1] += rng.normal(0, 0.16 * length, 2)
        curves.append((spline(knots, 12), rng.uniform(5, 11) * head.unit))
    return curves


def _line_layer(film: Radiograph, curves: list[tuple[Points, float]]) -> Map:
    """Coverage map (height, width), float32 in 0..1, of curves with their widths in pixels, anti-aliased."""
    grid = np.zeros((film.height * 2, film.width * 2), dtype=np.uint8)
    for curve, width in curves:
        at = np.round((np.asarray(curve) + 0.5) * 2 * 16 - 8).astype(np.int32)
        cv2.polylines(grid, [at], False, 255, max(1, round(width * 2)), cv2.LINE_AA, 4)
    return cv2.resize(grid, (film.width, film.height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


# --- teeth ------------------------------------------------------------------------------------------------------------

# Half outline of an incisor from its edge to its apex: (fraction of the length, half width in official pixels).
_INCISOR: list[tuple[float, float]] = [
    (0, 0),
    (0.0, 6),
    (0.12, 20),
    (0.3, 31),
    (0.42, 30),
    (0.7, 20),
    (0.93, 8),
    (1, 0),
]
_MOLAR: list[tuple[float, float]] = [
    (0, 0),
    (0.01, 28),
    (0.08, 42),
    (0.25, 46),
    (0.36, 38),
    (0.6, 34),
    (0.85, 24),
    (1, 6),
]


def _tooth(
    film: Radiograph, head: PosedHead, edge: Points, apex: Points, profile: list[tuple[float, float]], bone: float
) -> None:
    """Add one tooth with its dense crown; its incisal edge is exactly at `edge`."""
    half = np.array(profile, dtype=np.float64)
    along = apex - edge
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along) * head.unit
    left = edge + half[:, :1] * along + half[:, 1:] * across
    right = edge + half[::-1, :1] * along - half[::-1, 1:] * across
    outline = spline(np.vstack([left, right[:-1]]), 40, closed=True)
    film.add_bone(
        outline, cortex=0.10 * bone, medulla=0.24 * bone, rim=6 * head.unit, texture=0.05, soft=1.2 * head.unit
    )
    crown = half[:, 0] <= 0.36
    film.add_polygon(np.vstack([left[crown], right[crown[::-1]]]), 0.26 * bone, soft=2.5 * head.unit)


def _incisors(film: Radiograph, head: PosedHead, look: _Look) -> None:
    """Add upper and lower incisors from their landmark to an apex inside the jaw behind A and B point."""
    u, p = head.unit, head.points
    tilt = film.rng.normal(0, 14, 2)
    apexes = (p[4] + np.array([-62 + tilt[0], -5]) * u, p[5] + np.array([-48 + tilt[1], 40]) * u)
    for edge, apex in zip((p[UPPER_INCISOR], p[LOWER_INCISOR]), apexes, strict=True):
        _tooth(film, head, edge, apex, _INCISOR, look.bone * 1.15)
        twin = film.rng.normal(-8, 5, 2) * u
        _tooth(film, head, edge + twin * np.array([1, 0.3]), apex + twin, _INCISOR, look.bone * 0.5)


def _back_teeth(film: Radiograph, head: PosedHead, arch: Points, look: _Look) -> None:
    """Add molars and premolars of both jaws along the occlusal line, with fillings or braces on some films."""
    u, rng = head.unit, film.rng
    at = arch[np.linspace(0, len(arch) * 0.86, 5).astype(int)] + rng.normal(0, 6, (5, 2)) * u
    shrink = np.array([1.0, 1.0, 0.78, 0.7, 0.66])
    for sign in (-1, 1):
        for edge, size in zip(at, shrink, strict=True):
            lean = rng.normal(-0.08 * sign, 0.05)
            apex = edge + np.array([lean, sign]) * 205 * u * (0.85 + 0.15 * size)
            profile = [(t, w * size) for t, w in _MOLAR]
            _tooth(film, head, edge + np.array([0, sign * 5 * u]), apex, profile, look.bone * 0.85)
    for edge in at[rng.random(5) < rng.choice([0.0, 0.25, 0.5])]:
        film.add_ellipse((edge[0], edge[1] + rng.normal(0, 22) * u), (26 * u, 15 * u), 2.2, soft=1.5 * u, rounded=False)
    if rng.random() < 0.2:
        _braces(film, head, arch)


def _braces(film: Radiograph, head: PosedHead, arch: Points) -> None:
    """Add orthodontic brackets and wire along the upper arch, which cover the incisors' crowns."""
    u = head.unit
    front = head.points[UPPER_INCISOR] + np.array([-10, -30]) * u
    wire = np.vstack([arch[::3], front]) - np.array([0, 22]) * u
    film.add_line(wire, 1.2, thickness=7 * u)
    for x, y in wire[:-1:2]:
        film.add_ellipse((x, y), (15 * u, 18 * u), 1.6, rounded=False)


# --- neck -------------------------------------------------------------------------------------------------------------


def _neck(film: Radiograph, head: PosedHead, parts: dict[str, Points], look: _Look) -> None:
    """Add the cervical spine from atlas downwards, and the hyoid."""
    u, bone = head.unit, look.bone
    for name, depth in (("dens", 0.24), ("atlas_front", 0.2), ("atlas_back", 0.2), ("hyoid", 0.14)):
        film.add_bone(parts[name], cortex=0.22 * bone, medulla=depth * bone, rim=9 * u, texture=0.2, soft=3 * u)
    line = parts["neck"]
    centres = line[np.linspace(0, len(line) - 1, 6).astype(int)]
    for centre, along in zip(centres, np.gradient(centres, axis=0), strict=True):
        _vertebra(film, head, centre, float(np.degrees(np.arctan2(along[1], along[0]))) - 90, bone)


def _vertebra(film: Radiograph, head: PosedHead, centre: Points, degrees: float, bone: float) -> None:
    """Add one cervical vertebra: body with end plates, arch, and a spinous process towards the back."""
    turn = rotation(degrees).T * head.unit
    body = [(-66, -52), (0, -56), (62, -44), (58, 0), (70, 58), (40, 62), (0, 48), (-40, 50), (-68, 46), (-60, 0)]
    arch = [(-60, -30), (-110, -60), (-150, -20), (-120, 40), (-70, 70), (-50, 20)]
    spine = [(-130, -20), (-220, 10), (-320, 30), (-335, 62), (-280, 72), (-180, 60), (-130, 40)]
    for shape, cortex, medulla in ((body, 0.24, 0.24), (arch, 0.14, 0.16), (spine, 0.14, 0.10)):
        outline = spline(np.array(shape, dtype=np.float64), 40, closed=True) @ turn + centre
        film.add_bone(outline, cortex=cortex * bone, medulla=medulla * bone, rim=8 * head.unit, soft=3 * head.unit)


# --- equipment -----------------------------------------------------------------------------------------------


def _ear_rod(film: Radiograph, head: PosedHead, look: _Look) -> None:
    """Add the ear canal below porion and the head holder's ear rods, two rings that rarely coincide."""
    u, porion = head.unit, head.points[3]
    film.add_bone(
        _circle(porion + np.array([4, 27]) * u, 27 * u), cortex=0.2 * look.bone, medulla=-0.22, rim=6 * u, texture=0.0
    )
    centre = porion + film.rng.normal((22, 104), (10, 12)) * u
    for shift, depth in ((np.zeros(2), 0.40), (film.rng.normal(0, 12, 2) * u, 0.22)):
        angle = np.linspace(0, 2 * np.pi, 60)
        ring = centre + shift + np.stack([np.cos(angle), np.sin(angle)], axis=1) * 74 * u
        film.add_tube(ring, 8 * u, medulla=depth, texture=0.0)


def _circle(centre: Points, radius: float) -> Points:
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    return np.asarray(centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))


def _nose_rest(film: Radiograph, head: PosedHead) -> None:
    """Add the forehead rest with its rod and millimetre ruler in front of nasion."""
    u, (x, y) = head.unit, head.points[1]
    x = min(x + 200 * u, film.width - 90 * u)

    def box(left: float, top: float, right: float, bottom: float, depth: float) -> None:
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        film.add_polygon(np.array([(x + a * u, y + b * u) for a, b in corners]), depth, soft=1.5 * u)

    box(-150, 20, 60, 85, 0.16)
    box(-10, -120, 75, 85, 0.16)
    box(18, -1200, 46, 20, 0.30)
    for left in (-40, 84):
        box(left, -1200, left + 18, -480, 0.30)
    box(-40, -490, 102, -470, 0.30)
    box(20, -180, 34, 40, 1.0)
    for tick in range(11):
        box(34, -180 + 20 * tick, 48, -172 + 20 * tick, 1.0)
