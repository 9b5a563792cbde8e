"""Turns boards into Markdown tables and data frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from typing import Any

import pandas as pd

from leaderboards.boards.board import Board, Column, Row, Score
from leaderboards.boards.ties import TIED, tied_text

COLUMNS = "columns.csv"
"""The file that says what the score columns of the CSV files mean."""
SCORES_PER_TABLE = 8
WIDEST_METRIC = 9
"""A metric of more columns is spread evenly over several tables."""
UNITS = {"fraction": "fraction of the image", "deg": "degrees"}
NO_NUMBER = "-"


def number(value: float, unit: str = "") -> str:
    """Write a number: two decimals in px, mm, degrees and %, three significant digits where it is tiny.

    Example:
        >>> number(1.234, "mm"), number(0.00446, "fraction"), number(0.93761)
        ('1.23', '4.46e-3', '0.9376')
    """
    if math.isnan(value):
        return "n/a"
    if unit in {"px", "mm", "deg", "%"}:
        return f"{value:.2f}"
    if value != 0 and abs(value) < 0.01:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{digits}e{int(exponent)}"
    return f"{value:.4f}"


def difference(value: float, unit: str) -> str:
    """Write a difference of two numbers with its sign and unit.

    Example:
        >>> difference(1.994, "mm"), difference(-58.42, "%"), difference(0.0005, "fraction")
        ('+1.99 mm', '-58.42 points', '+5.00e-4')
    """
    sign = "" if math.isnan(value) or value < 0 else "+"
    shown = {"%": "points", "deg": "degrees", "fraction": ""}.get(unit, unit)
    return f"{sign}{number(value, unit)} {shown}".rstrip()


def count(value: float | None) -> str:
    """Write a large count with a suffix.

    Example:
        >>> count(23_226_269), count(1_191_000_000), count(716), count(None)
        ('23.23 M', '1.19 G', '716', '-')
    """
    if value is None:
        return NO_NUMBER
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.2f} {suffix}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """Write a time span.

    Example:
        >>> duration(42.4), duration(754), duration(7500), duration(None)
        ('42 s', '12 min 34 s', '2 h 5 min', '-')
    """
    if seconds is None:
        return NO_NUMBER
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def heading(column: Column) -> str:
    """Name a score with its unit and direction.

    Example:
        >>> heading(Column("mre_mm", "MRE", "mm", False, "radial_error"))
        'MRE (mm) ↓'
    """
    unit = UNITS.get(column.unit, column.unit)
    arrow = {True: "↑", False: "↓", None: ""}[column.higher_is_better]
    return " ".join(filter(None, [column.title, f"({unit})" if unit else "", arrow]))


def score_text(score: Score | None, column: Column, reported: float | None = None) -> str:
    """Write `value ± spread over seeds [low, high] (paper: number)`, as far as each is known."""
    if score is None:
        return NO_NUMBER
    text = number(score.value, column.unit)
    if not math.isnan(score.sd_seeds):
        text += f" ± {number(score.sd_seeds, column.unit)}"
    if not math.isnan(score.low):
        text += f" [{number(score.low, column.unit)}, {number(score.high, column.unit)}]"
    return text if reported is None else f"{text} (paper: {number(reported, column.unit)})"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Write a pipe table.

    Example:
        >>> print(markdown_table(["a", "b"], [["1", "x|y"]]))
        | a | b |
        | --- | --- |
        | 1 | x\|y |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_one_line(cell) for cell in line) + " |" for line in lines)


def score_tables(board: Board) -> list[str]:
    """Write a board's scores, a few columns to a table; the first one also says how the rows were made."""
    packed = packs(board)
    ranking, *others = packed[0]
    leak_free = [f"{ranking.title} leak-free {heading(ranking).removeprefix(ranking.title)}"] if board.leaked else []
    head = ["Rank", "Method", "Budget", "Seeds", "Folds", TIED, heading(ranking), *leak_free, *map(heading, others)]
    first = [
        [
            *(*_name(board, row), *_effort(board, row), *_scores(row, [ranking], board)),
            *(_leak_free(row, ranking) for _ in leak_free),
            *(*_scores(row, others, board), _remarks(board, row)),
        ]
        for row in board.rows
    ]
    rest = [
        markdown_table(
            ["Rank", "Method", *map(heading, pack)],
            [[*_name(board, row), *_scores(row, pack, board)] for row in board.rows if _says_something(row, pack)],
        )
        for pack in packed[1:]
    ]
    return [markdown_table([*head, "Remarks"], first), *rest]


def cost_table(board: Board) -> str:
    """Write where each row comes from and what it costs."""
    facts = ["Paper", "Weights", "Input (h x w)", "Parameters", "FLOPs", "ms per image", "Training"]
    header = ["Rank", "Method", *facts, "Set differently from the method's own"]
    rows = [
        [
            *_name(board, row),
            f"[{row.paper}]({row.url})" if row.url else row.paper or NO_NUMBER,
            _weights(row) or NO_NUMBER,
            _input_size(row) or NO_NUMBER,
            count(row.parameters),
            count(_flops(row)),
            NO_NUMBER if row.latency_ms is None else f"{row.latency_ms:.1f}",
            _training(row),
            ", ".join(row.settings) or NO_NUMBER,
        ]
        for row in board.rows
        if row.status not in {"human", "reported"} or row.parameters is not None
    ]
    return markdown_table(header, rows)


def board_frame(board: Board) -> pd.DataFrame:
    """Return a board as data: one row per line, numbers as numbers."""
    return pd.DataFrame([_record(board, row) for row in board.rows])


