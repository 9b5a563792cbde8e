"""Procedural radiographs of the left hand with the 37 landmarks of the Digital Hand Atlas, and their on-disk layout.

The landmark order follows `all.csv` of Payer et al.:
0-2 ulna (metaphysis outside, styloid, metaphysis inside), 3-5 radius (metaphysis inside, outside, styloid), 6-12
proximal poles of triquetrum, lunate, scaphoid, hamate, capitate, trapezoid and trapezium, 13-17 bases of metacarpals V
to I, then per ray from the joint at the proximal phalanx to the tip: 18-20 thumb, 21-24 index, 25-28 middle, 29-32
ring, 33-36 little. The order was read off the labelled films.

The mean configuration and the spread of each joint were measured on the published labels; every outline is drawn here.
Anatomy is laid out in *wrist units* (distance of landmarks 0 and 4), then posed and scaled onto the film.
"""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import SimpleITK
from jaxtyping import UInt8

from datamodules.phantom.hand import outlines as template
from datamodules.phantom.rendering import Map, PhantomFilm, Points, Radiograph, blur, ellipse, mark, rotation, spline

_WRIST_MM = 50.0  # Payer's rule: landmarks 1 and 5 are 50 mm apart; the published files carry it as their spacing
_FIRST_CASE = 3142


class _Ray(NamedTuple):
    """One finger: its landmarks, half widths of its bones (metacarpal first), and how it moves."""

    base: int
    joints: tuple[int, ...]
    widths: tuple[float, ...]
    flesh: float
    spread: float
    wobble: float


_RAYS = (
    _Ray(17, (18, 19, 20), (0.145, 0.125, 0.105), 0.215, 8.0, 6.5),
    _Ray(16, (21, 22, 23, 24), (0.140, 0.140, 0.112, 0.090), 0.200, 4.0, 2.0),
    _Ray(15, (25, 26, 27, 28), (0.140, 0.145, 0.118, 0.095), 0.205, 0.5, 1.5),
    _Ray(14, (29, 30, 31, 32), (0.120, 0.132, 0.108, 0.090), 0.190, -3.5, 2.0),
    _Ray(13, (33, 34, 35, 36), (0.125, 0.115, 0.092, 0.078), 0.168, -6.5, 3.0),
)


class _Hand(NamedTuple):
    """A posed hand: landmarks in film pixels, pixels per wrist unit, age (0 child, 1 adult), bone and flesh width."""

    points: Points
    unit: float
    maturity: float
    stout: float
    flesh: float


# --- pose -------------------------------------------------------------------------------------------------------------


def _sample_points(rng: np.random.Generator) -> Points:
    """Landmarks in wrist units: a shifted wrist, every ray turned and stretched joint by joint, the whole turned."""
    points = template.MEAN.copy()
    points[:6] += rng.normal(0, (0.03, 0.05), 2) + rng.normal(0, 0.018, (6, 2))
    points[6:18] += rng.normal(0, 0.022, (12, 2))
    opening = rng.normal()
    for ray in _RAYS:
        chain = list(ray.joints)
        offset = rng.normal(0, (0.03, 0.03), 2)
        turn = ray.spread * opening + rng.normal(0, ray.wobble)
        here = points[chain[0]] + offset
        steps = np.diff(template.MEAN[chain], axis=0) * rng.normal(1.0, 0.04, (len(chain) - 1, 1))
        points[chain[0]] = here
        for joint, step in zip(chain[1:], steps, strict=True):
            here = here + rotation(turn) @ step
            points[joint] = here
            turn += rng.normal(0, ray.wobble)
    return np.asarray(points @ rotation(rng.normal(0, 5.0)).T)


def _frame(rng: np.random.Generator, height: int) -> tuple[_Hand, int]:
    """Choose age, pose and margins; the film is as wide as this hand needs, as the clinic's crops are."""
    points = _sample_points(rng)
    top, bottom = rng.uniform(0.045, 0.09), rng.uniform(0.86, 0.97)
    low, high = points.min(axis=0), points.max(axis=0)
    unit = float((bottom - top) * height / (high[1] - low[1]))
    left, right = rng.uniform(0.2, 0.45, 2) * unit
    width = round((high[0] - low[0]) * unit + left + right)
    moved = (points - low) * unit + (left, top * height)
    hand = _Hand(moved, unit, float(rng.uniform(0.3, 1.15)), float(rng.normal(1.06, 0.06)), float(rng.normal(1, 0.08)))
    return hand, width


# --- soft tissue ------------------------------------------------------------------------------------------------------


def _palm(hand: _Hand) -> Points:
    """Outline of palm, wrist and forearm from the wrist's and the knuckles' landmarks."""
    p, u = hand.points, hand.unit
    down = (p[[0, 4]].mean(axis=0) - p[15]) / np.linalg.norm(p[[0, 4]].mean(axis=0) - p[15])
    side = np.array([-down[1], down[0]])  # towards the little finger
    pad = 0.24 * u * hand.flesh
    right, left = p[4] - side * pad, p[0] + side * pad
    knots = [
        *(
            left + down * 3 * u,
            left + down * 0.7 * u,
            left,
            p[13] + side * 0.33 * u,
            0.5 * (p[13] + p[33]) + side * 0.25 * u,
        ),
        *(p[33] + side * 0.17 * u, p[29] - down * 0.45 * u, p[25] - down * 0.5 * u, p[21] - down * 0.42 * u),
        *(
            p[21] - side * 0.21 * u,
            0.5 * (p[21] + p[16]) - side * 0.36 * u,
            0.55 * p[17] + 0.45 * p[18] - side * 0.06 * u,
        ),
        *(p[17] - side * 0.24 * u, right - down * 0.3 * u, right, right + down * 0.7 * u, right + down * 3 * u),
    ]
    return np.array(knots)


def _flesh_mask(hand: _Hand, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
    """Union of palm and fingers as a uint8 mask with rounded webs."""
    mask = np.zeros((height, width), dtype=np.uint8)
    cv2.fillPoly(mask, [np.round(spline(_palm(hand), 120)).astype(np.int32)], 1)
    for ray in _RAYS:
        chain = hand.points[[ray.base, *ray.joints]]
        tip = chain[-1] + (chain[-1] - chain[-2]) * 0.04
        centres = spline(np.vstack([chain[:-1], tip]), 60)[10:]
        radii = np.interp(np.linspace(0, 1, len(centres)), [0, 0.35, 0.7, 1], [1.3, 1.1, 0.95, 0.78])
        for centre, radius in zip(centres, radii * ray.flesh * hand.flesh * hand.unit, strict=True):
            at = np.round(centre * 16).astype(int)
            cv2.circle(mask, (int(at[0]), int(at[1])), int(radius * 16), 1, -1, 8, 4)
    web = max(3, round(0.1 * hand.unit)) | 1
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (web, web))))


def _flesh(hand: _Hand, film: Radiograph, depth: float) -> Map:
    """Optical depth of skin and muscle: fingers are round rods, the palm is thicker in the middle."""
    mask = _flesh_mask(hand, film.height, film.width)
    # Padding with the mask's own border keeps tissue that leaves the film thick there.
    pad = round(0.6 * hand.unit)
    padded = cv2.copyMakeBorder(mask, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[pad:-pad, pad:-pad] / np.float32(hand.unit)
    rod = np.sqrt(1 - (1 - np.minimum(distance / 0.2, 1)) ** 2)
    palm = np.sqrt(1 - (1 - np.minimum(distance / 0.75, 1)) ** 2)
    return blur((depth * (0.62 * rod + 0.55 * palm)).astype(np.float32), 0.6 * film.unit)


# --- bones ------------------------------------------------------------------------------------------------------------


def _draw(film: Radiograph, hand: _Hand, outline: Points, *, strength: float = 1.0, rim: float = 0.038) -> None:
    """Add one bone; children's bones hold less mineral."""
    mineral = strength * (0.72 + 0.28 * min(hand.maturity, 1.0))
    film.add_bone(
        outline,
        cortex=0.22 * mineral,
        medulla=0.27 * mineral,
        rim=rim * hand.unit,
        texture=0.09,
        soft=0.5 * film.unit,
    )


def _long_bone(profile: list[tuple[float, float]], start: Points, end: Points, half_width: float) -> Points:
    """Closed outline of a long bone from `start` to `end` with the given half outline, mirrored on its axis."""
    half = np.array(profile, dtype=np.float64)
    along = end - start
    across = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6) * half_width
    full = np.concatenate([half, half[-2:0:-1] * (1, -1)])
    return spline(start + full[:, :1] * along + full[:, 1:] * across, 56, closed=True)


