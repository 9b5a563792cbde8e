"""What the runs behind a row answered, as arrays: each `predictions.parquet` is read once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Float

from benchmark.store import PREDICTIONS, VALIDATION
from leaderboards.boards.board import Row

_TEXT: Final = ("test_set", "case", "landmark")
_POINT: Final = ("x", "y", "true_x", "true_y")
_COVARIANCE: Final = ("cov_xx", "cov_xy", "cov_yy")
_FILM: Final = ("spacing_x", "spacing_y", "height", "width")
_SMALLEST: Final = 1e-4
"""The least variance in square pixels, as in `metrics.uncertainty`."""


class Predicted(NamedTuple):
    """Predictions of one test set, in original pixels; seeds and folds lie one behind the other.

    Attributes:
        cases: Case ids.
        landmarks: Names, in the dataset's order.
        points: (x, y), predicted.
        truth: (x, y), NaN where it is missing.
        covariance: xx, xy, yy in square pixels, NaN where unknown.
        spacing: Millimetres per pixel in (x, y), NaN where unknown.
        size: (height, width) of the film in pixels.
    """

    cases: tuple[str, ...]
    landmarks: tuple[str, ...]
    points: Float[np.ndarray, "case landmark 2"]
    truth: Float[np.ndarray, "case landmark 2"]
    covariance: Float[np.ndarray, "case landmark 3"]
    spacing: Float[np.ndarray, "case 2"]
    size: Float[np.ndarray, "case 2"]

    def errors(self, unit: str) -> Float[np.ndarray, "case landmark"]:
        """Return radial errors in `mm` or `px`; NaN where the truth is missing."""
        scale = self.spacing[:, None] if unit == "mm" else 1.0
        return np.asarray(np.sqrt(np.square((self.points - self.truth) * scale).sum(-1)))

    def sigma(self, unit: str) -> Float[np.ndarray, "case landmark"]:
        """Return sigma_p = sqrt(var_x + var_y) in `mm` or `px`; NaN where there is no covariance."""
        scale = np.square(self.spacing)[:, None] if unit == "mm" else 1.0
        return np.asarray(np.sqrt((self.covariance[..., ::2] * scale).sum(-1)))

    def region(self) -> Float[np.ndarray, "case landmark"]:
        """Return the probability of the smallest predicted region that holds the truth, as `metrics.calibration`."""
        x, y = np.moveaxis(self.points - self.truth, -1, 0)
        xx, xy, yy = np.moveaxis(self.covariance, -1, 0)
        least = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
        lift = np.clip(_SMALLEST - least, 0, None)
        xx, yy = xx + lift, yy + lift
        return np.asarray(-np.expm1(-(yy * x * x - 2 * xy * x * y + xx * y * y) / (xx * yy - xy * xy) / 2))


class Reader:
    """Reads the runs of one page, each file once, whatever the number of test sets."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, Predicted]] = {}

    def row(self, row: Row, test_set: str) -> Predicted | None:
        """Return what a row's seeds and folds answered on a test set; None where a run has none of it."""
        parts = [self.run(run.folder / PREDICTIONS).get(test_set) for runs in row.counted.values() for run in runs]
        known = [part for part in parts if part is not None]
        if not known or len({part.landmarks for part in known}) > 1:
            return None
        cases = sum((part.cases for part in known), ())
        return Predicted(
            cases, known[0].landmarks, *map(np.concatenate, zip(*(part[2:] for part in known), strict=True))
        )

    def validation(self, row: Row) -> Predicted | None:
        """Return the validation cases of a row's first run, where it kept any."""
        path = next((runs[0].folder / VALIDATION for runs in row.counted.values()), None)
        return None if path is None else next(iter(self.run(path).values()), None)

    def run(self, path: Path) -> dict[str, Predicted]:
        """Return the test sets of one file; none where there is no such file or a case lacks a landmark."""
        if path not in self._read:
            self._read[path] = read_predicted(path) if path.is_file() else {}
        return self._read[path]


def read_predicted(path: Path) -> dict[str, Predicted]:
    """Read a file of predictions.

    Args:
        path: `predictions.parquet` or `validation.parquet`.

    Returns:
        Test set name to its predictions, cases and landmarks in the file's order; a test set in which a case lacks a
        landmark is left out.
    """
    file = pq.ParquetFile(path, read_dictionary=list(_TEXT))
    wanted = [*_TEXT, *_POINT, "visible", *_COVARIANCE, *_FILM]
    table = file.read(columns=[name for name in wanted if name in file.schema_arrow.names], use_threads=False)
    names = dict.fromkeys((*_POINT, *_COVARIANCE, *_FILM))
    numbers = np.full((len(table), len(names)), np.nan)
    for place, name in enumerate(names):
        if name in table.column_names:
            numbers[:, place] = table.column(name).to_numpy()
    numbers[~table.column("visible").to_numpy().astype(bool), 2:4] = np.nan
    test_sets, cases, landmarks = (_codes(table.column(name)) for name in _TEXT)
    parts = {name: test_sets[1] == code for code, name in enumerate(test_sets[0])}
    found = {name: _test_set(numbers[part], _part(cases, part), _part(landmarks, part)) for name, part in parts.items()}
    return {name: predicted for name, predicted in found.items() if predicted is not None}


_Coded = tuple[list[str], np.ndarray]
"""The distinct texts of a column, as a rule in the order of their first row, and which of them stands in each row."""


def _codes(column: Any) -> _Coded:  # noqa: ANN401  # pyarrow has no types
    """Decode a column of texts."""
    encoded = column.combine_chunks().dictionary_encode()
    return [str(text) for text in encoded.dictionary.to_pylist()], encoded.indices.to_numpy()


def _part(coded: _Coded, rows: np.ndarray) -> _Coded:
    """Return some rows of a column; texts that are only in others drop out."""
    codes = coded[1][rows]
    present = np.bincount(codes, minlength=len(coded[0])) > 0
    return [text for text, there in zip(coded[0], present, strict=True) if there], (np.cumsum(present) - 1)[codes]


def _test_set(numbers: np.ndarray, cases: _Coded, landmarks: _Coded) -> Predicted | None:
    shape = len(cases[0]), len(landmarks[0])
    key = cases[1] * shape[1] + landmarks[1]
    if not len(key) or len(key) != shape[0] * shape[1] or np.bincount(key).max() > 1:
        return None
    grid = np.empty_like(numbers)
    grid[key] = numbers
    grid = grid.reshape(*shape, -1)
    ends = np.cumsum([2, 2, 3, 2])
    points, truth, covariance, spacing, size = np.split(grid, ends, axis=-1)
    return Predicted(tuple(cases[0]), tuple(landmarks[0]), points, truth, covariance, spacing[:, 0], size[:, 0])


def mean_of(values: Float[np.ndarray, "*value"]) -> float:
    """Return the mean of the numbers that are there; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def means_by(values: Float[np.ndarray, "case landmark"], groups: Iterable[Iterable[int]]) -> list[float]:
    """Return the mean over all cases of each group of landmarks."""
    return [mean_of(values[:, list(group)]) for group in groups]
