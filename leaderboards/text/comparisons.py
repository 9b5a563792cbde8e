"""Writes how the rows of a board compare film by film: Markdown for a page and a CSV file of all pairs."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any, Final

import pandas as pd

from benchmark.scoring.bootstrap import RESAMPLES
from leaderboards.boards.board import Board, Column
from leaderboards.boards.statistics import ALPHA, FEWEST, Comparison, Difference, Pair
from leaderboards.boards.ties import TIED, tied_text
from leaderboards.publish import PRIVATE
from leaderboards.text.diagrams import MOST, diagram
from leaderboards.text.tables import NO_NUMBER, markdown_table, number, rank_text

COMPARISONS: Final = "comparisons.csv"
"""The file with every pair of rows of every board."""
HOW_TO_TELL: Final = (
    "Ranks follow the score over all films; the test asks which row is better film by film. The two can disagree: a "
    "row with a few wild failures has the worse mean and may be better on most films, which the median difference and "
    "*better on* then show."
)
WIDEST: Final = 12
"""A matrix of all pairs is shown for so many rows at most."""


def p_text(p: float) -> str:
    """Write a p value.

    Example:
        >>> p_text(0.00001), p_text(0.0314), p_text(1.0), p_text(float("nan"))
        ('< 0.001', '0.031', '1.000', 'not tested')
    """
    if math.isnan(p):
        return "not tested"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def resampling_text(board: Board) -> str:
    """Say in sentences what intervals and tests of a board take as units: patients or films; nothing without runs."""
    found = board.comparison
    if found is None:
        return ""
    if found.patients is None:
        return (
            "It is not known which films are of one patient, so intervals and tests take every film for a patient of "
            "its own: if patients have several films here, intervals are too narrow and p values too small."
        )
    if _is_private(board):
        count = "Intervals and tests take the films of a patient as one."
    elif found.patients == found.cases:
        count = f"No two of these {found.cases} films count as one patient's."
    else:
        count = f"These {found.cases} films count as {found.patients} patients, the units of intervals and tests."
    return f"{board.patient_rule} {count}".strip()


def diagram_name(board: Board, page: str, *, named_films: bool) -> str:
    """Return the file name of a board's critical-difference diagram.

    Args:
        board: The board.
        page: File stem of its page.
        named_films: Whether the page has boards of several films, so that names must tell them apart.
    """
    parts = [page, board.test_set, board.content if named_films else ""]
    return re.sub(r"[^\w.-]+", "-", "-".join(filter(None, parts))) + ".svg"


def board_diagram(board: Board) -> str | None:
    """Draw a board's critical-difference diagram; None for fewer than three compared rows or without tests."""
    found = board.comparison
    return diagram(_names(board), found.average_ranks, found.p_values) if found and _has_diagram(found) else None


def comparison_section(board: Board, picture: str) -> list[str]:
    """Write the part of a page that compares the rows in pairs.

    Args:
        board: The board.
        picture: File name of its diagram; see `board_diagram`.

    Returns:
        Markdown blocks; none where there are no two rows to compare.
    """
    found = board.comparison
    if found is None or not found.pairs:
        return []
    parts = ["### Paired comparisons", _introduction(board, found)]
    parts += ["\n".join(f"- {line}" for line in _legend(board, found)), _against_leader(board, found)]
    if 2 < len(found.rows) <= WIDEST:
        parts += ["Every pair: above the diagonal the corrected p, below it the mean difference, row minus column."]
        parts += [_matrix(board, found)]
    if _has_diagram(found):
        parts += [f"![{_picture_text(board, found)}]({picture})", _ranks_text(board, found)]
    parts.append(f"All {len(found.pairs)} pairs, with intervals: [{COMPARISONS}]({COMPARISONS}).")
    return parts


def comparison_frame(boards: Sequence[Board]) -> pd.DataFrame:
    """Return every pair of rows of every board as data."""
    records = [_record(board, pair) for board in boards if board.comparison for pair in board.comparison.pairs]
    return pd.DataFrame(records, columns=list(_FIELDS))


_FIELDS: Final = (
    *("dataset", "protocol", "content", "test_set", "column", "unit"),
    *("first", "first_budget", "first_rank", "second", "second_budget", "second_rank", "cases", "patients"),
    *("mean", "mean_low", "mean_high", "median", "median_low", "median_high"),
    *("first_better", "second_better", "p", "p_holm", "tied"),
)


def _record(board: Board, pair: Pair) -> dict[str, Any]:
    found, column = board.comparison, board.columns[0]
    assert found is not None
    first, second = board.compared[pair.first], board.compared[pair.second]
    values = (
        *(board.dataset, board.protocol, board.content, board.test_set, column.name, column.unit),
        *(first.label, first.budget, first.rank, second.label, second.budget, second.rank),
        *(found.cases, None if _is_private(board) else found.patients, *pair.mean, *pair.median),
        *(pair.better, pair.worse, pair.p, pair.p_holm, pair.p_holm >= ALPHA if found.tested else None),
    )
    return dict(zip(_FIELDS, values, strict=True))


def _has_diagram(found: Comparison) -> bool:
    return found.tested and len(found.rows) > 2


def _is_private(board: Board) -> bool:
    """Whether nothing may be said of a board's patients, not even how many they are."""
    return PRIVATE in board.facts.get("caveats", ()) or PRIVATE in board.common_badges


