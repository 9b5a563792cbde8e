"""Reading jpg, png, bmp and tif with Pillow, which recognises them by their content."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import SimpleITK as sitk  # noqa: N813  # the library's own convention
from jaxtyping import Num
from PIL import ExifTags, Image, TiffImagePlugin, UnidentifiedImageError

from datamodules.components.images.decoded import DAMAGED, Decoded, Repair, UnreadableError, check_size, grey, scale

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "JPEG2000")
MAX_PAGES = 64
"""Of a TIFF that are looked at for reduced copies."""
_SUBFILE, _REDUCED = 254, 1
_WHITE_IS_ZERO = 0
_UPRIGHT = 1
_TURNS = {2: (0, True), 3: (2, False), 4: (2, True), 5: (3, True), 6: (3, False), 7: (1, True), 8: (1, False)}
"""EXIF orientation -> quarter turns to the left and whether the film is mirrored left to right afterwards."""

warnings.filterwarnings("ignore", module="PIL")  # what it says of odd files; those that matter are errors of ours


def picture_size(path: Path, *, exif: bool) -> tuple[int, int]:
    """Return (height, width) of a picture from its header, as `read_picture` returns it.

    Raises:
        UnreadableError: It is no picture of one page.
    """
    with _opened(path) as image:
        turned = exif and image.format != "TIFF" and _orientation(image) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)


def read_picture(path: Path, *, exif: bool) -> Decoded:
    """Decode a picture to 8-bit grey.

    Args:
        path: The file.
        exif: Turn it as its EXIF orientation says, as browsers and labelling tools do. The orientation of a TIFF is
            part of the format and always followed.

    Raises:
        UnreadableError: It is no picture of one page, or is damaged.
    """
    with _opened(path) as image:
        orientation = _orientation(image)
        follows = orientation != _UPRIGHT and exif and image.format != "TIFF"
        try:
            decoded = _decode(path, image)
        except (OSError, ValueError, SyntaxError, RuntimeError, EOFError) as error:
            raise UnreadableError(DAMAGED) from error
    if not follows:
        return decoded._replace(orientation=orientation)
    turns, mirrored = _TURNS[orientation]
    pixels = np.rot90(decoded.pixels, turns)
    pixels = np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)
    return Decoded(pixels, (*decoded.repairs, Repair.EXIF), orientation)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture of one page at that page.

    Pillow is given an open file: of a path it would map uncompressed TIFF into memory, and then not turn it.
    """
    with path.open("rb") as file:
        try:
            image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError as error:
            raise UnreadableError("it is no image, or its beginning is damaged") from error
        except Image.DecompressionBombError as error:
            raise UnreadableError("its header claims more pixels than any film has") from error
        check_size(image.height, image.width)
        if image.format in ("TIFF", "GIF", "PNG", "WEBP"):
            _find_page(image)
        yield image


def _find_page(image: Image.Image) -> None:
    """Go to the one page of a file that is not a reduced copy of another."""
    full = []
    for page in range(MAX_PAGES + 1):
        try:
            image.seek(page)
        except (EOFError, SyntaxError):
            break
        tags = getattr(image, "tag_v2", {})
        if not int(tags.get(_SUBFILE, 0)) & _REDUCED:
            full.append(page)
        if len(full) > 1 or page == MAX_PAGES:
            raise UnreadableError("it has several pages; save each film as a file of its own")
    image.seek(full[0] if full else 0)


def _orientation(image: Image.Image) -> int:
    """Return the orientation that a header states, 1 where it states none that exists; nothing is decoded."""
    try:
        if image.format == "PNG" and "exif" not in image.info:
            return _UPRIGHT
        stated = image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT)
    except Exception:  # a broken EXIF block leaves the film as it is
        return _UPRIGHT
    return stated if stated in _TURNS else _UPRIGHT


def _decode(path: Path, image: Image.Image) -> Decoded:
    tiles = getattr(image, "tile", None)
    raw_mode = str(tiles[0].args) if tiles else ""
    if raw_mode.startswith("LA;16"):  # grey with alpha, which ITK does not know; OpenCV repeats the grey
        return scale(np.asarray(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED))[..., 0])
    if image.mode in ("RGB", "RGBA") and ";16" in raw_mode:  # Pillow would keep the upper eight bits only
        return scale(grey(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))))
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        white_is_zero = _white_is_zero(image)
        values = np.asarray(image)
        return _inverted(values) if white_is_zero else scale(values)
    return Decoded(np.array(image.convert("L")))


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a deep TIFF is stored inverted; Pillow turns those of up to 8 bits round itself."""
    tags = getattr(image, "tag_v2", {})
    return tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO


def _inverted(values: Num[np.ndarray, "height width"]) -> Decoded:
    decoded = scale(-values.astype(np.float64))
    return decoded._replace(repairs=(*decoded.repairs, Repair.WHITE_IS_ZERO))
