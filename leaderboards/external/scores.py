"""Home against away: reads a store's `external.csv`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmark.store import EXTERNAL
from leaderboards.boards.board import BETTER, Score, ScoreColumn
from leaderboards.boards.numbers import file_stem
from leaderboards.boards.read import read_table

AWAY: Final = "away"
NUMBERS: Final = ("landmarks", "cases", "value", "low", "high", "growth", "growth_low", "growth_high")
PLACE: Final = ("dataset", "protocol", "content")


class ExternalRow(NamedTuple):
    """One method.

    Attributes:
        label: The variant, with its configuration where that has several.
        variant: Its name.
        budget: How it was trained, in words.
        seeds: Of its runs.
        badges: What must be known beside the numbers, separated by semicolons.
        scores: Column to test set, `away` among them, to score.
        growth: Test set at home to how many times larger the ranking score is away.
    """

    label: str
    variant: str
    budget: str
    seeds: str
    badges: str
    scores: Mapping[str, Mapping[str, Score]]
    growth: Mapping[str, Score]


class ExternalBoard(NamedTuple):
    """Methods that were trained at one site and tested at another.

    Attributes:
        home: Dataset, protocol and content.
        away: The same of the other site.
        title: The other dataset's full name.
        landmarks: How many both have.
        left_out: Those that only the first has, separated by commas.
        readers: How far readers of the other site are apart, in words.
        columns: Of the scores; the first one ranks.
        cases: Number of films of each test set.
        rows: Best away first.
    """

    home: tuple[str, str, str]
    away: tuple[str, str, str]
    title: str
    landmarks: int
    left_out: str
    readers: str
    columns: tuple[ScoreColumn, ...]
    cases: Mapping[str, int]
    rows: tuple[ExternalRow, ...]

    @property
    def name(self) -> str:
        """File stem of its page."""
        return file_stem("-".join((*self.home[:2], "on", *self.away[:2], self.away[2][:6])))

    @property
    def tests(self) -> tuple[str, ...]:
        """The test sets at home."""
        return tuple(name for name in self.cases if name != AWAY)


def read_external(store: Path | str) -> list[ExternalBoard]:
    """Read the boards of a store's `external.csv`, in its order.

    Raises:
        FileNotFoundError: Nothing was tested at another site yet.
    """
    path = Path(store) / EXTERNAL
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; run `osteomark test RUN --card CARD` first.")
    rows = sorted(read_table(path, NUMBERS).to_dict("records"), key=_site)
    return [_board(list(group)) for _, group in groupby(rows, key=_site)]


def _site(row: Mapping[Any, Any]) -> tuple[str, ...]:
    return tuple(str(row[f"{side}_{name}"]) for side in ("home", "away") for name in PLACE) + (str(row["left_out"]),)


def _board(rows: Sequence[Mapping[Any, Any]]) -> ExternalBoard:
    first, site = rows[0], _site(rows[0])
    methods: dict[tuple[str, str], list[Mapping[Any, Any]]] = {}
    for row in rows:
        methods.setdefault((row["variant"], row["config"]), []).append(row)
    described = {row["column"]: row for row in rows}
    columns = tuple(
        ScoreColumn(name, row["title"], row["unit"], BETTER.get(row["higher_is_better"]), "")
        for name, row in described.items()
    )
    variants = [variant for variant, _ in methods]
    built = [
        _row(group, columns[0].name, alone=variants.count(variant) == 1) for (variant, _), group in methods.items()
    ]
    return ExternalBoard(
        (site[0], site[1], site[2]),
        (site[3], site[4], site[5]),
        first["away_title"],
        int(first["landmarks"]),
        first["left_out"],
        first["readers"],
        columns,
        {row["test_set"]: int(row["cases"]) for row in rows},
        tuple(sorted(built, key=lambda row: (_nan_last(row.scores[columns[0].name][AWAY].value), row.label))),
    )


def _row(rows: Sequence[Mapping[Any, Any]], ranking: str, *, alone: bool) -> ExternalRow:
    first = rows[0]
    scores: dict[str, dict[str, Score]] = {}
    for row in rows:
        scores.setdefault(row["column"], {})[row["test_set"]] = Score(row["value"], row["low"], row["high"])
    return ExternalRow(
        label=first["variant"] if alone else f"{first['variant']} ({first['config']})",
        **{name: str(first[name]) for name in ("variant", "budget", "seeds", "badges")},
        scores=scores,
        growth={
            row["test_set"]: Score(row["growth"], row["growth_low"], row["growth_high"])
            for row in rows
            if row["column"] == ranking and row["test_set"] != AWAY
        },
    )


def _nan_last(value: float) -> tuple[bool, float]:
    return math.isnan(value), value
