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


class Film(NamedTuple):
    """A film that is asked for.

    Attributes:
        case: Its id.
        truth: Its true points in original pixels, by which it is recognised; NaN where missing.
        size: (height, width) in pixels.
    """

    case: str
    truth: Float[np.ndarray, "landmark 2"]
    size: tuple[int, int]


class Place(NamedTuple):
    """The dataset whose films are asked for.

    Attributes:
        dataset: Its name.
        protocol: Name of the protocol, whose truth the films' points are.
        content: Fingerprint of films and labels.
        phantom: Whether they were drawn.
    """

    dataset: str
    protocol: str
    content: str
    phantom: bool


@dataclass(frozen=True)
class Gallery:
    """Gives thumbnails of films that may be shown.

    Phantoms show no patient and are always given. Films of people are given only where somebody names the folder that
    holds them, and those of a private set never.

    Args:
        store: The run store; thumbnails are kept in its `gallery`.
        data_root: Folder with the datasets' folders; None gives phantoms only.
    """

    store: Path
    data_root: Path | None = None

    def __call__(self, place: Place, films: Sequence[Film]) -> Mapping[str, Path]:
        """Return the JPEG files of those films that may be shown and are there, by case.

        Args:
            place: Their dataset.
            films: What is asked for.
        """
        if self.data_root is None and not place.phantom:
            return {}
        paths = {film.case: self._path(place, film.case) for film in films}
        lacking = [film for film in films if not paths[film.case].is_file()]
        if lacking:  # what lies there was drawn here before, so it may be shown
            self._draw(place, lacking)
        return {case: path for case, path in paths.items() if path.is_file()}

    def _dataset(self, name: str) -> type[LandmarkDataModule] | None:
        import datamodules

        datamodules.recall_cards(self.store / CARDS)
        return datamodules.discover().get(name)

    def _path(self, place: Place, case: str) -> Path:
        name = hashlib.sha256(case.encode()).hexdigest()[:16]
        return self.store / GALLERY / place.dataset / place.content / f"{name}.jpg"

    def _draw(self, place: Place, films: Sequence[Film]) -> None:
        from datamodules.base import DataError

        kind = self._dataset(place.dataset)
        if kind is None or kind.private:
            return
        try:
            folder, cases = self._cases(kind, place)
        except DataError as error:
            logger.warning("no film of %s is shown: %s", place.dataset, error)
            return
        strangers = [film.case for film in films if film.case not in cases or not is_same(cases[film.case], film)]
        if strangers:
            logger.warning("%s lacks films that were tested, with their labels: %s", folder, ", ".join(strangers))
        for film in films:
            if film.case not in strangers:
                try:
                    write_thumbnail(cases[film.case].film, self._path(place, film.case))
                except DataError as error:
                    logger.warning("a film of %s is not shown: %s", place.dataset, error)

    def _cases(self, kind: type[LandmarkDataModule], place: Place) -> tuple[Path, Mapping[str, Case]]:
        folder = self._folder(kind, place)
        return folder, kind(folder, place.protocol, allow_missing=True).scan().cases

    def _folder(self, kind: type[LandmarkDataModule], place: Place) -> Path:
        """Find the films: drawn ones may lie in the data root, too, beside the place where `run` writes them."""
        from benchmark import dataset_folders as data
        from datamodules.base import PHANTOM_MARK

        if self.data_root is not None:
            given = [self.data_root / name for name in (place.dataset, *kind.folders)]
            if not place.phantom or any((folder / PHANTOM_MARK).is_file() for folder in given):
                return data.locate(place.dataset, kind, self.data_root)
        return data.locate(place.dataset, kind, data.PHANTOMS)


def is_same(case: Case, film: Film) -> bool:
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


def write_thumbnail(film: Path, path: Path) -> None:
    """Write a film's thumbnail, a grey JPEG without metadata.

    Raises:
        DataError: The film cannot be decoded.
    """
    import cv2

    from datamodules.components.images.image_io import read_film

    image = read_film(film)
    height, width = thumbnail_size((image.shape[0], image.shape[1]))
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])[1]
    write_atomically(path, lambda file: file.write_bytes(coded.tobytes()))
