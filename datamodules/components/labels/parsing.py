"""Parsing label files so that a broken one is named with its line and value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from datamodules.components.errors import DataError


def read_lines(path: Path) -> list[str]:
    """Return a text file's lines without trailing empty ones.

    Raises:
        DataError: The file is absent or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}); restore the original label file.") from error


def parse_row(fields: Sequence[str], count: int, path: Path, line: int) -> Float[np.ndarray, " count"]:
    """Return exactly `count` numbers; `nan` is a number here, it marks what is missing.

    Raises:
        DataError: There are more or fewer fields, or one is no number.
    """
    if len(fields) != count:
        raise DataError(
            f"{path}, line {line} holds {len(fields)} values instead of {count}; restore the original label file."
        )
    return np.array([_number(text, path, line) for text in fields])


def parse_points(path: Path, lines: Sequence[str], count: int, first: int = 1) -> Float[np.ndarray, "count 2"]:
    """Return `count` points, one `x,y` per line; a point with a `nan` is missing as a whole.

    Args:
        path: The file, for messages.
        lines: Its lines that hold the points.
        count: The number of points that the dataset has.
        first: The number of the first of these lines in the file.

    Raises:
        DataError: There are more or fewer points, or a line does not hold two numbers.
    """
    points = [parse_row(text.split(","), 2, path, line) for line, text in enumerate(lines, first)]
    if len(points) != count:
        raise DataError(
            f"{path}, line {first + len(points) - 1}: the file ends after {len(points)} points instead of {count}; "
            f"restore the original label file."
        )
    return whole(np.stack(points))


def whole(points: Float[np.ndarray, "landmark 2"]) -> Float[np.ndarray, "landmark 2"]:
    """Return the points with both coordinates NaN where one is."""
    return np.where(np.isnan(points).any(axis=1, keepdims=True), np.nan, points)


def _number(text: str, path: Path, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise DataError(
            f"{path}, line {line} holds {text.strip()!r} where a number is needed; restore the original label file."
        )
    return value
