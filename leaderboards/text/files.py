"""Writes files of text: UTF-8, Unix line ends, each file complete or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from benchmark.store import write_atomically

DIGITS: Final = 8
"""Significant digits of numbers in data files."""


def csv_text(frame: pd.DataFrame) -> str:
    """Return a data frame as CSV without its index."""
    return frame.to_csv(index=False, float_format=f"%.{DIGITS}g", lineterminator="\n")


def write_files(files: Mapping[str, str], out: Path | str) -> list[Path]:
    """Write texts.

    Args:
        files: File name to text.
        out: The folder.

    Returns:
        The written files.
    """
    paths = {Path(out) / name: text for name, text in files.items()}
    for path, text in paths.items():
        write_atomically(path, lambda file, text=text: file.write_text(text, encoding="utf-8", newline="\n"))  # type: ignore[misc]
    return list(paths)
