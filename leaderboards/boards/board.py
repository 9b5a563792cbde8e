"""What a leaderboard is: a board of rows, their scores and their ranks; nothing is read here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from statistics import fmean, median
from typing import Any, Literal, NamedTuple

from benchmark.cell import On
from benchmark.store import RunRecord
from leaderboards.boards.numbers import NO_NUMBER, NOT_TESTED, heading, ranges
from leaderboards.boards.statistics import ALPHA, Comparison

FLOOR = "mean_shape"
"""The variant that every method must beat: it never looks at the image."""
BETTER = {"True": True, "False": False}
"""How `higher_is_better` stands in a CSV file; an empty field means neither."""
Status = Literal["done", "incomplete", "unscored", "unsupported", "failed", "human", "reported"]


class ScoreColumn(NamedTuple):
    """A score of a board.

    Attributes:
        name: As in `scores.csv`.
        title: Its heading.
        unit: Of the values; empty for a pure number.
        higher_is_better: Direction of improvement; None where the best value is neither the highest nor the lowest.
        metric: The metric it belongs to.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool | None
    metric: str

    @property
    def heading(self) -> str:
        """The title with unit and direction."""
        return heading(self.title, self.unit, self.higher_is_better)

    def beats(self, value: float, other: float) -> bool:
        """Tell whether `value` is strictly better than `other`."""
        return value > other if self.higher_is_better else value < other


class Score(NamedTuple):
    """A measured or reported number.

    Attributes:
        value: The number; NaN where there is none.
        low: Lower end of the 95 % interval over cases, NaN where there is none.
        high: Upper end.
        sd_seeds: Sample standard deviation over seeds, NaN for a single seed.
        reason: Why there is no value.
        value_leak_free: The same on the test cases that no known leak touches; NaN where these are not known.
        low_leak_free: Lower end of its interval.
        high_leak_free: Upper end.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    sd_seeds: float = math.nan
    reason: str = ""
    value_leak_free: float = math.nan
    low_leak_free: float = math.nan
    high_leak_free: float = math.nan


class RowCost(NamedTuple):
    """What a row's runs say of their training and their speed.

    Attributes:
        weights: The pre-trained weights of all runs; empty without a run.
        input_size: Height x width of the network's input in all runs.
        epochs: Of each run's training, each number once.
        train_seconds: Mean time of preparing and fitting, per run.
        latency_ms: Median over the runs of the time per image.
        flops: Of one image.
        devices: On which the runs were trained.
        precision: The arithmetic of the first run.
        commit: Of the first run's checkout.
    """

    weights: str = ""
    input_size: str = ""
    epochs: tuple[int, ...] = ()
    train_seconds: float | None = None
    latency_ms: float | None = None
    flops: int | None = None
    devices: tuple[str, ...] = ()
    precision: str = ""
    commit: str = ""

    @classmethod
    def of_runs(cls, runs: Sequence[RunRecord]) -> RowCost:
        """Sum up finished runs; nothing where a person marked the films.

        Args:
            runs: Of one row, of any status.
        """
        done = [run for run in runs if run.status == "done" and not run.human]
        if not done:
            return cls()
        times = [run.latency_ms for run in done if run.latency_ms is not None]
        return cls(
            weights=", ".join(sorted({run.weights for run in done})),
            input_size=", ".join(sorted({"x".join(map(str, run.input_size)) for run in done if run.input_size})),
            epochs=tuple(sorted({run.epochs for run in done})),
            train_seconds=fmean(run.seconds.get("prepare", 0.0) + run.seconds.get("fit", 0.0) for run in done),
            latency_ms=median(times) if times else None,
            flops=next((run.flops for run in done if run.flops is not None), None),
            devices=tuple(sorted({run.device for run in done if run.device})),
            precision=done[0].precision,
            commit=done[0].commit,
        )


@dataclass(frozen=True)
class Row:
    """One line of a leaderboard.

    Args:
        status: Only `done` rows are ranked; `human` ones are what a person marked.
        variant: The method's variant.
        label: The variant, with the hyper-parameters that set it apart from its other rows.
        budget: How much training, in words.
        scores: ScoreColumn name to score.
        reported: ScoreColumn name to what the variant's own paper reports under this protocol and test set.
        method: The method whose variant this is; empty for papers' rows and for human readers.
        config: Hash of hyper-parameters and budget; empty where it is not known.
        cost: What its runs say of their training.
        runs: The runs behind it, of any status; none where it was read from published files.
        seeds: The seeds that are averaged.
        folds: The folds whose cases are pooled.
        cases: How many these are.
        cases_leak_free: How many of them no known leak touches; None where that is not known.
        paper: As cited.
        url: Of the paper.
        badges: What must be known beside the numbers.
        notes: What is missing or went wrong, in words.
        parameters: Number of trainable parameters, where known.
        settings: The hyper-parameters that are not the variant's own on the dataset, as `name=value`.
        rank: Place by the first column, equal numbers sharing a place; None where it is not ranked.
    """

    status: Status
    variant: str
    label: str
    budget: str = ""
    scores: Mapping[str, Score] = field(default_factory=dict)
    reported: Mapping[str, float] = field(default_factory=dict)
    method: str = ""
    config: str = ""
    cost: RowCost = field(default_factory=RowCost)
    runs: tuple[RunRecord, ...] = ()
    seeds: tuple[str, ...] = ()
    folds: tuple[str, ...] = ()
    cases: int = 0
    cases_leak_free: int | None = None
    paper: str = ""
    url: str = ""
    badges: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    parameters: float | None = None
    settings: tuple[str, ...] = ()
    rank: int | None = None

    @property
    def key(self) -> str:
        """What tells a measured row from the others of its board."""
        return f"{self.variant} {self.config}" if self.config else self.label

    @property
    def counted(self) -> dict[str, list[RunRecord]]:
        """The runs whose cases the scores pool, by seed: the newest of each fold, seeds and folds in their order."""
        done = sorted((run for run in self.runs if run.status == "done"), key=lambda run: run.finished)
        newest = {(str(run.cell.seed), run.cell.split): run for run in done}
        pooled = {seed: [newest[seed, fold] for fold in self.folds if (seed, fold) in newest] for seed in self.seeds}
        return {seed: runs for seed, runs in pooled.items() if runs}

    def score(self, column: str) -> Score:
        """The score in a column; one of NaN where there is none."""
        return self.scores.get(column, Score(math.nan))

    def value(self, column: str) -> float:
        """The number in a column; NaN where there is none."""
        return self.score(column).value

    def gap(self, column: str) -> float:
        """The number in a column minus what the variant's own paper reports; NaN where either is missing."""
        return self.value(column) - self.reported.get(column, math.nan)


