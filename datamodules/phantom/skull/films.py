"""Procedural lateral cephalograms with the 19 landmarks of the ISBI 2015 challenge, and their on-disk layout.

Landmarks, in the official order: sella, nasion, orbitale, porion, subspinale (A), supramentale (B), pogonion, menton,
gnathion, gonion, lower incisal incision, upper incisal incision, upper lip, lower lip, subnasale, soft-tissue pogonion,
posterior nasal spine, anterior nasal spine, articulare.

A head is a template drawn around the mean landmark configuration (`skull_outlines`), carried to a sampled configuration
by a thin-plate spline that is exact at the landmarks. The mean, the first modes of variation and the pose were measured
on the published annotations; every outline is drawn here. Coordinates are pixels of the official 1935 x 2400 frame
(.1 mm) until a film is made.
"""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from scipy.interpolate import RBFInterpolator

from datamodules.phantom.rendering import PhantomFilm, Points, Radiograph, mark, rotation, smooth_noise
from datamodules.phantom.skull import outlines as template
from datamodules.phantom.skull.anatomy import LOWER_INCISOR, UPPER_INCISOR, PosedHead, draw_head

OFFICIAL_WIDTH, OFFICIAL_HEIGHT = 1935, 2400
_READER_SD = 10.0  # official px = 1 mm, per reader and axis


# --- pose -------------------------------------------------------------------------------------------------------------


def _sample_points(rng: np.random.Generator) -> Points:
    """Landmarks of one head in the official frame: modes of growth and skeletal class, then residue, then head pose."""
    weights = np.clip(rng.normal(size=len(template.MODES)), -2.2, 2.2)
    residue = np.clip(rng.normal(0, 10.0, (19, 2)), -20, 20)
    residue[6:9] = residue[7]  # pogonion, menton and gnathion share one small bone
    points = template.MEAN + np.tensordot(weights, template.MODES, 1) + residue
    pivot = points[3]  # the head turns in its ear rods
    scale, turn = np.clip(rng.normal(1, 0.065), 0.86, 1.14), np.clip(rng.normal(0, 4.8), -10, 10)
    points = (points - pivot) * scale @ rotation(turn).T + pivot + np.clip(rng.normal(0, 40, 2), -80, 80)
    points += np.maximum(60 - points.min(axis=0), 0)
    points -= np.maximum(points.max(axis=0) - (OFFICIAL_WIDTH - 60, OFFICIAL_HEIGHT - 60), 0)
    return np.asarray(points)


def _is_plausible(points: Points) -> bool:
    """Whether the order of parts is anatomical: menton lowest of all bone, pogonion in front of it, and so on."""
    x, y = points.T
    menton = y[7] >= max(y[[6, 8, 9, 5]]) and x[6] >= x[8] >= x[7] > x[9]
    return bool(menton and y[1] < y[17] < y[4] < y[5] < y[6] and x[16] < x[17] and x[3] < x[0] < x[1])


def _pose(rng: np.random.Generator, height: int) -> PosedHead:
    """Sample a plausible head and fit the warp that carries the template to it."""
    points = _sample_points(rng)
    while not _is_plausible(points):
        points = _sample_points(rng)
    fixed = [i for i in range(19) if i not in (LOWER_INCISOR, UPPER_INCISOR)]
    # Far parts follow the landmarks' best similarity with some freedom, so that the vault and the neck vary too.
    far = _follow(template.FAR, points) + rng.normal(0, 22, template.FAR.shape)
    scale = np.array([film_width(height) / OFFICIAL_WIDTH, height / OFFICIAL_HEIGHT])
    source, target = np.vstack([template.MEAN[fixed], template.FAR]), np.vstack([points[fixed], far])
    warp = RBFInterpolator(source, (target + 0.5) * scale - 0.5, kernel="thin_plate_spline")
    return PosedHead((points + 0.5) * scale - 0.5, warp, height / OFFICIAL_HEIGHT)


def _follow(shape: Points, points: Points) -> Points:
    """Carry a template shape by the similarity that best maps the mean landmarks to `points`."""
    source, target = template.MEAN - template.MEAN.mean(axis=0), points - points.mean(axis=0)
    left, stretch, right = np.linalg.svd(source.T @ target)
    scale = stretch.sum() / (source**2).sum()
    return np.asarray(scale * (shape - template.MEAN.mean(axis=0)) @ left @ right + points.mean(axis=0))


