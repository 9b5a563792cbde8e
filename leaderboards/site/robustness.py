"""How methods do on corrupted films, where a store was stressed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from leaderboards.boards.board import FLOOR, Board, Column
from leaderboards.robustness.tables import SEVERITIES, Method, StressBoard
from leaderboards.site.figures import COLOURS, DASHES, FLOOR_COLOUR, MOST, VISIBLE, log_axis
from leaderboards.site.html import Cell, Figure, Head, Line, Table, number_cell, rounded
from leaderboards.site.ranking import score_head
from leaderboards.text.tables import NO_NUMBER, number


class Robustness(NamedTuple):
    """The section of a board.

    Attributes:
        summary: By how much each corruption makes each method worse.
        figures: One chart per corruption.
        meanings: What the severities are.
        legend: Id of the legend that the charts share.
    """

    summary: Table
    figures: tuple[Figure, ...]
    meanings: Table
    legend: str


def robustness_of(board: Board, stressed: Sequence[StressBoard], key: str) -> Robustness | None:
    """Return a board's section; None where its methods were not stressed."""
    mine = (board.dataset, board.protocol, board.content, board.test_set)
    found = next((other for other in stressed if tuple(other.key) == mine), None)
    if found is None or not found.methods:
        return None
    charts = tuple(_chart(found, name, f"{key}-stress-{place}") for place, name in enumerate(found.levels))
    return Robustness(_summary(found, key), charts, _meanings(found, key), f"{key}-stress-legend")


def _summary(board: StressBoard, key: str) -> Table:
    column = board.column
    heads = (
        *(Head("Method"), score_head(column)._replace(text=f"Clean {column.title}")),
        *(Head(name, True, "worse by") for name in board.levels),
        *(Head("Mean", True, "worse by"), Head("mCE", True, f"% of {FLOOR}")),
    )
    lines = [
        Line(
            (
                Cell(method.label, method.label.lower()),
                _clean(method, column),
                *(_percent(method.degradation(name)) for name in board.levels),
                _percent(method.mean_degradation),
                number_cell(
                    method.mean_error, NO_NUMBER if math.isnan(method.mean_error) else f"{method.mean_error:.0f} %"
                ),
            )
        )
        for method in board.methods
    ]
    return Table(
        f"{key}-stress",
        "Mean over five severities, in % of the clean score",
        heads,
        tuple(lines),
        filter=len(lines) > 6,
    )


def _clean(method: Method, column: Column) -> Cell:
    score = method.clean
    notes = (
        (f"{number(score.low, column.unit)} to {number(score.high, column.unit)}",) if math.isfinite(score.low) else ()
    )
    return number_cell(score.value, number(score.value, column.unit), *notes)


def _percent(value: float) -> Cell:
    return number_cell(value, NO_NUMBER if math.isnan(value) else f"{value:+.0f} %")


def _chart(board: StressBoard, name: str, key: str) -> Figure:
    column, methods = board.column, board.methods[:MOST]
    unit = f" ({column.unit})" if column.unit else ""
    traces = [_trace(place, method, name) for place, method in enumerate(methods)]
    axis: dict[str, Any] = {"title": {"text": f"{column.title}{unit}"}}
    values = [score.value for m in methods for score in (m.clean, *m.scores.get(name, {}).values())]
    if values and min(values) > 0:
        axis |= log_axis(values)
    layout = {"xaxis": {"title": {"text": "Severity"}, "dtick": 1, "range": [-0.2, 5.2]}, "yaxis": axis}
    heads = (Head("Method"), *(Head("clean" if s == 0 else str(s), True) for s in (0, *SEVERITIES)))
    lines = [
        Line((Cell(m.label, m.label.lower()), *(_value(m, name, s, column) for s in (0, *SEVERITIES))))
        for m in board.methods
    ]
    known = [m for m in methods if m.variant != FLOOR and not math.isnan(m.degradation(name))]
    least = min(known, key=lambda m: m.degradation(name), default=None)
    most = max(known, key=lambda m: m.degradation(name), default=None)
    text = ""
    if least is not None and most is not None and least is not most:
        ends = (
            f"{m.label} suffers {word} ({m.degradation(name):+.0f} %)" for m, word in ((least, "least"), (most, "most"))
        )
        text = f"{', '.join(ends)}."
    return Figure(
        key,
        name.capitalize(),
        text,
        {"data": traces, "layout": layout},
        Table(f"{key}-table", f"{column.title}{unit} by severity: {name}", heads, tuple(lines)),
        height=230,
    )


def _trace(place: int, method: Method, name: str) -> dict[str, Any]:
    scores = {0: method.clean, **method.scores.get(name, {})}
    floor = method.variant == FLOOR
    colour, dash = (
        (FLOOR_COLOUR, "dot") if floor else (COLOURS[place % len(COLOURS)], DASHES[place // len(COLOURS) % len(DASHES)])
    )
    trace: dict[str, Any] = {
        "name": method.label,
        "mode": "lines+markers",
        "line": {"color": colour, "dash": dash, "width": 2},
        "marker": {"size": 5},
        "x": list(scores),
        "y": rounded([score.value for score in scores.values()]),
        "hovertemplate": "severity %{x}: %{y:.4g}",
    }
    return trace if floor or place < VISIBLE - 1 else trace | {"visible": False}


def _value(method: Method, name: str, severity: int, column: Column) -> Cell:
    score = method.clean if severity == 0 else method.scores.get(name, {}).get(severity)
    return Cell(NO_NUMBER) if score is None else number_cell(score.value, number(score.value, column.unit))


def _meanings(board: StressBoard, key: str) -> Table:
    heads = (Head("Corruption"), *(Head(str(severity)) for severity in SEVERITIES))
    lines = [
        Line((Cell(name), *(Cell(texts.get(severity, NO_NUMBER)) for severity in SEVERITIES)))
        for name, texts in board.levels.items()
    ]
    return Table(f"{key}-stress-meanings", "What the severities mean", heads, tuple(lines))
