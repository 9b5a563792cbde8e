"""Prints leaderboards on the terminal: the columns that matter most, in at most 120 characters."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Final

import rich.table
from rich.console import Console

from leaderboards.boards.board import Board
from leaderboards.pages.leaderboards import Leaderboards
from leaderboards.pages.model import BLANK, WARNING, PageTable, Section, TableCell
from leaderboards.pages.scores import COSTS
from leaderboards.text.markdown import cell_text

WIDTH: Final = 120
SCORES: Final = 4
TEXT_WIDTH: Final = 12
"""Names and budgets are folded to no fewer characters, so that every column fits into `WIDTH`."""


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
            console.print(_ranking(board, section))
    console.print("Complete tables, with intervals, all metrics, papers and caveats:")
    for path in paths:
        console.print(f"  {path}", soft_wrap=True, highlight=False)


def terminal(width: int) -> Console:
    """Return a console that is at most so many characters wide."""
    console = Console()
    return Console(width=min(width, console.width) if sys.stdout.isatty() else width)


def _ranking(board: Board, section: Section) -> rich.table.Table:
    cells = _by_row(section)
    rows = [row for row in board.rows if row.status != "reported"]
    scores = [c for c in board.columns if any(cells[row.key].get(c.name, BLANK).sort is not None for row in rows)]
    budgets = list(dict.fromkeys(row.budget for row in rows if row.status != "human"))
    films = board.test_set if board.on == "test" else "validation films, which chose the checkpoints"
    title = f"{board.dataset} / {board.protocol} / {films or 'no run was scored'}"
    table = rich.table.Table(
        title=f"{title}, budget {budgets[0]}" if len(budgets) == 1 else title, title_justify="left"
    )
    names = {row.key: _name(cells[row.key]["method"]) for row in rows}
    table.add_column("#", justify="right")
    table.add_column("method", overflow="fold", min_width=min(max(map(len, names.values())), TEXT_WIDTH))
    if len(budgets) > 1:
        table.add_column("budget", overflow="fold", min_width=min(max(map(len, budgets)), TEXT_WIDTH))
    for heading in [*(column.heading for column in scores[:SCORES]), "params", "ms per\nimage", "training"]:
        table.add_column(heading.replace(" (", "\n("), justify="right", no_wrap=True)
    for row in rows:
        names_shown = [*(column.name for column in scores[:SCORES]), *(column.name for column in COSTS)]
        shown = [cells[row.key].get(name, BLANK) for name in names_shown]
        texts = [cell_text(cell._replace(notes=())) if place == 0 else cell.text for place, cell in enumerate(shown)]
        table.add_row(board.rank_text(row), names[row.key], *([row.budget] if len(budgets) > 1 else []), *texts)
    return table


def _by_row(section: Section) -> dict[str, dict[str, TableCell]]:
    """Return the cells of all tables of a test set by the row's key and the column's name."""
    cells: dict[str, dict[str, TableCell]] = {}
    for block in chain.from_iterable(part.blocks for part in section.sections):
        for row in block.rows if isinstance(block, PageTable) else ():
            named = {column.name: cell for column, cell in zip(block.columns, row.cells, strict=True) if column.name}
            cells[row.key] = named | cells.get(row.key, {})
    return cells


def _name(cell: TableCell) -> str:
    return " ".join([cell.text, *(f"({mark.text})" for mark in cell.marks if mark.status != WARNING)])
