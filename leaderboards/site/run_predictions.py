"""The predictions of the runs behind a row, as arrays."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from benchmark.predictions import PREDICTIONS, VALIDATION, Predictions, read_predictions
from benchmark.store import HISTORY
from leaderboards.boards.board import Row

MONITOR: Final = "val/radial_error"
_SMALLEST: Final = 1e-4
"""The least variance in square pixels, as in `metrics.uncertainty`."""


class RunPredictions:
    """The predictions behind the rows of one page; each file is read once, whatever the number of test sets."""

    def __init__(self) -> None:
        self._read: dict[Path, dict[str, Predictions]] = {}

    def row(self, row: Row, test_set: str) -> Predictions | None:
        """Return what a row's seeds and folds answered on a test set; None where a run has none of it."""
        parts = [self.run(run.folder / PREDICTIONS).get(test_set) for runs in row.counted.values() for run in runs]
        known = [part for part in parts if part is not None]
        if not known or len({part.landmarks for part in known}) > 1:
            return None
        cases = sum((part.cases for part in known), ())
        return Predictions(
            cases, known[0].landmarks, *map(np.concatenate, zip(*(part[2:] for part in known), strict=True))
        )

    def history(self, row: Row) -> list[float]:
        """Return the validation error of each epoch of a row's first run; empty where it kept none."""
        path = next((runs[0].folder / HISTORY for runs in row.counted.values()), None)
        if path is None or not path.is_file():
            return []
        frame = pd.read_csv(path)
        return frame[MONITOR].dropna().astype(float).tolist() if MONITOR in frame else []

    def validation(self, row: Row) -> Predictions | None:
        """Return the validation cases of a row's first run, where it kept any."""
        path = next((runs[0].folder / VALIDATION for runs in row.counted.values()), None)
        return None if path is None else next(iter(self.run(path).values()), None)

    def run(self, path: Path) -> dict[str, Predictions]:
        """Return the test sets of one file; none where there is no such file or it is incomplete, as its scores say."""
        if path not in self._read:
            self._read[path] = {}
            with suppress(FileNotFoundError, ValueError):
                self._read[path] = read_predictions(path)
        return self._read[path]


def region_probability(predicted: Predictions) -> Float[np.ndarray, "case landmark"]:
    """Return the probability of the smallest predicted region that holds the truth, as `metrics.calibration`."""
    x, y = np.moveaxis(predicted.points - predicted.truth, -1, 0)
    xx, xy, yy = (predicted.covariance[..., i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
    least = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)
    lift = np.clip(_SMALLEST - least, 0, None)
    xx, yy = xx + lift, yy + lift
    return np.asarray(-np.expm1(-(yy * x * x - 2 * xy * x * y + xx * y * y) / (xx * yy - xy * xy) / 2))


def mean_of(values: Float[np.ndarray, "*value"]) -> float:
    """Return the mean of the numbers that are there; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