def _grown_bone(
    film: Radiograph,
    hand: _Hand,
    profile: list[tuple[float, float]],
    ends: tuple[Points, Points],
    width: float,
    *,
    head: bool,
) -> None:
    """Draw a long bone; while it grows, its epiphysis at the head or the base stands apart from the shaft."""
    start, end = ends
    half_width = width * hand.unit * hand.stout
    if hand.maturity > 0.85:
        _draw(film, hand, _long_bone(profile, start, end, half_width))
        return
    towards = (end - start) / np.linalg.norm(end - start)
    thick = (0.22 if head else 0.075) * hand.unit * (0.75 + 0.3 * hand.maturity)
    gap = max(0.032 * (0.85 - hand.maturity), 0.008) * hand.unit
    centre = end - towards * thick / 2 if head else start + towards * thick / 2
    cap_width = half_width * min(0.75 + 0.4 * hand.maturity, 1.0)
    angle = float(np.degrees(np.arctan2(towards[1], towards[0])))
    _draw(film, hand, ellipse(centre, (thick / 2, cap_width), degrees=angle, power=3.2 if head else 2.8), strength=1.05)
    cut = towards * (thick + gap)
    shaft_start, shaft_end = (start, end - cut) if head else (start + cut, end)
    _draw(film, hand, _long_bone(template.HEADLESS if head else profile, shaft_start, shaft_end, half_width))


def _rays(film: Radiograph, hand: _Hand) -> None:
    """Draw metacarpals and phalanges; a joint's landmark lies in the middle of its gap, a knuckle's on the phalanx."""
    for ray in _RAYS:
        joints = hand.points[list(ray.joints)]
        base, thumb = hand.points[ray.base], ray.base == 17
        along = (joints[0] - base) / np.linalg.norm(joints[0] - base)
        gap = 0.055 * hand.unit * (1.2 - 0.45 * min(hand.maturity, 1.0))
        _grown_bone(film, hand, template.METACARPAL, (base, joints[0] - along * gap), ray.widths[0], head=not thumb)
        for i in range(len(joints) - 1):
            step = (joints[i + 1] - joints[i]) / np.linalg.norm(joints[i + 1] - joints[i])
            last = i == len(joints) - 2
            start = joints[i] + step * (0 if i == 0 else gap * 0.5)
            end = joints[i + 1] - step * (0 if last else gap * 0.5)
            _grown_bone(
                film, hand, template.TIP if last else template.PHALANX, (start, end), ray.widths[i + 1], head=False
            )


def _affine(outline: list[tuple[float, float]], owners: list[int], hand: _Hand) -> Points:
    """Carry an outline of the mean hand to this one by the affine map that is exact at three landmarks."""
    source = np.hstack([template.MEAN[owners], np.ones((3, 1))])
    matrix = np.linalg.solve(source, hand.points[owners])
    knots = np.asarray(outline, dtype=np.float64)
    return spline(np.hstack([knots, np.ones((len(knots), 1))]) @ matrix, 90, closed=True)


def _forearm(film: Radiograph, hand: _Hand) -> None:
    """Draw radius and ulna: shaft, and epiphysis that fuses with age."""
    fused = hand.maturity > 0.9
    for cap, shaft, owners in (
        (template.RADIUS_CAP, template.RADIUS_SHAFT, [3, 4, 5]),
        (template.ULNA_CAP, template.ULNA_SHAFT, [0, 2, 1]),
    ):
        _draw(film, hand, _affine(shaft, owners, hand), strength=1.35, rim=0.045)
        outline = _affine(cap, owners, hand)
        anchor, growth = hand.points[owners[2]], 0.78 + 0.24 * min(hand.maturity, 1.0)
        grown = outline if fused else anchor + (outline - anchor) * min(growth, 1.0)
        _draw(film, hand, grown, strength=1.3 if fused else 1.05)


