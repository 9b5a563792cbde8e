"""The parts of a page that only the site has: verdicts, grids of charts and films, and the browser of cases."""

from __future__ import annotations

from typing import Literal, NamedTuple

from leaderboards.pages.model import Chart, Mark
from leaderboards.site.films import Gallery, Overlay


class Banner(NamedTuple):
    """A warning across the page."""

    text: str


class BoardCard(NamedTuple):
    """What a board says, in a card.

    Attributes:
        name: Of the board.
        title: Of the dataset.
        page: Where the board stands.
        score: What ranks it, with unit and direction.
        leader: Label of the best row.
        leader_page: Its method's page.
        value: Its score with its unit; empty where no row was ranked.
        interval: The 95 % interval.
        facts: A word and what it says: ties, floor, papers, readers, budget, weights, films.
        marks: What must be known beside the number.
        film: The leader's median film, where films may be shown.
        cases: The page of all films; empty where there is none.
        away: How the best method does at other sites; empty where none was tested at one.
    """

    name: str
    title: str
    page: str
    score: str
    leader: str
    leader_page: str
    value: str
    interval: str
    facts: tuple[tuple[str, str], ...]
    marks: tuple[Mark, ...]
    film: Overlay | None
    cases: str = ""
    away: str = ""


class BoardCards(NamedTuple):
    """A card per board."""

    cards: tuple[BoardCard, ...]


class ChartGrid(NamedTuple):
    """Charts beside each other, by a class of the style sheet; `legend` is the id of one that all of them share."""

    charts: tuple[Chart, ...]
    layout: Literal["charts", "triple", "quarter"] = "charts"
    legend: str = ""


class CaseBrowser(NamedTuple):
    """The films of a board, one at a time.

    Attributes:
        data: The script that holds the numbers, relative to the site.
        score: What ranks the board, with unit and direction.
        texts: How to read it.
    """

    data: str
    score: str
    texts: tuple[str, ...]


class FilmGrid(NamedTuple):
    """The films of one row or of several, a gallery each."""

    galleries: tuple[Gallery, ...]
