"""The part of a page that gives scores on the test cases that no known leak touches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from leaderboards.boards.badges import LEAKED
from leaderboards.boards.board import Board, Row, ScoreColumn
from leaderboards.boards.numbers import NO_NUMBER
from leaderboards.pages.model import PageTable, Paragraph, Section, TableCell, TableRow
from leaderboards.pages.scores import METHOD, RANK, leak_free_cell, plain_name, rank_cell, score_column, spread_columns

_PATIENTS: Final = (
    "patients stand in both training and test, and which is not known, so no score can be given without them."
)
_NO_LEAKS: Final = (
    "No film of this test set is known to stand in training or twice in the test set: the scores above are leak-free "
    "as far as is known."
)


def leak_free_section(board: Board, key: str) -> Section:
    """Give every score on the test cases that no known leak touches, or say why there are no others."""
    blocks: tuple[Paragraph | PageTable, ...] = (Paragraph((_NO_LEAKS,)),)
    if board.facts.get("leaks") == "patients":
        blocks = (Paragraph((f"**{LEAKED}**: {_PATIENTS}",)),)
    elif board.leaked:
        first = next(row for row in board.rows if row.cases_leak_free is not None)
        kept = first.cases_leak_free or 0
        text = (
            f"**{LEAKED}**: {first.cases - kept} of the {first.cases} test films stand in training, too, or show what "
            f"an earlier test film shows. The same scores on the other {kept}; their intervals are in the data files.",
            _moved(board),
        )
        blocks = (Paragraph(text), *_leak_free_tables(board, key))
    return Section("Without known leaks", blocks, id=f"{key}-leak-free")


def _moved(board: Board) -> str:
    """Say which rows would stand elsewhere without the films that leak."""
    ranks = board.leak_free_ranks
    moved = [
        f"{row.label} {row.rank} to {ranks[row.key]}"
        for row in board.ranked
        if ranks.get(row.key, row.rank) != row.rank
    ]
    change = f"ranks change for {len(moved)} rows: {', '.join(moved)}" if moved else "no rank changes"
    return f"Without them {change}."


def _leak_free_tables(board: Board, key: str) -> list[PageTable]:
    """Return tables of what is known without the leaks; of published rows that may not be every score."""
    ranks = board.leak_free_ranks
    scored = [row for row in board.rows if row.cases_leak_free is not None]
    scored.sort(key=lambda row: ranks.get(row.key, len(scored)))
    heads = (RANK, METHOD, RANK._replace(title="Rank on all"))
    return [
        PageTable(
            f"{key}-leak-free-{place}",
            "Scores without known leaks" if place == 0 else "Further scores without known leaks",
            (*heads, *map(score_column, columns)),
            tuple(
                _leak_free_row(board, row, columns)
                for row in scored
                if any(column.name in row.scores for column in columns)
            ),
            head=1,
            folded=place > 0,
        )
        for place, columns in enumerate(filter(None, (_known(scored, each) for each in spread_columns(board))))
    ]


def _known(rows: Sequence[Row], columns: Sequence[ScoreColumn]) -> list[ScoreColumn]:
    return [c for c in columns if any(math.isfinite(row.score(c.name).value_leak_free) for row in rows)]


def _leak_free_row(board: Board, row: Row, columns: Sequence[ScoreColumn]) -> TableRow:
    rank = board.leak_free_ranks.get(row.key)
    cells = (leak_free_cell(row, column)._replace(interval="") for column in columns)
    first = (TableCell.number(rank, str(rank or NO_NUMBER)), plain_name(row), rank_cell(board, row))
    return TableRow((*first, *cells), row.status)
