"""What templates draw: tables of cells and the small texts around them; plain values, no markup."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.filters import do_mark_safe

from leaderboards.text.tables import NO_NUMBER

TEMPLATES = Path(__file__).parent / "templates"


class Head(NamedTuple):
    """A column's heading.

    Attributes:
        text: What stands there.
        numeric: Whether it is set to the right.
        note: A second, smaller line: the unit and the direction.
        first: The direction of the first sort, that which brings the best value to the top.
        wide: Whether it holds sentences.
    """

    text: str
    numeric: bool = False
    note: str = ""
    first: str = "ascending"
    wide: bool = False


class Cell(NamedTuple):
    """A table's cell.

    Attributes:
        text: What stands there.
        sort: What it is sorted by, a number or a text; None sorts last, whatever the direction.
        notes: Further, smaller lines.
        href: Where the text leads.
        chips: Badges, each with its kind.
        tint: Of the background, 0 (best) to 1 (worst); None for none.
    """

    text: str
    sort: float | str | None = None
    notes: tuple[str, ...] = ()
    href: str = ""
    chips: tuple[tuple[str, str], ...] = ()
    tint: int | None = None


class Line(NamedTuple):
    """A table's row; the cell at `Table.head` is its heading.

    Attributes:
        cells: One per column.
        kind: The status, for the filter and the look.
    """

    cells: tuple[Cell, ...]
    kind: str = "done"


class Table(NamedTuple):
    """A table.

    Attributes:
        id: Unique in its page.
        caption: What it shows.
        heads: Its columns.
        lines: Its rows.
        head: Which column heads the rows.
        filter: Whether rows can be filtered.
    """

    id: str
    caption: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    head: int = 0
    filter: bool = False

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of rows, where there are several."""
        kinds = tuple(dict.fromkeys(line.kind for line in self.lines))
        return kinds if len(kinds) > 1 else ()


class Figure(NamedTuple):
    """A chart.

    Attributes:
        id: Unique in its page.
        title: What it shows.
        summary: The same in a sentence or two, with its outcome, for those who do not see it.
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
    spec: dict[str, Any]
    table: Table
    note: str = ""
    height: int = 340
    wide: bool = False
    legend: bool = True


def number_cell(value: float | None, text: str, *notes: str, tint: int | None = None) -> Cell:
    """Return a cell that sorts by a number."""
    missing = value is None or math.isnan(value)
    return Cell(text, None if missing else value, notes, tint=tint)


def environment() -> Environment:
    """Return the templates' environment."""
    loaded = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    loaded.filters |= {"inline": inline, "spec": spec, "sortkey": sort_key}
    return loaded


def inline(text: str) -> str:
    """Turn the little Markdown of our own sentences (code, emphasis) into HTML; everything else is escaped.

    Example:
        >>> str(inline("`mean_shape` is *not* <b>"))
        '<code>mean_shape</code> is <em>not</em> &lt;b&gt;'
    """
    safe = escape(text)
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    safe = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)
    return do_mark_safe(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", safe))


def spec(value: dict[str, Any]) -> str:
    """Write a chart as JSON that may stand in a script element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return do_mark_safe(text.replace("<", "\\u003c"))


def sort_key(cell: Cell) -> str | None:
    """Write what a cell sorts by; None where the script can read it off the text.

    Example:
        >>> [sort_key(cell) for cell in (Cell("1.66", 1.6612), Cell("-"), Cell("1 h 5 min", 3900.0), Cell("A", "a"))]
        [None, None, '3900', None]
    """
    if isinstance(cell.sort, str):
        return None if cell.sort.lower() == cell.text.lower() else cell.sort
    if cell.sort is None:
        return None if cell.text in BLANK else ""
    return None if _NUMBER.fullmatch(cell.text) else f"{cell.sort:.6g}"


BLANK = ("", NO_NUMBER)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def rounded(values: Sequence[float], digits: int = 4) -> list[float | None]:
    """Round to significant digits for a chart; None where there is no number.

    Example:
        >>> rounded([1.23456, float("nan"), 1234.56])
        [1.235, None, 1235.0]
    """
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]