@dataclass(frozen=True)
class Board:
    """One leaderboard: a named test set under one protocol, on the same films for all rows.

    Args:
        dataset: Its name.
        protocol: Its name.
        content: Fingerprint of the films and labels.
        test_set: Its name; empty where no run got as far as a test set.
        title: The dataset's full name.
        facts: What is known of the protocol: description, truth, unit, splits, caveats.
        columns: In order; the first one ranks.
        rows: Ranked ones first, then the unranked, then what papers report.
        absent: Metric to the reason why this dataset cannot have it.
        patient_rule: A sentence that says how films of one patient are known; empty where they are not.
        comparison: The ranked rows compared film by film; None where their runs have no case scores.
        phantom: Whether the films were drawn, so that nothing here compares methods.
        private: Whether no film may be shown, nor the number of patients.
        on: The films on which runs are ranked; on validation films they stand for the test set.
    """

    dataset: str
    protocol: str
    content: str
    test_set: str
    title: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[ScoreColumn, ...] = ()
    rows: tuple[Row, ...] = ()
    absent: Mapping[str, str] = field(default_factory=dict)
    patient_rule: str = ""
    comparison: Comparison | None = None
    phantom: bool = False
    private: bool = False
    on: On = "test"

    @property
    def ranked(self) -> tuple[Row, ...]:
        """The rows that have a rank, best first."""
        return tuple(row for row in self.rows if row.rank is not None)

    @property
    def measured(self) -> tuple[Row, ...]:
        """All rows of ours, ranked or not."""
        return tuple(row for row in self.rows if row.status not in {"human", "reported"})

    @property
    def leaked(self) -> bool:
        """Whether some of these test films are known to stand in training or twice in the test set."""
        return any(row.cases_leak_free is not None and row.cases_leak_free < row.cases for row in self.rows)

    @property
    def common_badges(self) -> tuple[str, ...]:
        """The badges that every ranked row has, said once instead of in each."""
        badges = [row.badges for row in self.ranked]
        return tuple(badge for badge in badges[0] if all(badge in others for others in badges)) if badges else ()

    @cached_property
    def compared(self) -> tuple[Row, ...]:
        """The rows of `comparison`, in its order."""
        rows = {row.key: row for row in self.ranked}
        return tuple(rows[key] for key in self.comparison.rows) if self.comparison else ()

    def tied_with(self, row: Row) -> tuple[Row, ...] | None:
        """Return the rows that no test separates from a row, best first; None where it was not tested."""
        if self.comparison is None or not self.comparison.tested or row.key not in self.comparison.rows:
            return None
        return tuple(self.compared[other] for other in self.comparison.tied_with(self.comparison.rows.index(row.key)))

    def tied_text(self, row: Row) -> str:
        """Write the ranks with which a row is tied.

        Returns:
            `none` where it is tied with no row, `not tested` without a test, nothing for a row without rank.
        """
        tied = self.tied_with(row)
        if tied is None:
            return "" if row.rank is None else NOT_TESTED
        return ranges(other.rank for other in tied if other.rank is not None) or "none"

    def beats_floor(self, row: Row) -> bool | None:
        """Tell whether paired tests find a row better than the trivial method; None where that was not tested."""
        compared = self.comparison
        if self.floor is None or compared is None or not compared.tested:
            return None
        if not {row.key, self.floor.key} <= set(compared.rows) or row.key == self.floor.key:
            return None
        mine, other = (compared.rows.index(key) for key in (row.key, self.floor.key))
        pair = compared.pair(min(mine, other), max(mine, other))
        mean = pair.mean.value if mine < other else -pair.mean.value
        return pair.p_holm < ALPHA and self.columns[0].beats(mean, 0.0)

    def rank_text(self, row: Row) -> str:
        """Write a rank, with `=` where it is shared."""
        if row.rank is None:
            return NO_NUMBER
        shared = sum(other.rank == row.rank for other in self.rows) > 1
        return f"{row.rank}=" if shared else str(row.rank)

    @cached_property
    def leak_free_ranks(self) -> dict[str, int]:
        """The rank of each ranked row by the first column on the leak-free cases alone, by `Row.key`."""
        if not self.ranked:
            return {}
        first = self.columns[0]
        values = {row.key: row.score(first.name).value_leak_free for row in self.ranked}
        known = {key: value for key, value in values.items() if not math.isnan(value)}
        ordered = sorted(known.values(), reverse=bool(first.higher_is_better))
        return {key: ordered.index(value) + 1 for key, value in known.items()}

    @property
    def folds_expected(self) -> int | None:
        """How many folds the protocol has; None where it is not known."""
        return len(self.facts.get("splits", ())) or None

    @property
    def name(self) -> str:
        """The board in a line."""
        return " · ".join(filter(None, (self.dataset, self.protocol, self.test_set)))

    @property
    def films(self) -> str:
        """The films on which the rows are ranked, in words."""
        return f"test set {self.test_set or 'unknown'}" if self.on == "test" else "validation films"

    @property
    def page(self) -> str:
        """File stem of the page of its dataset and protocol."""
        return f"{self.dataset}-{self.protocol}" + ("" if self.on == "test" else f"-{self.on}")

    @property
    def floor(self) -> Row | None:
        """The best ranked row of the trivial method."""
        return next((row for row in self.ranked if row.variant == FLOOR), None)


