"""How methods do on corrupted films: reads a store's `stress.csv`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple

import pandas as pd

from benchmark.store import STRESS
from leaderboards.boards.board import BETTER, FLOOR, Score, ScoreColumn
from leaderboards.boards.numbers import file_stem
from leaderboards.boards.read import read_table

CLEAN: Final = "clean"
SEVERITIES: Final = (1, 2, 3, 4, 5)
NUMBERS: Final = ("severity", "value", "low", "high", "cases")


class StressKey(NamedTuple):
    """Where scores can be compared."""

    dataset: str
    protocol: str
    content: str
    test_set: str


@dataclass(frozen=True)
class StressRow:
    """One method on one test set.

    Args:
        label: The variant, with its configuration where that has several.
        variant: Its name.
        config: The configuration's hash.
        budget: How it was trained, in words.
        badges: What must be known beside the numbers, separated by semicolons.
        cases: Number of films.
        clean: On the films as they are.
        scores: Corruption to severity to score.
        floor: The trivial method's means over the severities by corruption, where it was tested.
        higher_is_better: Of the score.
    """

    label: str
    variant: str
    config: str
    budget: str
    badges: str
    cases: int
    clean: Score
    scores: Mapping[str, Mapping[int, Score]]
    floor: Mapping[str, float]
    higher_is_better: bool

    def mean(self, corruption: str) -> float:
        """The mean over the severities; NaN where there is none."""
        scores = self.scores.get(corruption, {})
        return fmean(score.value for score in scores.values()) if scores else math.nan

    def degradation(self, corruption: str) -> float:
        """By how many % the mean over the severities is worse than the clean score."""
        if not self.clean.value:
            return math.nan
        change = 100 * (self.mean(corruption) - self.clean.value) / self.clean.value
        return -change if self.higher_is_better else change

    def error(self, corruption: str) -> float:
        """The corruption error: the mean over the severities in % of the trivial method's."""
        if self.higher_is_better or not self.floor.get(corruption):
            return math.nan
        return 100 * self.mean(corruption) / self.floor[corruption]

    def curve(self, corruption: str) -> dict[int, float]:
        """The score by severity, 0 being the films as they are."""
        scores = {0: self.clean, **self.scores.get(corruption, {})}
        return {severity: score.value for severity, score in scores.items()}

    def at(self, corruption: str, severity: int) -> float:
        """The score at a severity; NaN where there is none."""
        return self.curve(corruption).get(severity, math.nan)

    @cached_property
    def mean_degradation(self) -> float:
        """The mean of `degradation` over the corruptions."""
        return _mean(self.degradation(name) for name in self.scores)

    @cached_property
    def mean_error(self) -> float:
        """The mean corruption error."""
        return _mean(self.error(name) for name in self.scores)


@dataclass(frozen=True)
class StressBoard:
    """All methods on one test set.

    Args:
        key: Which one.
        column: The score, that which ranks the leaderboard.
        rows: The best mean over all corruptions first.
        levels: Corruption to severity to what it means.
    """

    key: StressKey
    column: ScoreColumn
    rows: tuple[StressRow, ...]
    levels: Mapping[str, Mapping[int, str]]

    @property
    def page(self) -> str:
        """File stem of the page of its dataset and protocol."""
        return f"{self.key.dataset}-{self.key.protocol}-robustness"

    @property
    def plot_name(self) -> str:
        """File name of the plot."""
        return f"{self.page}-{file_stem(self.key.test_set)}-{self.key.content[:6]}.svg"


def read_stress(store: Path | str) -> list[StressBoard]:
    """Read the boards of a store's `stress.csv`, in its order.

    Args:
        store: The run store's folder.

    Raises:
        FileNotFoundError: There is none yet.
    """
    path = Path(store) / STRESS
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; run `osteomark stress --store {store}` first.")
    groups = read_table(path, NUMBERS).groupby(list(StressKey._fields), sort=False)
    return [_board(StressKey(*map(str, key)), group) for key, group in groups]


def _board(key: StressKey, frame: pd.DataFrame) -> StressBoard:
    """Build a board from its rows of the first column, the one that ranks."""
    rows: list[dict[Any, Any]] = frame[frame["column"] == frame["column"].iloc[0]].to_dict("records")
    first = rows[0]
    column = ScoreColumn(first["column"], first["title"], first["unit"], BETTER.get(first["higher_is_better"]), "")
    levels: dict[str, dict[int, str]] = {}
    for row in sorted(rows, key=lambda row: int(row["severity"])):
        if row["corruption"] != CLEAN:
            levels.setdefault(row["corruption"], {})[int(row["severity"])] = row["level"]
    levels = {row["corruption"]: levels[row["corruption"]] for row in rows if row["corruption"] != CLEAN}
    groups = [list(group) for _, group in groupby(rows, key=lambda row: (row["variant"], row["config"]))]
    variants = [group[0]["variant"] for group in groups]
    built = [_row(group, levels, column, alone=variants.count(group[0]["variant"]) == 1) for group in groups]
    known = [row for row in built if row is not None]
    floor = next(({name: row.mean(name) for name in levels} for row in known if row.variant == FLOOR), {})
    ranked = sorted((replace(row, floor=floor) for row in known), key=lambda row: _order(row, column))
    return StressBoard(key, column, tuple(ranked), levels)


def _row(
    rows: Sequence[Mapping[str, Any]], levels: Mapping[str, Mapping[int, str]], column: ScoreColumn, *, alone: bool
) -> StressRow | None:
    """Build a method, without the corruptions that it lacks at some severity: their means would mean another thing."""
    scores: dict[str, dict[int, Score]] = {}
    for row in rows:
        score = Score(row["value"], row["low"], row["high"])
        scores.setdefault(row["corruption"], {})[int(row["severity"])] = score
    if CLEAN not in scores:
        return None
    first = rows[0]
    return StressRow(
        label=first["variant"] if alone else f"{first['variant']} ({first['config']})",
        **{name: first[name] for name in ("variant", "config", "budget", "badges")},
        cases=int(first["cases"]),
        clean=scores[CLEAN][0],
        scores={name: scores[name] for name in levels if scores.get(name, {}).keys() == levels[name].keys()},
        floor={},
        higher_is_better=bool(column.higher_is_better),
    )


def _order(row: StressRow, column: ScoreColumn) -> tuple[bool, float, str]:
    value = _mean(row.mean(name) for name in row.scores)
    return math.isnan(value), -value if column.higher_is_better else value, row.label


def _mean(values: Any) -> float:  # noqa: ANN401  # any iterable of numbers
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan
