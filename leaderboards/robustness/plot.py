"""Draws scores against severity, a panel per corruption and a line per method, as SVG; the same bytes every time."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST: Final = 12
"""So many methods are drawn, the first ones; tables have them all."""
COLUMNS: Final = 4
COLOURS: Final = ("#0072b2", "#c44601", "#007a5a", "#b0478c", "#8a6a00", "#2b2b2b", "#5b4bb5", "#3b87b8")
"""After Okabe and Ito, darkened to a contrast of at least 3 : 1 on white."""
MARKERS: Final = "osD^vPX*"
"""As many as colours, so that lines can be told apart without them."""
FLOOR_COLOUR: Final = "#767676"
_STYLE: Final = {"svg.fonttype": "none", "svg.hashsalt": "osteomark", "font.size": 10, "font.family": "sans-serif"}
_METADATA: Final = {"Date": None, "Creator": None}


class Line(NamedTuple):
    """A method.

    Attributes:
        label: Its name.
        clean: Its score on films as they are.
        scores: Corruption to severity to score.
        floor: Whether it is the trivial method, which is drawn in grey.
    """

    label: str
    clean: float
    scores: Mapping[str, Mapping[int, float]]
    floor: bool = False


def plot(lines: Sequence[Line], corruptions: Sequence[str], title: str) -> str:
    """Draw small multiples with common axes: severity from left to right, 0 is the clean film.

    Args:
        lines: Of the methods, at most `MOST` of which are drawn.
        corruptions: One panel each.
        title: Of the vertical axis.

    Returns:
        SVG.
    """
    from matplotlib import style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows, across = max(1, math.ceil(len(corruptions) / COLUMNS)), max(1, min(COLUMNS, len(corruptions)))
    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(1.2 + 2.6 * across, 1.0 + 2.3 * rows), layout="constrained")
        FigureCanvasSVG(figure)
        panels = list(figure.subplots(rows, across, sharex=True, sharey=True, squeeze=False).flat)
        for panel, name in zip(panels, corruptions, strict=False):
            _panel(panel, name, lines[:MOST])
        for panel in panels[len(corruptions) :]:
            panel.set_visible(False)
        figure.supylabel(title)
        figure.supxlabel("severity (0: the film as it is)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, max(1, len(labels))), frameon=False)
        return _svg(figure)


def _panel(panel: Axes, name: str, lines: Sequence[Line]) -> None:
    """Draw one corruption; errors grow by factors, so the scale is logarithmic where they allow it.

    Looks go by name, so that a method looks the same in the plots of several test sets, whatever its place.
    """
    names = sorted(line.label for line in lines if not line.floor)
    values = [value for line in lines for value in (line.clean, *line.scores.get(name, {}).values())]
    for line in lines:
        scores = {0: line.clean, **line.scores.get(name, {})}
        look: dict[str, Any] = {"color": FLOOR_COLOUR, "linestyle": ":", "marker": ""}
        if not line.floor:
            place = names.index(line.label)
            look = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
            look["linestyle"] = "-" if place < len(COLOURS) else "--"
        panel.plot(list(scores), list(scores.values()), label=line.label, linewidth=1.6, markersize=4.5, **look)
    panel.set_title(name, fontsize=11)
    panel.set_xticks(range(6))
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    if min(values, default=0) > 0:
        _logarithmic(panel)


def _logarithmic(panel: Axes) -> None:
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullLocator

    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    panel.yaxis.set_minor_locator(NullLocator())


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=_METADATA)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