def _carpals(film: Radiograph, hand: _Hand, rng: np.random.Generator) -> None:
    """Draw the carpal bones; in children they are smaller, and grow away from the pole that carries the landmark."""
    wrist = hand.points[4] - hand.points[0]
    turn = float(np.degrees(np.arctan2(wrist[1], wrist[0])))
    size = hand.unit * min(0.68 + 0.45 * hand.maturity, 1.02)
    for landmark, outline in template.CARPALS.items():
        shape = np.asarray(outline) * rng.normal(1, 0.04, 2) @ rotation(turn + rng.normal(0, 3)).T
        _draw(film, hand, hand.points[landmark] + spline(shape, 48, closed=True) * size, strength=1.05, rim=0.025)
    if hand.maturity > 0.4:
        pisiform = hand.points[6] + np.array([0.02, -0.17]) * hand.unit
        _draw(film, hand, ellipse(pisiform, (0.075 * hand.unit, 0.09 * hand.unit)), strength=0.6)
        hook = hand.points[9] + np.array([-0.07, -0.27]) * hand.unit
        film.add_bone(
            ellipse(hook, (0.055 * hand.unit, 0.075 * hand.unit)), cortex=0.16, medulla=0.0, rim=1.2 * film.unit
        )
        sesamoid = hand.points[18] + np.array([-0.22, -0.02]) * hand.unit
        _draw(film, hand, ellipse(sesamoid, (0.05 * hand.unit, 0.04 * hand.unit)), strength=0.55)


# --- film -------------------------------------------------------------------------------------------------------------


def hand_film(seed: int, height: int = 512) -> PhantomFilm:
    """Radiograph of a left hand, palm down, with 37 exact landmarks.

    Age (stoutness, ossification, growth plates), finger spread, rotation, scale, exposure and film borders vary. The
    film's width follows the hand, as the crops of the atlas do (about .6 to .85 of the height).

    Args:
        seed: any non-negative integer; the same seed gives the same film.
        height: film height in pixels.

    Returns:
        The film; `points` has shape (37, 2), (x, y) film pixels, order of `all.csv`.
    """
    rng = np.random.default_rng([37, seed])
    hand, width = _frame(rng, height)
    film = Radiograph(height, width, rng)
    film.add_field(_flesh(hand, film, float(rng.uniform(0.45, 0.85))))
    film.add_field(film.depth * 0.02 * film.trabeculae)
    _carpals(film, hand, rng)
    _forearm(film, hand)
    _rays(film, hand)
    film.add_gradient(float(rng.normal(0, 0.06)), float(rng.normal(0, 0.06)))
    return PhantomFilm(_expose(film, hand, rng), hand.points, inverted=False)


def _expose(film: Radiograph, hand: _Hand, rng: np.random.Generator) -> np.ndarray:
    """Develop with one of the atlas' looks (grey or black ground), then add what lies on its films."""
    wedge = rng.random() < 0.35
    if wedge:
        _add_wedge(film, hand, rng)
    image = film.develop(
        photons=float(rng.uniform(1500, 9000)),
        scatter=float(rng.uniform(0.1, 0.35)),
        unsharpness=float(rng.uniform(0.35, 0.75)),
        window=(0.5, 99.7),
        gamma=float(rng.uniform(0.75, 1.25)),
        black=float(rng.choice([0.02, rng.uniform(0.05, 0.35)])),
        white=float(rng.uniform(0.85, 0.98)),
        enhance=float(rng.choice([0.0, 0.4])),
    )
    if not wedge and rng.random() < 0.7:
        image = _cover_label(image, hand, rng)
    if rng.random() < 0.3:
        image[: round(rng.uniform(1, 3) * film.unit)] = 225
    return image


def _free_corner(hand: _Hand, shape: tuple[int, int], rng: np.random.Generator) -> tuple[float, float]:
    """A point beside the forearm, on the thumb's side mostly, where technicians put labels."""
    height, width = shape
    right = hand.points[4, 0] + 0.55 * hand.unit
    x = (
        rng.uniform(right, max(right + 1, width - 0.25 * hand.unit))
        if rng.random() < 0.75
        else rng.uniform(0, 0.05) * width
    )
    return float(x), float(height * rng.uniform(0.78, 0.88))


