"""Builds the leaderboards: a pure function of a scored run store, the same bytes every time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from benchmark.cell import On
from benchmark.store import FACTS
from leaderboards.boards.published import read_published
from leaderboards.boards.read import read_boards
from leaderboards.boards.reported import Reported
from leaderboards.pages.board_page import SCHEMA
from leaderboards.pages.comparisons import COMPARISONS
from leaderboards.pages.leaderboards import Leaderboards, assemble
from leaderboards.pages.overview import COLUMNS
from leaderboards.text.data import board_csv, column_csv, comparison_csv, page_json, schema_text
from leaderboards.text.files import write_files
from leaderboards.text.latex import page_latex
from leaderboards.text.markdown import page_markdown
from leaderboards.text.model_cards import model_cards


def read_leaderboards(store: Path | str, reported: Sequence[Reported] | None = None, on: On = "test") -> Leaderboards:
    """Read a store's boards and assemble their pages.

    Args:
        store: A run store that `osteomark score` went over.
        reported: The papers' numbers; those of `reported.yaml` by default.
        on: The films on which runs are ranked.

    Raises:
        FileNotFoundError: The store was not scored yet.
        ValueError: A `run.json` is damaged.
    """
    return assemble(read_boards(store, reported, on), on, _tuning(store))


def build(store: Path | str, out: Path | str, reported: Sequence[Reported] | None = None) -> list[Path]:
    """Read a store's boards and write their files; see `read_leaderboards` and `write_leaderboards`."""
    return write_leaderboards(read_leaderboards(store, reported), out)


def rewrite_published(published: Path | str) -> list[Path]:
    """Write the pages of published leaderboards again from their own data, as today's code writes them.

    Args:
        published: A folder that `osteomark leaderboard --publish` wrote.
    """
    content = assemble(read_published(published), tuning=_tuning(published))
    facts = json.loads((Path(published) / FACTS).read_text(encoding="utf-8"))
    cards = write_files(model_cards(content.boards, facts["methods"]), published)
    return write_leaderboards(content, published) + cards


def _tuning(folder: Path | str) -> int:
    """Return how many runs of a store tune; the facts of older ones do not say it."""
    return int(json.loads((Path(folder) / FACTS).read_text(encoding="utf-8")).get("tuning", 0))


def write_leaderboards(content: Leaderboards, out: Path | str) -> list[Path]:
    """Write the overview, per dataset and protocol a page as Markdown, CSV, JSON and LaTeX, and what its columns mean.

    Beside them lie the pages' diagrams and a CSV file of all paired comparisons.

    Args:
        content: All leaderboards.
        out: The folder to write to; files of other pages in it stay.

    Returns:
        The written files, the overview first.
    """
    names = {page.page.name for page in content.pages}
    files = {"index.md": page_markdown(content.overview, names)}
    for page in content.pages:
        texts = {
            "md": page_markdown(page.page, names),
            "csv": board_csv(page.boards),
            "json": page_json(page.boards),
            "tex": page_latex(page),
        }
        files |= {f"{page.page.name}.{suffix}": text for suffix, text in texts.items()} | dict(page.pictures)
    files |= dict(content.pictures) | {SCHEMA: schema_text(), COMPARISONS: comparison_csv(content.boards)}
    return write_files(files | {COLUMNS: column_csv(content.boards)}, out)
