"""The pages of methods: paper, deviations, variants, and the results of each on every board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboards.boards.board import Board, Row
from leaderboards.boards.numbers import NO_NUMBER
from leaderboards.pages.model import (
    BLANK,
    STATUS_TEXT,
    Bullets,
    Page,
    PageTable,
    Section,
    TableCell,
    TableColumn,
    TableRow,
)
from leaderboards.pages.overview import FILTERED, board_addresses
from leaderboards.pages.scores import COSTS, METHOD, SCORE_NOTE, cost_cells, marks_of, method_page, score_cell
from leaderboards.site.blocks import FilmGrid
from leaderboards.site.films import Gallery

METHODS = "methods"
"""The file stem of the list of methods."""
_UNKNOWN = "Nothing is known of this method's paper: its file was not at hand when the runs were scored."
Galleries = Mapping[tuple[str, str], Gallery]
"""Films of rows, by the address of their board and their label."""


def method_pages(boards: Sequence[Board], galleries: Galleries, facts: Mapping[str, Any]) -> list[Page]:
    """Assemble the list of methods, then the page of every method that has a run.

    Args:
        boards: All boards.
        galleries: Films of every drawn row.
        facts: `methods` of `facts.json`: what is known of each variant.
    """
    names = sorted({row.method for board in boards for row in board.measured if row.method})
    known = {name: {v: entry for v, entry in facts.items() if entry["method"] == name} for name in names}
    papers: dict[str, Mapping[str, Any]] = {
        name: next((entry["paper"] for entry in each.values()), {}) for name, each in known.items()
    }
    text = "One page per method: its paper, what was done differently, its variants and its results on every board."
    sections = (Section("All methods", (_list(boards, papers),)),)
    pages = [_page(name, boards, galleries, papers[name], known[name]) for name in names]
    return [Page(METHODS, "Methods", (text,), sections, {}, "Methods"), *pages]


def _list(boards: Sequence[Board], papers: Mapping[str, Mapping[str, Any]]) -> PageTable:
    rows = []
    for name, paper in papers.items():
        ranked = [(board, row) for board in boards for row in board.ranked if row.method == name]
        ranked.sort(key=lambda pair: ((pair[1].rank or 0) / len(pair[0].ranked), pair[0].name))
        authors, year = str(paper.get("authors", "")), paper.get("year") or None
        title = TableCell(str(paper.get("title") or NO_NUMBER), authors or None, notes=(authors,) if authors else ())
        best = BLANK
        if ranked:
            board, row = ranked[0]
            best = TableCell.number(row.rank, f"{board.rank_text(row)} of {len(board.ranked)}", board.name)
        counts = (TableCell.number(year, str(year or NO_NUMBER)), TableCell.number(len(ranked), str(len(ranked))))
        rows.append(TableRow((TableCell.name(name, page=method_page(name)), title, *counts, best)))
    numbers = (TableColumn(title, numeric=True) for title in ("Year", "Rows", "Best place"))
    columns = (METHOD, TableColumn("Paper", wide=True), *numbers)
    return PageTable(METHODS, "Methods with runs in this store", columns, tuple(rows), filtered=len(rows) > FILTERED)


def _page(
    name: str, boards: Sequence[Board], galleries: Galleries, paper: Mapping[str, Any], variants: Mapping[str, Any]
) -> Page:
    places = board_addresses(boards)
    mine = [
        (board, address, row)
        for board, address in zip(boards, places, strict=True)
        for row in board.measured
        if row.method == name
    ]
    films = [
        Section(
            f"{row.label} on {board.name}, rank {row.rank}", (FilmGrid((galleries[address, row.label],)),), page=address
        )
        for board, address, row in mine
        if (address, row.label) in galleries
    ]
    cited = ", ".join(str(paper[part]) for part in ("title", "authors", "year") if paper.get(part))
    lead = (f"{cited}." if cited else _UNKNOWN,)
    sections = [
        Section("Results", (_results(mine),)),
        Section("Differs from the paper", (Bullets(tuple(paper["differs"])),)) if paper.get("differs") else None,
        Section("Hyper-parameters", (_variants(variants, mine),)) if variants else None,
        Section("Films", sections=tuple(films)) if films else None,
    ]
    return Page(method_page(name), name, lead, tuple(filter(None, sections)), {}, name, paper.get("url", ""))


def _variants(known: Mapping[str, Any], mine: Sequence[tuple[Board, str, Row]]) -> PageTable:
    """Return the hyper-parameters of the variants that ran, and beside them what each result set differently."""
    set_here = {
        (f"{row.label} here", board.page): dict(text.split("=", 1) for text in row.settings if "=" in text)
        for board, _, row in mine
        if row.settings
    }
    names = dict.fromkeys(key for entry in known.values() for key in entry["hparams"])
    names |= dict.fromkeys(key for settings in set_here.values() for key in settings)
    rows = [
        TableRow(
            (
                TableCell(key),
                *(TableCell(_plain(entry["hparams"].get(key, NO_NUMBER))) for entry in known.values()),
                *(TableCell(settings.get(key, ""), best=key in settings) for settings in set_here.values()),
            )
        )
        for key in names
    ]
    columns = (TableColumn("Hyper-parameter"), *(TableColumn(variant, "the method's own") for variant in known))
    columns += tuple(TableColumn(label, page) for label, page in set_here)
    note = "An empty cell is as the variant's own. Columns of a board hold what its row set differently."
    caption = "Hyper-parameters: the variants' own, and what each result set differently"
    return PageTable("variants", caption, columns, tuple(rows), note=note)


def _plain(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _results(mine: Sequence[tuple[Board, str, Row]]) -> PageTable:
    columns = (
        *(TableColumn("Board"), TableColumn("Row"), TableColumn("Rank", numeric=True), TableColumn("Measure")),
        *(TableColumn("Score", "95 % interval", numeric=True), *COSTS, TableColumn("Budget")),
        TableColumn("Remarks", wide=True),
    )
    rows = tuple(_result(*each) for each in mine)
    filtered = len(rows) > FILTERED
    return PageTable("results", "Results on all boards", columns, rows, filtered=filtered, note=SCORE_NOTE)


def _result(board: Board, address: str, row: Row) -> TableRow:
    rank = board.rank_text(row)
    scored = bool(board.columns and row.scores)
    return TableRow(
        (
            TableCell(board.name, board.name, page=address),
            TableCell.name(row.label, marks=marks_of(board, row)),
            TableCell.number(row.rank, rank if row.rank is None else f"{rank} of {len(board.ranked)}"),
            TableCell(board.columns[0].heading) if board.columns else BLANK,
            score_cell(row, board.columns[0]) if scored else TableCell(STATUS_TEXT[row.status]),
            *cost_cells(row),
            TableCell(row.budget, row.budget),
            TableCell("; ".join([*row.settings, *row.notes]) or NO_NUMBER),
        ),
        row.status,
    )
