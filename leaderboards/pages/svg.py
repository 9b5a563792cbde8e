"""Writes SVG drawings whose bytes depend on nothing but what is drawn."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS: Final = ("#0072b2", "#c44601", "#007a5a", "#b0478c", "#8a6a00", "#2b2b2b", "#5b4bb5", "#3b87b8")
"""Of lines: after Okabe and Ito, darkened to a contrast of at least 3 : 1 on white."""
ON_DARK: Final = ("#56b4e9", "#ff8c42", "#35c79a", "#e58bbd", "#d9b23a", "#d5d9de", "#a79cf0", "#8ecdf5")
"""The same lines where a page is dark, with the same contrast."""
FLOOR_COLOUR: Final = "#767676"
"""Of the trivial method."""
_STYLE: Final = {"svg.fonttype": "none", "svg.hashsalt": "osteomark", "font.size": 10, "font.family": "sans-serif"}
_METADATA: Final = {"Date": None, "Creator": None}
"""What would make the bytes depend on when and with what version they were written."""


@contextmanager
def drawing(width: float, height: float, **options: Any) -> Iterator[Figure]:  # noqa: ANN401  # of matplotlib
    """Give an empty figure, drawn in one style.

    Args:
        width: In inches.
        height: In inches.
        options: Of `matplotlib.figure.Figure`.
    """
    from matplotlib import style  # here and not above: slow
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with style.context(["default", _STYLE]):
        figure = Figure(figsize=(width, height), **options)
        FigureCanvasSVG(figure)
        yield figure


def svg_text(figure: Figure, **options: Any) -> str:  # noqa: ANN401  # of matplotlib
    """Return a figure as SVG; call it while the style of `drawing` holds.

    Args:
        figure: What to write.
        options: Of `Figure.savefig`.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=_METADATA, **options)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"