def known_facts(board: Board) -> Mapping[str, Any]:
    """Return the facts of a board, without caveats about films that leak where none of its films is one of them.

    A protocol states which of the dataset's films leak; a smaller copy, a phantom or another test set has none.
    """
    checked = any(row.cases_leak_free is not None for row in board.rows)
    if board.facts.get("leaks") == "films" and checked and not board.leaked:
        return {**board.facts, "caveats": ()}
    return board.facts


def rank_rows(rows: Sequence[Row], columns: Sequence[ScoreColumn]) -> list[Row]:
    """Rank the rows that pool the same folds as the row with most of them, by the first column.

    Rows with other folds were tested on other cases: they keep their numbers, become `incomplete` and are not ranked.

    Args:
        rows: Measured rows of one board.
        columns: The board's; the first one ranks.

    Returns:
        The rows in the order of display: by rank, then people, then the unranked by status and name.
    """
    rows = sorted(rows, key=lambda row: (row.status, row.label, row.budget))
    if not columns:
        return rows
    first = columns[0]
    folds = max((row.folds for row in rows if row.status != "human"), key=len, default=())
    scored = [row for row in rows if row.status == "done" and not math.isnan(row.value(first.name))]
    complete = [row for row in scored if row.folds == folds]
    complete.sort(key=lambda row: row.value(first.name), reverse=bool(first.higher_is_better))
    values = [row.value(first.name) for row in complete]
    ranked = [replace(row, rank=values.index(row.value(first.name)) + 1) for row in complete]
    other = [replace(row, status="incomplete") for row in scored if row.folds != folds]
    human = [row for row in rows if row.status == "human"]
    placed = {id(row) for row in (*scored, *human)}
    return [*ranked, *human, *other, *(row for row in rows if id(row) not in placed)]


def mark_against_floor(rows: Sequence[Row], columns: Sequence[ScoreColumn]) -> list[Row]:
    """Give every ranked row that is not strictly better than the trivial method a badge that says so."""
    floor = next((row for row in rows if row.variant == FLOOR and row.rank is not None), None)
    if floor is None:
        return list(rows)
    first, bar = columns[0], floor.value(columns[0].name)
    badge = f"not better than {FLOOR}"
    return [
        row
        if row.rank is None or row.variant == FLOOR or first.beats(row.value(first.name), bar)
        else replace(row, badges=(*row.badges, badge))
        for row in rows
    ]
