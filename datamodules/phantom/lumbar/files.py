"""Lumbar phantoms written as the public datasets are: BUU-LSPINE's folders LA and AP, NHANES II's nh2, tif8 and jpg."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt16

from datamodules.components.images.nh2 import DEEPEST, write_nh2
from datamodules.components.images.nh2 import LUMBAR as FRAME
from datamodules.components.labels.end_plates import write_end_plates
from datamodules.phantom.lumbar.anatomy import FIRST_LUMBAR, Condition
from datamodules.phantom.lumbar.ap import lumbar_ap_film
from datamodules.phantom.lumbar.films import lumbar_film
from datamodules.phantom.rendering import PhantomFilm

VIEWS = {"AP": 0, "LA": 1}
"""BUU-LSPINE's folders, and the last figure of their films' names."""
FILM_MM = 433.0
"""Height of an NHANES II film: 2487 pixels of 0.174 mm."""


def write_buu(root: Path, patients: int, seed: int = 0, views: Sequence[str] = ("LA", "AP"), height: int = 512) -> None:
    """Write phantom films as `LA/NNNN-S-AAAY1.jpg` and `AP/NNNN-S-AAAY0.jpg` with the csv of end plates beside each.

    A slipped vertebra has label 1 at its lower end plate.

    Args:
        root: folder to write into; made if absent.
        patients: number of patients, one film each per view.
        seed: seed of the whole set; LA and AP films of one patient show different spines.
        views: `LA`, `AP` or both.
        height: height of every film in pixels.
    """
    rng = np.random.default_rng(seed)
    names = list(_patients(patients, rng))
    for view in views:
        folder = root / view
        folder.mkdir(parents=True, exist_ok=True)
        seeds = np.random.SeedSequence([seed, VIEWS[view]]).generate_state(patients)
        for name, film_seed in zip(names, map(int, seeds), strict=True):
            stem = f"{name}{VIEWS[view]}"
            film, labels = _buu_film(view, film_seed, height)
            _write_jpg(folder / f"{stem}.jpg", film)
            write_end_plates(folder / f"{stem}.csv", film.points, labels)
        _write_parts(root, view)


def _write_parts(root: Path, view: str) -> None:
    """Copy a view's films to the folders of version 2's split: 70 % train, 6 % eval and the others test."""
    films = sorted((root / view).glob("*.jpg"))
    ends = round(0.7 * len(films)), round(0.76 * len(films))
    for part, copies in (("train", films[: ends[0]]), ("eval", films[ends[0] : ends[1]]), ("test", films[ends[1] :])):
        folder = root / f"BUU_LSPINE_V2_{view}" / part / "images"
        folder.mkdir(parents=True, exist_ok=True)
        for film in copies:
            shutil.copyfile(film, folder / film.name)


def write_nhanes2(root: Path, nh2: int, tif8: int, jpg: int, seed: int = 0, height: int = FRAME[0] // 4) -> None:
    """Write phantom films as `nh2/L00001.nh2`, `tif8/L...tif` and `jpg/L...jpg`, each in one format, and their points.

    An nh2 film always has the full 2048 x 2487 pixels, enlarged from a film of `height`; the others are copies of that
    height. Points are in pixels of the full film.

    Args:
        root: folder to write into; made if absent.
        nh2: number of raw films of 10 MB.
        tif8: number of 8-bit tif films.
        jpg: number of jpg films.
        seed: seed of the whole set.
        height: height in pixels at which films are drawn.
    """
    formats = ["nh2"] * nh2 + ["tif8"] * tif8 + ["jpg"] * jpg
    rng = np.random.default_rng(seed)
    rng.shuffle(formats)
    numbers = 1 + np.cumsum(rng.integers(1, 30, len(formats)))
    seeds = np.random.SeedSequence([seed, 2]).generate_state(len(formats))
    for folder in {*formats, "points"}:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for form, number, film_seed in zip(formats, numbers, map(int, seeds), strict=True):
        stem = f"L{number:05d}"
        film = lumbar_film(film_seed, height, round(height * FRAME[1] / FRAME[0]), span=FILM_MM).film
        scale = np.array(FRAME[::-1]) / film.image.shape[::-1]
        write_end_plates(root / "points" / f"{stem}.csv", (film.points + 0.5) * scale - 0.5)
        if form == "nh2":
            write_nh2(root / form / f"{stem}.nh2", _enlarge(film, film_seed))
        elif form == "tif8":
            cv2.imwrite(str(root / form / f"{stem}.tif"), film.image)
        else:
            _write_jpg(root / form / f"{stem}.jpg", film)


def _patients(count: int, rng: np.random.Generator) -> Iterator[str]:
    """Yield names up to the view's figure: number, sex, age; numbers have gaps as in the real set."""
    numbers = np.cumsum(rng.integers(1, 4, count))
    for number in numbers:
        age = int(np.clip(rng.normal(55, 17), 8, 96))
        yield f"{number:04d}-{rng.choice(['F', 'M'], p=[0.62, 0.38])}-{age:03d}Y"


def _buu_film(view: str, seed: int, height: int) -> tuple[PhantomFilm, tuple[str, ...]]:
    """Make a film and the label of each of its end plates."""
    if view == "LA":
        lateral = lumbar_film(seed, height)
        return lateral.film, _labels(lateral.condition)
    film = lumbar_ap_film(seed, height)
    return film, ("0",) * (len(film.points) // 2)


def _labels(condition: Condition) -> tuple[str, ...]:
    """Mark the lower end plate of every slipped vertebra."""
    slipped = condition.slip[FIRST_LUMBAR:] != 0
    plates = (("0", "1" if moved else "0") for moved in slipped)
    return (*(label for pair in plates for label in pair), "0")


def _write_jpg(path: Path, film: PhantomFilm) -> None:
    cv2.imwrite(str(path), film.image, [cv2.IMWRITE_JPEG_QUALITY, 92])


def _enlarge(film: PhantomFilm, seed: int) -> UInt16[np.ndarray, "2487 2048"]:
    """Turn a film into the 12 bits of the scanner at full size, with the scanner's noise."""
    grey = cv2.resize(film.image, FRAME[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noise = np.random.default_rng(seed).standard_normal(FRAME, dtype=np.float32)
    return np.asarray(np.clip(grey * (0.92 * DEEPEST / 255) + 80 + 12 * noise, 0, DEEPEST), np.uint16)
