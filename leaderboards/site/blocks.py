"""The parts of a page that only the site has: grids of charts and films."""

from __future__ import annotations

from typing import Literal, NamedTuple

from leaderboards.pages.model import Chart
from leaderboards.site.films import Gallery


class ChartGrid(NamedTuple):
    """Charts beside each other, by a class of the style sheet; `legend` is the id of one that all of them share."""

    charts: tuple[Chart, ...]
    layout: Literal["charts", "triple", "quarter"] = "charts"
    legend: str = ""


class FilmGrid(NamedTuple):
    """The films of one row or of several, a gallery each."""

    galleries: tuple[Gallery, ...]
