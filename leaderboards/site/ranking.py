"""A board's tables: scores with their intervals, costs, and what a reader must know of each row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

from leaderboards.boards.badges import gap
from leaderboards.boards.board import Board, Column, Row
from leaderboards.site.html import Cell, Head, Line, Table, number_cell
from leaderboards.site.statistics import tied_cell
from leaderboards.text.tables import NO_NUMBER, UNITS, count, difference, duration, number, rank_text

MAIN_SCORES = 8
"""Score columns of the first table."""
FURTHER_SCORES = 9
ARROWS = {True: "↑", False: "↓", None: ""}
STATUS_TEXT = {
    "done": "measured",
    "incomplete": "incomplete",
    "unscored": "not scored",
    "unsupported": "not supported",
    "failed": "failed",
    "reported": "reported",
    "human": "human readers",
}


def method_page(method: str) -> str:
    """Return the file of a method's page."""
    return f"method-{method}.html"


def method_of(row: Row) -> str:
    """Return the method whose variant a row is; empty for papers' rows and for people."""
    return row.runs[0].cell.method if row.runs and row.status != "human" else ""


def score_tables(board: Board, key: str) -> list[Table]:
    """Return a board's tables, the first with everything a ranking needs, the others with further scores.

    Args:
        board: The board.
        key: Prefix of the tables' ids.
    """
    packs = _packs(board.columns)
    first = Table(
        f"{key}-ranking",
        f"Ranking on {board.test_set}",
        (*_NAME_HEADS, *map(score_head, packs[0]), Head("Tied with", True, "ranks"), *_COST_HEADS, *_EFFORT_HEADS),
        tuple(_ranking_line(board, row, packs[0]) for row in board.rows),
        head=1,
        filter=True,
    )
    rest = [_further(board, pack, f"{key}-scores-{place}") for place, pack in enumerate(packs[1:], 1)]
    return [first, *(table for table in rest if table.lines)]


def score_head(column: Column) -> Head:
    """Return a score's heading: its unit and direction stand below it, and its best value comes first."""
    unit = UNITS.get(column.unit, column.unit)
    note = " ".join(filter(None, [unit, ARROWS[column.higher_is_better]]))
    return Head(column.title, True, note, "descending" if column.higher_is_better else "ascending")


def score_cell(row: Row, column: Column) -> Cell:
    """Return a score: the value with its spread over seeds, below it the interval and the paper's number."""
    score = row.scores.get(column.name)
    if score is None:
        return Cell(NO_NUMBER)
    text = number(score.value, column.unit)
    if not math.isnan(score.sd_seeds):
        text += f" ± {number(score.sd_seeds, column.unit)}"
    notes = (
        [f"{number(score.low, column.unit)} to {number(score.high, column.unit)}"] if math.isfinite(score.low) else []
    )
    if math.isfinite(score.value_leak_free):
        notes.append(f"leak-free {number(score.value_leak_free, column.unit)}")
    if column.name in row.reported:
        printed, distance = row.reported[column.name], difference(gap(row, column), column.unit)
        notes.append(f"paper {number(printed, column.unit)} ({distance.split()[0]})")
    return number_cell(score.value, text, *notes)


def rank_cell(board: Board, row: Row) -> Cell:
    """Return a row's rank."""
    return number_cell(row.rank, rank_text(board, row))


def cost_cells(row: Row) -> tuple[Cell, ...]:
    """Return parameters, time per image and training time."""
    latency = NO_NUMBER if row.latency_ms is None else f"{row.latency_ms:.1f}"
    return (
        number_cell(row.parameters, count(row.parameters)),
        number_cell(row.latency_ms, latency),
        number_cell(row.train_seconds, duration(row.train_seconds)),
    )


_NAME_HEADS = (Head("Rank", True), Head("Method"))
_COST_HEADS = (Head("Parameters", True), Head("Time", True, "ms per image"), Head("Training", True, "per run"))
_EFFORT_HEADS = (
    *(Head("Budget"), Head("Seeds", True), Head("Folds", True), Head("Input", note="h x w")),
    Head("Remarks", wide=True),
)


