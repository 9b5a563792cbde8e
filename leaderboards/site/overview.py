"""The overview: leaders, ranks across boards, and what accuracy costs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from leaderboards.boards.badges import board_badges
from leaderboards.boards.board import FLOOR, Board, Row
from leaderboards.site import ranking
from leaderboards.site.html import Cell, Figure, Head, Line, Table, number_cell
from leaderboards.site.pareto import pareto
from leaderboards.text.overall import average_ranks, overall_name, overall_section
from leaderboards.text.pages import page_name
from leaderboards.text.tables import NO_NUMBER, heading, number, rank_text

TINTS = 5
"""Shades of the ranks' backgrounds."""


class Costs(NamedTuple):
    """A board's error against its costs.

    Attributes:
        title: The board's name.
        href: Its place in the site.
        figures: One per cost.
    """

    title: str
    href: str
    figures: tuple[Figure, ...]


def board_title(board: Board) -> str:
    """Return a board's name in a line.

    Example:
        >>> board_title(Board("isbi2015", "official", "1a2b", "test1"))
        'isbi2015 · official · test1'
    """
    return " · ".join(filter(None, (board.dataset, board.protocol, board.test_set)))


def board_link(boards: Sequence[Board], board: Board) -> str:
    """Return where a board stands: its page and its section there."""
    page = [other for other in boards if page_name(other) == page_name(board)]
    return f"{page_name(board)}.html#s{page.index(board) + 1}"


def leaders(boards: Sequence[Board]) -> Table:
    """Return one line per board: its leader, the floor and what to know about it."""
    heads = (
        *(Head("Board"), Head("Leader"), Head("Score", True, "95 % interval"), Head("Measure")),
        *(Head("Floor", True, FLOOR), Head("Better", True, "than the floor"), Head("Cases", True)),
        *(Head("Caveats", wide=True), Head("Not ranked", True)),
    )
    lines = [_leader(boards, board) for board in boards]
    return Table("leaders", "The best row of each board", heads, tuple(lines), filter=len(lines) > FILTERED)


FILTERED = 6
"""Lines from which on a small table can be filtered."""


def ranks(boards: Sequence[Board]) -> Table | None:
    """Return the rank of each variant on each board; None where fewer than two boards are ranked."""
    ranked = [board for board in boards if board.ranked]
    if len(ranked) < 2:
        return None
    best: dict[str, list[Row | None]] = {}
    for place, board in enumerate(ranked):
        for row in board.ranked:
            found = best.setdefault(row.variant, [None] * len(ranked))
            found[place] = found[place] or row  # rows come best first
    order = sorted(best, key=lambda variant: (_mean_share(ranked, best[variant]), variant))
    heads = (
        Head("Method"),
        Head("Mean place", True, "0 % first, 100 % last"),
        *(Head(board.dataset, True, " ".join(filter(None, (board.protocol, board.test_set)))) for board in ranked),
    )
    lines = [_rank_line(ranked, variant, best[variant]) for variant in order]
    return Table("ranks", "Rank of each method's best row on each board", heads, tuple(lines), filter=True)


class Averages(NamedTuple):
    """Average ranks over datasets.

    Attributes:
        title: What kind of films they are over.
        sentences: What was ranked and tested, in Markdown.
        table: The ranks.
        image: The critical-difference diagram in the site; empty where there was no test.
        alternative: The same in words.
    """

    title: str
    sentences: tuple[str, ...]
    table: Table
    image: str
    alternative: str


def averages(boards: Sequence[Board], exports: Sequence[str]) -> list[Averages]:
    """Return the average ranks over datasets, apart for real and drawn films.

    Args:
        boards: All boards.
        exports: Names of the exported files.
    """
    found = []
    for place, ranks in enumerate(average_ranks(boards)):
        head, introduction, _, test, *_ = overall_section(ranks)
        title = head.lstrip("# ")
        heads = (Head("Method"), Head("Average rank", True), *(Head(name, True) for name in ranks.datasets))
        lines = [
            Line(
                (
                    Cell(method, method.lower()),
                    *(number_cell(float(v), f"{v:.2f}".removesuffix(".00")) for v in (mean, *each)),
                )
            )
            for method, mean, each in zip(ranks.methods, ranks.averages, ranks.ranks, strict=True)
        ]
        name = overall_name(ranks)
        text = ", ".join(f"{method} {mean:.2f}" for method, mean in zip(ranks.methods, ranks.averages, strict=True))
        table = Table(f"averages-{place}", title, heads, tuple(lines))
        image = f"exports/{name}" if name in exports else ""
        found.append(Averages(title, (introduction, test), table, image, f"{title}: {text}."))
    return found


