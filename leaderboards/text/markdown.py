"""Writes a page as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from leaderboards.pages.model import WARNING, Bullets, Mark, Page, PageTable, Paragraph, Picture, Section, TableCell


def page_markdown(page: Page, pages: Collection[str] = ()) -> str:
    """Write a page.

    Args:
        page: What to write.
        pages: Stems of the Markdown pages beside it, to which cells may lead.
    """
    parts = [f"# {page.title}", *(["\n".join(page.lead)] if page.lead else [])]
    parts.append(f"The same as data: {_files(page.files)}.")
    for section in page.sections:
        parts += _section(section, 2, pages)
    return "\n\n".join(parts) + "\n"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Write a pipe table.

    Example:
        >>> print(markdown_table(["a", "b"], [["1", "x|y"]]))
        | a | b |
        | --- | --- |
        | 1 | x\|y |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_one_line(cell) for cell in line) + " |" for line in lines)


def cell_text(cell: TableCell) -> str:
    """Write a cell without its links and marks: `value [low, high] (note; note)`.

    Example:
        >>> cell_text(TableCell("1.00", interval="[0.50, 1.50]", notes=("paper 1.12",)))
        '1.00 [0.50, 1.50] (paper 1.12)'
    """
    notes = f"({'; '.join(cell.notes)})" if cell.notes else ""
    return " ".join(filter(None, (cell.text, cell.interval, notes)))


def _section(section: Section, level: int, pages: Collection[str]) -> Iterator[str]:
    yield f"{'#' * level} {section.title}"
    for block in section.blocks:
        yield from _WRITERS[type(block)](block, pages)
    for part in section.sections:
        yield from _section(part, level + 1, pages)


def _paragraph(block: Paragraph, pages: Collection[str]) -> Iterable[str]:
    del pages  # no link to one in a sentence
    return [" ".join([*block.sentences, _files({name: name for name in block.files})]).strip()]


def _bullets(block: Bullets, pages: Collection[str]) -> Iterable[str]:
    del pages
    return ["\n".join(f"- {item}" for item in block.items)]


def _picture(block: Picture, pages: Collection[str]) -> Iterable[str]:
    del pages
    return [f"![{block.alternative}]({block.file})"]


def _table(block: PageTable, pages: Collection[str]) -> Iterable[str]:
    rows = [[_cell(cell, pages) for cell in row.cells] for row in block.rows]
    table = [markdown_table([column.heading for column in block.columns], rows), *([block.note] if block.note else [])]
    if block.folded:
        return [f"<details><summary>{block.caption}</summary>", *table, "</details>"]
    return [f"{block.caption}:", *table]


_WRITERS: Final[Mapping[type, Callable[[Any, Collection[str]], Iterable[str]]]] = {
    Paragraph: _paragraph,
    Bullets: _bullets,
    Picture: _picture,
    PageTable: _table,
}


def _cell(cell: TableCell, pages: Collection[str]) -> str:
    page = cell.page.partition("#")[0]
    target = f"{page}.md" if page in pages else cell.url
    linked = cell._replace(text=f"[{cell.text}]({target})") if target else cell
    return " ".join(filter(None, [cell_text(linked), ", ".join(map(_mark, cell.marks))]))


def _mark(mark: Mark) -> str:
    return f"**{mark.text}**" if mark.status == WARNING else f"*{mark.text}*"


def _files(files: Mapping[str, str]) -> str:
    return ", ".join(f"[{label}]({name})" for label, name in files.items())


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
