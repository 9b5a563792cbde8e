"""DICOM films: grey as a viewer shows it, and millimetres only where the file knows them.

The chain is that of the standard (PS3.3 C.7.6.3, C.11.1, C.11.2): stored values, modality LUT or rescale, VOI LUT or
window, then MONOCHROME1, where the lowest value is white, turned round. A film without a usable window is scaled like
any other deep film. Only single frames are films.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
from jaxtyping import Float, Num, UInt8
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_MAGIC_OFFSET, _MAGIC = 128, b"DICM"
_COMPRESSED = "1.2.840.10008.1.2.4."
_COMPRESSIONS = {"90": "JPEG 2000", "91": "JPEG 2000", "80": "JPEG-LS", "81": "JPEG-LS"}

# Odd values are read as they are: pydicom's warnings quote them, and they may name a patient.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM, by its suffix or, as archives often give none, by the mark at byte 128."""
    if path.suffix.lower() in DICOM_SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            file.seek(_MAGIC_OFFSET)
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def dicom_size(path: Path) -> tuple[int, int]:
    """Return a film's (height, width) from its header.

    Raises:
        ValueError: It is no DICOM image of one frame.
    """
    header = _read(path, ["Rows", "Columns", "NumberOfFrames"])
    if "Rows" not in header or "Columns" not in header:
        raise ValueError("it holds no image")
    if int(header.get("NumberOfFrames") or 1) != 1:
        raise ValueError(f"it has {header.NumberOfFrames} frames instead of one")
    return int(header.Rows), int(header.Columns)


def dicom_spacing(path: Path, keyword: str = "PixelSpacing") -> tuple[float, float]:
    """Return millimetres per pixel in (x, y); NaN where the element is missing, zero or no number.

    DICOM's order is rows first: the distance between rows, which is y, then between columns.

    Args:
        path: The film.
        keyword: `PixelSpacing`, or `ImagerPixelSpacing`, which is measured at the detector and not in the patient.
    """
    try:
        value = _read(path, [keyword]).get(keyword)
        rows, columns = (float(number) for number in value)
    except (TypeError, ValueError, OSError):
        return math.nan, math.nan
    return (columns, rows) if all(0 < number < math.inf for number in (rows, columns)) else (math.nan, math.nan)


def dicom_text(path: Path, keyword: str) -> str:
    """Return an element as text; empty where it is missing or the file is no DICOM."""
    try:
        return str(_read(path, [keyword]).get(keyword) or "").strip()
    except (OSError, ValueError):
        return ""


def read_dicom(path: Path) -> Num[np.ndarray, "*shape"]:
    """Return a film as it is to be shown: white is high, and colour is RGB.

    Returns:
        uint8 after a VOI LUT or window; the values as they are, deep ones included, without either.

    Raises:
        ValueError: It is no image of one frame, is cut short, or nothing here can decode its compression.
    """
    dicom_size(path)
    with _as_value_error():
        dataset = pydicom.dcmread(path)
        pixels = _decode(dataset)
        if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
            return apply_color_lut(pixels, dataset)[..., :3]
        if pixels.ndim != 2:
            return pixels
        values = apply_modality_lut(pixels, dataset)
        shown = _window(pixels if np.array_equal(values, pixels) else values, dataset)
    if dataset.get("PhotometricInterpretation") != "MONOCHROME1":
        return shown
    return 255 - shown if shown.dtype == np.uint8 else shown.min() + shown.max() - shown.astype(np.float64)


def _read(path: Path, keywords: Sequence[str]) -> Dataset:
    with _as_value_error():
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))


@contextmanager
def _as_value_error() -> Iterator[None]:
    """Turn what pydicom raises on damaged files into a ValueError."""
    try:
        yield
    except (InvalidDicomError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(f"it is no sound DICOM file: {error}") from error


def _decode(dataset: Dataset) -> Num[np.ndarray, "*shape"]:
    """Return the stored values, colour as RGB."""
    try:
        return pixel_array(dataset)
    except RuntimeError as error:
        syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
        if not syntax.startswith(_COMPRESSED):
            raise
        name = _COMPRESSIONS.get(syntax.removeprefix(_COMPRESSED), "JPEG")
        raise ValueError(
            f"it is compressed as {name} and damaged, or no decoder is installed: pip install pylibjpeg "
            f"pylibjpeg-openjpeg pylibjpeg-libjpeg"
        ) from error


def _window(values: Num[np.ndarray, "height width"], dataset: Dataset) -> Num[np.ndarray, "height width"]:
    """Apply the VOI LUT or the first window; without a usable one the values stay."""
    if dataset.get("VOILUTSequence"):
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return _to_uint8(apply_voi(values.round().astype(np.int64), dataset) / (2.0**bits - 1))
    centre, width = (_first(dataset.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    function = str(dataset.get("VOILUTFunction", "LINEAR"))
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if not (width > 0 and math.isfinite(centre)):
        return values
    distance = (values - centre) / width
    return _to_uint8(1 / (1 + np.exp(-4 * distance)) if function == "SIGMOID" else distance + 0.5)


def _to_uint8(shares: Float[np.ndarray, "height width"]) -> UInt8[np.ndarray, "height width"]:
    return np.asarray(np.clip(shares * 255, 0, 255).round(), np.uint8)


def _first(value: object) -> float:
    """Return the first of one or several numbers; NaN where there is none."""
    try:
        return float(value[0] if isinstance(value, Sequence) else value)  # type: ignore[arg-type]  # None is a TypeError
    except (TypeError, ValueError, IndexError):
        return math.nan
