"""Writes pages as HTML: the templates and how their values are written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.filters import do_mark_safe

from leaderboards.boards.numbers import NO_NUMBER
from leaderboards.pages.model import STATUS_TEXT, TableCell
from leaderboards.pages.svg import COLOURS, ON_DARK
from leaderboards.site.films import PARTS

TEMPLATES: Final = Path(__file__).parent / "templates"
EXPORTS: Final = "exports"
"""Folder of the Markdown, CSV and other files in the site."""
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?")


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
    loaded.filters |= {"inline": inline, "spec": spec, "sortkey": sort_key, "address": address, "macro": macro_name}
    loaded.globals |= {"status_text": STATUS_TEXT, "parts": PARTS, "folder": EXPORTS}
    loaded.globals["on_dark"] = json.dumps(dict(zip(COLOURS, ON_DARK, strict=True)), separators=(",", ":"))
    return loaded


def macro_name(block: object) -> str:
    """Return the macro that writes a block: `page_table` for a `PageTable`.

    Example:
        >>> macro_name(TableCell(""))
        'table_cell'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(block).__name__).lower()


def address(page: str) -> str:
    """Return the address of a page, or of a section in it.

    Example:
        >>> address("isbi2015-official#s1"), address("index")
        ('isbi2015-official.html#s1', 'index.html')
    """
    name, mark, section = page.partition("#")
    return f"{name}.html{mark}{section}"


def inline(text: str) -> str:
    """Write the markup of a sentence (code, emphasis) as HTML; everything else is escaped.

    Example:
        >>> str(inline("`mean_shape` is *not* <b>"))
        '<code>mean_shape</code> is <em>not</em> &lt;b&gt;'
    """
    safe = escape(text)
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    safe = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)
    return do_mark_safe(re.sub(r"\*([^*]+)\*", r"<em>\1</em>", safe))


def spec(value: Mapping[str, Any]) -> str:
    """Write a chart as JSON that may stand in a script element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return do_mark_safe(text.replace("<", "\\u003c"))


def sort_key(cell: TableCell) -> str | None:
    """Write what a cell sorts by; None where the script can read it off the text.

    Example:
        >>> cells = (TableCell("1.66", 1.6612), TableCell("-"), TableCell("1 h 5 min", 3900.0), TableCell("A", "a"))
        >>> [sort_key(cell) for cell in cells]
        [None, None, '3900', None]
    """
    if isinstance(cell.sort, str):
        return None if cell.sort.lower() == cell.text.lower() else cell.sort
    if cell.sort is None:
        return None if cell.text in ("", NO_NUMBER) else ""
    return None if _NUMBER.fullmatch(cell.text) else f"{cell.sort:.6g}"
