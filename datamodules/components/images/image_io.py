"""Reading films: jpg, png, bmp, tif, mha, nh2 and DICOM, 1 to 16 bit, grey, palette or colour, all to 8-bit grey.

Labels are given on the pixels as they are stored, so an EXIF orientation is ignored. Colour becomes luminance (ITU-R
601); an alpha channel is ignored. Films of more than 8 bits are windowed, see `to_uint8`, DICOM by its own window.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813  # the library's own convention
from jaxtyping import Num, UInt8
from PIL import Image

from datamodules.components.errors import DataError
from datamodules.components.images.dicom import DICOM_SUFFIXES, dicom_size, is_dicom, read_dicom
from datamodules.components.images.nh2 import nh2_size, read_nh2

FILM_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".mha", ".nh2", *DICOM_SUFFIXES)
WINDOW_PERCENTILES = (0.5, 99.5)

_UNREADABLE = (OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error, Image.DecompressionBombError)


def film_size(path: Path) -> tuple[int, int]:
    """Return a film's (height, width) in pixels from its header, without decoding it.

    Raises:
        DataError: The file is not an image, or an mha of more than one slice.
    """
    try:
        if path.suffix.lower() == ".nh2":
            return nh2_size(path)
        if _is_dicom(path):
            return dicom_size(path)
        if path.suffix.lower() == ".mha":
            reader = sitk.ImageFileReader()
            reader.SetFileName(str(path))
            reader.ReadImageInformation()
            width, height, *depth = reader.GetSize()
            if any(size != 1 for size in depth):
                raise ValueError(f"it has {depth[0]} slices instead of one")
            return height, width
        with Image.open(path) as image:
            return image.height, image.width
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


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
    """Look for every film of `films` (case to file) and read its size."""
    found = FilmSizes({}, tuple(str(path.relative_to(root)) for path in films.values() if not path.is_file()), ())
    broken = []
    for case, path in films.items():
        try:
            if path.is_file():
                found.sizes[case] = film_size(path)
        except DataError as error:
            broken.append(str(error))
    return found._replace(unreadable=tuple(broken))


def find_film(folder: Path, stem: str, default: str = ".jpg") -> Path:
    """Return the film `stem` of `folder`, whatever its format; with the `default` suffix where there is none."""
    suffixes = (spelt for suffix in FILM_SUFFIXES for spelt in (suffix, suffix.upper()))
    candidates = (folder / f"{stem}{suffix}" for suffix in suffixes)
    return next((path for path in candidates if path.is_file()), folder / f"{stem}{default}")


def read_film(path: Path) -> UInt8[np.ndarray, "height width"]:
    """Decode a film completely into 8-bit grey, rows top to bottom.

    Raises:
        DataError: The file is not an image, is damaged or cut short, or is an mha of more than one slice.
    """
    try:
        if path.suffix.lower() == ".nh2":
            return to_uint8(read_nh2(path))
        if _is_dicom(path):
            return to_uint8(_grey(read_dicom(path)))
        return _read_mha(path) if path.suffix.lower() == ".mha" else _read_picture(path)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def to_uint8(film: Num[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Scale a deep film linearly so that its 0.5th and 99.5th percentile become 0 and 255, and clip beyond them.

    Percentiles, because markers and dead pixels at the ends of a 12- or 16-bit range would flatten the bone, and
    because the number of bits in use is often not recorded. A film of 8 bits stays as it is; a constant one is 0.
    """
    if film.dtype == np.uint8:
        return film
    low, high = np.percentile(film, WINDOW_PERCENTILES)
    scaled = (film.astype(np.float64) - low) / max(float(high - low), np.finfo(np.float64).tiny)
    return np.asarray(np.clip(scaled * 255.0, 0.0, 255.0).round(), np.uint8)


def _is_dicom(path: Path) -> bool:
    """Archives often give DICOM files no suffix, or a number as one."""
    return path.suffix.lower() not in FILM_SUFFIXES[: -len(DICOM_SUFFIXES)] and is_dicom(path)


def _read_mha(path: Path) -> UInt8[np.ndarray, "height width"]:
    film_size(path)
    image = sitk.ReadImage(str(path))
    pixels = sitk.GetArrayFromImage(image)
    return to_uint8(_grey(pixels.reshape(*pixels.shape[-2:]) if image.GetNumberOfComponentsPerPixel() == 1 else pixels))


def _read_picture(path: Path) -> UInt8[np.ndarray, "height width"]:
    with Image.open(path) as image:
        raw_mode = str(image.tile[0].args) if image.tile else ""
        if image.mode in ("RGB", "RGBA") and ";16" in raw_mode:  # Pillow would keep the upper eight bits only
            return to_uint8(_grey(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))))
        if image.mode in ("F", "I") or image.mode.startswith("I;16"):
            return to_uint8(np.asarray(image))
        return np.array(image.convert("L"))


def _grey(pixels: Num[np.ndarray, "*shape"]) -> Num[np.ndarray, "height width"]:
    """Return the luminance of (..., height, width) grey or (..., height, width, channel) colour without its alpha."""
    if pixels.ndim == 2:
        return pixels
    colour = pixels.reshape(*pixels.shape[-3:])[..., :3]
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(colour), cv2.COLOR_RGB2GRAY))


def _unreadable(path: Path, error: Exception) -> DataError:
    if isinstance(error, DataError):
        return error
    reason = "it does not exist" if not path.is_file() else " ".join(str(error).split())[-120:]
    return DataError(
        f"{path} cannot be read as a film ({reason}); fetch or restore the file, or pass --allow-missing to go on "
        f"without this case."
    )