def _names(board: Board) -> list[str]:
    """Name the compared rows, with their budget where the label alone does not tell them apart."""
    labels = [row.label for row in board.compared]
    return [row.label if labels.count(row.label) == 1 else f"{row.label}, {row.budget}" for row in board.compared]


def _units(board: Board, found: Comparison) -> str:
    return "films" if found.patients is None or found.patients == found.cases else "patients"


def _introduction(board: Board, found: Comparison) -> str:
    missing = [row.label for row in board.ranked if row.key not in found.rows]
    sentences = [
        f"The rows are compared by {board.columns[0].title}, on the same {found.cases} films.",
        f"{found.left_out} more were left out, as not every row has a number for them." if found.left_out else "",
        f"Not compared, as too low in rank or without scores of single films: {', '.join(missing)}." if missing else "",
        _power(board, found),
    ]
    return " ".join(filter(None, sentences))


def _power(board: Board, found: Comparison) -> str:
    """Say where the films are too few for a test to find anything."""
    if not found.tested:
        return f"**With fewer than {FEWEST} {_units(board, found)} no test can find a difference; none was made.**"
    if found.smallest_p < ALPHA:
        return ""
    few = "so few" if _is_private(board) else f"only {found.units}"
    return (
        f"**With {few} {_units(board, found)} and {len(found.pairs)} pairs the corrected p cannot be below {ALPHA}, "
        "however large a difference is: that all rows are tied says nothing about the methods.**"
    )


def _legend(board: Board, found: Comparison) -> list[str]:
    units = _units(board, found)
    whose = "" if units == "films" else ", each with the mean of its films"
    return [
        f"*Mean* and *median difference*: of {board.columns[0].title} on the same film, a row minus the leader; "
        f"in brackets the 95 % interval of this pair alone, by {RESAMPLES:,} bootstrap resamples. *Better on*: {units} "
        "on which the row is better, and those on which the leader is.",
        f"*p*: Wilcoxon's signed-rank test, two-sided, on the differences of the {units}{whose}. *Corrected p*: by "
        f"Holm's rule for all {len(found.pairs)} pairs of these rows. From {ALPHA} on two rows are tied.",
        HOW_TO_TELL,
    ]


def _against_leader(board: Board, found: Comparison) -> str:
    header = [
        "Rank",
        "Method",
        "Mean difference",
        "Median difference",
        "Better on (row : leader)",
        "p",
        "Corrected p",
        TIED,
    ]
    leader, column = board.compared[0], board.columns[0]
    lines = [[rank_text(board, leader), _names(board)[0], "leader", *[NO_NUMBER] * 4, tied_text(board, leader)]]
    for other, (row, name) in enumerate(zip(board.compared[1:], _names(board)[1:], strict=True), 1):
        pair = found.pair(0, other)
        lines.append(
            [
                *(rank_text(board, row), name),
                *(_difference(_minus(difference), column) for difference in (pair.mean, pair.median)),
                f"{pair.worse} : {pair.better}",
                *(p_text(pair.p), p_text(pair.p_holm), tied_text(board, row)),
            ]
        )
    return markdown_table(header, lines)


def _matrix(board: Board, found: Comparison) -> str:
    names, ranks = _names(board), [rank_text(board, row) for row in board.compared]
    cells = [[NO_NUMBER] * len(names) for _ in names]
    for first, second in combinations(range(len(names)), 2):
        pair = found.pair(first, second)
        text = p_text(pair.p_holm)
        cells[first][second] = f"**{text}**" if pair.p_holm < ALPHA else text
        cells[second][first] = _signed(-pair.mean.value, board.columns[0])
    header = ["Rank", "Method", *(f"{rank} {name}" for rank, name in zip(ranks, names, strict=True))]
    return markdown_table(header, [[ranks[i], name, *cells[i]] for i, name in enumerate(names)])


def _minus(difference: Difference) -> Difference:
    return Difference(-difference.value, -difference.high, -difference.low)


def _difference(difference: Difference, column: Column) -> str:
    text = _signed(difference.value, column)
    if math.isnan(difference.low):
        return text
    return f"{text} [{_signed(difference.low, column)}, {_signed(difference.high, column)}]"


def _signed(value: float, column: Column) -> str:
    """Write a difference with its sign, 0 without one."""
    return f"{'+' if value > 0 else ''}{number(value + 0.0, column.unit)}"


def _picture_text(board: Board, found: Comparison) -> str:
    """Say in words what the diagram shows."""
    order = sorted(range(len(found.rows)), key=lambda row: found.average_ranks[row])
    names = _names(board)
    ranks = ", ".join(f"{names[row]} {found.average_ranks[row]:.2f}" for row in order[:MOST])
    return f"Critical-difference diagram of test set {board.test_set}; average ranks: {ranks}"


def _ranks_text(board: Board, found: Comparison) -> str:
    units = _units(board, found)
    test = ""
    if found.friedman:
        test = (
            f" Friedman's test of equal ranks: chi-square {found.friedman.statistic:.1f}, p {p_text(found.friedman.p)}."
        )
    return (
        f"Average ranks over the {units} (1 is best), which is not the order of the scores: each of the {units} counts "
        f"the same, however large its errors are. Bars join rows none of which can be told from another.{test}"
    )
