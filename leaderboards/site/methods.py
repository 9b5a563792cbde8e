"""The pages of methods: paper, deviations, variants, and the results of each on every board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from leaderboards.boards.board import Board, Row
from leaderboards.site import ranking
from leaderboards.site.dataset import Page
from leaderboards.site.films import Gallery
from leaderboards.site.html import Cell, Head, Line, Table, number_cell
from leaderboards.site.overview import FILTERED, board_link, board_title
from leaderboards.text.tables import NO_NUMBER, heading, number, rank_text


class MethodPage(NamedTuple):
    """A method's page.

    Attributes:
        name: Of the method.
        paper: Title, authors, year, address and deviations, as its file states them; empty where it is not known.
        variants: What sets its variants apart.
        results: Its rows on all boards.
        galleries: Its films, with the title and place of their boards.
        costs: Whether a row has costs, for the note.
    """

    name: str
    paper: Mapping[str, Any]
    variants: Table | None
    results: Table
    galleries: tuple[tuple[str, str, Gallery], ...]


def method_pages(boards: Sequence[Board], pages: Sequence[Page], facts: Mapping[str, Any]) -> list[MethodPage]:
    """Assemble the page of every method that has a run.

    Args:
        boards: All boards.
        pages: The datasets' pages, for their films.
        facts: `methods` of `facts.json`: what is known of each variant.
    """
    names = sorted({ranking.method_of(row) for board in boards for row in board.measured if row.runs})
    return [_page(name, boards, pages, facts) for name in names]


def method_list(pages: Sequence[MethodPage], boards: Sequence[Board]) -> Table:
    """Return one line per method."""
    heads = (Head("Method"), Head("Paper", wide=True), Head("Year", True), Head("Rows", True), Head("Best place", True))
    lines = []
    for page in pages:
        rows = [(board, row) for board in boards for row in board.ranked if ranking.method_of(row) == page.name]
        best = min(
            rows, key=lambda pair: ((pair[1].rank or 0) / len(pair[0].ranked), board_title(pair[0])), default=None
        )
        year = page.paper.get("year") or None
        lines.append(
            Line(
                (
                    Cell(page.name, page.name, href=ranking.method_page(page.name)),
                    _paper_cell(page.paper),
                    number_cell(year, str(year or NO_NUMBER)),
                    number_cell(len(rows), str(len(rows))),
                    Cell(NO_NUMBER)
                    if best is None
                    else number_cell(
                        best[1].rank, f"{rank_text(*best)} of {len(best[0].ranked)}", board_title(best[0])
                    ),
                )
            )
        )
    return Table("methods", "Methods with runs in this store", heads, tuple(lines), filter=len(lines) > FILTERED)


def _paper_cell(paper: Mapping[str, Any]) -> Cell:
    authors = str(paper.get("authors", ""))
    return Cell(str(paper.get("title") or NO_NUMBER), authors or None, (authors,) if authors else ())


def _page(name: str, boards: Sequence[Board], pages: Sequence[Page], facts: Mapping[str, Any]) -> MethodPage:
    known = {variant: entry for variant, entry in facts.items() if entry["method"] == name}
    mine = [(board, row) for board in boards for row in board.measured if ranking.method_of(row) == name]
    galleries = [
        (board_title(section.board), f"{page.name}.html#{section.key}", page.galleries[section.key, row.label])
        for page in pages
        for section in page.sections
        for row in section.board.ranked
        if ranking.method_of(row) == name and (section.key, row.label) in page.galleries
    ]
    paper: Mapping[str, Any] = next((entry["paper"] for entry in known.values()), {})
    return MethodPage(name, paper, _variants(known), _results(boards, mine), tuple(galleries))


def _variants(known: Mapping[str, Any]) -> Table | None:
    """Return the hyper-parameters of the variants that ran; shared ones are said once."""
    if not known:
        return None
    names = list(dict.fromkeys(key for entry in known.values() for key in entry["hparams"]))
    lines = [
        Line((Cell(key), *(Cell(_plain(entry["hparams"].get(key, NO_NUMBER))) for entry in known.values())))
        for key in names
    ]
    heads = (Head("Hyper-parameter"), *(Head(variant) for variant in known))
    return Table("variants", "Hyper-parameters of the variants that ran", heads, tuple(lines))


def _plain(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _results(boards: Sequence[Board], mine: Sequence[tuple[Board, Row]]) -> Table:
    heads = (
        *(Head("Board"), Head("Row"), Head("Rank", True), Head("Measure"), Head("Score", True, "95 % interval")),
        *(Head("Paper", True), Head("Parameters", True), Head("Time", True, "ms per image")),
        *(Head("Training", True, "per run"), Head("Budget"), Head("Remarks", wide=True)),
    )
    return Table(
        "results",
        "Results on all boards",
        heads,
        tuple(_result(boards, *pair) for pair in mine),
        filter=len(mine) > FILTERED,
    )


def _result(boards: Sequence[Board], board: Board, row: Row) -> Line:
    title = board_title(board)
    rank = rank_text(board, row)
    first = board.columns[0] if board.columns else None
    printed = None if first is None else row.reported.get(first.name)
    score = Cell(ranking.STATUS_TEXT[row.status]) if first is None or not row.scores else ranking.score_cell(row, first)
    return Line(
        (
            Cell(title, title, href=board_link(boards, board)),
            Cell(row.label, row.label.lower(), chips=ranking.chips(board, row)),
            number_cell(row.rank, rank if row.rank is None else f"{rank} of {len(board.ranked)}"),
            Cell(NO_NUMBER if first is None else heading(first)),
            score._replace(notes=score.notes[:1]),
            Cell(NO_NUMBER) if printed is None or first is None else number_cell(printed, number(printed, first.unit)),
            *ranking.cost_cells(row),
            Cell(row.budget, row.budget),
            Cell("; ".join([*row.settings, *row.notes]) or NO_NUMBER),
        ),
        row.status,
    )
