"""Reading films: jpg, png, bmp, tif, mha, nh2 and DICOM, 1 to 16 bit, grey, palette or colour, all to 8-bit grey.

White is high whatever the file's header says. An EXIF orientation is followed where the labels are on the turned
picture, else ignored. Colour becomes luminance (ITU-R 601); an alpha channel is ignored. Films of more than 8 bits are
windowed, see `to_uint8`, DICOM by its own window.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from datamodules.components.errors import DataError
from datamodules.components.images.decoded import DAMAGED, Decoded, UnreadableError, scale, to_uint8
from datamodules.components.images.dicom import DICOM_SUFFIXES, dicom_size, is_dicom
from datamodules.components.images.dicom_film import read_dicom
from datamodules.components.images.mha import mha_size, read_mha
from datamodules.components.images.nh2 import nh2_size, read_nh2
from datamodules.components.images.pictures import picture_size, read_picture

__all__ = ["FILM_SUFFIXES", "decode_film", "film_size", "film_sizes", "find_film", "read_film", "to_uint8"]

FILM_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".mha", ".nh2", *DICOM_SUFFIXES)


def film_size(path: Path, *, exif: bool = True) -> tuple[int, int]:
    """Return a film's (height, width) in pixels from its header, without decoding it.

    Args:
        path: The film.
        exif: Whether it is turned as its EXIF orientation says, as every viewer shows it.

    Raises:
        DataError: The file is not an image, holds several films, or claims more pixels than any film has.
    """
    with _as_data_error(path):
        suffix = path.suffix.lower()
        if suffix == ".nh2":
            return nh2_size(path)
        if _is_dicom(path):
            return dicom_size(path)
        return mha_size(path) if suffix == ".mha" else picture_size(path, exif=exif)


class FilmSizes(NamedTuple):
    """What a look at the headers of a dataset's films found.

    Attributes:
        sizes: (height, width) of every film that is there and has a readable header, by case.
        missing: The films that are not there, relative to the dataset's root.
        unreadable: One sentence per film whose header is broken.
    """

    sizes: dict[str, tuple[int, int]]
    missing: tuple[str, ...]
    unreadable: tuple[str, ...]


def film_sizes(root: Path, films: Mapping[str, Path]) -> FilmSizes:
    """Look for every film of `films` (case to file) and read its size as it is stored, without its EXIF orientation."""
    found = FilmSizes({}, tuple(str(path.relative_to(root)) for path in films.values() if not path.is_file()), ())
    broken = []
    for case, path in films.items():
        try:
            if path.is_file():
                found.sizes[case] = film_size(path, exif=False)
        except DataError as error:
            broken.append(str(error))
    return found._replace(unreadable=tuple(broken))


def find_film(folder: Path, stem: str, default: str = ".jpg") -> Path:
    """Return the film `stem` of `folder`, whatever its format; with the `default` suffix where there is none."""
    suffixes = (spelt for suffix in FILM_SUFFIXES for spelt in (suffix, suffix.upper()))
    candidates = (folder / f"{stem}{suffix}" for suffix in suffixes)
    return next((path for path in candidates if path.is_file()), folder / f"{stem}{default}")


def read_film(path: Path, *, exif: bool = True) -> UInt8[np.ndarray, "height width"]:
    """Decode a film completely into 8-bit grey, rows top to bottom; see `decode_film`."""
    return decode_film(path, exif=exif).pixels


def decode_film(path: Path, *, exif: bool = True) -> Decoded:
    """Decode a film completely, and tell what had to be put right.

    Args:
        path: The film.
        exif: Turn it as its EXIF orientation says, as every viewer does; a TIFF's own orientation is always followed.

    Raises:
        DataError: The file is not an image, is damaged or cut short, holds several films, or claims more pixels than
            any film has.
    """
    with _as_data_error(path):
        suffix = path.suffix.lower()
        if suffix == ".nh2":
            return scale(read_nh2(path))
        if _is_dicom(path):
            return read_dicom(path)
        return scale(read_mha(path)) if suffix == ".mha" else read_picture(path, exif=exif)


def _is_dicom(path: Path) -> bool:
    """Archives often give DICOM files no suffix, or a number as one."""
    return path.suffix.lower() not in FILM_SUFFIXES[: -len(DICOM_SUFFIXES)] and is_dicom(path)


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a film into one sentence with its path, the reason and the cure."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # decoders raise all kinds on damaged files
        raise DataError(
            f"{path} cannot be read as a film ({_reason(path, error)}); mend or restore the file."
        ) from error


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnreadableError):
        return str(error)
    if not path.exists():
        return "it does not exist"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return "it does not fit into memory" if isinstance(error, MemoryError) else DAMAGED
