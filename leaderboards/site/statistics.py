"""What separates the rows of a board: paired differences, ties and the diagram of average ranks."""

from __future__ import annotations

import math
from typing import NamedTuple

from leaderboards.boards.board import Board, Column, Row
from leaderboards.boards.statistics import ALPHA, Comparison
from leaderboards.boards.ties import tied_text
from leaderboards.site.html import Cell, Head, Line, Table, number_cell
from leaderboards.text.comparisons import HOW_TO_TELL, p_text, resampling_text
from leaderboards.text.diagrams import MOST as MOST_DRAWN
from leaderboards.text.tables import NO_NUMBER, number, rank_text

MOST = 12
"""Rows of the table of pairs; a larger one cannot be read."""
BETTER, WORSE = 0, 4
"""Backgrounds of differences that are no chance."""


class Statistics(NamedTuple):
    """The section of a board.

    Attributes:
        sentences: What was tested, and what came out.
        pairs: The difference of every two rows.
        image: Where the diagram of average ranks lies in the site; empty without one.
        alternative: The same in words.
    """

    sentences: tuple[str, ...]
    pairs: Table
    image: str
    alternative: str


def statistics_of(board: Board, key: str, picture: str) -> Statistics | None:
    """Return a board's statistics; None where fewer than two rows could be compared.

    Args:
        board: With its comparison.
        key: Prefix of ids.
        picture: The diagram of average ranks in the site; empty where there is none.
    """
    found = board.comparison
    if found is None or not found.pairs:
        return None
    best = sorted(zip(found.average_ranks, (row.label for row in board.compared), strict=True))[:MOST_DRAWN]
    text = "Average ranks, best first: " + ", ".join(f"{name} {rank:.2f}" for rank, name in best) + "."
    return Statistics(_sentences(board, found), _pairs(board, found, key), picture, text)


def tied_cell(board: Board, row: Row) -> Cell:
    """Return the ranks of the rows that a row cannot be told from."""
    text, others = tied_text(board, row), board.tied_with(row)
    return number_cell(None if others is None else len(others), text or NO_NUMBER)


def _sentences(board: Board, found: Comparison) -> tuple[str, ...]:
    left = f"; {found.left_out} that some row has no number for are left out" if found.left_out else ""
    ties, pairs = sum(pair.p_holm >= ALPHA for pair in found.pairs), len(found.pairs)
    test = (
        f"Wilcoxon's signed ranks, two-sided, corrected by Holm for all {pairs} pairs: {pairs - ties} differ, {ties} "
        f"are tied (corrected p of {ALPHA:g} or more), which is no proof that they are equal."
        if found.tested
        else "These are too few for a test; differences are shown without one."
    )
    ranks = f"Friedman's test of equal average ranks: p {p_text(found.friedman.p)}." if found.friedman else ""
    return tuple(
        filter(None, (f"Paired on {found.cases} films{left}.", resampling_text(board), test, ranks, HOW_TO_TELL))
    )


def _pairs(board: Board, found: Comparison, key: str) -> Table:
    rows, column = board.compared[:MOST], board.columns[0]
    heads = (Head("Rank", True), Head("Method"), *(Head(rank_text(board, row), True, row.label) for row in rows))
    lines = [
        Line(
            (
                number_cell(row.rank, rank_text(board, row)),
                Cell(row.label, row.label.lower()),
                *(_difference(found, column, i, j) for j in range(len(rows))),
            )
        )
        for i, row in enumerate(rows)
    ]
    return Table(
        f"{key}-pairs",
        f"Mean difference in {column.title}, row minus column ({column.unit})",
        heads,
        tuple(lines),
        head=1,
    )


def _difference(found: Comparison, column: Column, row: int, other: int) -> Cell:
    if row == other:
        return Cell("")
    pair = found.pair(min(row, other), max(row, other))
    sign = 1 if row < other else -1
    value = sign * pair.mean.value
    shown = f"{value:+.2f}" if abs(value) >= 0.005 or value == 0 else number(value, "")
    if math.isnan(pair.p_holm):
        return number_cell(value, shown)
    tied, p = pair.p_holm >= ALPHA, f"p {p_text(pair.p_holm)}"
    tint = None if tied else BETTER if column.beats(value, 0) else WORSE
    return number_cell(value, shown, f"tie, {p}" if tied else p, tint=tint)
