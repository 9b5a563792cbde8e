"""Reading `nh2`, the raw full-resolution films of NHANES II: 12 bits in 16-bit words, row by row, no header.

Nothing in the file says how large the film is: the number of bytes does, since each region was scanned at one size. Nor
does it say which byte of a word comes first: 12-bit words never exceed 4095, and the wrong order shows values that do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import UInt16

from datamodules.components.errors import DataError

LUMBAR = (2487, 2048)
"""(height, width) in pixels of a lumbar film."""
CERVICAL = (1755, 1463)
"""(height, width) in pixels of a cervical film."""
DEEPEST = 4095

_BYTES = {2 * height * width: (height, width) for height, width in (LUMBAR, CERVICAL)}


def nh2_size(path: Path) -> tuple[int, int]:
    """Return a film's (height, width) in pixels, told by the size of its file.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: No film of NHANES II has this many bytes.
    """
    count = path.stat().st_size
    if count not in _BYTES:
        known = " or ".join(f"{size:,} ({width} x {height} px)" for size, (height, width) in _BYTES.items())
        raise DataError(f"{path} has {count:,} bytes, but an nh2 film has {known}; fetch the file again.")
    return _BYTES[count]


def read_nh2(path: Path) -> UInt16[np.ndarray, "height width"]:
    """Return the film's 12-bit values in either byte order, big-endian where both fit.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: The file is no nh2 film by its size, or holds values of more than 12 bits in both byte orders.
    """
    size = nh2_size(path)
    stored = np.fromfile(path, ">u2")
    film = next((words for words in (stored, stored.view("<u2")) if words.max() <= DEEPEST), None)
    if film is None:
        raise DataError(
            f"{path} holds values above {DEEPEST} in either byte order, so it is no 12-bit film; fetch the file again."
        )
    return np.asarray(film.astype(np.uint16).reshape(size))


def write_nh2(path: Path, film: UInt16[np.ndarray, "height width"], order: Literal["big", "little"] = "big") -> None:
    """Write 12-bit values as an nh2 film.

    Raises:
        ValueError: The film has another size than NHANES II's, or values above 4095.
    """
    if 2 * film.size not in _BYTES or film.shape != _BYTES[2 * film.size]:
        raise ValueError(f"an nh2 film is 2487 x 2048 or 1755 x 1463 pixels (height x width), not {film.shape}.")
    if film.max() > DEEPEST:
        raise ValueError(f"an nh2 film holds values up to {DEEPEST}, not {film.max()}.")
    film.astype(">u2" if order == "big" else "<u2").tofile(path)
