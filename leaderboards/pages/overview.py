"""The overview: leaders, ranks across boards, and average ranks over datasets."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Final

from benchmark.cell import On
from leaderboards.boards.average_ranks import FEWEST, AverageRanks
from leaderboards.boards.badges import board_caveats
from leaderboards.boards.board import FLOOR, Board, Row
from leaderboards.boards.numbers import NOT_MEASURED, NOT_TESTED, number, p_text, percent
from leaderboards.boards.statistics import ALPHA
from leaderboards.pages.board_page import SEEDS
from leaderboards.pages.comparisons import listed_ranks
from leaderboards.pages.model import (
    BLANK,
    NO_CAVEAT,
    WARNING,
    Mark,
    Page,
    PageTable,
    Paragraph,
    Picture,
    Section,
    TableCell,
    TableColumn,
    TableRow,
)
from leaderboards.pages.rank_diagram import rank_diagram
from leaderboards.pages.scores import METHOD, OVER_FLOOR, method_page, score_cell

INDEX: Final = "index"
COLUMNS: Final = "columns.csv"
"""The file that says what the score columns of the CSV files mean."""
FEW_DATASETS: Final = 5
"""Datasets below which a test is shown and called too weak to mean much."""
ROUGH_DATASETS: Final = 10
"""Datasets up to which the chi-square of Friedman's test is a rough approximation (Demšar, JMLR 7, 2006)."""
TINTS: Final = 5
"""Shades of the ranks' backgrounds."""
FILTERED: Final = 6
"""A table of more rows can be filtered."""
LEFT_OUT: Final = 10
"""So many methods that are not in an average rank are named."""


def left_out(tuning: int, on: On = "test") -> tuple[str, ...]:
    """Say that runs are on no board of test films because they tune; nothing where there are none.

    Args:
        tuning: How many there are.
        on: The films on which runs are ranked.
    """
    if not tuning or on != "test":
        return ()
    return (f"{tuning} runs that tune are left out: no test film was predicted (`{_TUNED}` ranks them).",)


def overview_page(boards: Sequence[Board], ranks: Sequence[AverageRanks], on: On = "test", tuning: int = 0) -> Page:
    """Assemble the overview.

    Args:
        boards: All boards.
        ranks: Of methods over their datasets.
        on: The films on which runs are ranked.
        tuning: How many runs are left out since no test film was predicted.
    """
    lead = (
        *([] if on == "test" else [_ON_VALIDATION]),
        "One board per dataset, protocol and test set. Numbers of two boards cannot be compared; ranks can, with care.",
        "`value [low, high]` is a score with its 95 % interval, by 1,000 bootstrap resamples of patients where they "
        "are known, else of films. It says how much the score depends on the tested films, not on the training.",
        *([SEEDS] if any(len(board.ranked[0].seeds) > 1 for board in boards if board.ranked) else []),
        *left_out(tuning, on),
    )
    places = board_addresses(boards)
    leaders = PageTable(
        "leaders",
        "The best row of each board",
        _LEADERS,
        tuple(_leader(board, address) for board, address in zip(boards, places, strict=True)),
        filtered=len(boards) > FILTERED,
        note=f"The floor, `{FLOOR}`, predicts the mean training shape without looking at the film. A row counts as "
        f"better than it where the paired tests of its board say so (corrected p below {ALPHA}).",
    )
    sections = (
        Section("Leaders", (leaders,), id="leaders-section"),
        *_ranks_section([board for board in boards if board.ranked]),
        *(_average_section(each, f"averages-{place}") for place, each in enumerate(ranks)),
    )
    title = "leaderboards" if on == "test" else "ranks on validation films"
    return Page(INDEX, f"Landmarks on X-rays: {title}", lead, sections, {"what columns mean": COLUMNS}, "Overview")


def board_addresses(boards: Sequence[Board]) -> list[str]:
    """Return where each board stands: its page and the id of its section there."""
    pages = [board.page for board in boards]
    return [f"{page}#s{pages[: place + 1].count(page)}" for place, page in enumerate(pages)]


