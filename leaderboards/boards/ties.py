"""Writes which rows of a board cannot be told from each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from leaderboards.boards.board import Board, Row
from leaderboards.boards.statistics import ALPHA

TIED: Final = "Tied with rank"
"""Heading of the column that `tied_text` fills."""
HOW_TO_READ_TIES: Final = (
    f"*{TIED}*: the rows that paired tests on the same films cannot tell from this one (corrected p not below {ALPHA}; "
    "see *Paired comparisons*). A tie says that the order of two rows is not shown, not that they are equal."
)


def tied_text(board: Board, row: Row) -> str:
    """Write the ranks with which a row is tied.

    Returns:
        `none` where it stands alone, `not tested` where no test could be made, nothing for a row without rank.
    """
    tied = board.tied_with(row)
    if tied is None:
        return "" if row.rank is None else "not tested"
    return ranges(other.rank for other in tied if other.rank is not None) or "none"


def ranges(numbers: Iterable[int]) -> str:
    """Write whole numbers in order, three and more in a row as a range.

    Example:
        >>> ranges([7, 2, 3, 4, 9, 10, 4])
        '2-4, 7, 9, 10'
    """
    runs: list[list[int]] = []
    for value in sorted(set(numbers)):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts = [[f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(value) for value in run] for run in runs]
    return ", ".join(text for part in parts for text in part)
