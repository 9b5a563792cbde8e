"""The charts of what accuracy costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboards.boards.board import Board, Column, Row
from leaderboards.site.figures import COLOURS, layout_of, log_axis
from leaderboards.site.html import Cell, Figure, Head, Line, Table, number_cell, rounded
from leaderboards.text.tables import NO_NUMBER, heading, number

_Point = tuple[Row, float, float]
"""A row with its cost and its score."""


def pareto(key: str, board: Board, what: str, unit: str, values: Mapping[str, float | None]) -> Figure | None:
    """Draw a board's first score against a cost, and mark the rows that nobody beats in both.

    Args:
        key: The chart's id.
        board: Whose ranked rows are drawn.
        what: The cost.
        unit: Of the cost.
        values: Row label to cost; None or zero is left out.
    """
    column = board.columns[0]
    points = [(row, v, row.value(column.name)) for row in board.ranked if (v := values.get(row.label)) and v > 0]
    if len(points) < 2:
        return None
    front = _front([(cost, score) for _, cost, score in points], column)
    traces = [_others(points, front), _best(points, front)]
    for trace in traces:
        trace["hovertemplate"] = f"%{{customdata}}<br>%{{x:.4g}} {unit}<br>%{{y:.4g}} {column.unit}<extra></extra>"
    layout = layout_of(f"{what} ({unit}, log)" if unit else f"{what} (log)", _axis_of(column))
    layout["xaxis"] |= log_axis([cost for _, cost, _ in points])
    names = ", ".join(f"{place} {points[i][0].label}" for place, i in enumerate(front, 1))
    return Figure(
        key,
        f"Error against {what.lower()}",
        f"Best for their cost, of {len(points)}: {names}.",
        {"data": traces, "layout": layout},
        _table(f"{key}-table", column, (what, unit), points, front),
        height=300,
        legend=False,
    )


def _others(points: Sequence[_Point], front: Sequence[int]) -> dict[str, Any]:
    marker = {"size": 8, "color": "#ffffff", "line": {"width": 1.5, "color": "#767676"}}
    return _places(points, [i for i in range(len(points)) if i not in front]) | {"mode": "markers", "marker": marker}


def _best(points: Sequence[_Point], front: Sequence[int]) -> dict[str, Any]:
    return _places(points, front) | {
        "mode": "lines+markers+text",
        "line": {"shape": "hv", "color": COLOURS[0], "width": 1},
        "marker": {"size": 17, "color": COLOURS[0], "line": {"width": 1, "color": "#ffffff"}},
        "text": [str(place) for place, _ in enumerate(front, 1)],
        "textfont": {"color": "#ffffff", "size": 11},
        "cliponaxis": False,
    }


def _places(points: Sequence[_Point], members: Sequence[int]) -> dict[str, Any]:
    x, y = [points[i][1] for i in members], [points[i][2] for i in members]
    return {"x": rounded(x), "y": rounded(y), "customdata": [points[i][0].label for i in members]}


def _table(key: str, column: Column, cost: tuple[str, str], points: Sequence[_Point], front: Sequence[int]) -> Table:
    heads = (Head("Method"), Head(cost[0], True, cost[1]), Head(column.title, True, column.unit), Head("Front", True))
    places = {i: place for place, i in enumerate(front, 1)}
    lines = [
        Line(
            (
                Cell(row.label, row.label),
                number_cell(value, f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"),
                number_cell(score, number(score, column.unit)),
                number_cell(places.get(i), str(places.get(i, NO_NUMBER))),
            )
        )
        for i, (row, value, score) in enumerate(points)
    ]
    return Table(key, f"{heading(column)} and {cost[0].lower()}", heads, tuple(lines))


def _front(points: Sequence[tuple[float, float]], column: Column) -> list[int]:
    """Return the points of which no other costs at most as much and scores better, by rising cost."""
    order = sorted(
        range(len(points)), key=lambda i: (points[i][0], -points[i][1] if column.higher_is_better else points[i][1])
    )
    front: list[int] = []
    for i in order:
        if not front or column.beats(points[i][1], points[front[-1]][1]):
            front.append(i)
    return front


def _axis_of(column: Column) -> str:
    return f"{column.title} ({column.unit})" if column.unit else column.title
