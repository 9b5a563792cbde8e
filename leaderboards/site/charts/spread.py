"""How the score that ranks a board is spread over its films, a violin per row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from leaderboards.boards.board import ScoreColumn
from leaderboards.boards.case_scores import CaseScore
from leaderboards.boards.numbers import heading, number
from leaderboards.pages.model import Chart
from leaderboards.site.charts.curves import quantile_table
from leaderboards.site.charts.figures import Series, layout_of, rounded
from leaderboards.site.summaries import quantiles_of

VIOLIN: Final = np.linspace(0.01, 0.99, 41)
"""The shares of films from whose scores a violin is drawn."""
ROW_HEIGHT: Final = 24
"""Of a violin, in CSS pixels."""


def film_spread(
    key: str, series: Sequence[Series], scores: Sequence[Mapping[str, CaseScore]], column: ScoreColumn
) -> Chart | None:
    """Draw how the score of single films is spread; None where no row's is known.

    Args:
        key: Prefix of the chart's id.
        series: The rows, best first.
        scores: Of each row, the score by film.
        column: The score.
    """
    finite = [{film: s.value for film, s in each.items() if math.isfinite(s.value)} for each in scores]
    known = [(item, values) for item, values in zip(series, finite, strict=True) if values]
    if not known:
        return None
    layout = layout_of(heading(f"{column.title} of a film", column.unit), "")
    layout["xaxis"] |= {"rangemode": "tozero"}
    layout["yaxis"] |= {"autorange": "reversed", "showgrid": False, "ticks": ""}
    shares = [quantiles_of([*values.values()]) for _, values in known]
    caption = f"{column.title} within which a share of the films lies"
    return Chart(
        f"{key}-spread",
        "Spread over films",
        f"How the {column.title} of single films is spread. {_outcome(known, column)}",
        {"data": [_violin(*each) for each in known], "layout": layout | {"violingap": 0.1}},
        quantile_table(f"{key}-spread-table", caption, [item for item, _ in known], shares, column.unit),
        "Wider where more films lie, from the 1st to the 99th percentile; the box holds the middle half of the films, "
        "its line is their median. Violins overlap even where tests tell rows apart: these compare film by film.",
        height=90 + ROW_HEIGHT * len(known),
        wide=True,
        legend=False,
    )


def _outcome(known: Sequence[tuple[Series, Mapping[str, float]]], column: ScoreColumn) -> str:
    """Say on how many films the first row does better than the second, or where half of its films lie."""
    (first, best), (second, next_best) = known[0], known[min(1, len(known) - 1)]
    both = best.keys() & next_best.keys()
    if first is second or not both:
        half = number(float(np.median([*best.values()])), column.unit)
        return f"Half of {first.row.label}'s films lie within {half} {column.unit}."
    better = sum(column.beats(best[film], next_best[film]) for film in both)
    return f"{first.row.label} is better than {second.row.label} on {better} of {len(both)} films."


def _violin(item: Series, values: Mapping[str, float]) -> dict[str, Any]:
    drawn = rounded(np.quantile([*values.values()], VIOLIN).tolist(), 3)
    return {
        "type": "violin",
        "orientation": "h",
        "name": item.row.label,
        "x": drawn,
        "y": [item.row.label] * len(drawn),
        "line": {"color": item.style.colour, "width": 1},
        "points": False,
        "box": {"visible": True, "width": 0.3},
        "spanmode": "hard",
        "scalemode": "width",
        "width": 0.9,
        "hoverinfo": "skip",
    }
