"""Every format writes the same pages: no cell, mark, note or sentence is lost on the way."""

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from leaderboards.build import read_leaderboards
from leaderboards.pages.leaderboards import Leaderboards
from leaderboards.pages.model import Page, PageTable, Paragraph, Section
from tests.leaderboards.conftest import REPORTED


@pytest.fixture(scope="module")
def content(site_store: Path) -> Leaderboards:
    return read_leaderboards(site_store, REPORTED)


def blocks(sections: tuple[Section, ...]) -> Iterator[object]:
    for section in sections:
        yield from section.blocks
        yield from blocks(section.sections)


def texts(page: Page) -> set[str]:
    """What a page says in its tables' cells and its plain sentences."""
    said: set[str] = set()
    for block in blocks(page.sections):
        if isinstance(block, PageTable):
            cells = [cell for row in block.rows for cell in row.cells]
            said |= {text for cell in cells for text in (cell.text, cell.interval, *cell.notes)}
            said |= {mark.text for cell in cells for mark in cell.marks}
            said |= {column.title for column in block.columns}
        elif isinstance(block, Paragraph):
            said |= {sentence for sentence in block.sentences if not set(sentence) & set("*`")}
    return said


def test_markdown_and_html_hold_every_text_of_the_model(content: Leaderboards, site: Path) -> None:
    pages = [content.overview, *(page.page for page in content.pages)]
    assert len(pages) == 4
    for page in pages:
        said = texts(page)
        assert len(said) > 30
        markdown = (site / "exports" / f"{page.name}.md").read_text()
        shown = html.unescape((site / f"{page.name}.html").read_text())
        assert {text for text in said if " ".join(text.split()) not in markdown} == set()
        assert {text for text in said if text not in shown} == set()


def test_latex_holds_the_scores_of_every_ranked_row(content: Leaderboards, site: Path) -> None:
    for page in content.pages:
        rows = [line for line in (site / "exports" / f"{page.page.name}.tex").read_text().splitlines() if " & " in line]
        for board in page.boards:
            column = board.columns[0].name
            for row in board.ranked:
                (line,) = (
                    line
                    for line in rows
                    if re.match(rf"{row.rank}=? & {re.escape(row.label).replace('_', '._')}", line)
                )
                assert f"{row.value(column):.2f}" in line
