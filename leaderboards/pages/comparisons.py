"""The part of a page that compares the rows of a board in pairs, film by film."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from benchmark.scoring.bootstrap import RESAMPLES
from leaderboards.boards.board import Board, ScoreColumn
from leaderboards.boards.numbers import file_stem, p_text, signed
from leaderboards.boards.statistics import ALPHA, FEWEST, Comparison, Difference
from leaderboards.pages.model import (
    BLANK,
    Bullets,
    PageTable,
    Paragraph,
    Picture,
    Section,
    TableCell,
    TableColumn,
    TableRow,
)
from leaderboards.pages.rank_diagram import MOST, rank_diagram
from leaderboards.pages.scores import METHOD, RANK, TIED, rank_cell

COMPARISONS: Final = "comparisons.csv"
"""The file with every pair of rows of every board."""
HOW_TO_TELL: Final = (
    "Ranks follow the score over all films; the test asks which row is better film by film. The two can disagree: a "
    "row with a few large failures has the worse mean and may be better on most films, which the median difference and "
    "*better on* then show."
)
WIDEST: Final = 12
"""Rows of the table of all pairs at most: the best ones."""
BETTER, WORSE = 0, 4
"""Tints of differences that a test finds."""


def resampling_text(board: Board) -> str:
    """Say in sentences what intervals and tests of a board take as units: patients or films; nothing without runs."""
    compared = board.comparison
    if compared is None:
        return ""
    if compared.patients is None:
        return (
            "It is not known which films are of one patient, so intervals and tests take every film for a patient of "
            "its own: if patients have several films here, intervals are too narrow and p values too small."
        )
    if board.private:
        count = "Intervals and tests take the films of a patient as one."
    elif compared.patients == compared.cases:
        count = f"No two of these {compared.cases} films count as one patient's."
    else:
        count = f"These {compared.cases} films count as {compared.patients} patients, the units of intervals and tests."
    return f"{board.patient_rule} {count}".strip()


def diagram_name(board: Board, *, named_films: bool) -> str:
    """Return the file name of a board's critical-difference diagram.

    Args:
        board: The board.
        named_films: Whether its page has boards of several films, so that names must tell them apart.
    """
    parts = [board.page, board.test_set, board.content if named_films else ""]
    return f"{file_stem('-'.join(filter(None, parts)))}.svg"


def board_diagram(board: Board) -> str | None:
    """Draw a board's critical-difference diagram; None for fewer than three compared rows or without tests."""
    compared = board.comparison
    if compared is None or not _has_diagram(compared):
        return None
    return rank_diagram(_names(board), compared.average_ranks, compared.p_values)


def comparison_section(board: Board, key: str, picture: str) -> Section | None:
    """Compare the rows of a board in pairs.

    Args:
        board: The board.
        key: Prefix of ids.
        picture: File name of its diagram.

    Returns:
        None where there are no two rows to compare.
    """
    compared = board.comparison
    if compared is None or not compared.pairs:
        return None
    blocks = [
        Paragraph(_introduction(board, compared)),
        Bullets(_legend(board, compared)),
        _against_leader(board, compared, f"{key}-against-leader"),
        _every_pair(board, compared, f"{key}-pairs"),
        *((Picture(picture, _picture_text(board, compared)),) if _has_diagram(compared) else ()),
        *((Paragraph((_ranks_text(compared),)),) if _has_diagram(compared) else ()),
        Paragraph((f"All {len(compared.pairs)} pairs, with intervals:",), (COMPARISONS,)),
    ]
    return Section("Paired comparisons", tuple(blocks), id=f"{key}-statistics")


def _has_diagram(compared: Comparison) -> bool:
    return compared.tested and len(compared.rows) > 2


def _names(board: Board) -> list[str]:
    """Name the compared rows, with their budget where the label alone does not tell them apart."""
    labels = [row.label for row in board.compared]
    return [row.label if labels.count(row.label) == 1 else f"{row.label}, {row.budget}" for row in board.compared]


def _units(compared: Comparison) -> str:
    return "films" if compared.patients is None or compared.patients == compared.cases else "patients"


def _introduction(board: Board, compared: Comparison) -> tuple[str, ...]:
    missing = [row.label for row in board.ranked if row.key not in compared.rows]
    sentences = (
        f"The rows are compared by {board.columns[0].title}, on the same {compared.cases} films.",
        f"{compared.left_out} more were left out, as not every row has a number for them." if compared.left_out else "",
        f"Not compared, as too low in rank or without scores of single films: {', '.join(missing)}." if missing else "",
        _power(board, compared),
        _outcome(compared),
    )
    return tuple(filter(None, sentences))


def _power(board: Board, compared: Comparison) -> str:
    """Say where the films are too few for a test to find anything."""
    units = _units(compared)
    if not compared.tested:
        return f"**With fewer than {FEWEST} {units} no test can find a difference; none was made.**"
    if compared.smallest_p < ALPHA:
        return ""
    few = "so few" if board.private else f"only {compared.units}"
    return (
        f"**With {few} {units} and {len(compared.pairs)} pairs the corrected p cannot be below {ALPHA}, however large "
        "a difference is: that all rows are tied says nothing about the methods.**"
    )


