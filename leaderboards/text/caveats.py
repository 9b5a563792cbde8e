"""Writes the parts of a page that say how far a number can be trusted: beside the papers', and without known leaks."""

from __future__ import annotations

import math
from collections.abc import Sequence

from leaderboards.boards.badges import LEAKED, REDUCED, gap
from leaderboards.boards.board import Board, Column, Row
from leaderboards.text.tables import NO_NUMBER, difference, heading, markdown_table, number, packs, rank_text

COMPARED = 6
"""So many scores stand beside a paper's on a page; the data files have all."""
_REDUCED = (
    f"A row with a **{REDUCED}** was not trained as its paper says: its gap is no failed reproduction, it shows what "
    "this budget and the other differences cost together."
)
_PATIENTS = "patients stand in both training and test, and which is not known, so no score can be given without them."
_NO_LEAKS = (
    "No film of this test set is known to stand in training or twice in the test set: the scores above are leak-free "
    "as far as is known."
)


def comparison_with_papers(board: Board) -> list[str]:
    """Set each method's own row beside what its paper prints for the same protocol and test set.

    Args:
        board: The board.

    Returns:
        Markdown blocks; none where no paper prints a number for one of our rows.
    """
    rows = [row for row in board.measured if any(not math.isnan(gap(row, column)) for column in board.columns)]
    columns = [c for c in board.columns if any(not math.isnan(gap(row, c)) for row in rows)][:COMPARED]
    if not rows:
        return []
    table = markdown_table(
        ["Method", "Trained with", *map(heading, columns), "What differs from the paper"],
        [[row.label, row.budget, *(_compared(row, column) for column in columns), _differs(row)] for row in rows],
    )
    reduced = any(REDUCED in row.badges for row in rows)
    text = "Ours - the paper's = gap, under the same protocol and on the same test set, leaked films included."
    return ["### Beside the papers", f"{text} {_REDUCED}" if reduced else text, table]


def leak_free_section(board: Board) -> list[str]:
    """Give every score on the test cases that no known leak touches, or say why there are no others.

    Args:
        board: A board with scores.

    Returns:
        Markdown blocks.
    """
    head = "### Without known leaks"
    if board.facts.get("leaks") == "patients":
        return [head, f"**{LEAKED}**: {_PATIENTS}"]
    if not board.leaked:
        return [head, _NO_LEAKS]
    first = next(row for row in board.rows if row.cases_leak_free is not None)
    kept = first.cases_leak_free or 0
    return [
        head,
        f"**{LEAKED}**: {first.cases - kept} of the {first.cases} test films stand in training, too, or show what an "
        f"earlier test film shows. The same scores on the other {kept}; their intervals are in the data files.",
        *_folded(_leak_free_tables(board)),
    ]


def leak_free_ranks(board: Board) -> dict[str, int]:
    """Return the rank that each ranked row has by the first column on the leak-free cases alone, by `Row.key`."""
    if not board.columns:
        return {}
    first = board.columns[0]
    values = {row.key: row.scores[first.name].value_leak_free for row in board.ranked}
    ordered = sorted(
        (value for value in values.values() if not math.isnan(value)), reverse=bool(first.higher_is_better)
    )
    return {key: ordered.index(value) + 1 for key, value in values.items() if not math.isnan(value)}


def _folded(tables: Sequence[str]) -> list[str]:
    """Show the first table and let a reader unfold the others."""
    first, *others = tables
    if not others:
        return [first]
    return [first, "<details><summary>The other scores without known leaks</summary>", *others, "</details>"]


def _leak_free_tables(board: Board) -> list[str]:
    ranks = leak_free_ranks(board)
    rows = [row for row in board.rows if row.cases_leak_free is not None]
    tables = []
    for place, pack in enumerate(packs(board)):
        lead = ["Rank", "Rank on all"] if place == 0 else ["Rank"]
        lines = [
            [str(ranks.get(row.key, NO_NUMBER)), *([rank_text(board, row)] if place == 0 else []), *_values(row, pack)]
            for row in sorted(rows, key=lambda row: ranks.get(row.key, len(rows)))
            if any(column.name in row.scores for column in pack)
        ]
        tables.append(markdown_table([*lead, "Method", *map(heading, pack)], lines))
    return tables


def _values(row: Row, columns: Sequence[Column]) -> list[str]:
    name = f"*human:* {row.label}" if row.status == "human" else row.label
    scores = [row.scores.get(column.name) for column in columns]
    return [
        name,
        *(
            NO_NUMBER if score is None else number(score.value_leak_free, column.unit)
            for score, column in zip(scores, columns, strict=True)
        ),
    ]


def _compared(row: Row, column: Column) -> str:
    found = gap(row, column)
    if math.isnan(found):
        return NO_NUMBER
    ours, theirs = number(row.value(column.name), column.unit), number(row.reported[column.name], column.unit)
    return f"{ours} - {theirs} = {difference(found, column.unit)}"


def _differs(row: Row) -> str:
    badges = [f"**{badge}**" for badge in row.badges]
    return "; ".join([*badges, *row.settings]) or NO_NUMBER
