"""Prints leaderboards on the terminal: as many columns as fit, those that matter most first."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final, Literal, NamedTuple

import rich.table
from rich.console import Console

from leaderboards.boards.board import Board, Row
from leaderboards.pages.leaderboards import Leaderboards
from leaderboards.pages.model import BLANK, WARNING, PageTable, Section, TableCell
from leaderboards.pages.scores import COSTS, marks_of
from leaderboards.text.markdown import cell_text

WIDTH: Final = 120
"""Characters of a line where there is no terminal."""
SCORES: Final = (None, 5, 4, 2)
"""How soon each of the first scores is left out: the highest number first, the ranking score never."""
COST_COLUMNS: Final = (("params", 6), ("ms per\nimage", 7), ("training", 3))
"""Heading of each of `COSTS`, and how soon it is left out."""
NAME_WIDTH: Final = 28
"""Longer names may be folded to so many characters."""


def show(content: Leaderboards, paths: Iterable[Path], console: Console | None = None) -> None:
    """Print the rankings, shortened, and where the complete ones are.

    Args:
        content: All leaderboards.
        paths: The written files.
        console: Where to print; the terminal by default.
    """
    console = console or terminal(WIDTH)
    for page in content.pages:
        for board, section in zip(page.boards, page.page.sections, strict=False):
            console.print(_ranking(board, section, console))
    console.print("Complete tables, with intervals, all metrics, papers and caveats:")
    for path in paths:
        console.print(f"  {path}", soft_wrap=True, highlight=False)


def terminal(width: int) -> Console:
    """Return a console as wide as the terminal, or as given where there is none."""
    return Console(width=None if sys.stdout.isatty() else width)


class _Column(NamedTuple):
    """A column of a table.

    Attributes:
        heading: Its title.
        texts: One per row.
        importance: The column with the highest number is left out first; None where it always stays.
        justify: Where its texts stand.
    """

    heading: str
    texts: Sequence[str]
    importance: int | None = None
    justify: Literal["left", "right"] = "right"


def _ranking(board: Board, section: Section, console: Console) -> rich.table.Table:
    """Return a board's table with the columns that fit, and in a footnote what is the same for all rows or left out."""
    rows = [row for row in board.rows if row.status != "reported"]
    budgets = list(dict.fromkeys(row.budget for row in rows if row.status != "human"))
    columns = _columns(board, rows, _by_row(section), budgets)
    table, left_out = _table(columns), list[str]()
    while _width(table, console) > console.width and any(column.importance for column in columns):
        least = max(columns, key=lambda column: column.importance or 0)
        columns.remove(least)
        left_out.insert(0, " ".join(least.heading.split()))
        table = _table(columns)
    several = len(budgets) > 1
    footnote = [f"Budget{f' {place}' * several}: {budget}." for place, budget in enumerate(budgets, 1)]
    footnote += [f"Left out to fit: {', '.join(left_out)}."] if left_out else []
    films = board.test_set if board.on == "test" else "validation films, which chose the checkpoints"
    table.title = f"{board.dataset} / {board.protocol} / {films or 'no run was scored'}"
    table.caption = "\n".join(footnote) or None
    table.title_justify = table.caption_justify = "left"
    return table


def _columns(
    board: Board, rows: Sequence[Row], cells: Mapping[str, Mapping[str, TableCell]], budgets: Sequence[str]
) -> list[_Column]:
    scores = [c for c in board.columns if any(cells[row.key].get(c.name, BLANK).sort is not None for row in rows)]
    columns = [
        _Column("#", [board.rank_text(row) for row in rows]),
        _Column("method", [_name(board, row) for row in rows], justify="left"),
    ]
    if len(budgets) > 1:  # in numbers, which the footnote explains
        places = {budget: str(place) for place, budget in enumerate(budgets, 1)}
        columns.append(_Column("budget", [places.get(row.budget, "") for row in rows]))
    for score, importance in zip(scores, SCORES, strict=False):
        shown = [cells[row.key].get(score.name, BLANK) for row in rows]
        texts = [cell.text if importance else cell_text(cell._replace(notes=())) for cell in shown]
        columns.append(_Column(score.heading.replace(" (", "\n("), texts, importance))
    for cost, (heading, importance) in zip(COSTS, COST_COLUMNS, strict=True):
        texts = [cells[row.key].get(cost.name, BLANK).text for row in rows]
        columns.append(_Column(heading, texts, importance))
    return columns


def _table(columns: Sequence[_Column]) -> rich.table.Table:
    table = rich.table.Table()
    for column in columns:
        width = max(map(len, (*column.heading.splitlines(), *column.texts)), default=0)
        if column.justify == "left":
            table.add_column(column.heading, overflow="fold", min_width=min(width, NAME_WIDTH))
        else:
            table.add_column(column.heading, justify="right", no_wrap=True, min_width=width)
    for texts in zip(*(column.texts for column in columns), strict=True):
        table.add_row(*texts)
    return table


def _width(table: rich.table.Table, console: Console) -> int:
    """Return the fewest characters that a table can have."""
    return console.measure(table, options=console.options.update(max_width=10 * WIDTH)).minimum


def _by_row(section: Section) -> dict[str, dict[str, TableCell]]:
    """Return the cells of all tables of a test set by row key and column name, empty for a row in none."""
    cells = defaultdict[str, dict[str, TableCell]](dict)
    for block in chain.from_iterable(part.blocks for part in section.sections):
        for row in block.rows if isinstance(block, PageTable) else ():
            named = {column.name: cell for column, cell in zip(block.columns, row.cells, strict=True) if column.name}
            cells[row.key] = named | cells.get(row.key, {})
    return cells


def _name(board: Board, row: Row) -> str:
    return " ".join([row.label, *(f"({mark.text})" for mark in marks_of(board, row) if mark.status != WARNING)])