# --- film -------------------------------------------------------------------------------------------------------------


def _beam(film: Radiograph, head: PosedHead) -> None:
    """Add the aluminium wedge in front of the face, the cassette's bands and uneven soft tissue."""
    u, rng = head.unit, film.rng
    ramp = np.clip((np.arange(film.width) - rng.uniform(1250, 1650) * u) / (600 * u), 0, 1) ** 2
    film.add_field(np.broadcast_to((rng.uniform(0, 1.8) * ramp).astype(np.float32), film.depth.shape))
    bands = np.zeros(film.width, dtype=np.float32)
    bands[round(490 * u) : round(750 * u)] = rng.uniform(-0.02, 0.06)
    film.add_field(np.broadcast_to(cv2.GaussianBlur(bands[None], (0, 0), max(5 * u, 0.5)), film.depth.shape))
    clouds = smooth_noise(rng, film.height, film.width, 90 * u)
    film.add_field(0.035 * clouds * np.minimum(film.depth, 1))
    film.add_gradient(float(rng.normal(0, 0.1)), float(rng.normal(0, 0.05)))


def _cassette(image: UInt8[np.ndarray, "height width"], rng: np.random.Generator) -> UInt8[np.ndarray, "height width"]:
    """Add what the scanner shows around the film: a bright border, the holder's tabs, a film number."""
    height = len(image)
    u, white = height / OFFICIAL_HEIGHT, int(rng.integers(225, 256))
    image[: round(rng.uniform(8, 35) * u) + 1] = white
    image[:, : round(rng.uniform(4, 16) * u) + 1] = white
    shift = rng.normal(0, 12) * u
    for x in (470, 930, 1390):
        left, right = round(x * u + shift), round((x + 125) * u + shift)
        image[: round(98 * u), left:right] = white
        image[height - round(50 * u) :, left:right] = white
    return mark(image, f"PH{rng.integers(10**5, 10**6)}", (28 * u, 46 * u), size=max(34 * u, 6), grey=int(white * 0.25))


def film_width(height: int) -> int:
    """Width of a film of `height` pixels in the official aspect."""
    return round(height * OFFICIAL_WIDTH / OFFICIAL_HEIGHT)


def skull_film(seed: int, height: int = 512) -> PhantomFilm:
    """Lateral cephalogram, patient facing right, with 19 exact landmarks.

    Skeletal class, facial height, pose, scale, mineral, exposure, fillings and braces vary. Both sides of the head are
    drawn; the landmarks lie on the near, sharper one.

    Args:
        seed: any non-negative integer; the same seed gives the same film.
        height: film height in pixels; the width keeps the official aspect of 1935:2400.

    Returns:
        The film; `points` has shape (19, 2), (x, y) film pixels, official order.
    """
    rng = np.random.default_rng([19, seed])
    head = _pose(rng, height)
    film = Radiograph(height, film_width(height), rng)
    draw_head(film, head)
    _beam(film, head)
    image = film.develop(
        photons=float(rng.uniform(2000, 9000)),
        scatter=float(rng.uniform(0.08, 0.3)),
        unsharpness=float(rng.uniform(0.4, 0.8)),
        window=(float(rng.uniform(0.5, 3)), float(rng.choice([99.6, rng.uniform(94, 99.6)]))),
        gamma=float(rng.uniform(0.55, 1.25)),
        black=float(rng.uniform(0.03, 0.12)),
        white=float(rng.uniform(0.85, 1.0)),
    )
    return PhantomFilm(_cassette(image, rng), head.points, inverted=False)


# --- files ------------------------------------------------------------------------------------------------------------

_SETS = (("TrainingData", 1, 150), ("Test1Data", 151, 150), ("Test2Data", 301, 100))


