"""The charts of what accuracy costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboards.boards.board import Board, Row, ScoreColumn
from leaderboards.boards.numbers import NO_NUMBER, heading, number
from leaderboards.pages.model import Chart, PageTable, TableCell, TableColumn
from leaderboards.pages.svg import COLOURS
from leaderboards.site.figures import layout_of, log_axis, method_table, rounded

_Point = tuple[Row, float, float]
"""A row with its cost and its score."""


def cost_charts(board: Board, key: str) -> tuple[Chart, ...]:
    """Draw a board's first score against time per image, parameters and training time, as far as they are known.

    Args:
        board: The board.
        key: Prefix of the charts' ids.
    """
    costs: tuple[tuple[str, str, str, dict[str, float | None]], ...] = (
        ("time", "Time per image", "ms", {row.label: row.cost.latency_ms for row in board.ranked}),
        ("parameters", "Parameters", "", {row.label: row.parameters for row in board.ranked}),
        ("training", "Training time", "s", {row.label: row.cost.train_seconds for row in board.ranked}),
    )
    drawn = (
        [pareto(f"{key}-{name}", board, what, unit, values) for name, what, unit, values in costs]
        if board.ranked
        else []
    )
    return tuple(chart for chart in drawn if chart is not None)


def pareto(key: str, board: Board, what: str, unit: str, values: Mapping[str, float | None]) -> Chart | None:
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
    layout = layout_of(f"{what} ({unit}, log)" if unit else f"{what} (log)", heading(column.title, column.unit))
    layout["xaxis"] |= log_axis([cost for _, cost, _ in points])
    names = ", ".join(f"{place} {points[i][0].label}" for place, i in enumerate(front, 1))
    return Chart(
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


def _table(
    key: str, column: ScoreColumn, cost: tuple[str, str], points: Sequence[_Point], front: Sequence[int]
) -> PageTable:
    columns = [
        TableColumn(cost[0], cost[1], numeric=True),
        TableColumn(column.title, column.unit, numeric=True),
        TableColumn("Front", numeric=True),
    ]
    places = {i: place for place, i in enumerate(front, 1)}
    rows = [
        (
            row,
            (
                TableCell.number(value, f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"),
                TableCell.number(score, number(score, column.unit)),
                TableCell.number(places.get(i), str(places.get(i, NO_NUMBER))),
            ),
        )
        for i, (row, value, score) in enumerate(points)
    ]
    return method_table(key, f"{column.heading} and {cost[0].lower()}", columns, rows)


def _front(points: Sequence[tuple[float, float]], column: ScoreColumn) -> list[int]:
    """Return the points of which no other costs at most as much and scores better, by rising cost."""
    order = sorted(
        range(len(points)), key=lambda i: (points[i][0], -points[i][1] if column.higher_is_better else points[i][1])
    )
    front: list[int] = []
    for i in order:
        if not front or column.beats(points[i][1], points[front[-1]][1]):
            front.append(i)
    return front
