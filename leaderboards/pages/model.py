"""The parts of a page as plain values: sections of texts, tables and pictures, without a format.

Every renderer (`leaderboards.text`, `leaderboards.site`) writes these values and none reads what another one wrote.
Sentences may hold `**strong**`, `*emphasised*` and code in backticks; nothing else in them is markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from leaderboards.boards.numbers import NO_NUMBER, heading

NO_CAVEAT: Final = "none known"
WARNING: Final = "warning"
"""The status of a mark that is a badge."""
STATUS_TEXT: Final = {
    "done": "measured",
    "incomplete": "incomplete",
    "unscored": "not scored",
    "unsupported": "not supported",
    "failed": "failed",
    "reported": "reported",
    "human": "human readers",
}


class Mark(NamedTuple):
    """A word beside a cell's text, with a row's status, or `WARNING` for a badge."""

    status: str
    text: str


class TableCell(NamedTuple):
    """A cell.

    Attributes:
        text: What it holds.
        sort: What it is sorted by, a number or a text; None sorts last, whatever the direction.
        interval: The 95 % interval of its number, as text.
        notes: Smaller texts below or behind it.
        url: Where the text leads outside.
        page: The page that the text leads to, with `#` and a section's id; only where that page is written.
        marks: A status and badges.
        tint: Of the background, 0 (best) to 4 (worst); None for none.
        best: Whether no ranked row has a better value in this column.
    """

    text: str
    sort: float | str | None = None
    interval: str = ""
    notes: tuple[str, ...] = ()
    url: str = ""
    page: str = ""
    marks: tuple[Mark, ...] = ()
    tint: int | None = None
    best: bool = False

    @classmethod
    def number(cls, value: float | None, text: str, *notes: str, tint: int | None = None) -> TableCell:
        """Return a cell that sorts by a number."""
        missing = value is None or math.isnan(value)
        return cls(text, None if missing else value, notes=notes, tint=tint)

    @classmethod
    def name(cls, text: str, *notes: str, page: str = "", marks: tuple[Mark, ...] = ()) -> TableCell:
        """Return a cell that sorts by its text, upper and lower case alike."""
        return cls(text, text.lower(), notes=notes, page=page, marks=marks)

    @classmethod
    def joined(cls, parts: Iterable[str]) -> TableCell:
        """Return a cell of several texts, of which the empty ones are left out."""
        return cls("; ".join(filter(None, parts)) or NO_NUMBER)


class TableColumn(NamedTuple):
    """A column.

    Attributes:
        title: Its heading.
        unit: Of its numbers, or another word on them.
        higher_is_better: Direction of improvement; None where there is none.
        numeric: Whether it is set to the right.
        name: Of the score it holds, as in `scores.csv`, or what a renderer asks for it by.
        wide: Whether it holds sentences.
    """

    title: str
    unit: str = ""
    higher_is_better: bool | None = None
    numeric: bool = False
    name: str = ""
    wide: bool = False

    @property
    def heading(self) -> str:
        """The title with unit and direction."""
        return heading(self.title, self.unit, self.higher_is_better)


class TableRow(NamedTuple):
    """A row of a table: a cell per column, and the status and `Row.key` of the board's row that it shows."""

    cells: tuple[TableCell, ...]
    status: str = "done"
    key: str = ""


class PageTable(NamedTuple):
    """A table.

    Attributes:
        id: Unique in its page.
        caption: What it shows.
        columns: Its columns.
        rows: Its rows.
        head: Which column names the rows.
        filtered: Whether rows can be filtered where a page is interactive.
        folded: Whether it is shown on demand.
        note: How to read it.
    """

    id: str
    caption: str
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    head: int = 0
    filtered: bool = False
    folded: bool = False
    note: str = ""

    @property
    def statuses(self) -> tuple[str, ...]:
        """The status of its rows, where there are several."""
        statuses = tuple(dict.fromkeys(row.status for row in self.rows))
        return statuses if len(statuses) > 1 else ()


class Paragraph(NamedTuple):
    """Sentences, and the names of files beside the page that they point to."""

    sentences: tuple[str, ...]
    files: tuple[str, ...] = ()


class Bullets(NamedTuple):
    """A list of sentences."""

    items: tuple[str, ...]


class Picture(NamedTuple):
    """A drawing in a file of its own, and the same in words."""

    file: str
    alternative: str


class Chart(NamedTuple):
    """An interactive chart.

    Attributes:
        id: Unique in its page.
        title: What it shows.
        summary: The same in a sentence or two, with its outcome.
        spec: `data` and `layout` as Plotly takes them.
        table: Its numbers.
        note: How to read it.
        height: In CSS pixels.
        wide: Whether it scrolls sideways on a narrow screen instead of shrinking.
        legend: Whether its traces are switched by buttons below it.
    """

    id: str
    title: str
    summary: str
    spec: Mapping[str, Any]
    table: PageTable
    note: str = ""
    height: int = 340
    wide: bool = False
    legend: bool = True


class Section(NamedTuple):
    """A part of a page.

    Attributes:
        title: Its heading.
        blocks: Texts, tables and pictures, in order.
        sections: Its own parts, after the blocks.
        id: Unique in its page.
        page: The page that its heading leads to; empty for none.
        marks: Badges that hold for all of it.
        folded: Whether it is shown on demand where a page is interactive.
    """

    title: str
    blocks: tuple[Any, ...] = ()
    sections: tuple[Section, ...] = ()
    id: str = ""
    page: str = ""
    marks: tuple[Mark, ...] = ()
    folded: bool = False

    @classmethod
    def reading(cls, lines: Iterable[str]) -> Section:
        """Return the part that explains the tables of a page, a sentence an item."""
        return cls("How to read the tables", (Bullets(tuple(lines)),), id="reading")


class Page(NamedTuple):
    """A page.

    Attributes:
        name: File stem.
        title: Its heading.
        lead: Sentences below the heading.
        sections: Its parts.
        files: Its numbers in other formats: label to file name.
        label: What other pages call it.
        url: Of the publication that it is about.
    """

    name: str
    title: str
    lead: tuple[str, ...]
    sections: tuple[Section, ...]
    files: Mapping[str, str]
    label: str = ""
    url: str = ""


BLANK: Final = TableCell(NO_NUMBER)
