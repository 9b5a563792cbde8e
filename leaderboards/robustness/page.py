"""The pages of robustness: their tables, plots and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pandas as pd
import rich.table
from rich.console import Console

from leaderboards.boards.board import FLOOR
from leaderboards.boards.numbers import interval, number, percent
from leaderboards.pages.board_page import caveat_text, content_text
from leaderboards.pages.model import (
    BLANK,
    Page,
    PageTable,
    Paragraph,
    Picture,
    Section,
    TableCell,
    TableColumn,
    TableRow,
)
from leaderboards.pages.scores import METHOD, score_column
from leaderboards.robustness.plot import MOST, plot
from leaderboards.robustness.scores import SEVERITIES, StressBoard, StressRow, read_stress
from leaderboards.text.files import csv_text, write_files
from leaderboards.text.markdown import page_markdown
from leaderboards.text.terminal import terminal

WIDTH: Final = 130
"""Of a printed table, where it does not go to a terminal."""
WORSE: Final = "worse by"
HOW_TO_READ: Final = (
    "Every method answers the same test films, first as they are, then corrupted at five severities, with the weights "
    "it was trained to on clean films. The films are corrupted before a method's own resizing; where a corruption "
    "moves the points, the answers are moved back. The numbers are in pixels or millimetres of the film as it is.",
    "*Clean* is `value [low, high]` with its 95 % bootstrap interval over the films; *mean* is the mean over the "
    "severities, *worse by* how much larger than the clean one it is.",
    f"*CE* (corruption error) is a method's mean over the severities in % of that of `{FLOOR}`, which never looks at "
    "the film: at 100 % the film is no use to the method any more, above it the method misleads. *mCE* is its mean "
    "over the corruptions (Hendrycks and Dietterich, ICLR 2019).",
    "Severities of different corruptions cannot be compared: what each one means stands in the last table. A point "
    "that a shutter or metal hides, or that a turn moves off the film, counts like any other.",
)


def write_stress(store: Path | str, out: Path | str) -> list[Path]:
    """Write a Markdown page and a CSV file per dataset and protocol, and a plot per test set.

    Args:
        store: A run store that `osteomark stress` went over.
        out: The folder to write to; other files in it stay.

    Returns:
        The written files.

    Raises:
        FileNotFoundError: Nothing was stressed yet.
    """
    files: dict[str, str] = {}
    for name, group in groupby(read_stress(store), key=lambda board: board.page):
        boards = list(group)
        frame = pd.DataFrame([record for board in boards for record in _records(board)])
        files |= {f"{name}.md": page_markdown(stress_page(boards)), f"{name}.csv": csv_text(frame)}
        files |= {board.plot_name: plot(board) for board in boards}
    return write_files(files, out)


def stress_page(boards: Sequence[StressBoard]) -> Page:
    """Assemble the page of one dataset and protocol.

    Args:
        boards: Its test sets.
    """
    key, name = boards[0].key, boards[0].page
    named_films = len({board.key.content for board in boards}) > 1
    levels = {corruption: texts for board in boards for corruption, texts in board.levels.items()}
    sections = [
        Section.reading(HOW_TO_READ),
        *(_section(board, f"s{place}", named_films=named_films) for place, board in enumerate(boards, 1)),
        Section("What the severities mean", (meaning_table(levels, "meanings"),)),
    ]
    return Page(
        name, f"Robustness: {key.dataset}, protocol {key.protocol}", (), tuple(sections), {"CSV": f"{name}.csv"}
    )


def show_stress(boards: Sequence[StressBoard], console: Console | None = None) -> None:
    """Print each method's clean score, and how much worse it gets with every corruption.

    Args:
        boards: What to print.
        console: Where; the terminal by default.
    """
    console = console or terminal(WIDTH)
    for board in boards:
        title = (
            f"{' / '.join((*board.key[:2], board.key.test_set))}: worse by, in % of the clean {board.column.heading}"
        )
        summary = summary_table(board, "")
        table = rich.table.Table(title=title, title_justify="left")
        for place, column in enumerate(summary.columns):
            table.add_column(column.title, no_wrap=True, justify="right" if place else "left")
        for row in summary.rows:
            shown = zip(summary.columns, row.cells, strict=True)
            table.add_row(*(cell.text.removesuffix(" %" if c.unit == WORSE else "") for c, cell in shown))
        console.print(table)


def summary_table(board: StressBoard, key: str) -> PageTable:
    """Return by how much each corruption makes each method worse."""
    clean = score_column(board.column)._replace(title=f"Clean {board.column.title}")
    worse = (TableColumn(name, WORSE, numeric=True) for name in (*board.levels, "Mean"))
    rows = [
        TableRow(
            (
                *(TableCell.name(row.label), _clean_cell(board, row)),
                *(_worse_cell(row.degradation(name)) for name in board.levels),
                _worse_cell(row.mean_degradation),
                TableCell.number(row.mean_error, percent(row.mean_error)),
            )
        )
        for row in board.rows
    ]
    columns = (METHOD, clean, *worse, TableColumn("mCE", f"% of {FLOOR}", numeric=True))
    caption = "Mean over five severities, in % of the clean score"
    return PageTable(f"{key}-stress", caption, columns, tuple(rows), filtered=len(rows) > 6)


def severity_table(board: StressBoard, name: str, key: str) -> PageTable:
    """Return the scores of each method at every severity of a corruption."""
    unit = board.column.unit
    scores = ["Clean", *map(str, SEVERITIES), "Mean"]
    columns = [TableColumn(title, unit, numeric=True) for title in scores]
    rows = [
        TableRow(
            (
                TableCell.name(row.label),
                *(_score_cell(row.at(name, severity), unit) for severity in (0, *SEVERITIES)),
                TableCell.number(row.mean(name), number(row.mean(name), unit)),
                *(_worse_cell(row.degradation(name)), TableCell.number(row.error(name), percent(row.error(name)))),
            )
        )
        for row in board.rows
    ]
    last = (TableColumn("Worse by", numeric=True), TableColumn("CE", numeric=True))
    return PageTable(f"{key}-table", f"{board.column.heading}: {name}", (METHOD, *columns, *last), tuple(rows))


def meaning_table(levels: Mapping[str, Mapping[int, str]], key: str) -> PageTable:
    """Return what the severities are."""
    rows = [
        TableRow((TableCell.name(name), *(TableCell(texts[s]) if s in texts else BLANK for s in SEVERITIES)))
        for name, texts in levels.items()
    ]
    columns = (TableColumn("Corruption"), *(TableColumn(str(severity)) for severity in SEVERITIES))
    return PageTable(f"{key}-stress-meanings", "What the severities mean", columns, tuple(rows), folded=True)


def _section(board: StressBoard, key: str, *, named_films: bool) -> Section:
    films = f", films {board.key.content}" if named_films else ""
    tables = [severity_table(board, name, f"{key}-{name}") for name in board.levels]
    picture = Picture(board.plot_name, _alternative(board))
    blocks = (Paragraph(_caption(board)), summary_table(board, key), picture, *tables)
    return Section(f"Test set {board.key.test_set}{films}", blocks, id=key)


def _clean_cell(board: StressBoard, row: StressRow) -> TableCell:
    score, unit = row.clean, board.column.unit
    return _score_cell(score.value, unit)._replace(interval=interval(score.low, score.high, unit))


def _score_cell(value: float, unit: str) -> TableCell:
    return BLANK if value != value else TableCell.number(value, number(value, unit))


def _worse_cell(value: float) -> TableCell:
    return TableCell.number(value, percent(value, sign=True))


def _caption(board: StressBoard) -> tuple[str, ...]:
    cases = sorted({row.cases for row in board.rows})
    badges = list(dict.fromkeys(badge for row in board.rows for badge in row.badges.split("; ") if badge))
    budgets = sorted({row.budget for row in board.rows})
    sentences = (
        f"{' or '.join(map(str, cases))} films; the score is {board.column.heading}.",
        f"Training budget: {'; '.join(budgets)}.",
        caveat_text(badges),
        content_text(board.key.content),
    )
    return tuple(filter(None, sentences))


def _records(board: StressBoard) -> list[dict[str, Any]]:
    """Return a board as data: one row per corruption and method."""
    return [
        {
            **board.key._asdict(),
            **{"method": row.label, "variant": row.variant, "config": row.config, "budget": row.budget},
            **{"corruption": name, "column": board.column.name, "unit": board.column.unit, "cases": row.cases},
            "clean": row.clean.value,
            **{f"severity_{severity}": row.at(name, severity) for severity in SEVERITIES},
            **{"mean": row.mean(name), "worse_by_percent": row.degradation(name)},
            **{"corruption_error_percent": row.error(name), "mce_percent": row.mean_error},
        }
        for name in board.levels
        for row in board.rows
    ]


def _alternative(board: StressBoard) -> str:
    """Say in words what the plot shows."""
    names = ", ".join(board.levels)
    drawn = f" of the first {MOST} methods" if len(board.rows) > MOST else ""
    least = board.rows[0].label
    return f"{board.column.title}{drawn} against the severity of {names}; the lowest lines over all are {least}'s"
