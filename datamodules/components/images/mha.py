"""Reading mha, the image format of ITK: its header is text, which is read here before ITK sees the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813  # the library's own convention
from jaxtyping import Num

from datamodules.components.images.decoded import DAMAGED, UnreadableError, check_size, grey

_HEADER_BYTES = 2**14
sitk.ProcessObject.SetGlobalWarningDisplay(False)  # it would print to the terminal


def mha_size(path: Path) -> tuple[int, int]:
    """Return a film's (height, width) in pixels from its header.

    Raises:
        UnreadableError: It is no mha of one slice, or its pixels lie in another file.
    """
    with path.open("rb") as file:
        start = file.read(_HEADER_BYTES)
    fields: dict[str, str] = {}
    for line in start.split(b"\n"):
        key, equals, value = line.partition(b"=")
        if not equals or not line.isascii():
            break
        fields[key.strip().decode()] = value.strip().decode()
        if key.strip() == b"ElementDataFile":
            break
    try:
        width, height, *depth = (int(size) for size in fields["DimSize"].split())
        data = fields["ElementDataFile"]
    except (KeyError, ValueError) as error:
        raise UnreadableError("it has no header of an mha file") from error
    if any(size != 1 for size in depth):
        raise UnreadableError(f"it has {depth[0]} slices instead of one")
    if data.upper() != "LOCAL":
        raise UnreadableError("its pixels lie in another file; save it as an mha that holds them")
    return check_size(height, width)


def read_mha(path: Path) -> Num[np.ndarray, "height width"]:
    """Return a film's values, colour as luminance.

    Raises:
        UnreadableError: See `mha_size`, or it is damaged.
    """
    mha_size(path)
    try:
        image = sitk.ReadImage(str(path), imageIO="MetaImageIO")
    except RuntimeError as error:
        raise UnreadableError(DAMAGED) from error
    pixels = sitk.GetArrayFromImage(image)
    channels = image.GetNumberOfComponentsPerPixel()
    return grey(pixels.reshape(*pixels.shape[-2:]) if channels == 1 else pixels)