def chips(board: Board, row: Row) -> tuple[tuple[str, str], ...]:
    """Return a row's badges: its status where it is not simply measured, then what it warns of."""
    status = () if row.status == "done" else ((row.status, STATUS_TEXT[row.status]),)
    return (*status, *(("warning", badge) for badge in row.badges if badge not in board.common_badges))


def method_cell(board: Board, row: Row) -> Cell:
    """Return a row's name with its badges; it leads to the method's page, or to the paper of a reported row."""
    method = method_of(row)
    notes = (row.paper,) if row.status == "reported" else ()
    return Cell(row.label, row.label.lower(), notes, method_page(method) if method else row.url, chips(board, row))


def _ranking_line(board: Board, row: Row, columns: Sequence[Column]) -> Line:
    expected = len(board.facts.get("splits", ()))
    ours = bool(method_of(row))
    folds = number_cell(len(row.folds), f"{len(row.folds)}/{expected or '?'}") if ours else Cell(NO_NUMBER)
    seeds = number_cell(len(row.seeds), str(len(row.seeds))) if ours else Cell(NO_NUMBER)
    sizes = sorted({run.input_size for run in row.done if run.input_size})
    effort = (
        Cell(row.budget or NO_NUMBER, row.budget or None),
        seeds,
        folds,
        Cell(", ".join(f"{h}x{w}" for h, w in sizes) or NO_NUMBER, float(sizes[0][0] * sizes[0][1]) if sizes else None),
        Cell("; ".join([*row.settings, *row.notes]) or NO_NUMBER),
    )
    scores = (score_cell(row, column) for column in columns)
    name = (rank_cell(board, row), method_cell(board, row))
    return Line((*name, *scores, tied_cell(board, row), *cost_cells(row), *effort), row.status)


def _further(board: Board, columns: Sequence[Column], key: str) -> Table:
    """Return a table of further scores, of the rows that have any of them."""
    heads = (Head("Rank", True), Head("Method"), *map(score_head, columns))
    lines = [
        Line((rank_cell(board, row), _plain_name(board, row), *(score_cell(row, c) for c in columns)), row.status)
        for row in board.rows
        if any(column.name in row.scores for column in columns)
    ]
    names = dict.fromkeys(metric_title(column.metric) for column in columns)
    parts = board_columns_of(board, columns[0].metric)
    text = ", ".join(names)
    if len(names) == 1 and len(parts) > len(columns):
        text += f", {'first' if parts[0] == columns[0] else 'further'} columns"
    return Table(key, text[:1].upper() + text[1:], heads, tuple(lines), head=1)


def metric_title(name: str) -> str:
    """Write a metric's name for readers; short words are abbreviations.

    Example:
        >>> metric_title("coordinate_mse"), metric_title("sdr"), metric_title("radial_error")
        ('coordinate MSE', 'SDR', 'radial error')
    """
    return " ".join(word.upper() if len(word) < 4 else word for word in name.split("_"))


def board_columns_of(board: Board, metric: str) -> list[Column]:
    """Return a board's columns of one metric."""
    return [column for column in board.columns if column.metric == metric]


def _plain_name(board: Board, row: Row) -> Cell:
    return Cell(row.label, row.label.lower(), chips=() if row.status == "done" else chips(board, row)[:1])


def _packs(columns: Sequence[Column]) -> list[list[Column]]:
    """Spread columns over tables, a metric's columns together as long as they fit into one."""
    packs: list[list[Column]] = [[]]
    for _, group in groupby(columns, key=lambda column: column.metric):
        family = list(group)
        most = MAIN_SCORES if len(packs) == 1 else FURTHER_SCORES
        if packs[-1] and len(packs[-1]) + len(family) > most:
            packs.append([])
        for column in family:
            if len(packs[-1]) >= FURTHER_SCORES:
                packs.append([])
            packs[-1].append(column)
    return packs
