"""The charts of what accuracy costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leaderboards.boards.board import Board, Row, ScoreColumn
from leaderboards.boards.numbers import NO_NUMBER, heading, number
from leaderboards.pages.model import Chart, PageTable, TableCell, TableColumn
from leaderboards.pages.svg import FLOOR_COLOUR
from leaderboards.site.charts.figures import Styles, layout_of, log_axis, method_table, rounded

_Point = tuple[Row, float, float]
"""A row with its cost and its score."""


def cost_charts(board: Board, key: str, styles: Styles) -> tuple[Chart, ...]:
    """Draw a board's first score against time per image, parameters and training time, as far as they are known.

    Args:
        board: The board.
        key: Prefix of the charts' ids.
        styles: The look of every row.
    """
    costs: tuple[tuple[str, str, str, dict[str, float | None]], ...] = (
        ("time", "Time per image", "ms", {row.label: row.cost.latency_ms for row in board.ranked}),
        ("parameters", "Parameters", "", {row.label: row.parameters for row in board.ranked}),
        ("training", "Training time", "s", {row.label: row.cost.train_seconds for row in board.ranked}),
    )
    drawn = (
        [pareto(f"{key}-{name}", board, (what, unit), values, styles) for name, what, unit, values in costs]
        if board.ranked
        else []
    )
    return tuple(chart for chart in drawn if chart is not None)


def pareto(
    key: str, board: Board, cost: tuple[str, str], values: Mapping[str, float | None], styles: Styles
) -> Chart | None:
    """Draw a board's first score against a cost, and mark the rows that nobody beats in both.

    Args:
        key: The chart's id.
        board: Whose ranked rows are drawn.
        cost: What it is, and its unit.
        values: Row label to cost; None or zero is left out.
        styles: The look of every row.
    """
    column, (what, unit) = board.columns[0], cost
    points = [(row, v, row.value(column.name)) for row in board.ranked if (v := values.get(row.label)) and v > 0]
    if len(points) < 2:
        return None
    front = _front([(cost, score) for _, cost, score in points], column)
    traces = [_others(points, front, styles), _best(points, front, styles)]
    for trace in traces:
        trace["hovertemplate"] = f"%{{customdata}}<br>%{{x:.4g}} {unit}<br>%{{y:.4g}} {column.unit}<extra></extra>"
    layout = layout_of(f"{what} ({unit}, log)" if unit else f"{what} (log)", heading(column.title, column.unit))
    layout["xaxis"] |= log_axis([cost for _, cost, _ in points])
    names = ", ".join(points[i][0].label for i in front)
    return Chart(
        key,
        f"Error against {what.lower()}",
        f"Best for their cost, of {len(points)}: {names}.",
        {"data": traces, "layout": layout},
        _table(f"{key}-table", column, cost, points, front),
        height=300,
        legend=False,
    )


def _others(points: Sequence[_Point], front: Sequence[int], styles: Styles) -> dict[str, Any]:
    rest = [i for i in range(len(points)) if i not in front]
    looks = [styles(points[i][0].label, points[i][0].variant) for i in rest]
    marker = {"size": 8, "symbol": [f"{look.symbol}-open" for look in looks], "color": [look.colour for look in looks]}
    return _places(points, rest) | {"mode": "markers", "marker": marker}


def _best(points: Sequence[_Point], front: Sequence[int], styles: Styles) -> dict[str, Any]:
    looks = [styles(points[i][0].label, points[i][0].variant) for i in front]
    return _places(points, front) | {
        "mode": "lines+markers+text",
        "line": {"shape": "hv", "color": FLOOR_COLOUR, "width": 1},
        "marker": {"size": 10, "symbol": [look.symbol for look in looks], "color": [look.colour for look in looks]},
        "text": [points[i][0].label for i in front],
        "textposition": ["top right" if place < len(front) / 2 else "top left" for place, _ in enumerate(front)],
        "textfont": {"size": 11},
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
