"""The tables of a board: scores, scores without known leaks, what papers print, costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import Final

from leaderboards.boards.board import Board, Row, RowCost, Score, ScoreColumn
from leaderboards.boards.numbers import NO_NUMBER, count, duration, interval, number, signed
from leaderboards.pages.model import BLANK, STATUS_TEXT, WARNING, Mark, PageTable, TableCell, TableColumn, TableRow

SCORES_PER_TABLE: Final = 8
WIDEST_METRIC: Final = 9
"""A metric of more columns is spread evenly over several tables."""
TIED: Final = "Tied with rank"
OVER_FLOOR: Final = "Better than the floor"
RANK: Final = TableColumn("Rank", numeric=True, name="rank")
METHOD: Final = TableColumn("Method", name="method")
COSTS: Final = (
    TableColumn("Parameters", numeric=True, name="parameters"),
    TableColumn("Time", "ms per image", numeric=True, name="latency_ms"),
    TableColumn("Training", "per run", numeric=True, name="train_seconds"),
)
FROM_SCRATCH: Final = "none"
"""The weights of a run that started from no pre-trained ones."""
LEAK_FREE: Final = "_leak_free"
"""Suffix of the name of a column of scores without leaked cases."""
SCORE_NOTE: Final = (
    "In brackets: 95 % interval, by 1,000 bootstrap resamples of patients where they are known, else of films. *±*, "
    "where it stands, is the standard deviation over seeds. A row marked *reported* is printed in a paper, was not "
    "measured here and is not ranked."
)


def score_column(column: ScoreColumn) -> TableColumn:
    """Return the table column of a score."""
    return TableColumn(column.title, column.unit, column.higher_is_better, numeric=True, name=column.name)


def score_cell(row: Row, column: ScoreColumn) -> TableCell:
    """Return a score with its spread over seeds, its interval and what the method's paper prints."""
    if column.name not in row.scores:
        return BLANK
    printed = row.reported.get(column.name)
    paper = () if printed is None else (_paper_note(printed, row.gap(column.name), column.unit),)
    return _cell_of(row.scores[column.name], column, *paper)


def rank_cell(board: Board, row: Row) -> TableCell:
    """Return a row's rank."""
    return TableCell.number(row.rank, board.rank_text(row))


def marks_of(board: Board, row: Row) -> tuple[Mark, ...]:
    """Return a row's status where it was not simply measured, then what sets it apart from other rows."""
    own = [badge for badge in row.badges if badge not in board.common_badges]
    scratch = any(other.cost.weights == FROM_SCRATCH for other in board.ranked)
    if scratch and row.cost.weights not in {"", FROM_SCRATCH}:
        own.insert(0, f"pre-trained: {row.cost.weights}")
    return (*_status_mark(row), *(Mark(WARNING, badge) for badge in own))


def cost_cells(row: Row) -> tuple[TableCell, ...]:
    """Return the cells of `COSTS`."""
    cost, epochs = row.cost, row.cost.epochs
    latency = NO_NUMBER if cost.latency_ms is None else f"{cost.latency_ms:.1f}"
    plural = "" if epochs == (1,) else "s"
    return (
        TableCell.number(row.parameters, count(row.parameters)),
        TableCell.number(cost.latency_ms, latency),
        TableCell.number(
            cost.train_seconds,
            duration(cost.train_seconds),
            *([f"{'/'.join(map(str, epochs))} epoch{plural}"] if epochs else []),
        ),
    )


def start_text(cost: RowCost) -> str:
    """Say what weights a training started from; nothing where there was none."""
    if not any(cost.epochs):
        return ""
    return "from scratch" if cost.weights == FROM_SCRATCH else f"from {cost.weights} weights"


def method_page(method: str) -> str:
    """Return the file stem of a method's page."""
    return f"method-{method}"


def score_tables(board: Board, key: str) -> list[PageTable]:
    """Spread a board's scores over tables; the first one also says how the rows were made.

    Args:
        board: A board with columns.
        key: Prefix of the tables' ids.
    """
    ranking, *further = spread_columns(board)
    return [
        _ranking_table(board, ranking, key),
        *(_further_table(board, columns, f"{key}-scores-{place}") for place, columns in enumerate(further, 1)),
    ]


