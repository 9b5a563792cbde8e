"""The pages of home against away: their tables and files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import pandas as pd
import rich.table
from rich.console import Console

from leaderboards.boards.board import Score, ScoreColumn
from leaderboards.boards.numbers import interval, number
from leaderboards.external.scores import AWAY, ExternalBoard, ExternalRow, read_external
from leaderboards.pages.model import (
    BLANK,
    WARNING,
    Mark,
    Page,
    PageTable,
    Paragraph,
    Section,
    TableCell,
    TableColumn,
    TableRow,
)
from leaderboards.pages.scores import METHOD
from leaderboards.text.files import csv_text, write_files
from leaderboards.text.markdown import page_markdown
from leaderboards.text.terminal import terminal

WIDTH: Final = 130
"""Of a printed table, where it does not go to a terminal."""
HOW_TO_READ: Final = (
    "Every method was trained at home only and answers the films of the other site with the weights that its own board "
    "shows; no film of the other site was seen, tuned on or left out.",
    "Only landmarks that both sites have count, at home, too, so that the numbers at home can differ from those of the "
    "board.",
    "`value [low, high]` is the score with its 95 % interval by 1,000 bootstrap resamples of patients where they are "
    "known, else of films. *Growth* is the score away divided by the score at home; its interval draws both sites' "
    "patients independently. An interval that holds 1 shows no fall.",
    "Sites differ in who marked the landmarks, too: part of the growth is that the other readers mark otherwise.",
)


def write_external(store: Path | str, out: Path | str) -> list[Path]:
    """Write a Markdown page and a CSV file per pair of sites.

    Args:
        store: A run store that `osteomark test` went over.
        out: The folder to write to; other files in it stay.

    Returns:
        The written files.

    Raises:
        FileNotFoundError: Nothing was tested at another site yet.
    """
    files: dict[str, str] = {}
    for board in read_external(store):
        files[f"{board.name}.md"] = page_markdown(external_page(board))
        files[f"{board.name}.csv"] = csv_text(pd.DataFrame([record for row in board.rows for record in _records(row)]))
    return write_files(files, out)


def external_page(board: ExternalBoard) -> Page:
    """Assemble the page of a pair of sites."""
    home, away = board.home, board.away
    title = f"Trained on {home[0]}, tested on {away[0]}"
    sections = (Section.reading(HOW_TO_READ), external_section(board, "external"))
    return Page(board.name, title, (), sections, {"CSV": f"{board.name}.csv"})


def external_section(board: ExternalBoard, key: str) -> Section:
    """Show how the methods do at home and away.

    Args:
        board: The pair of sites.
        key: Unique in its page.
    """
    films = ", ".join(f"{count} {_place(name)}" for name, count in board.cases.items())
    lines = [
        f"{board.title}: protocol {board.away[1]}, films {board.away[2]}. {board.landmarks} landmarks in both; films: "
        f"{films}."
    ]
    if board.left_out:
        lines.append(f"Not compared: {board.left_out}.")
    if board.readers:
        lines.append(f"Readers of the other site differ from each other, in the mean, by {board.readers}.")
    blocks = (Paragraph(tuple(lines)), growth_table(board, key), *_score_tables(board, key))
    return Section(f"Trained on {board.home[0]}, tested on {board.away[0]}", blocks, id=key)


def growth_table(board: ExternalBoard, key: str) -> PageTable:
    """Return the ranking score at home and away, and how many times larger it is away."""
    column = board.columns[0]
    tests = [TableColumn(f"{column.title} {_place(name)}", column.unit, numeric=True) for name in (AWAY, *board.tests)]
    growth = [TableColumn(f"Growth over {name}", "times", numeric=True) for name in board.tests]
    rows = [
        TableRow(
            (
                _method(row),
                *(_cell(row, column, name) for name in (AWAY, *board.tests)),
                *(_growth(row.growth.get(name)) for name in board.tests),
            )
        )
        for row in board.rows
    ]
    caption = f"{column.heading} away and at home, best away first"
    return PageTable(f"{key}-growth", caption, (METHOD, *tests, *growth), tuple(rows))


def show_external(boards: list[ExternalBoard], console: Console | None = None) -> None:
    """Print the ranking score at home and away.

    Args:
        boards: What to print.
        console: Where; the terminal by default.
    """
    console = console or terminal(WIDTH)
    for board in boards:
        page = growth_table(board, "")
        table = rich.table.Table(title=f"Trained on {board.home[0]}, tested on {board.away[0]}", title_justify="left")
        for place, column in enumerate(page.columns):
            table.add_column(column.heading, justify="right" if place else "left")
        for row in page.rows:
            table.add_row(*(f"{cell.text} {cell.interval}".strip() for cell in row.cells))
        console.print(table)
        if board.readers:
            console.print(f"Readers there differ from each other by {board.readers}.", markup=False)


def _score_tables(board: ExternalBoard, key: str) -> list[PageTable]:
    """Return the other scores, away and at home."""
    others = board.columns[1:]
    if not others:
        return []
    tables = []
    for name in (AWAY, *board.tests):
        columns = [TableColumn(c.title, c.unit, c.higher_is_better, numeric=True, name=c.name) for c in others]
        rows = [TableRow((_method(row), *(_cell(row, column, name) for column in others))) for row in board.rows]
        table = PageTable(f"{key}-{name}", f"Other scores {_place(name)}", (METHOD, *columns), tuple(rows), folded=True)
        tables.append(table)
    return tables


def _place(test_set: str) -> str:
    return "away" if test_set == AWAY else f"at home, {test_set}"


def _method(row: ExternalRow) -> TableCell:
    marks = tuple(Mark(WARNING, badge) for badge in row.badges.split("; ") if badge)
    return TableCell.name(row.label, f"{row.budget}, seeds {row.seeds}", marks=marks)


def _cell(row: ExternalRow, column: ScoreColumn, test_set: str) -> TableCell:
    score = row.scores.get(column.name, {}).get(test_set)
    return BLANK if score is None or math.isnan(score.value) else _score(score, column.unit)


def _growth(score: Score | None) -> TableCell:
    return BLANK if score is None or math.isnan(score.value) else _score(score, "mm")  # two decimals


def _score(score: Score, unit: str) -> TableCell:
    cell = TableCell.number(score.value, number(score.value, unit))
    return cell._replace(interval=interval(score.low, score.high, unit))


def _records(row: ExternalRow) -> list[dict[str, Any]]:
    """Return a method's scores as rows of the CSV file."""
    own = {"method": row.label, "budget": row.budget, "seeds": row.seeds, "badges": row.badges}
    return [
        own
        | {"test_set": test_set, "column": column, "value": score.value, "low": score.low, "high": score.high}
        | _growth_record(row.growth.get(test_set) if place == 0 else None)
        for place, (column, scores) in enumerate(row.scores.items())
        for test_set, score in scores.items()
    ]


def _growth_record(score: Score | None) -> dict[str, float]:
    score = score or Score(math.nan)
    return {"growth": score.value, "growth_low": score.low, "growth_high": score.high}
