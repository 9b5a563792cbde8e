"""Thumbnails of the films that a site shows: found by the datasets' adapters, kept in the store."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from jaxtyping import Float

from benchmark.store import CARDS, write_atomically

if TYPE_CHECKING:
    from datamodules.base import Case, LandmarkDataModule

GALLERY: Final = "gallery"
PIXELS: Final = 240**2
"""Area of a thumbnail."""
QUALITY: Final = 55
"""Of the JPEG files."""
TOLERANCE: Final = 0.05
"""Pixels by which a stored truth may differ from the dataset's label."""

logger = logging.getLogger(__name__)


class FilmRequest(NamedTuple):
    """A film that is asked for.

    Attributes:
        case: Its id.
        truth: Its true points in original pixels, by which it is recognised; NaN where missing.
        size: (height, width) in pixels.
    """

    case: str
    truth: Float[np.ndarray, "landmark 2"]
    size: tuple[int, int]


class DatasetRequest(NamedTuple):
    """The dataset whose films are asked for.

    Attributes:
        name: Its name.
        protocol: Name of the protocol, whose truth the films' points are.
        content: Fingerprint of films and labels.
        phantom: Whether they were drawn.
    """

    name: str
    protocol: str
    content: str
    phantom: bool


@dataclass(frozen=True)
class Thumbnails:
    """Gives thumbnails of films that may be shown.

    Phantoms show no patient and are always given. Films of people are given only where somebody names the folder that
    holds them, and those of a private set never.

    Args:
        store: The run store; thumbnails are kept in its `gallery`.
        data_root: Folder with the datasets' folders; None gives phantoms only.
    """

    store: Path
    data_root: Path | None = None

    def __call__(self, dataset: DatasetRequest, films: Sequence[FilmRequest]) -> Mapping[str, Path]:
        """Return the JPEG files of those films that may be shown and are there, by case.

        Args:
            dataset: Their dataset.
            films: What is asked for.
        """
        if self.data_root is None and not dataset.phantom:
            return {}
        paths = {film.case: self._path(dataset, film.case) for film in films}
        lacking = [film for film in films if not paths[film.case].is_file()]
        if lacking:  # what lies there was drawn here before, so it may be shown
            self._draw(dataset, lacking)
        return {case: path for case, path in paths.items() if path.is_file()}

    def _dataset(self, name: str) -> type[LandmarkDataModule] | None:
        from datamodules import DatasetRegistry

        return DatasetRegistry(descriptions=self.store / CARDS).get(name)

    def _path(self, dataset: DatasetRequest, case: str) -> Path:
        name = hashlib.sha256(case.encode()).hexdigest()[:16]
        return self.store / GALLERY / dataset.name / dataset.content / f"{name}.jpg"

    def _draw(self, dataset: DatasetRequest, films: Sequence[FilmRequest]) -> None:
        from datamodules.base import DataError

        dataset_class = self._dataset(dataset.name)
        if dataset_class is None or dataset_class.private:
            return
        try:
            folder, cases = self._cases(dataset_class, dataset)
        except DataError as error:
            logger.warning("no film of %s is shown: %s", dataset.name, error)
            return
        strangers = [film.case for film in films if film.case not in cases or not is_same(cases[film.case], film)]
        if strangers:
            logger.warning("%s lacks films that were tested, with their labels: %s", folder, ", ".join(strangers))
        for film in films:
            if film.case not in strangers:
                try:
                    write_thumbnail(cases[film.case], self._path(dataset, film.case))
                except DataError as error:
                    logger.warning("a film of %s is not shown: %s", dataset.name, error)

    def _cases(
        self, dataset_class: type[LandmarkDataModule], dataset: DatasetRequest
    ) -> tuple[Path, Mapping[str, Case]]:
        folder = self._folder(dataset_class, dataset)
        return folder, dataset_class(folder, dataset.protocol, allow_missing=True).scan().cases

    def _folder(self, dataset_class: type[LandmarkDataModule], dataset: DatasetRequest) -> Path:
        """Find the films: drawn ones in the data root, or beside the store, where `run` writes both by default."""
        from benchmark import dataset_folders as data
        from datamodules.base import PHANTOM_MARK

        if self.data_root is not None:
            given = [self.data_root / name for name in (dataset.name, *dataset_class.folders)]
            if not dataset.phantom or any((folder / PHANTOM_MARK).is_file() for folder in given):
                return data.locate(dataset.name, dataset_class, self.data_root)
        return data.locate(dataset.name, dataset_class, self.store.absolute().parent / data.PHANTOMS)


def is_same(case: Case, film: FilmRequest) -> bool:
    """Tell whether a case of a folder is the one that was tested: its size and labels agree."""
    if case.size != film.size or case.points.shape != film.truth.shape:
        return False
    known = np.isfinite(film.truth)
    return bool(np.abs(case.points - film.truth)[known].max(initial=0) <= TOLERANCE)


def thumbnail_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a film's thumbnail: all have about the same area, none is enlarged.

    Example:
        >>> thumbnail_size((2000, 1000))
        (339, 170)
    """
    scale = min(1.0, math.sqrt(PIXELS / (size[0] * size[1])))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def write_thumbnail(case: Case, path: Path) -> None:
    """Write a film's thumbnail, a grey JPEG without metadata.

    Raises:
        DataError: The film cannot be decoded.
    """
    import cv2

    from datamodules.components.images.image_io import read_film

    image = read_film(case.film, exif=case.exif)
    height, width = thumbnail_size((image.shape[0], image.shape[1]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1]
    write_atomically(path, lambda file: file.write_bytes(coded.tobytes()))
