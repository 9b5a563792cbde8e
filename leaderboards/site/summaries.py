"""What charts of errors show of a row: summaries over all its films, from which no film's label follows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float

from benchmark.predictions import Predictions
from leaderboards.site.run_predictions import mean_of, region_probability

SHARES: Final = tuple(range(101))
"""Shares of landmarks in %, of each of which the largest error is kept."""
LEVELS: Final = tuple(range(5, 100, 5))
"""Nominal coverages of calibration curves in %."""
SUMMARIES: Final = "summaries"
"""Folder of published summaries."""
DIGITS: Final = 6
"""Significant digits of published summaries."""


class RowSummary(NamedTuple):
    """A row's errors on one test set, summed up over its films.

    Attributes:
        landmarks: Names, in the dataset's order.
        quantiles: The radial error within which each of `SHARES` of all landmarks lies, in the board's unit.
        means: Mean radial error of each landmark; NaN where it is labelled on no film.
        counts: On how many films each landmark is labelled.
        coverage: Share in % of landmarks inside the predicted regions that promise `LEVELS`; empty without regions.
        history: Validation error of the first run after each epoch, in pixels; empty where it kept none.
    """

    landmarks: tuple[str, ...]
    quantiles: tuple[float, ...]
    means: tuple[float, ...]
    counts: tuple[int, ...]
    coverage: tuple[float, ...]
    history: tuple[float, ...]

    def within(self, share: int) -> float:
        """Return the error within which a share, in whole %, of the landmarks lies."""
        return self.quantiles[SHARES.index(share)]

    def group_means(self, groups: Iterable[Sequence[int]]) -> list[float]:
        """Return the mean error of each group of landmarks, every labelled point counting alike."""
        means, counts = np.array(self.means), np.array(self.counts)
        totals = np.where(counts > 0, means * counts, 0.0)
        return [
            float(totals[list(g)].sum() / counts[list(g)].sum()) if counts[list(g)].sum() else float("nan")
            for g in groups
        ]

    def as_json(self) -> dict[str, Any]:
        """Return what is published of it; an unknown number is null."""
        content: dict[str, Any] = {"landmarks": list(self.landmarks), "counts": list(self.counts)}
        return content | {name: _plain(getattr(self, name)) for name in _NUMBERS}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> RowSummary:
        """Read what `as_json` wrote.

        Args:
            content: The fields by name.
        """
        numbers = {name: tuple(float("nan") if v is None else float(v) for v in content[name]) for name in _NUMBERS}
        return cls(landmarks=tuple(content["landmarks"]), counts=tuple(map(int, content["counts"])), **numbers)


_NUMBERS: Final = ("quantiles", "means", "coverage", "history")


def quantiles_of(values: Sequence[float]) -> tuple[float, ...]:
    """Return the value within which each of `SHARES` of some finite numbers lies."""
    return tuple(np.quantile(np.asarray(values), np.array(SHARES) / 100).tolist())


def summarise(predicted: Predictions, unit: str, history: Sequence[float] = ()) -> RowSummary | None:
    """Sum up a row's answers; None where none of them has a truth.

    Args:
        predicted: The answers beside the labels.
        unit: Of the errors: `mm` or `px`.
        history: Validation error after each epoch.
    """
    errors = predicted.errors(unit)
    known = np.isfinite(errors)
    if not known.any():
        return None
    return RowSummary(
        predicted.landmarks,
        quantiles_of(errors[known].tolist()),
        tuple(mean_of(column) for column in errors.T),
        tuple(known.sum(axis=0).tolist()),
        tuple(_coverage(region_probability(predicted))),
        tuple(history),
    )


def summary_json(summaries: Mapping[str, Mapping[str, RowSummary]]) -> str:
    """Write summed errors as JSON, a line per row.

    Args:
        summaries: Test set to `Row.key` to summary.
    """
    content = {name: {key: row.as_json() for key, row in rows.items()} for name, rows in summaries.items()}
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return text.replace('},"', '},\n"') + "\n"


def read_summaries(folder: Path, page: str) -> dict[str, dict[str, RowSummary]]:
    """Read what `summary_json` wrote; nothing where there is no such file.

    Args:
        folder: Of the published leaderboards.
        page: File stem of the boards' page.
    """
    path = folder / SUMMARIES / f"{page}.json"
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: {key: RowSummary.from_json(row) for key, row in rows.items()} for name, rows in content.items()}


def _coverage(region: Float[np.ndarray, "case landmark"]) -> list[float]:
    known = region[np.isfinite(region)]
    return [100 * float((known <= level / 100).mean()) for level in LEVELS] if known.size else []


def _plain(values: Iterable[float]) -> list[float | None]:
    return [float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None for value in values]
