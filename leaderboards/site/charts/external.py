"""Home against away: how methods that were trained at one site do on the films of another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from leaderboards.boards.board import Board, Score, ScoreColumn
from leaderboards.boards.numbers import heading, number
from leaderboards.boards.numbers import interval as interval_text
from leaderboards.external.page import HOW_TO_READ, external_section
from leaderboards.external.scores import AWAY, ExternalBoard, ExternalRow
from leaderboards.pages.model import Bullets, Chart, PageTable, Section, TableCell, TableColumn
from leaderboards.site.blocks import ChartGrid
from leaderboards.site.charts.figures import MOST, Styles, layout_of, method_table, rounded

ROW_HEIGHT: Final = 26
"""Of a method, in CSS pixels."""


class _Pair(NamedTuple):
    """A method's ranking score at both sites."""

    row: ExternalRow
    home: Score
    away: Score


def at_other_sites(board: Board, external: Sequence[ExternalBoard]) -> tuple[ExternalBoard, ...]:
    """Return the other sites at which methods of a board were tested, against this board's films alone."""
    home = board.dataset, board.protocol, board.content
    return tuple(
        each._replace(cases={name: count for name, count in each.cases.items() if name in (AWAY, board.test_set)})
        for each in external
        if each.home == home and board.test_set in each.tests
    )


def away_section(sites: Sequence[ExternalBoard], key: str, styles: Styles) -> Section:
    """Show methods at home and away.

    Args:
        sites: The other sites, each with one test set at home.
        key: Prefix of ids.
        styles: The look of every row.
    """
    parts = []
    for place, site in enumerate(sites):
        part = external_section(site, f"{key}-away-{place}")
        chart = dumbbells(site, f"{key}-away-{place}-chart", styles)
        text, *tables = part.blocks
        parts.append(part._replace(blocks=(text, *([ChartGrid((chart,))] if chart else []), *tables)))
    reading = Section("How to read home against away", (Bullets(HOW_TO_READ),), folded=True)
    return Section("At other sites", (), (*parts, reading), id=f"{key}-away")


def growth_text(sites: Sequence[ExternalBoard]) -> str:
    """Say in a line how many times larger the best method's score is at each other site."""
    return "; ".join(_growth_at(site) for site in sites)


def dumbbells(site: ExternalBoard, key: str, styles: Styles) -> Chart | None:
    """Draw each method's ranking score at home and away, joined by a line; None where the unit cannot be compared.

    Args:
        site: The other site, with one test set at home.
        key: The chart's id.
        styles: The look of every row.
    """
    column, (home,) = site.columns[0], site.tests
    unknown = Score(math.nan)
    found = ((row, row.scores[column.name]) for row in site.rows)
    pairs = [_Pair(row, scores.get(home, unknown), scores.get(AWAY, unknown)) for row, scores in found]
    known = [pair for pair in pairs if math.isfinite(pair.home.value + pair.away.value)][:MOST]
    if column.unit == "px" or not known:
        return None
    layout = layout_of(heading(column.title, column.unit), "")
    layout["xaxis"] |= {"rangemode": "tozero"}
    layout["yaxis"] |= {"autorange": "reversed", "showgrid": False, "ticks": ""}
    return Chart(
        key,
        f"{column.title} at home and away",
        f"{_outcome(site)}Best away: {known[0].row.label}.",
        {"data": [_dumbbell(pair, styles) for pair in known], "layout": layout},
        _table(f"{key}-table", known, column),
        "Open: at home. Filled: away. The thin lines are 95 % intervals.",
        height=90 + ROW_HEIGHT * len(known),
        wide=True,
        legend=False,
    )


def _dumbbell(pair: _Pair, styles: Styles) -> dict[str, Any]:
    row, *both = pair
    style = styles(row.label, row.variant)
    return {
        "name": row.label,
        "mode": "lines+markers",
        "x": rounded([score.value for score in both]),
        "y": [row.label] * 2,
        "customdata": ["at home", "away"],
        "line": {"color": style.colour, "width": 3},
        "marker": {"symbol": [f"{style.symbol}-open", style.symbol], "size": 10, "color": style.colour},
        "error_x": {
            "symmetric": False,
            "array": rounded([score.high - score.value for score in both]),
            "arrayminus": rounded([score.value - score.low for score in both]),
            "color": style.colour,
            "thickness": 1,
            "width": 4,
        },
        "hovertemplate": "%{customdata}: %{x:.4g}",
    }


def _table(key: str, known: Sequence[_Pair], column: ScoreColumn) -> PageTable:
    columns = [TableColumn(f"{column.title} {place}", column.unit, numeric=True) for place in ("at home", "away")]
    lines = tuple((row, (_cell(home, column), _cell(away, column))) for row, home, away in known)
    return method_table(key, f"{column.heading} at home and away", columns, lines)


def _cell(score: Score, column: ScoreColumn) -> TableCell:
    cell = TableCell.number(score.value, number(score.value, column.unit))
    return cell._replace(interval=interval_text(score.low, score.high, column.unit))


def _outcome(site: ExternalBoard) -> str:
    """Say how many methods are worse away by more than chance."""
    growth = [row.growth[home] for row in site.rows for home in site.tests if home in row.growth]
    known = [score for score in growth if math.isfinite(score.value)]
    column = site.columns[0]
    worse = sum(score.high < 1 if column.higher_is_better else score.low > 1 for score in known)
    return f"By the intervals of their growth {worse} of {len(known)} methods are worse away. " if known else ""


def _growth_at(site: ExternalBoard) -> str:
    best, (home,) = site.rows[0], site.tests
    growth = best.growth.get(home)
    name = f"{best.label}'s {site.columns[0].title} on {site.title}"
    if growth is None or not math.isfinite(growth.value):
        return name
    return f"{name}: {number(growth.value, 'mm')} times {interval_text(growth.low, growth.high, 'mm')}"