def costs(boards: Sequence[Board]) -> list[Costs]:
    """Return each board's first score against time per image, parameters and training time."""
    found = []
    for place, board in enumerate(board for board in boards if board.ranked):
        rows = board.ranked
        kinds = (
            ("time", "Time per image", "ms", {row.label: row.latency_ms for row in rows}),
            ("parameters", "Parameters", "", {row.label: row.parameters for row in rows}),
            ("training", "Training time", "s", {row.label: row.train_seconds for row in rows}),
        )
        drawn = [pareto(f"c{place}-{kind}", board, what, unit, values) for kind, what, unit, values in kinds]
        kept = tuple(figure for figure in drawn if figure is not None)
        if kept:
            found.append(Costs(board_title(board), board_link(boards, board), kept))
    return found


def _leader(boards: Sequence[Board], board: Board) -> Line:
    caveats = tuple(("warning", badge) for badge in caveats_of(board))
    place = " · ".join(filter(None, (board.protocol, board.test_set)))
    name = Cell(f"{board.dataset} {place}", f"{board.dataset} {place}", (board.title,), board_link(boards, board))
    unranked = sum(row.rank is None for row in board.measured)
    last = number_cell(unranked, str(unranked))
    warned = Cell("" if caveats else "none known", chips=caveats)
    if not board.ranked:
        return Line((name, Cell("none"), *[Cell(NO_NUMBER)] * 5, warned, last), "unscored")
    first, leader, floor = board.columns[0], board.ranked[0], board.floor
    others = [row for row in board.ranked if row.variant != FLOOR]
    better = sum(bool(floor and first.beats(row.value(first.name), floor.value(first.name))) for row in others)
    names = ", ".join(row.label for row in board.ranked if row.rank == 1)
    page = ranking.method_page(ranking.method_of(leader))
    score = ranking.score_cell(leader, first)
    return Line(
        (
            name,
            Cell(names, names.lower(), (leader.budget,), page),
            score._replace(notes=score.notes[:1]),
            Cell(heading(first), first.title),
            Cell("not measured") if floor is None else _floor(board, floor),
            number_cell(better, f"{better} of {len(others)}") if floor else Cell(NO_NUMBER),
            number_cell(leader.cases, str(leader.cases)),
            warned,
            last,
        )
    )


def caveats_of(board: Board) -> tuple[str, ...]:
    """Return what holds for every number of a board."""
    return tuple(dict.fromkeys((*board_badges(board), *board.facts.get("caveats", ()), *board.common_badges)))


def _floor(board: Board, floor: Row) -> Cell:
    value = floor.value(board.columns[0].name)
    return number_cell(
        value, number(value, board.columns[0].unit), f"rank {rank_text(board, floor)} of {len(board.ranked)}"
    )


def _share(board: Board, row: Row) -> float:
    """Return a rank as a share: 0 for the first, 1 for the last place."""
    return ((row.rank or 1) - 1) / max(len(board.ranked) - 1, 1)


def _mean_share(boards: Sequence[Board], rows: Sequence[Row | None]) -> float:
    return fmean(_share(board, row) for board, row in zip(boards, rows, strict=True) if row)


def _rank_line(boards: Sequence[Board], variant: str, rows: Sequence[Row | None]) -> Line:
    method = next(ranking.method_of(row) for row in rows if row)
    share, count = _mean_share(boards, rows), sum(row is not None for row in rows)
    cells = [
        Cell(NO_NUMBER)
        if row is None
        else number_cell(row.rank, rank_text(board, row), tint=min(int(_share(board, row) * TINTS), TINTS - 1))
        for board, row in zip(boards, rows, strict=True)
    ]
    some = (f"{count} of {len(boards)} boards",) if count < len(boards) else ()
    mean = number_cell(share, f"{100 * share:.0f} %", *some)
    return Line((Cell(variant, variant.lower(), href=ranking.method_page(method)), mean, *cells))
