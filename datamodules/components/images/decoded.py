"""What reading a film gives: 8-bit grey, and what had to be put right on the way."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Num, UInt8

WINDOW_PERCENTILES = (0.5, 99.5)
EDGE = 0.9
"""Share of one edge of a film that a constant border takes."""
MAX_PIXELS = 2**27
"""Pixels of the largest film that is decoded, 11,585 x 11,585: a header that claims more is taken for a hostile one."""


DAMAGED = "it is damaged or cut short"
"""The reason where a decoder fails and nothing more is known."""


class UnreadableError(ValueError):
    """Why a film cannot be read; the message is a clause that goes on after "it cannot be read because"."""


class Repair(StrEnum):
    """What a reader did other than to decode; the name is part of a data set's fingerprint, the text is shown."""

    EXIF = "turned as their EXIF orientation says"
    WHITE_IS_ZERO = "inverted, since their TIFF header says that white is zero"
    INVERSE = "inverted, since their PresentationLUTShape is INVERSE"
    SLOPE = "read without a rescale, whose slope is zero or no number"
    LUT = "read without a lookup table that is broken"
    LUT_SCALE = "scaled by the largest entry of their VOI LUT, which is not what the table declares"
    WINDOW = "shown without a window or VOI LUT that clips every pixel"
    PADDING = "windowed without their padding, which is shown black"
    BORDER = "windowed without a constant border far above or below all other values"
    HIGH_BIT = "read from the bits that their HighBit names"
    BITS = "read with more bits than their BitsStored says, since most pixels use them"


class Decoded(NamedTuple):
    """A decoded film.

    Attributes:
        pixels: 8-bit grey, rows top to bottom, white is high.
        repairs: What had to be put right.
        orientation: The EXIF or TIFF orientation that the file states, 1 to 8; 1 is upright.
    """

    pixels: UInt8[np.ndarray, "height width"]
    repairs: tuple[Repair, ...] = ()
    orientation: int = 1


def check_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) of a film whose header says so.

    Raises:
        UnreadableError: There are no pixels, or more than `MAX_PIXELS`.
    """
    if height < 1 or width < 1:
        raise UnreadableError(f"its header says {width} x {height} pixels")
    if height * width > MAX_PIXELS:
        raise UnreadableError(f"its header says {width} x {height} pixels, and films of up to {MAX_PIXELS:,} are read")
    return height, width


def to_uint8(film: Num[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    """Scale a deep film linearly so that its 0.5th and 99.5th percentile become 0 and 255, and clip beyond them.

    Percentiles, because markers and dead pixels at the ends of a 12- or 16-bit range would flatten the bone, and
    because the number of bits in use is often not recorded. A film of 8 bits stays as it is; a constant one is 0,
    and so is what is NaN or infinite.
    """
    return scale(film).pixels


def scale(film: Num[np.ndarray, "height width"], padding: Bool[np.ndarray, "height width"] | None = None) -> Decoded:
    """Scale a film as `to_uint8` does, by the pixels that are no padding; padding becomes 0.

    A constant border that the file does not declare has no say in the percentiles either: the highest or lowest value,
    along one edge of the film and further from all other values than these lie from each other.
    """
    padded = np.zeros(film.shape, bool) if padding is None else padding
    repairs = (Repair.PADDING,) if padded.any() else ()
    if film.dtype == np.uint8:
        return Decoded(np.where(padded, np.uint8(0), film) if repairs else film, repairs)
    if film.dtype.kind == "f" and not np.isfinite(film).all():
        padded, repairs = padded | ~np.isfinite(film), (Repair.PADDING,)
    border = None if repairs else _border(film)
    values = film[~padded] if repairs else film if border is None else film[film != border]
    if not values.size:
        return Decoded(np.zeros(film.shape, np.uint8), repairs)
    low, high = np.percentile(values, WINDOW_PERCENTILES)
    shown = np.where(padded, low, film) if repairs else film
    if high > low:
        pixels = np.clip((shown.astype(np.float64) - low) / (high - low) * 255.0, 0.0, 255.0).round().astype(np.uint8)
    else:
        pixels = np.where(shown > high, 255, 0).astype(np.uint8)
    pixels[padded] = 0
    return Decoded(pixels, repairs if border is None else (Repair.BORDER,))


def _border(film: Num[np.ndarray, "height width"]) -> float | None:
    """Return the value of a constant border that would squeeze the window; None where there is none."""
    edges = (film[0], film[-1], film[:, 0], film[:, -1])
    for end, is_high in ((film.max(), True), (film.min(), False)):
        if max(np.mean(edge == end) for edge in edges) < EDGE:
            continue
        rest = film[film != end]
        if not rest.size:
            return None
        least, most = float(rest.min()), float(rest.max())
        if abs(float(end) - (most if is_high else least)) > most - least > 0:
            return float(end)
    return None


def grey(pixels: Num[np.ndarray, "*shape"]) -> Num[np.ndarray, "height width"]:
    """Return the luminance (ITU-R 601) of grey, grey with alpha or colour pixels; alpha is left out."""
    if pixels.ndim == 2:
        return pixels
    channels = pixels.reshape(*pixels.shape[-3:])
    if channels.shape[-1] < 3:
        return channels[..., 0]
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(channels[..., :3]), cv2.COLOR_RGB2GRAY))
