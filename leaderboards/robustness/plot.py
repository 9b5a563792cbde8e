"""Draws scores against severity, a panel per corruption and a line per method, as SVG; the same bytes every time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from leaderboards.boards.board import FLOOR
from leaderboards.pages.svg import COLOURS, FLOOR_COLOUR, drawing, svg_text
from leaderboards.robustness.scores import StressBoard, StressRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST: Final = 12
"""So many methods are drawn, the first ones; tables have them all."""
COLUMNS: Final = 4
MARKERS: Final = "osD^vPX*"
"""As many as colours, so that lines differ without them."""


def plot(board: StressBoard) -> str:
    """Draw small multiples with common axes: severity from left to right, 0 is the clean film.

    Args:
        board: The best `MOST` of its methods are drawn.

    Returns:
        SVG.
    """
    corruptions = list(board.levels)
    rows, across = max(1, math.ceil(len(corruptions) / COLUMNS)), max(1, min(COLUMNS, len(corruptions)))
    with drawing(1.2 + 2.6 * across, 1.0 + 2.3 * rows, layout="constrained") as figure:
        panels = list(figure.subplots(rows, across, sharex=True, sharey=True, squeeze=False).flat)
        for panel, name in zip(panels, corruptions, strict=False):
            _panel(panel, name, board.rows[:MOST])
        for panel in panels[len(corruptions) :]:
            panel.set_visible(False)
        figure.supylabel(board.column.heading)
        figure.supxlabel("severity (0: the film as it is)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, max(1, len(labels))), frameon=False)
        return svg_text(figure)


def _panel(panel: Axes, name: str, rows: Sequence[StressRow]) -> None:
    """Draw one corruption; errors grow by factors, so the scale is logarithmic where they allow it.

    Looks go by name, so that a method looks the same in the plots of several test sets, whatever its place.
    """
    names = sorted(row.label for row in rows if row.variant != FLOOR)
    curves = [(row, row.curve(name)) for row in rows]
    for row, curve in curves:
        look: dict[str, Any] = {"color": FLOOR_COLOUR, "linestyle": ":", "marker": ""}
        if row.variant != FLOOR:
            place = names.index(row.label)
            look = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
            look["linestyle"] = "-" if place < len(COLOURS) else "--"
        panel.plot(list(curve), list(curve.values()), label=row.label, linewidth=1.6, markersize=4.5, **look)
    panel.set_title(name, fontsize=11)
    panel.set_xticks(range(6))
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    if min((value for _, curve in curves for value in curve.values()), default=0) > 0:
        _logarithmic(panel)


def _logarithmic(panel: Axes) -> None:
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    panel.yaxis.set_minor_locator(NullLocator())