def unscored_table(board: Board, key: str) -> PageTable:
    """Return the rows of a board without any score, and why they have none."""
    columns = (TableColumn("Method"), TableColumn("Budget"), TableColumn("Status"), TableColumn("Why", wide=True))
    rows = [
        TableRow(
            (
                TableCell.name(row.label),
                TableCell(row.budget),
                TableCell(STATUS_TEXT[row.status]),
                TableCell.joined(row.notes),
            ),
            row.status,
        )
        for row in board.rows
    ]
    return PageTable(f"{key}-ranking", "Runs without a score", columns, tuple(rows))


def cost_table(board: Board, key: str) -> PageTable:
    """Return where each row comes from and what it costs."""
    origin = (TableColumn("Paper"), TableColumn("Weights"), TableColumn("Input", "h x w"))
    columns = (RANK, METHOD, *COSTS, TableColumn("FLOPs", numeric=True), *origin)
    rows = [
        board_row(
            board,
            row,
            *(*cost_cells(row), TableCell.number(row.cost.flops, count(row.cost.flops))),
            *(
                TableCell(row.paper or NO_NUMBER, url=row.url),
                TableCell.joined([row.cost.weights]),
                TableCell.joined([row.cost.input_size]),
            ),
            TableCell(", ".join(row.settings) or NO_NUMBER),
        )
        for row in board.rows
        if row.status not in {"human", "reported"} or row.parameters is not None
    ]
    settings = TableColumn("Set differently from the method's own", wide=True)
    return PageTable(
        f"{key}-costs", "Where the rows come from and what they cost", (*columns, settings), tuple(rows), 1
    )


def _cell_of(score: Score, column: ScoreColumn, *notes: str) -> TableCell:
    spread = "" if math.isnan(score.sd_seeds) else f" ± {number(score.sd_seeds, column.unit)}"
    cell = TableCell.number(score.value, number(score.value, column.unit) + spread, *notes)
    return cell._replace(interval=interval(score.low, score.high, column.unit))


def _paper_note(printed: float, gap: float, unit: str) -> str:
    return f"paper {number(printed, unit)}" + ("" if math.isnan(gap) else f", gap {signed(gap, unit)}")


def leak_free_cell(row: Row, column: ScoreColumn) -> TableCell:
    """Return a score on the leak-free cases with its interval."""
    score = row.scores.get(column.name)
    if row.cases_leak_free is None or score is None:
        return BLANK
    return _cell_of(Score(score.value_leak_free, score.low_leak_free, score.high_leak_free), column)


def _status_mark(row: Row) -> tuple[Mark, ...]:
    return () if row.status == "done" else (Mark(row.status, STATUS_TEXT[row.status]),)


def board_row(board: Board, row: Row, *cells: TableCell, name: TableCell | None = None) -> TableRow:
    """Return a line of a table that begins with `RANK` and `METHOD`."""
    return TableRow((rank_cell(board, row), name or plain_name(row), *cells), row.status, row.key)


def plain_name(row: Row) -> TableCell:
    """Return a row's name with its status."""
    return TableCell.name(row.label, marks=_status_mark(row))


def _method_cell(board: Board, row: Row) -> TableCell:
    """Return a row's name with its badges; it leads to the method's page, or to the paper of a reported row."""
    paper, url = ((row.paper,), row.url) if row.status == "reported" else ((), "")
    page = method_page(row.method) if row.method else ""
    return TableCell.name(row.label, *paper, page=page, marks=marks_of(board, row))._replace(url=url)


