"""The part of a page that sets measured scores beside what papers print."""

from __future__ import annotations

import math
from typing import Final

from leaderboards.boards.badges import REDUCED
from leaderboards.boards.board import Board, Row, ScoreColumn
from leaderboards.boards.numbers import difference, number
from leaderboards.pages.model import (
    BLANK,
    WARNING,
    Mark,
    PageTable,
    Paragraph,
    Section,
    TableCell,
    TableColumn,
    TableRow,
)
from leaderboards.pages.scores import METHOD, score_column

PAPER_SCORES: Final = 6
"""So many scores stand beside a paper's on a page; the data files have all."""
_REDUCED: Final = (
    f"A row with a **{REDUCED}** was not trained as its paper says: its gap does not show that the result cannot be "
    "reproduced, but what this budget and the other differences change together."
)


def paper_section(board: Board, key: str) -> Section | None:
    """Set each method's own row beside what its paper prints for the same protocol and test set.

    Returns:
        None where no paper prints a number for one of our rows.
    """
    rows = [row for row in board.measured if any(not math.isnan(row.gap(column.name)) for column in board.columns)]
    shown = [c for c in board.columns if any(not math.isnan(row.gap(c.name)) for row in rows)][:PAPER_SCORES]
    if not rows:
        return None
    table = PageTable(
        f"{key}-papers",
        "Ours - the paper's = gap",
        (METHOD, TableColumn("Trained with"), *map(score_column, shown), TableColumn("What differs", wide=True)),
        tuple(
            TableRow(
                (
                    TableCell.name(row.label),
                    TableCell(row.budget),
                    *(_gap_cell(row, column) for column in shown),
                    TableCell.joined(row.settings)._replace(marks=tuple(Mark(WARNING, badge) for badge in row.badges)),
                )
            )
            for row in rows
        ),
    )
    text = "Both are under the same protocol and on the same test set, leaked films included."
    reduced = any(REDUCED in row.badges for row in rows)
    return Section(
        "Beside the papers", (Paragraph((text, _REDUCED) if reduced else (text,)), table), id=f"{key}-beside"
    )


def _gap_cell(row: Row, column: ScoreColumn) -> TableCell:
    gap = row.gap(column.name)
    if math.isnan(gap):
        return BLANK
    ours, theirs = number(row.value(column.name), column.unit), number(row.reported[column.name], column.unit)
    return TableCell.number(gap, f"{ours} - {theirs} = {difference(gap, column.unit)}")