def write_isbi(root: Path, train: int, test1: int, test2: int, seed: int = 0, height: int = 480) -> None:
    """Write phantoms in the layout of the ISBI 2015 challenge, with its numbering (001, 151, 301 ...).

    `RawImage/{TrainingData,Test1Data,Test2Data}/NNN.bmp` are 8-bit and `height` pixels high, smaller than the official
    1935 x 2400; `AnnotationsByMD/{400_senior,400_junior}/NNN.txt` give 19 lines `x,y`, integers in the official frame
    whatever the films' size. Each reader is the truth plus an independent normal error of 1 mm (10 official px) a
    coordinate, cut at 3 mm. As in the originals 8 lines of class labels follow the points; films with an even number
    lack them, as common copies do.

    Args:
        root: dataset directory; created where absent.
        train: number of training films, at most 150.
        test1: number of films of the first test set, at most 150.
        test2: number of films of the second test set, at most 100.
        seed: first film seed; film NNN has seed `seed + NNN`.
        height: film height in pixels.

    Raises:
        ValueError: with more films than a set has numbers for.
    """
    for (name, first, most), films in zip(_SETS, (train, test1, test2), strict=True):
        if not 0 <= films <= most:
            raise ValueError(f"{name} of ISBI 2015 has numbers for 0 to {most} films, got {films}; ask for fewer.")
        folder = root / "RawImage" / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(first, first + films):
            film = skull_film(seed + number, height)
            cv2.imwrite(str(folder / f"{number:03d}.bmp"), film.image)
            _write_readers(root / "AnnotationsByMD", number, film, np.random.default_rng([400, seed, number]))


def official_points(film: PhantomFilm) -> Points:
    """Landmarks of a film in the official 1935 x 2400 frame, shape (19, 2)."""
    height, width = film.image.shape
    return np.asarray((film.points + 0.5) * (OFFICIAL_WIDTH / width, OFFICIAL_HEIGHT / height) - 0.5)


def _write_readers(root: Path, number: int, film: PhantomFilm, rng: np.random.Generator) -> None:
    """Write both readers' files of one film."""
    truth = official_points(film)
    for reader in ("400_senior", "400_junior"):
        (root / reader).mkdir(parents=True, exist_ok=True)
        noise = np.clip(rng.normal(0, _READER_SD, truth.shape), -3 * _READER_SD, 3 * _READER_SD)
        points = np.round(truth + noise).astype(int)
        lines = [f"{x},{y}" for x, y in points]
        if number % 2:
            lines += [str(label) for label in class_labels(points.astype(np.float64))]
        (root / reader / f"{number:03d}.txt").write_text("\n".join(lines) + "\n")


def class_labels(points: Float[np.ndarray, "19 2"]) -> list[int]:
    """The challenge's eight diagnostic classes of one film, as the label files carry them after the points.

    ANB, SNB, SNA, ODI, APDI, facial height index, Frankfort-mandibular angle, modified Wits, each cut into classes 1
    (normal), 2, 3 (and 4) at the norms of the challenge report (Wang et al., 2016; taken second-hand). ODI and APDI add
    unsigned angles here.

    Args:
        points: landmarks in the official frame (.1 mm), shape (19, 2).
    """
    lines = {(i, j): points[j - 1] - points[i - 1] for i in range(1, 20) for j in range(1, 20)}

    def angle(one: tuple[int, int], other: tuple[int, int]) -> float:
        a, b = lines[one], lines[other]
        return float(np.degrees(np.arccos(np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1, 1))))

    snb, sna = angle((2, 1), (2, 6)), angle((2, 1), (2, 5))
    odi = angle((5, 6), (10, 8)) + angle((4, 3), (17, 18))
    apdi = angle((4, 3), (2, 7)) + angle((2, 7), (5, 6)) + angle((4, 3), (17, 18))
    height_index = float(np.linalg.norm(lines[1, 10]) / np.linalg.norm(lines[2, 8]))
    wits = (points[11, 0] - points[10, 0]) / 10
    return [
        _grade(sna - snb, 3.2, 5.7),
        _grade(snb, 74.6, 78.7),
        _grade(sna, 79.4, 83.2),
        _grade(odi, 68.4, 80.5),
        _grade(apdi, 77.6, 85.2),
        _grade(height_index, 0.65, 0.75),
        _grade(angle((4, 3), (10, 8)), 26.8, 31.4),
        1 if 2 <= wits <= 4.5 else 4 if wits > 4.5 else 2 if wits >= 0 else 3,
    ]


def _grade(value: float, low: float, high: float) -> int:
    """Class 1 within the norm, 2 above it, 3 below it."""
    return 1 if low <= value <= high else 2 if value > high else 3
