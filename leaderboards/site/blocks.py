"""The parts of a page that only the site has: grids of charts and films."""

from __future__ import annotations

from typing import Literal, NamedTuple

from leaderboards.pages.model import Chart
from leaderboards.site.films import Gallery


class ChartGrid(NamedTuple):
    """Charts beside each other.

    Attributes:
        charts: In order.
        layout: Its class in the style sheet: how many stand in a line.
        legend: Id of a legend that all charts share; each has its own if empty.
    """

    charts: tuple[Chart, ...]
    layout: Literal["charts", "triple", "quarter"] = "charts"
    legend: str = ""


class FilmGrid(NamedTuple):
    """The films of one row, or of several.

    Attributes:
        galleries: One per row, each with its heading.
    """

    galleries: tuple[Gallery, ...]
