"""The pixels of DICOM films: grey as a viewer shows it.

The chain is that of the standard (PS3.3 C.7.6.3, C.11.1, C.11.2, C.11.6): stored values, modality LUT or rescale, VOI
LUT or window, then MONOCHROME1 or an INVERSE presentation LUT, where the lowest value is white, turned round. Padding
(C.7.5.1.1.2) is no picture and black. A film without a usable window is scaled like any other deep film. Only single
frames are films.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Num, UInt8
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_rescale, apply_voi, apply_windowing
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from datamodules.components.images.decoded import Decoded, Repair, UnreadableError, grey, scale
from datamodules.components.images.dicom import dicom_size, read_dataset

LEAST_SHADES = 0.01
"""Share of the pixels that a usable window leaves between black and white."""
_VOI_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_JPEG_2000 = "1.2.840.10008.1.2.4.9", "1.2.840.10008.1.2.4.20"
_MPEG = "1.2.840.10008.1.2.4.10"
_JPEG = "1.2.840.10008.1.2.4."


def read_dicom(path: Path) -> Decoded:
    """Decode a film as it is to be shown: white is high, and colour is luminance.

    Raises:
        OSError: The file cannot be opened.
        UnreadableError: It is no image of one frame, is damaged, or nothing here can decode its compression.
    """
    dicom_size(path)
    dataset = read_dataset(path)
    raw = _decode(dataset)
    try:
        return _picture(raw, dataset)
    except Exception as error:  # pydicom and numpy raise all kinds on elements that contradict each other
        raise UnreadableError("its DICOM elements contradict each other") from error


def _decode(dataset: Dataset) -> Num[np.ndarray, "*shape"]:
    """Return the stored values with the bits that hold no values, colour as RGB.

    Raises:
        UnreadableError: The pixels are missing or damaged, or need a decoder that is not installed.
    """
    try:
        return pixel_array(dataset, correct_unused_bits=False)
    except Exception as error:  # pydicom raises all kinds on damaged files
        syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", "")))
        if not (syntax.is_transfer_syntax and syntax.is_compressed):
            raise UnreadableError("its pixels are missing, damaged or cut short") from error
        raise UnreadableError(_compression(syntax)) from error


def _compression(syntax: UID) -> str:
    """Say how a film is compressed that could not be decoded, and what would decode it."""
    if syntax.startswith(_MPEG):
        return f"it is a video ({syntax.name}); export the film as a still image"
    name = syntax.name.partition(",")[0]
    decoder = "openjpeg" if syntax.startswith(_JPEG_2000) else "libjpeg"
    cure = f"`pip install pylibjpeg pylibjpeg-{decoder}`" if syntax.startswith(_JPEG) else "an uncompressed export"
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        return f"it is compressed as {name}, which is not read; export it uncompressed"
    if not available:
        return f"it is compressed as {name}, for which no decoder is installed; the cure is {cure}"
    return f"it is compressed as {name} and is damaged or of a kind that needs another decoder; try {cure}"


def _picture(raw: Num[np.ndarray, "*shape"], dataset: Dataset) -> Decoded:
    """Take stored values to what is shown."""
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return scale(grey(apply_color_lut(raw, dataset)[..., :3]))
    if raw.ndim != 2:
        return scale(grey(raw))
    stored, repairs = _stored_values(raw, dataset)
    padding = _padding(raw, stored, dataset)
    values, more = _modality_values(stored, dataset)
    shown, window = _windowed(values, padding, dataset)
    first = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    inverse = str(dataset.get("PresentationLUTShape", "")).strip().upper() == "INVERSE"
    if first or inverse:
        shown = 255 - shown if shown.dtype == np.uint8 else shown.min() + shown.max() - shown.astype(np.float64)
    scaled = scale(shown, padding)
    turned = (Repair.INVERSE,) if inverse and not first else ()
    return scaled._replace(repairs=(*repairs, *more, *window, *scaled.repairs, *turned))


def _stored_values(
    raw: Num[np.ndarray, "height width"], dataset: Dataset
) -> tuple[Num[np.ndarray, "height width"], tuple[Repair, ...]]:
    """Return the values without the bits of a word that are none of theirs: overlays, or whatever was left there.

    Where no value needs them the header may say what it likes. Values lie at HighBit; a compressed image in which most
    pixels exceed BitsStored has a wrong header, since its codestream has a depth of its own.
    """
    allocated, bits = 8 * raw.dtype.itemsize, int(dataset.get("BitsStored", 8 * raw.dtype.itemsize))
    if raw.dtype.kind not in "iu" or not 0 < bits < allocated:
        return raw, ()
    above = allocated - bits
    low = np.right_shift(np.left_shift(raw, above), above)
    odd = low != raw
    if not odd.any():
        return raw, ()
    shift = int(dataset.get("HighBit", bits - 1)) - (bits - 1)
    if 0 < shift <= above:
        return np.right_shift(np.left_shift(raw, above - shift), above), (Repair.HIGH_BIT,)
    if dataset.file_meta.TransferSyntaxUID.is_compressed and odd.mean() > 0.5:
        return raw, (Repair.BITS,)
    return low, ()


def _padding(
    raw: Num[np.ndarray, "height width"], stored: Num[np.ndarray, "height width"], dataset: Dataset
) -> Bool[np.ndarray, "height width"] | None:
    """Return which pixels were added to make a film rectangular; None where the file declares no padding."""
    first = dataset.get("PixelPaddingValue")
    if first is None:
        return None
    last = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(first), int(first if last is None else last)))
    wrap = 2 ** (8 * raw.dtype.itemsize)  # a file may write a signed value as an unsigned one, and the reverse
    found = np.zeros(raw.shape, bool)
    for values in (raw, stored):
        for turn in (-wrap, 0, wrap):
            found |= (values >= float(low + turn)) & (values <= float(high + turn))
    return found


def _modality_values(
    stored: Num[np.ndarray, "height width"], dataset: Dataset
) -> tuple[Num[np.ndarray, "height width"], tuple[Repair, ...]]:
    """Apply the modality LUT or the rescale; a slope that is zero or no number is as none."""
    if dataset.get("ModalityLUTSequence"):
        try:
            return apply_modality_lut(stored, dataset), ()
        except Exception:  # pydicom raises all kinds on broken tables
            return stored, (Repair.LUT,)
    try:
        slope = float(dataset.get("RescaleSlope", 1))
        if not (slope and np.isfinite(slope)):
            return stored, (Repair.SLOPE,)
        values = apply_rescale(stored, dataset)
    except (TypeError, ValueError):
        return stored, (Repair.SLOPE,)
    return (stored if np.array_equal(values, stored) else values), ()


def _windowed(
    values: Num[np.ndarray, "height width"], padding: Bool[np.ndarray, "height width"] | None, dataset: Dataset
) -> tuple[Num[np.ndarray, "height width"], tuple[Repair, ...]]:
    """Apply the first VOI LUT or window that shows something; without one the values stay."""
    picture = np.ones(values.shape, bool) if padding is None else ~padding
    repairs: tuple[Repair, ...] = ()
    for shown, more in _candidates(values, dataset):
        repairs = tuple(dict.fromkeys((*repairs, *more)))
        inside = shown[picture]
        if ((inside > 0) & (inside < 255)).sum() >= LEAST_SHADES * inside.size:
            return shown, repairs
        repairs = (*repairs, Repair.WINDOW)
    return values, tuple(dict.fromkeys(repairs))


def _candidates(
    values: Num[np.ndarray, "height width"], dataset: Dataset
) -> Iterator[tuple[UInt8[np.ndarray, "height width"], tuple[Repair, ...]]]:
    """Yield the film as each VOI LUT, then each window of the file shows it."""
    for index in range(len(dataset.get("VOILUTSequence") or ())):
        try:
            yield _looked_up(values, dataset, index)
        except Exception:  # pydicom raises all kinds on broken tables
            yield np.zeros(values.shape, np.uint8), (Repair.LUT,)
    for centre, width in zip(_numbers(dataset, "WindowCenter"), _numbers(dataset, "WindowWidth"), strict=False):
        window = Dataset()  # with 8 bits and no rescale, pydicom's window leads to 0 to 255
        window.PhotometricInterpretation, window.BitsStored, window.PixelRepresentation = "MONOCHROME2", 8, 0
        window.WindowCenter, window.WindowWidth = centre, width
        function = str(dataset.get("VOILUTFunction", "LINEAR")).strip().upper()
        window.VOILUTFunction = function if function in _VOI_FUNCTIONS else "LINEAR"
        if np.isfinite(centre) and width > (window.VOILUTFunction == "LINEAR"):
            yield apply_windowing(values, window).round().astype(np.uint8), ()


def _looked_up(
    values: Num[np.ndarray, "height width"], dataset: Dataset, index: int
) -> tuple[UInt8[np.ndarray, "height width"], tuple[Repair, ...]]:
    """Apply a VOI LUT so that its largest entry is white, as viewers do; many declare more bits than they use."""
    entries, first, bits = (int(number) for number in dataset.VOILUTSequence[index].LUTDescriptor)
    table = apply_voi(np.arange(first, first + (entries or 2**16)), dataset, index)
    shown = apply_voi(values.round().astype(np.int64), dataset, index)
    largest = int(table.max())
    scaled = np.asarray((shown * (255.0 / max(largest, 1))).round(), np.uint8)
    return scaled, () if largest == 2**bits - 1 else (Repair.LUT_SCALE,)


def _numbers(dataset: Dataset, keyword: str) -> list[float]:
    """Return the numbers of an element; none where it is missing or no number."""
    value = dataset.get(keyword)
    try:
        return [float(number) for number in (value if isinstance(value, list | tuple) else [value])]
    except (TypeError, ValueError):
        return [float(value)] if isinstance(value, int | float) else []
