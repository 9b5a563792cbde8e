"""DICOM files: what their elements say, whether or not they have the preamble and the transfer syntax they should have.

`dicom_film` decodes their pixels.
"""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from datamodules.components.images.decoded import MAX_PIXELS, UnreadableError, check_size

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
_MAGIC_OFFSET, _MAGIC = 128, b"DICM"
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
_LARGEST_FIRST = 256
"""Bytes of the first element's value in a file without a preamble."""
_BYTES_PER_PIXEL = 4

# Odd values are read as they are: pydicom's warnings quote them, and they may name a patient.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
warnings.filterwarnings("ignore", module="pydicom")


def is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM: by its suffix or, as archives often give none, by how it begins."""
    return path.suffix.lower() in DICOM_SUFFIXES or _begins_as_dicom(path)


def _begins_as_dicom(path: Path) -> bool:
    """Tell whether a file has the mark at byte 128, or begins with an element of a group that comes first."""
    try:
        with path.open("rb") as file:
            start = file.read(_MAGIC_OFFSET + len(_MAGIC))
    except OSError:
        return False
    if start[_MAGIC_OFFSET:] == _MAGIC:
        return True
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return start[:2] in _FIRST_GROUPS and (explicit or 0 < int.from_bytes(start[4:8], "little") <= _LARGEST_FIRST)


def dicom_size(path: Path) -> tuple[int, int]:
    """Return a film's (height, width) from its header.

    Raises:
        UnreadableError: It is no DICOM image of one frame.
    """
    header = read_dataset(path, ["Rows", "Columns", "NumberOfFrames"])
    try:
        frames = int(header.get("NumberOfFrames") or 1)
        rows, columns = int(header.Rows), int(header.Columns)
    except Exception as error:  # pydicom reads values late and raises all kinds on broken ones
        raise UnreadableError("it is a DICOM file without an image, or a damaged one") from error
    if frames != 1:
        raise UnreadableError(f"it has {frames} frames instead of one; save each film as a file of its own")
    return check_size(rows, columns)


def dicom_spacing(path: Path, keyword: str = "PixelSpacing") -> tuple[float, float]:
    """Return millimetres per pixel in (x, y); NaN where the element is missing, zero or no number.

    DICOM's order is rows first: the distance between rows, which is y, then between columns.

    Args:
        path: The film.
        keyword: `PixelSpacing`, or `ImagerPixelSpacing`, which is measured at the detector and not in the patient.
    """
    try:
        value = read_dataset(path, [keyword]).get(keyword)
        rows, columns = (float(number) for number in value)
    except Exception:  # pydicom reads values late and raises all kinds on broken ones
        return math.nan, math.nan
    return (columns, rows) if all(0 < number < math.inf for number in (rows, columns)) else (math.nan, math.nan)


def dicom_text(path: Path, keyword: str) -> str:
    """Return an element as text; empty where it is missing or the file is no DICOM."""
    try:
        return str(read_dataset(path, [keyword]).get(keyword) or "").strip()
    except Exception:  # pydicom reads values late and raises all kinds on broken ones
        return ""


def read_dataset(path: Path, keywords: Sequence[str] = ()) -> Dataset:
    """Return a file's elements, or only those asked for, without the pixels.

    Implicit VR little endian is assumed without meta information, unless the elements look explicit.

    Raises:
        OSError: The file cannot be opened.
        UnreadableError: It is no DICOM file, is damaged, or inflates to more than any film has.
    """
    if not _begins_as_dicom(path):
        path.stat()  # a file that is not there is another error
        raise UnreadableError("it is no DICOM file, or its beginning is damaged")
    _refuse_bomb(path)
    try:
        if keywords:
            return pydicom.dcmread(path, force=True, stop_before_pixels=True, specific_tags=list(keywords))
        dataset = pydicom.dcmread(path, force=True)
        _complete_syntax(dataset)
    except OSError:
        raise
    except Exception as error:  # pydicom raises all kinds on damaged files
        raise UnreadableError("it is a damaged DICOM file") from error
    return dataset


def _complete_syntax(dataset: Dataset) -> None:
    """State the transfer syntax that the elements were read with, where the file states none."""
    if "TransferSyntaxUID" in dataset.file_meta:
        return
    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        raise UnreadableError("its pixels are compressed, and it does not say how; export it anew")
    implicit, little = dataset.original_encoding
    explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _refuse_bomb(path: Path) -> None:
    """Inflate a deflated file piece by piece, since pydicom would take all of it into memory."""
    with path.open("rb") as file:
        if DeflatedExplicitVRLittleEndian.encode() not in file.read(2**11):
            return
    try:
        meta = read_file_meta_info(path)
        begin = _MAGIC_OFFSET + len(_MAGIC) + 12 + int(meta.FileMetaInformationGroupLength)
    except Exception as error:  # pydicom raises all kinds on damaged files
        raise UnreadableError("it is a damaged DICOM file") from error
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    with path.open("rb") as file:
        file.seek(begin)
        data = file.read()
    while data and total <= MAX_PIXELS * _BYTES_PER_PIXEL:
        try:
            total += len(inflater.decompress(data, 2**24))
        except zlib.error as error:
            raise UnreadableError("it is a damaged DICOM file") from error
        data = inflater.unconsumed_tail
    if total > MAX_PIXELS * _BYTES_PER_PIXEL:
        raise UnreadableError("it inflates to more than any film has")
