"""All pages of a store and their drawings, assembled once for every format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from benchmark.cell import On
from leaderboards.boards.average_ranks import average_ranks
from leaderboards.boards.board import Board
from leaderboards.pages.board_page import board_page
from leaderboards.pages.comparisons import board_diagram, diagram_name
from leaderboards.pages.model import Page
from leaderboards.pages.overview import average_rank_diagram, average_rank_file, left_out, overview_page


class BoardPage(NamedTuple):
    """A page of boards.

    Attributes:
        boards: Of one dataset and protocol.
        page: What it shows.
        pictures: Its drawings: file name to SVG.
    """

    boards: tuple[Board, ...]
    page: Page
    pictures: Mapping[str, str]


class Leaderboards(NamedTuple):
    """The content of all leaderboards.

    Attributes:
        overview: The page over all boards.
        pictures: Its drawings: file name to SVG.
        pages: One per dataset and protocol, in order.
        left_out: A sentence on runs that are on no board, where there are any.
    """

    overview: Page
    pictures: Mapping[str, str]
    pages: tuple[BoardPage, ...]
    left_out: tuple[str, ...] = ()

    @property
    def boards(self) -> tuple[Board, ...]:
        """All boards, in order."""
        return tuple(board for page in self.pages for board in page.boards)


def assemble(boards: Sequence[Board], on: On = "test", tuning: int = 0) -> Leaderboards:
    """Assemble all pages.

    Args:
        boards: All of a store's, in their order.
        on: The films on which they rank.
        tuning: How many runs of the store are left out since no test film was predicted.
    """
    ranks = average_ranks(boards)
    drawn = {average_rank_file(each): average_rank_diagram(each) for each in ranks}
    pages = [_board_page(tuple(group)) for _, group in groupby(boards, key=lambda board: board.page)]
    overview = overview_page(boards, ranks, on, tuning)
    return Leaderboards(overview, _known(drawn), tuple(pages), left_out(tuning, on))


def _board_page(boards: tuple[Board, ...]) -> BoardPage:
    named_films = len({board.content for board in boards}) > 1
    drawn = {diagram_name(board, named_films=named_films): board_diagram(board) for board in boards}
    return BoardPage(boards, board_page(boards), _known(drawn))


def _known(drawn: Mapping[str, str | None]) -> dict[str, str]:
    return {name: picture for name, picture in drawn.items() if picture is not None}