def _outcome(compared: Comparison) -> str:
    if not compared.tested:
        return ""
    ties, pairs = sum(pair.p_holm >= ALPHA for pair in compared.pairs), len(compared.pairs)
    return f"Of {pairs} pairs {pairs - ties} differ and {ties} are tied, which does not show that they are equal."


def _legend(board: Board, compared: Comparison) -> tuple[str, ...]:
    units = _units(compared)
    whose = "" if units == "films" else ", each with the mean of its films"
    return (
        f"*Mean* and *median difference*: of {board.columns[0].title} on the same film, a row minus the leader; "
        f"in brackets the 95 % interval of this pair alone, by {RESAMPLES:,} bootstrap resamples. *Better on*: {units} "
        "on which the row is better, and those on which the leader is.",
        f"*p*: Wilcoxon's signed-rank test, two-sided, on the differences of the {units}{whose}. *Corrected p*: by "
        f"Holm's rule for all {len(compared.pairs)} pairs of these rows. From {ALPHA} on two rows are tied.",
        HOW_TO_TELL,
    )


def _against_leader(board: Board, compared: Comparison, key: str) -> PageTable:
    column, names = board.columns[0], _names(board)
    titles = ("Mean difference", "Median difference", "Better on (row : leader)", "p", "Corrected p", TIED)
    rows = []
    for place, (row, name) in enumerate(zip(board.compared, names, strict=True)):
        cells = [TableCell("leader"), *[BLANK] * 4]
        if place:
            pair = compared.pair(0, place)
            cells = [
                *(_difference_cell(difference, column) for difference in (pair.mean, pair.median)),
                TableCell.number(pair.worse, f"{pair.worse} : {pair.better}"),
                *(TableCell.number(p, p_text(p)) for p in (pair.p, pair.p_holm)),
            ]
        rows.append(TableRow((rank_cell(board, row), TableCell.name(name), *cells, TableCell(board.tied_text(row)))))
    columns = (RANK, METHOD, *(TableColumn(title, numeric=True) for title in titles))
    return PageTable(key, "Every row against the leader", columns, tuple(rows), head=1)


def _difference_cell(difference: Difference, column: ScoreColumn) -> TableCell:
    """Return the difference of the other row minus the leader."""
    ends = (
        ""
        if math.isnan(difference.low)
        else (f"[{signed(-difference.high, column.unit)}, {signed(-difference.low, column.unit)}]")
    )
    return TableCell.number(-difference.value, signed(-difference.value, column.unit))._replace(interval=ends)


def _every_pair(board: Board, compared: Comparison, key: str) -> PageTable:
    rows, names, column = board.compared[:WIDEST], _names(board)[:WIDEST], board.columns[0]
    heads = [TableColumn(f"{board.rank_text(row)} {name}", numeric=True) for row, name in zip(rows, names, strict=True)]
    lines = [
        TableRow(
            (
                *(rank_cell(board, row), TableCell.name(name)),
                *(_pair_cell(compared, column, place, other) for other in range(len(rows))),
            )
        )
        for place, (row, name) in enumerate(zip(rows, names, strict=True))
    ]
    unit = f" ({column.unit})" if column.unit else ""
    which = "Every pair" if len(rows) == len(board.compared) else f"Every pair of the {len(rows)} best rows"
    caption = f"{which}: mean difference in {column.title}{unit}, row minus column, and corrected p"
    return PageTable(key, caption, (RANK, METHOD, *heads), tuple(lines), head=1, folded=True)


def _pair_cell(compared: Comparison, column: ScoreColumn, row: int, other: int) -> TableCell:
    if row == other:
        return BLANK
    pair = compared.pair(min(row, other), max(row, other))
    value = pair.mean.value if row < other else -pair.mean.value
    if math.isnan(pair.p_holm):
        return TableCell.number(value, signed(value, column.unit))
    tied, p = pair.p_holm >= ALPHA, f"p {p_text(pair.p_holm)}"
    tint = None if tied else BETTER if column.beats(value, 0) else WORSE
    return TableCell.number(value, signed(value, column.unit), f"tie, {p}" if tied else p, tint=tint)


def listed_ranks(names: Sequence[str], ranks: Sequence[float]) -> str:
    """Write rows with their average ranks in words, best first, as many as a diagram shows.

    Example:
        >>> listed_ranks(["a", "b"], [1.75, 1.25])
        'average ranks: b 1.25, a 1.75'
    """
    order = sorted(range(len(names)), key=lambda row: ranks[row])[:MOST]
    return "average ranks: " + ", ".join(f"{names[row]} {ranks[row]:.2f}" for row in order)


def _picture_text(board: Board, compared: Comparison) -> str:
    shown = listed_ranks(_names(board), compared.average_ranks)
    return f"Critical-difference diagram of {board.films}; {shown}"


def _ranks_text(compared: Comparison) -> str:
    units = _units(compared)
    test = ""
    if compared.friedman:
        test = (
            f" Friedman's test of equal ranks: chi-square {compared.friedman.statistic:.1f}, "
            f"p {p_text(compared.friedman.p)}."
        )
    return (
        f"Average ranks over the {units} (1 is best), which is not the order of the scores: each of the {units} counts "
        f"the same, however large its errors are. Bars join rows between which no test finds a difference.{test}"
    )
