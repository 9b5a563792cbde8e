"""Charts of how methods do on corrupted films."""

from __future__ import annotations

import math
from typing import Any

from leaderboards.boards.board import FLOOR
from leaderboards.boards.numbers import heading, percent
from leaderboards.pages.model import Chart, Paragraph, Section
from leaderboards.robustness.page import meaning_table, severity_table, summary_table
from leaderboards.robustness.scores import StressBoard, StressRow
from leaderboards.site.blocks import ChartGrid
from leaderboards.site.charts.figures import MOST, Styles, hidden, layout_of, log_axis, rounded

_TEXT = (
    "{films} films of the test set, first as they are, then corrupted at five severities; the weights were trained on "
    "clean films. mCE is the mean over corruptions of a method's error in % of that of the floor, which never looks "
    "at a film: at 100 % the film is no use any more. Severities of different corruptions cannot be compared."
)


def robustness_section(board: StressBoard, key: str, styles: Styles) -> Section:
    """Show the robustness of the methods of a test set.

    Args:
        board: With at least one method.
        key: Prefix of ids.
        styles: The look of every row.
    """
    charts = tuple(_chart(board, name, f"{key}-stress-{place}", styles) for place, name in enumerate(board.levels))
    grid = ChartGrid(charts, "quarter", legend=f"{key}-stress-legend")
    blocks = (
        Paragraph((_TEXT.format(films=board.rows[0].cases),)),
        summary_table(board, key),
        grid,
        meaning_table(board.levels, key),
    )
    return Section("Robustness", blocks, id=f"{key}-robustness")


def _chart(board: StressBoard, name: str, key: str, styles: Styles) -> Chart:
    column, rows = board.column, board.rows[:MOST]
    layout = layout_of("Severity", heading(column.title, column.unit), x=[-0.2, 5.2])
    layout["xaxis"]["dtick"] = 1
    values = [value for row in rows for value in row.curve(name).values()]
    if values and min(values) > 0:
        layout["yaxis"] |= log_axis(values)
    return Chart(
        key,
        name.capitalize(),
        _extremes(board, name),
        {"data": [_trace(place, row, name, styles) for place, row in enumerate(rows)], "layout": layout},
        severity_table(board, name, key),
        height=230,
    )


def _extremes(board: StressBoard, name: str) -> str:
    """Say which of the drawn methods loses least and most; nothing where fewer than two are known."""
    worse = {row.label: row.degradation(name) for row in board.rows[:MOST] if row.variant != FLOOR}
    known = sorted((value, label) for label, value in worse.items() if not math.isnan(value))
    if len(known) < 2:
        return ""
    (least, first), (most, last) = known[0], known[-1]
    return f"{first} suffers least ({percent(least, sign=True)}), {last} suffers most ({percent(most, sign=True)})."


def _trace(place: int, row: StressRow, name: str, styles: Styles) -> dict[str, Any]:
    style = styles(row.label, row.variant)
    curve = row.curve(name)
    return hidden(place, row.variant) | {
        "name": row.label,
        "mode": "lines+markers",
        "line": style.line,
        "marker": {"symbol": style.symbol, "size": 6},
        "x": list(curve),
        "y": rounded(list(curve.values())),
        "hovertemplate": "severity %{x}: %{y:.4g}",
    }