def column_frame(boards: Sequence[Board]) -> pd.DataFrame:
    """Return what the score columns of the boards' data frames mean."""
    columns = {column.name: column for board in boards for column in board.columns}
    return pd.DataFrame(columns.values(), columns=list(Column._fields))


def rank_text(board: Board, row: Row) -> str:
    """Write a rank, with `=` where it is shared."""
    if row.rank is None:
        return NO_NUMBER
    shared = sum(other.rank == row.rank for other in board.rows) > 1
    return f"{row.rank}=" if shared else str(row.rank)


def _record(board: Board, row: Row) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for column in board.columns:
        score = row.scores.get(column.name, Score(math.nan))
        scores[column.name] = score.value
        scores |= {f"{column.name}_{part}": getattr(score, part) for part in ("low", "high", "sd_seeds")}
        scores[f"{column.name}_leak_free"] = score.value_leak_free
        scores[f"{column.name}_paper"] = row.reported.get(column.name)
        scores[f"{column.name}_gap"] = score.value - row.reported.get(column.name, math.nan)
    run = row.done[0] if row.done and row.status != "human" else None
    return {
        **{key: getattr(board, key) for key in ("dataset", "protocol", "content", "test_set")},
        **{"rank": rank_text(board, row), "tied_with": tied_text(board, row), "status": row.status},
        **{"method": row.label, "variant": row.variant},
        **{"paper": row.paper, "url": row.url, "budget": row.budget, "weights": _weights(row)},
        **{"seeds": " ".join(row.seeds), "folds": " ".join(row.folds), "folds_expected": _expected(board, row)},
        **{"cases": row.cases or None, "cases_leak_free": row.cases_leak_free},
        **scores,
        **{"parameters": row.parameters, "flops": _flops(row), "latency_ms": row.latency_ms},
        **{"train_seconds": row.train_seconds, "epochs": run and run.epochs, "input_size": _input_size(row)},
        "settings": ", ".join(row.settings),
        **{"device": run and run.device, "precision": run and run.precision, "commit": run and run.commit},
        **{"badges": "; ".join(row.badges), "notes": "; ".join(row.notes)},
    }


def packs(board: Board) -> list[list[Column]]:
    """Spread the columns over tables.

    A metric is torn apart only if it is too wide for one table, and columns that only some of the measured rows have
    (a covariance, say) do not share a table with those of all rows.
    """
    spread: list[list[Column]] = [[]]
    owners: set[str] = set()
    for _, group in groupby(board.columns, key=lambda column: column.metric):
        family = list(group)
        own = {row.label for row in board.measured if family[0].name in row.scores}
        for part in _evenly(family):
            if spread[-1] and (len(spread[-1]) + len(part) > SCORES_PER_TABLE or own != owners):
                spread.append([])
            spread[-1] += part
            owners = own
    return spread


def _evenly(family: Sequence[Column]) -> list[Sequence[Column]]:
    count = math.ceil(len(family) / WIDEST_METRIC)
    ends = [math.ceil(part * len(family) / count) for part in range(count + 1)]
    return [family[start:end] for start, end in pairwise(ends)]


def _name(board: Board, row: Row) -> list[str]:
    marked = row.status in {"human", "reported"}
    return [rank_text(board, row), f"*{row.status}:* {row.label}" if marked else row.label]


def _effort(board: Board, row: Row) -> list[str]:
    if row.status in {"human", "reported"}:
        return [row.budget if row.status == "reported" else NO_NUMBER, *[NO_NUMBER] * 3]
    seeds = f"{len(row.seeds)} ({', '.join(row.seeds)})" if row.seeds else "0"
    return [row.budget, seeds, f"{len(row.folds)}/{_expected(board, row) or '?'}", tied_text(board, row) or NO_NUMBER]


def _expected(board: Board, row: Row) -> int | None:
    return None if row.status == "reported" else len(board.facts.get("splits", ())) or None


def _scores(row: Row, columns: Sequence[Column], board: Board) -> list[str]:
    """The ranking score comes with what the method's paper prints; the others stand beside their papers' elsewhere."""
    if not row.scores:
        return [row.status] * len(columns)
    printed = {c.name: row.reported.get(c.name) for c in board.columns[:1]}
    return [score_text(row.scores.get(c.name), c, printed.get(c.name)) for c in columns]


def _leak_free(row: Row, column: Column) -> str:
    score = row.scores.get(column.name)
    if row.cases_leak_free is None or score is None:
        return NO_NUMBER
    return score_text(Score(score.value_leak_free, score.low_leak_free, score.high_leak_free), column)


def _says_something(row: Row, columns: Sequence[Column]) -> bool:
    failed = row.status != "reported" and not row.scores
    return failed or any(column.name in row.scores for column in columns)


def _remarks(board: Board, row: Row) -> str:
    status = "" if row.status in {"done", "failed", "unsupported", "human", "reported"} else row.status
    source = f"[{row.paper}]({row.url})" if row.status == "reported" else ""
    badges = [f"**{badge}**" for badge in row.badges if badge not in board.common_badges]
    return "; ".join(filter(None, [status, source, *badges, *row.notes])) or NO_NUMBER


def _weights(row: Row) -> str:
    return ", ".join(sorted({run.weights for run in row.done}))


def _input_size(row: Row) -> str:
    return ", ".join(sorted({"x".join(map(str, run.input_size)) for run in row.done if run.input_size}))


def _flops(row: Row) -> int | None:
    return next((run.flops for run in row.done if run.flops is not None), None)


def _training(row: Row) -> str:
    if not row.done:
        return NO_NUMBER
    epochs = sorted({run.epochs for run in row.done})
    plural = "" if epochs == [1] else "s"
    return f"{duration(row.train_seconds)}, {'/'.join(map(str, epochs))} epoch{plural}"


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
