"""Tables and plots of how methods do on corrupted films, from a store's `stress.csv`; the same bytes every time."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any, Final, NamedTuple

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmark.store import write_atomically
from leaderboards.boards.board import BETTER, FLOOR, Column, Score
from leaderboards.robustness.plot import MOST, Line, plot
from leaderboards.text.tables import NO_NUMBER, heading, markdown_table, number, score_text

STRESS: Final = "stress.csv"
CLEAN: Final = "clean"
SEVERITIES: Final = (1, 2, 3, 4, 5)
WIDTH: Final = 130
"""Of a printed table, where it does not go to a terminal."""
NUMBERS: Final = ("severity", "value", "low", "high", "cases")

HOW_TO_READ: Final = (
    "Every method answers the same test films, first as they are, then corrupted at five severities, with the weights "
    "it was trained to on clean films. The films are corrupted before a method's own resizing; where a corruption "
    "moves the points, the answers are moved back. The numbers are in pixels or millimetres of the film as it is.",
    "*Clean* is `value [low, high]` with its 95 % bootstrap interval over the films; *mean* is the mean over the "
    "severities, *worse by* how much larger than the clean one it is.",
    f"*CE* (corruption error) is a method's mean over the severities in % of that of `{FLOOR}`, which never looks at "
    "the film: at 100 % the film is no use to the method any more, above it the method misleads. *mCE* is its mean "
    "over the corruptions (Hendrycks and Dietterich, ICLR 2019).",
    "Severities of different corruptions cannot be compared: what each one means stands in the last table. A point "
    "that a shutter or metal hides, or that a turn moves off the film, counts like any other.",
)


class Key(NamedTuple):
    """Where scores can be compared."""

    dataset: str
    protocol: str
    content: str
    test_set: str


@dataclass(frozen=True)
class Method:
    """One method on one test set.

    Args:
        label: The variant, with its configuration where that has several.
        variant: Its name.
        config: The configuration's hash.
        budget: How it was trained, in words.
        badges: What a reader must know.
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
        methods: The best mean over all corruptions first.
        levels: Corruption to severity to what it means.
    """

    key: Key
    column: Column
    methods: tuple[Method, ...]
    levels: Mapping[str, Mapping[int, str]]

    @property
    def plot_name(self) -> str:
        """File name of the plot."""
        plain = re.sub(r"[^\w-]+", "-", self.key.test_set)
        return f"{self.key.dataset}-{self.key.protocol}-robustness-{plain}-{self.key.content[:6]}.svg"


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
    names = pd.read_csv(path, nrows=0).columns
    text = dict.fromkeys((name for name in names if name not in NUMBERS), "str")
    frame = pd.read_csv(path, dtype=text, keep_default_na=False, na_values={name: [""] for name in NUMBERS})
    groups = frame.groupby(list(Key._fields), sort=False)
    return [_board(Key(*map(str, key)), group) for key, group in groups]


def stress_page(store: Path | str, out: Path | str) -> list[Path]:
    """Write a Markdown page and a CSV file per dataset and protocol, and a plot per test set.

    Args:
        store: A run store that `osteomark stress` went over.
        out: The folder to write to; other files in it stay.

    Returns:
        The written files.

    Raises:
        FileNotFoundError: Nothing was stressed yet.
    """
    folder, written = Path(out), []
    for (dataset, protocol), group in groupby(read_stress(store), key=lambda board: board.key[:2]):
        boards, name = list(group), f"{dataset}-{protocol}-robustness"
        frame = pd.DataFrame([record for board in boards for record in _records(board)])
        texts = {f"{name}.md": page_text(boards), f"{name}.csv": _csv(frame)}
        texts |= {board.plot_name: _plot(board) for board in boards}
        written += [_write(folder / file, text) for file, text in texts.items()]
    return written


def page_text(boards: Sequence[StressBoard]) -> str:
    """Write the page of one dataset and protocol as Markdown.

    Args:
        boards: Its test sets.
    """
    key = boards[0].key
    parts = [f"# Robustness: {key.dataset}, protocol {key.protocol}", "\n".join(f"- {line}" for line in HOW_TO_READ)]
    for board in boards:
        films = f", films {board.key.content}" if len({board.key.content for board in boards}) > 1 else ""
        parts += [f"## Test set {board.key.test_set}{films}", _caption(board), _summary(board)]
        parts += [f"![{_alternative(board)}]({board.plot_name})", _table(board)]
    parts += ["## What the severities mean", _meanings(boards)]
    return "\n\n".join(parts) + "\n"


def show(boards: Sequence[StressBoard], console: Console | None = None) -> None:
    """Print each method's clean score, and how much worse it gets with every corruption.

    Args:
        boards: What to print.
        console: Where; the terminal by default.
    """
    console = console or Console(width=None if sys.stdout.isatty() else WIDTH)
    for board in boards:
        title = (
            f"{' / '.join((*board.key[:2], board.key.test_set))}: worse by, in % of the clean {heading(board.column)}"
        )
        table = Table(title=title, title_justify="left")
        for name in ["Method", "Clean", *board.levels, "mCE"]:
            table.add_column(name, no_wrap=True, justify="left" if name == "Method" else "right")
        for method in board.methods:
            worse = [_percent(method.degradation(name)) for name in board.levels]
            table.add_row(
                method.label, number(method.clean.value, board.column.unit), *worse, _share(method.mean_error)
            )
        console.print(table)


def _board(key: Key, frame: pd.DataFrame) -> StressBoard:
    """Build a board from its rows of the first column, the one that ranks."""
    rows: list[dict[Any, Any]] = frame[frame["column"] == frame["column"].iloc[0]].to_dict("records")
    first = rows[0]
    column = Column(first["column"], first["title"], first["unit"], BETTER.get(first["higher_is_better"]), "")
    levels: dict[str, dict[int, str]] = {}
    for row in sorted(rows, key=lambda row: int(row["severity"])):
        if row["corruption"] != CLEAN:
            levels.setdefault(row["corruption"], {})[int(row["severity"])] = row["level"]
    names = [row["corruption"] for row in rows if row["corruption"] != CLEAN]
    levels = {name: levels[name] for name in dict.fromkeys(names)}
    groups = [list(group) for _, group in groupby(rows, key=lambda row: (row["variant"], row["config"]))]
    variants = [group[0]["variant"] for group in groups]
    built = [_method(group, levels, column, alone=variants.count(group[0]["variant"]) == 1) for group in groups]
    methods = [method for method in built if method is not None]
    floors = [method for method in methods if method.variant == FLOOR]
    floor = {name: floors[0].mean(name) for name in levels} if floors else {}
    methods = [replace(method, floor=floor) for method in methods]
    methods.sort(key=lambda method: _order(method, column))
    return StressBoard(key, column, tuple(methods), levels)


def _method(
    rows: Sequence[Mapping[str, Any]], levels: Mapping[str, Mapping[int, str]], column: Column, *, alone: bool
) -> Method | None:
    """Build a method, without the corruptions that it lacks at some severity: their means would mean another thing."""
    found: dict[str, dict[int, Score]] = {}
    for row in rows:
        score = Score(row["value"], row["low"], row["high"])
        found.setdefault(row["corruption"], {})[int(row["severity"])] = score
    if CLEAN not in found:
        return None
    first = rows[0]
    return Method(
        label=first["variant"] if alone else f"{first['variant']} ({first['config']})",
        **{name: first[name] for name in ("variant", "config", "budget", "badges")},
        cases=int(first["cases"]),
        clean=found[CLEAN][0],
        scores={name: found[name] for name in levels if found.get(name, {}).keys() == levels[name].keys()},
        floor={},
        higher_is_better=bool(column.higher_is_better),
    )


def _order(method: Method, column: Column) -> tuple[bool, float, str]:
    value = _mean(method.mean(name) for name in method.scores)
    return math.isnan(value), -value if column.higher_is_better else value, method.label


def _mean(values: Any) -> float:  # noqa: ANN401  # any iterable of numbers
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan


def _percent(value: float) -> str:
    return NO_NUMBER if math.isnan(value) else f"{value:+.0f}" if round(value) else "0"


def _share(value: float) -> str:
    return NO_NUMBER if math.isnan(value) else f"{value:.0f} %"


def _worse(value: float) -> str:
    return NO_NUMBER if math.isnan(value) else f"{_percent(value)} %"


def _caption(board: StressBoard) -> str:
    cases = sorted({method.cases for method in board.methods})
    badges = list(dict.fromkeys(badge for method in board.methods for badge in method.badges.split("; ") if badge))
    budgets = sorted({method.budget for method in board.methods})
    sentences = [
        f"{' or '.join(map(str, cases))} films; the score is {heading(board.column)}.",
        f"Training budget: {'; '.join(budgets)}.",
        f"Caveats: **{'; '.join(badges)}**." if badges else "",
        f"Fingerprint of the films and labels: `{board.key.content}`." if board.key.content else "",
    ]
    return " ".join(filter(None, sentences))


def _summary(board: StressBoard) -> str:
    header = ["Method", f"Clean: {heading(board.column)}", *(f"{name}: worse by" for name in board.levels)]
    rows = [
        [
            method.label,
            score_text(method.clean, board.column),
            *(_worse(method.degradation(name)) for name in board.levels),
            _worse(method.mean_degradation),
            _share(method.mean_error),
        ]
        for method in board.methods
    ]
    return markdown_table([*header, "Mean: worse by", "mCE"], rows)


def _table(board: StressBoard) -> str:
    severities = sorted({severity for levels in board.levels.values() for severity in levels})
    header = ["Corruption", "Method", f"Clean {heading(board.column)}", *map(str, severities), "Mean", "Worse by", "CE"]
    rows = [
        [
            name,
            method.label,
            number(method.clean.value, board.column.unit),
            *(_cell(method.scores.get(name, {}).get(severity), board.column) for severity in severities),
            number(method.mean(name), board.column.unit),
            _worse(method.degradation(name)),
            _share(method.error(name)),
        ]
        for name in board.levels
        for method in board.methods
    ]
    return markdown_table(header, rows)


def _cell(score: Score | None, column: Column) -> str:
    return NO_NUMBER if score is None else number(score.value, column.unit)


def _meanings(boards: Sequence[StressBoard]) -> str:
    levels = {name: texts for board in boards for name, texts in board.levels.items()}
    rows = [[name, *(texts.get(severity, NO_NUMBER) for severity in SEVERITIES)] for name, texts in levels.items()]
    return markdown_table(["Corruption", *map(str, SEVERITIES)], rows)


def _records(board: StressBoard) -> list[dict[str, Any]]:
    """Return a board as data: one row per corruption and method."""
    return [
        {
            **board.key._asdict(),
            **{"method": method.label, "variant": method.variant, "config": method.config, "budget": method.budget},
            **{"corruption": name, "column": board.column.name, "unit": board.column.unit, "cases": method.cases},
            "clean": method.clean.value,
            **{f"severity_{s}": score.value for s, score in _all_severities(method, name).items()},
            **{"mean": method.mean(name), "worse_by_percent": method.degradation(name)},
            **{"corruption_error_percent": method.error(name), "mce_percent": method.mean_error},
        }
        for name in board.levels
        for method in board.methods
    ]


def _all_severities(method: Method, corruption: str) -> dict[int, Score]:
    scores = method.scores.get(corruption, {})
    return {severity: scores.get(severity, Score(math.nan)) for severity in SEVERITIES}


def _alternative(board: StressBoard) -> str:
    """Say in words what the plot shows."""
    best, names = board.methods[0], ", ".join(board.levels)
    drawn = f" of the first {MOST} methods" if len(board.methods) > MOST else ""
    return f"{board.column.title}{drawn} against the severity of {names}; the lowest lines over all are {best.label}'s"


def _plot(board: StressBoard) -> str:
    lines = [
        Line(
            method.label,
            method.clean.value,
            {name: {s: score.value for s, score in scores.items()} for name, scores in method.scores.items()},
            floor=method.variant == FLOOR,
        )
        for method in board.methods
    ]
    return plot(lines, list(board.levels), heading(board.column))


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.8g", lineterminator="\n")


def _write(path: Path, text: str) -> Path:
    write_atomically(path, lambda file: file.write_text(text, encoding="utf-8", newline="\n"))
    return path
