"""Draws critical-difference diagrams: average ranks on a line, and bars over rows that no test separates, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from jaxtyping import Float

from leaderboards.boards.statistics import ALPHA
from leaderboards.pages.svg import drawing, svg_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST: Final = 30
"""A diagram shows so many rows at most, those with the best average ranks."""
_WIDTH, _LINE, _MARGIN = 7.0, 0.27, 0.7
"""Inches: of the figure, of each label or bar, and of the axis."""
_SCALE = 2.2
"""Height of the critical difference above the axis, in lines."""
_GAP: Final = 0.03
"""Between the outer ranks and the names, as a share of the ranks' range."""


def rank_diagram(
    names: Sequence[str], ranks: Sequence[float], p_values: Float[np.ndarray, "row row"], critical: float | None = None
) -> str:
    """Draw a critical-difference diagram (Demšar, JMLR 7, 2006).

    Args:
        names: Of the rows.
        ranks: Their average ranks; 1 is best.
        p_values: Of every pair, corrected; a bar joins rows of which no two differ.
        critical: The critical difference of the ranks, drawn as a scale where there is one.

    Returns:
        SVG.
    """
    import scikit_posthocs as posthocs  # here and not above: slow, with its own plotting libraries

    best = np.argsort(np.asarray(ranks), kind="stable")[:MOST]
    order = range(len(best))  # numbers for names: a set of them has an order of its own, one of texts has none
    table = pd.DataFrame(p_values[np.ix_(best, best)], index=order, columns=order).fillna(1.0)
    with drawing(_WIDTH, 3) as figure:
        axes = figure.subplots()
        drawn = posthocs.critical_difference_diagram(
            pd.Series(np.asarray(ranks)[best], index=order),
            table,
            alpha=ALPHA,
            ax=axes,
            label_fmt_left="{label} {rank:.2f}",
            label_fmt_right="{label} {rank:.2f}",
            text_h_margin=_GAP * float(np.ptp(ranks) or 1.0),
            color_palette=["black"] * len(best),
            marker_props={"s": 16},
            elbow_props={"linewidth": 0.8},
            crossbar_props={"color": "#1f5fa8", "linewidth": 3, "marker": "o", "markersize": 5},
        )
        _finish(figure, axes, drawn, [names[row] for row in best])
        if critical is not None:
            _add_scale(axes, float(np.min(ranks)), critical)
        return svg_text(figure, bbox_inches="tight")


def _finish(figure: Figure, axes: Axes, drawn: dict[str, list[Any]], names: Sequence[str]) -> None:
    """Write the names for the numbers, and give every line its room."""
    for label in drawn["labels"]:
        row, rank = label.get_text().split()
        left = label.get_ha() == "right"
        label.set_text(f"{names[int(row)]} ({rank})" if left else f"({rank}) {names[int(row)]}")
    for (bar,) in drawn["crossbars"]:
        bar.set_xdata(np.sort(bar.get_xdata()))
    lowest = min(label.get_position()[1] for label in drawn["labels"])
    axes.set_ylim(lowest - 0.7, 1.0)
    axes.set_xlabel("average rank (1 is best)")
    axes.xaxis.set_label_position("top")
    figure.set_size_inches(_WIDTH, _MARGIN + _LINE * (1.7 + _SCALE - lowest))


def _add_scale(axes: Axes, start: float, critical: float) -> None:
    """Draw the critical difference above the ticks, from the best rank on."""
    axes.plot([start, start + critical], [_SCALE, _SCALE], color="black", linewidth=1.5, marker="|", markersize=8)
    axes.text(start + critical, _SCALE, f"  CD = {critical:.2f}", va="center")
    axes.set_ylim(top=_SCALE + 0.7)