def _ranking_table(board: Board, columns: Sequence[ScoreColumn], key: str) -> PageTable:
    first, *others = columns
    clean = first._replace(name=first.name + LEAK_FREE, title=f"{first.title} leak-free")
    scores = [first, *([clean] if board.leaked else []), *others]
    effort = (
        TableColumn("Budget", name="budget"),
        TableColumn("Seeds", numeric=True),
        TableColumn("Folds", numeric=True),
    )
    rows = [
        board_row(
            board,
            row,
            *(score_cell(row, first), *([leak_free_cell(row, first)] if board.leaked else [])),
            *(score_cell(row, column) for column in others),
            *(_tied_cell(board, row), *_effort(board, row), TableCell.joined(row.notes)),
            name=_method_cell(board, row),
        )
        for row in board.rows
    ]
    return PageTable(
        f"{key}-ranking",
        f"Ranking on {board.test_set}",
        (
            RANK,
            METHOD,
            *map(score_column, scores),
            TableColumn(TIED, numeric=True),
            *effort,
            TableColumn("Remarks", wide=True),
        ),
        _with_best(rows, scores, 2),
        head=1,
        filtered=True,
        note=SCORE_NOTE,
    )


def _further_table(board: Board, columns: Sequence[ScoreColumn], key: str) -> PageTable:
    """Return a table of further scores, of the rows that have any of them or failed."""
    rows = [
        board_row(board, row, *(score_cell(row, column) for column in columns))
        for row in board.rows
        if (row.status != "reported" and not row.scores) or any(column.name in row.scores for column in columns)
    ]
    names = list(dict.fromkeys(metric_title(column.metric) for column in columns))
    family = [column for column in board.columns if column.metric == columns[0].metric]
    if len(names) == 1 and len(family) > len(columns):
        names.append("first columns" if family[0] == columns[0] else "further columns")
    caption = ", ".join(names)
    heads = (RANK, METHOD, *map(score_column, columns))
    return PageTable(key, caption[:1].upper() + caption[1:], heads, _with_best(rows, columns, 2), head=1, folded=True)


def metric_title(name: str) -> str:
    """Write a metric's name in words; short words are abbreviations.

    Example:
        >>> metric_title("coordinate_mse"), metric_title("sdr"), metric_title("radial_error")
        ('coordinate MSE', 'SDR', 'radial error')
    """
    return " ".join(word.upper() if len(word) < 4 else word for word in name.split("_"))


def _with_best(rows: Sequence[TableRow], columns: Sequence[ScoreColumn], start: int) -> tuple[TableRow, ...]:
    """Mark in each score column the ranked rows whose value reads like the best one."""
    cells = [list(row.cells) for row in rows]
    for place, column in enumerate(columns, start):
        ranked = [line for line in cells if line[0].sort is not None and line[place].sort is not None]
        if column.higher_is_better is None or not ranked:
            continue
        order = sorted(ranked, key=lambda line: float(line[place].sort or 0), reverse=column.higher_is_better)
        best = order[0][place].text.partition(" ")[0]
        for line in ranked:
            line[place] = line[place]._replace(best=line[place].text.partition(" ")[0] == best)
    return tuple(row._replace(cells=tuple(line)) for line, row in zip(cells, rows, strict=True))


def _tied_cell(board: Board, row: Row) -> TableCell:
    tied = board.tied_with(row)
    return TableCell.number(None if tied is None else len(tied), board.tied_text(row) or NO_NUMBER)


def _effort(board: Board, row: Row) -> tuple[TableCell, ...]:
    """Return the cells of budget, seeds and folds."""
    if row.status in {"human", "reported"}:
        return (TableCell.joined([row.budget]) if row.status == "reported" else BLANK, BLANK, BLANK)
    seeds = f"{len(row.seeds)} ({', '.join(row.seeds)})" if row.seeds else "0"
    folds = f"{len(row.folds)}/{board.folds_expected or '?'}"
    return (
        TableCell(row.budget, row.budget),
        TableCell.number(len(row.seeds), seeds),
        TableCell.number(len(row.folds), folds),
    )


def spread_columns(board: Board) -> list[list[ScoreColumn]]:
    """Spread the columns over tables.

    A metric is torn apart only if it is too wide for one table, and columns that only some of the measured rows have
    (a covariance, say) do not share a table with those of all rows.
    """
    spread: list[list[ScoreColumn]] = [[]]
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


def _evenly(family: Sequence[ScoreColumn]) -> list[Sequence[ScoreColumn]]:
    parts = math.ceil(len(family) / WIDEST_METRIC)
    ends = [math.ceil(part * len(family) / parts) for part in range(parts + 1)]
    return [family[start:end] for start, end in pairwise(ends)]