def _add_wedge(film: Radiograph, hand: _Hand, rng: np.random.Generator) -> None:
    """Lay a calibration step wedge of metal beside the wrist."""
    x, y = _free_corner(hand, (film.height, film.width), rng)
    for step, depth in enumerate(np.linspace(0.25, 1.6, 9)):
        top = y + step * 0.06 * hand.unit
        box = [(x, top), (x + 0.14 * hand.unit, top), (x + 0.14 * hand.unit, top + 0.062 * hand.unit)]
        film.add_polygon(np.array([*box, (x, top + 0.062 * hand.unit)]), float(depth))


def _cover_label(image: np.ndarray, hand: _Hand, rng: np.random.Generator) -> np.ndarray:
    """Black out a patient label with its lighter frame, or stamp a date, in a corner of the film."""
    height, width = image.shape
    if rng.random() < 0.4:
        position = _free_corner(hand, (height, width), rng)
        text = f"{rng.integers(1, 29):02d} {rng.choice(['JAN', 'MAY', 'OCT'])}"
        return mark(image, text, position, size=height / 45, grey=int(rng.integers(150, 240)))
    tall, wide = (round(float(v) * height) for v in rng.uniform((0.06, 0.06), (0.14, 0.18)))
    x = 0 if rng.random() < 0.3 else width - wide
    y = 0 if rng.random() < 0.5 else height - tall
    ground = int(np.median(image[y : y + tall, x : x + wide]))
    if (np.abs(hand.points - (x + wide / 2, y + tall / 2)) < (wide / 2 + 9, tall / 2 + 9)).all(axis=1).any():
        return image
    image[y : y + tall, x : x + wide] = min(255, ground + 12)
    edge = max(2, height // 100)
    image[y + edge : y + tall - edge, x + edge : x + wide - edge] = 3
    return image


# --- files ------------------------------------------------------------------------------------------------------------


def write_hand(root: Path, films: int, seed: int = 0, height: int = 512) -> None:
    """Write phantoms in the layout of the Digital Hand Atlas as published by Payer et al.

    `images/NNNN.mha` (uint8, third dimension 1, spacing so that landmarks 1 and 5 are 50 mm apart, as in the originals;
    the first film is a `.jpg`, as one original is), `all.csv` (id and 37 x,y pairs in film pixels, here with two
    decimals where the originals have integers, no header) and `cv/set{1,2,3}/{train,test}.txt`, one id a line.

    Args:
        root: dataset directory; created where absent.
        films: number of films, at least 3.
        seed: first film seed; film i has seed `seed + i`.
        height: film height in pixels.

    Raises:
        ValueError: with fewer than 3 films, which cannot fill three folds.
    """
    if films < 3:
        raise ValueError(f"write_hand needs at least 3 films for its 3 folds, got {films}; ask for more films.")
    (root / "images").mkdir(parents=True, exist_ok=True)
    cases = [f"{_FIRST_CASE + i}" for i in range(films)]
    rows = []
    for i, case in enumerate(cases):
        film = hand_film(seed + i, height)
        _write_image(root / "images" / f"{case}{'.jpg' if i == 0 else '.mha'}", film)
        rows.append(",".join([case, *(f"{value:.2f}" for value in film.points.ravel())]))
    (root / "all.csv").write_text("\n".join(rows))
    _write_folds(root / "cv", cases)


def _write_image(path: Path, film: PhantomFilm) -> None:
    if path.suffix == ".jpg":
        cv2.imwrite(str(path), film.image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        return
    image = SimpleITK.GetImageFromArray(film.image[None])
    image.SetSpacing([_WRIST_MM / float(np.linalg.norm(film.points[1] - film.points[5]))] * 3)
    SimpleITK.WriteImage(image, str(path))


def _write_folds(root: Path, cases: list[str]) -> None:
    for fold in range(3):
        folder = root / f"set{fold + 1}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "test.txt").write_text("\n".join(cases[fold::3]))
        train = [case for i, case in enumerate(cases) if i % 3 != fold]
        (folder / "train.txt").write_text("\n".join(train))