def average_rank_diagram(ranks: AverageRanks) -> str | None:
    """Draw the critical-difference diagram; None where there was no test."""
    if ranks.friedman is None:
        return None
    return rank_diagram(ranks.methods, ranks.averages.tolist(), ranks.p_values, ranks.critical_difference)


def average_rank_file(ranks: AverageRanks) -> str:
    """Return the file name of the diagram."""
    return f"average-ranks-{len(ranks.datasets)}-datasets{'-drawn' if ranks.drawn else ''}.svg"


_ON_VALIDATION: Final = (
    "**Ranks on validation films, to choose settings: no test film was looked at.** The checkpoints were chosen on the "
    "same films, so these errors are lower than those on new films, and no paper's number stands beside them."
)
_TUNED: Final = "osteomark leaderboard --on validation"
_LEADERS: Final = (
    TableColumn("Board"),
    TableColumn("Ranked by"),
    TableColumn("Leader"),
    TableColumn("Score", "95 % interval", numeric=True),
    TableColumn("Floor", numeric=True),
    TableColumn(OVER_FLOOR, numeric=True),
    TableColumn("Cases", numeric=True),
    TableColumn("Caveats", wide=True),
    TableColumn("Not ranked"),
)


def _leader(board: Board, address: str) -> TableRow:
    badges = dict.fromkeys((*board_caveats(board), *board.common_badges))
    name = TableCell.name(board.name, board.title, page=address)
    caveats = TableCell("" if badges else NO_CAVEAT, marks=tuple(Mark(WARNING, badge) for badge in badges))
    unranked = [f"{row.label} ({row.status})" for row in board.rows if row.rank is None and row.status != "reported"]
    last = TableCell(", ".join(unranked) or "none", len(unranked))
    if not board.ranked:
        return TableRow((name, BLANK, TableCell("none"), *[BLANK] * 4, caveats, last), "unscored")
    first, leader, floor = board.columns[0], board.ranked[0], board.floor
    leaders = ", ".join(row.label for row in board.ranked if row.rank == 1)
    return TableRow(
        (
            name,
            TableCell(first.heading, first.title),
            TableCell.name(leaders, leader.budget, page=method_page(leader.method)),
            score_cell(leader, first),
            _floor(board, floor) if floor else TableCell(NOT_MEASURED),
            _better_cell(board),
            TableCell.number(leader.cases, str(leader.cases)),
            caveats,
            last,
        )
    )


def _better_cell(board: Board) -> TableCell:
    """Count the rows that paired tests find better than the trivial method."""
    outcomes = [board.beats_floor(row) for row in board.ranked if row.variant != FLOOR]
    if board.floor is None:
        return TableCell(NOT_MEASURED)
    if None in outcomes or not outcomes:
        return TableCell(NOT_TESTED)
    return TableCell.number(sum(map(bool, outcomes)), f"{sum(map(bool, outcomes))} of {len(outcomes)} rows")


def _floor(board: Board, floor: Row) -> TableCell:
    value, unit = floor.value(board.columns[0].name), board.columns[0].unit
    return TableCell.number(value, number(value, unit), f"rank {board.rank_text(floor)} of {len(board.ranked)}")


def _ranks_section(boards: Sequence[Board]) -> tuple[Section, ...]:
    """Give the rank of each variant on each ranked board; nothing for fewer than two boards."""
    if len(boards) < 2:
        return ()
    best: dict[str, list[Row | None]] = {}
    for place, board in enumerate(boards):
        for row in board.ranked:
            rows = best.setdefault(row.variant, [None] * len(boards))
            rows[place] = rows[place] or row  # rows come best first
    order = sorted(best, key=lambda variant: (_mean_share(boards, best[variant]), variant))
    columns = (
        METHOD,
        TableColumn("Mean place", "0 % first, 100 % last", numeric=True),
        *(TableColumn(board.dataset, f"{board.protocol} {board.test_set}", numeric=True) for board in boards),
    )
    rows_of_table = tuple(_rank_row(boards, variant, best[variant]) for variant in order)
    table = PageTable(
        "ranks",
        "Rank of each method's best row on each board",
        columns,
        rows_of_table,
        filtered=True,
        note="Each method's best row, by the board's first score; `=` marks equal scores. The mean place counts a "
        "first rank as 0 % and a last one as 100 %, over the boards on which a method ran: methods that ran on "
        "other boards are not strictly comparable.",
    )
    return (Section("Ranks across boards", (table,), id="ranks-section"),)


