"""Films that somebody names: found, read ahead of the network, and one that cannot be read is named and left out."""

from __future__ import annotations

import glob
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch.utils.data import IterableDataset

from datamodules.components.errors import DataError
from datamodules.components.images.dicom import dicom_spacing, is_dicom
from datamodules.components.images.image_io import FILM_SUFFIXES, read_film
from datamodules.components.samples import Sample
from datamodules.components.transforms import Box, InputSpec, compose_affines, resize, to_image_affine

READERS = 4
"""Threads that decode films; decoders work outside Python's lock."""
AHEAD = 32
"""Films that wait at most, decoded and fitted: more than a batch, so that readers work while a network does."""
UNKNOWN = (math.nan, math.nan)

Spacing = tuple[float, float]


def find_films(named: Sequence[Path]) -> list[Path]:
    """Return the films that files, folders and patterns name, each once, in order.

    A folder stands for all films in it and below, by name; a file need not have a film's suffix, since many DICOM
    files have none.

    Raises:
        FileNotFoundError: One of them names no film.
    """
    found: dict[Path, None] = {}
    for path in named:
        films = _films_of(path)
        if not films:
            kinds = ", ".join(FILM_SUFFIXES)
            raise FileNotFoundError(f"{path} names no film; give files, folders or patterns of {kinds} or DICOM files.")
        found.update(dict.fromkeys(films))
    return list(found)


def _films_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file() and _looks_like_film(file))
    return sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())


def _looks_like_film(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return not hidden and (path.suffix.lower() in FILM_SUFFIXES or (not path.suffix and is_dicom(path)))


@dataclass(frozen=True)
class Film:
    """What is known of a film beside its pixels.

    Attributes:
        path: The file.
        size: (height, width) in pixels.
        spacing: Millimetres per pixel in (x, y); NaN where unknown.
    """

    path: Path
    size: tuple[int, int]
    spacing: Spacing


@dataclass
class FilmStream(IterableDataset[Sample]):
    """Films as networks of one input want them, decoded ahead in threads, each once for all views and networks.

    Films that cannot be read are left out and kept apart.

    Args:
        paths: The films.
        spec: What the networks want.
        landmarks: How many they predict.
        spacing: Millimetres per pixel for films that do not say it.
        mirrored: The views that are yielded of each film, one behind the other: mirrored or as it is.
        exif: Turn films as their EXIF orientation says, as every viewer does.
        films: What is known of each film that was read, by its path.
        served: Those films in the order in which they were yielded.
        problems: One sentence per film that could not be read, by its path.
    """

    paths: Sequence[Path]
    spec: InputSpec
    landmarks: int
    spacing: Spacing = UNKNOWN
    mirrored: Sequence[bool] = (False,)
    exif: bool = True
    films: dict[Path, Film] = field(default_factory=dict)
    served: list[Path] = field(default_factory=list)
    problems: dict[Path, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the views of the films that can be read, in order."""
        waiting: deque[tuple[Path, Future[tuple[Film, list[Sample]]]]] = deque()
        with ThreadPoolExecutor(READERS) as pool:
            for path in self.paths:
                waiting.append((path, pool.submit(self._read, path)))
                if len(waiting) > AHEAD:
                    yield from self._next(waiting)
            while waiting:
                yield from self._next(waiting)

    def _next(self, waiting: deque[tuple[Path, Future[tuple[Film, list[Sample]]]]]) -> Iterator[Sample]:
        path, future = waiting.popleft()
        try:
            self.films[path], samples = future.result()
        except (DataError, OSError) as error:
            self.problems[path] = str(error)
        else:
            self.served.append(path)
            yield from samples

    def _read(self, path: Path) -> tuple[Film, list[Sample]]:
        pixels = read_film(path, exif=self.exif)
        height, width = pixels.shape
        film = Film(path, (height, width), _spacing(path, self.spacing))
        return film, to_samples(path.stem, pixels, film.spacing, self.spec, self.landmarks, self.mirrored)


def to_samples(
    name: str,
    pixels: UInt8[np.ndarray, "height width"],
    spacing: Spacing,
    spec: InputSpec,
    landmarks: int,
    mirrored: Sequence[bool] = (False,),
) -> list[Sample]:
    """Return views of a film without labels as a network wants it: the whole film, fitted into its input.

    Args:
        name: Of the case.
        pixels: The film.
        spacing: Millimetres per pixel in (x, y).
        spec: What the network wants.
        landmarks: How many it predicts; none of them is known.
        mirrored: Of each view, whether it is mirrored; `to_image` leads back to the film all the same.
    """
    height, width = pixels.shape
    box = Box(0, 0, width, height)
    image, to_image = resize(pixels, box, spec), to_image_affine(box, spec)
    turned = (
        np.ascontiguousarray(image[:, ::-1]),
        compose_affines(to_image, np.array([[-1.0, 0.0, image.shape[1] - 1.0], [0.0, 1.0, 0.0]])),
    )
    return [
        Sample(
            name,
            torch.from_numpy(seen)[None],
            torch.full((landmarks, 2), torch.nan),
            torch.zeros(landmarks, dtype=torch.bool),
            torch.tensor(spacing, dtype=torch.float32),
            torch.from_numpy(back).float(),
        )
        for seen, back in (turned if view else (image, to_image) for view in mirrored)
    ]


def _spacing(path: Path, stated: Spacing) -> Spacing:
    """Return a film's own spacing, else the stated one."""
    own = dicom_spacing(path) if is_dicom(path) else UNKNOWN
    return own if all(map(math.isfinite, own)) else stated
