"""Prints built leaderboards on the terminal: the columns that matter most, in at most 120 characters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from leaderboards.boards.board import BETTER, Column, Score
from leaderboards.text.comparisons import COMPARISONS
from leaderboards.text.tables import COLUMNS, NO_NUMBER, count, duration, heading, number, score_text

WIDTH = 120
SCORES = 4
TEXT_WIDTH = 24
KEYS = ("dataset", "protocol", "content", "test_set")
TEXT = (*KEYS, "rank", "seeds", "folds", "method", "budget", "status")


def show(paths: Iterable[Path], console: Console | None = None) -> None:
    """Print the leaderboards that `build` wrote, shortened, and where the complete ones are.

    Args:
        paths: What `build` returned.
        console: Where to print; the terminal by default.
    """
    paths = list(paths)
    console = console or _console()
    columns = {column.name: column for path in paths if path.name == COLUMNS for column in _columns(path)}
    for path in (path for path in paths if path.suffix == ".csv" and path.name not in {COLUMNS, COMPARISONS}):
        frame = pd.read_csv(path, dtype=dict.fromkeys(TEXT, "str")).fillna(dict.fromkeys(TEXT, ""))
        for key, board in frame.groupby(list(KEYS), sort=False):
            console.print(_table(key, board, columns))
    console.print("Complete tables, with intervals, all metrics, papers and caveats:")
    for path in paths:
        console.print(f"  {path}", soft_wrap=True, highlight=False)


def _console() -> Console:
    console = Console()
    return Console(width=min(WIDTH, console.width) if console.is_terminal else WIDTH)


def _columns(path: Path) -> list[Column]:
    rows = pd.read_csv(path, dtype="str", keep_default_na=False).itertuples(index=False, name=None)
    return [Column(name, title, unit, BETTER.get(higher), metric) for name, title, unit, higher, metric in rows]


def _table(key: Sequence[Any], board: pd.DataFrame, columns: Mapping[str, Column]) -> Table:
    measured = board[board["status"] != "reported"]
    known = [columns[name] for name in map(str, board.columns) if name in columns]
    scores = [column for column in known if measured[column.name].notna().any()][:SCORES]
    budgets = measured.loc[measured["status"] != "human", "budget"].unique()
    title = f"{key[0]} / {key[1]} / {key[3] or 'no run was scored'}"
    table = Table(title=f"{title}, budget {budgets[0]}" if len(budgets) == 1 else title, title_justify="left")
    table.add_column("#", justify="right")
    for name in ["method", *(["budget"] if len(budgets) > 1 else [])]:
        longest = max(map(len, map(_method, measured.to_dict("records")) if name == "method" else budgets))
        table.add_column(name, overflow="fold", min_width=min(longest, TEXT_WIDTH))
    for name in [*(heading(column).replace(" (", "\n(") for column in scores), "params", "ms per\nimage", "training"]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in measured.to_dict("records"):
        shown = [str(row["budget"])] if len(budgets) > 1 else []
        table.add_row(str(row["rank"]), _method(row), *shown, *_scores(row, scores), *_cost(row))
    return table


def _method(row: dict[Any, Any]) -> str:
    return str(row["method"]) if row["status"] == "done" else f"{row['method']} ({row['status']})"


def _scores(row: dict[Any, Any], columns: Sequence[Column]) -> list[str]:
    """The first score with its interval, the others without."""
    cells = []
    for column in columns:
        value, low, high = (row[f"{column.name}{part}"] for part in ("", "_low", "_high"))
        interval = (low, high) if column is columns[0] else (math.nan, math.nan)
        cells.append(NO_NUMBER if math.isnan(value) else score_text(Score(value, *interval), column))
    return cells


def _cost(row: dict[Any, Any]) -> list[str]:
    values = (row["parameters"], row["latency_ms"], row["train_seconds"])
    parameters, latency, seconds = (None if math.isnan(value) else value for value in values)
    return [count(parameters), NO_NUMBER if latency is None else number(latency, "px"), duration(seconds)]