def _share(board: Board, row: Row) -> float:
    """Return a rank as a share: 0 for the first, 1 for the last place."""
    return ((row.rank or 1) - 1) / max(len(board.ranked) - 1, 1)


def _mean_share(boards: Sequence[Board], rows: Sequence[Row | None]) -> float:
    return fmean(_share(board, row) for board, row in zip(boards, rows, strict=True) if row)


def _rank_row(boards: Sequence[Board], variant: str, rows: Sequence[Row | None]) -> TableRow:
    method = next(row.method for row in rows if row)
    share, count = _mean_share(boards, rows), sum(row is not None for row in rows)
    cells = [
        TableCell.number(row.rank, board.rank_text(row), tint=min(int(_share(board, row) * TINTS), TINTS - 1))
        if row
        else BLANK
        for board, row in zip(boards, rows, strict=True)
    ]
    some = (f"{count} of {len(boards)} boards",) if count < len(boards) else ()
    return TableRow(
        (
            TableCell.name(variant, page=method_page(method)),
            TableCell.number(share, percent(100 * share), *some),
            *cells,
        )
    )


def _average_section(ranks: AverageRanks, key: str) -> Section:
    title = f"Average ranks over {len(ranks.datasets)} datasets" + (", drawn films" if ranks.drawn else "")
    shown = listed_ranks(ranks.methods, ranks.averages.tolist())
    text = f"Critical-difference diagram over {len(ranks.datasets)} datasets; {shown}"
    picture = () if ranks.friedman is None else (Picture(average_rank_file(ranks), text),)
    found = Paragraph((f"{shown[:1].upper()}{shown[1:]}.", _test_text(ranks)))
    return Section(title, (Paragraph(_ranked(ranks)), found, *picture), id=f"{key}-section")


def _ranked(ranks: AverageRanks) -> tuple[str, ...]:
    places = ", ".join(f"{board.dataset} / {board.protocol} / {board.test_set}" for board in ranks.boards)
    rest = len(ranks.left_out) - LEFT_OUT
    left = ", ".join(ranks.left_out[:LEFT_OUT]) + (f" and {rest} more" if rest > 0 else "")
    budgets = sorted({row.budget for board in ranks.boards for row in board.ranked if row.label in ranks.methods})
    sentences = (
        f"Each of the {len(ranks.methods)} methods is ranked (1 is best) among those that are on every one of these "
        f"boards: {places}.",
        "Boards of one dataset are averaged first, so that every dataset counts once.",
        f"Not on all of them, and left out: {left}." if left else "",
        f"**The budgets differ between boards: {'; '.join(budgets)}.**" if len(budgets) > 1 else "",
    )
    return tuple(filter(None, sentences))


def _test_text(ranks: AverageRanks) -> str:
    count = len(ranks.datasets)
    if count < FEWEST:
        return f"**{count} datasets are too few for a test: these ranks are a description only.**"
    if ranks.friedman is None:
        return "Friedman's test needs three methods that are not ranked all the same."
    weak = ""
    if count < FEW_DATASETS:
        weak = f" **{count} datasets are too few for the test to mean much: read the ranks as a description.**"
    elif count <= ROUGH_DATASETS:
        weak = f" With {count} datasets its p value is a rough approximation."
    return (
        f"Friedman's test of equal ranks over {count} datasets: chi-square {ranks.friedman.statistic:.2f}, "
        f"p {p_text(ranks.friedman.p)}.{weak} By Nemenyi's test two methods differ (p < {ALPHA}, all pairs together) "
        f"where their average ranks are more than {ranks.critical_difference:.2f} apart, the scale CD of the diagram; "
        "bars join methods of which no two differ."
    )
