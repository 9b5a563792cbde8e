"""Charts as Plotly specifications, each with its numbers as a table and its outcome as a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from benchmark.predictions import Predictions
from leaderboards.boards.board import FLOOR, Board, Row
from leaderboards.boards.numbers import count, number
from leaderboards.pages.model import Chart, PageTable, TableCell, TableColumn, TableRow
from leaderboards.pages.scores import METHOD
from leaderboards.pages.svg import COLOURS, FLOOR_COLOUR
from leaderboards.site.charts.uncertainty_classes import Grading
from leaderboards.site.summaries import RowSummary

SHADES: Final = [[0, "#f4f7f9"], [0.25, "#bcd5e4"], [0.5, "#6fa3c4"], [0.75, "#28648f"], [1, "#0c2236"]]
"""Of fields of numbers: one hue, ever darker, so that it survives any colour vision and grey print."""
FIELD: Final = {
    "xaxis": {"tickangle": -60, "tickfont": {"size": 10}, "showgrid": False, "ticks": ""},
    "yaxis": {"autorange": "reversed", "showgrid": False, "ticks": "", "tickfont": {"size": 11}},
}
"""Layout of a field of colours."""
DASHES: Final = ("solid", "dash", "dot", "dashdot")
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up")
"""Of points, by Plotly's names. The second round of colours has the second dash and the second symbol, and so on."""
VISIBLE: Final = 8
"""How many lines a chart shows before others are switched on."""
MOST: Final = 20
"""How many rows of a board are drawn at all; its tables show every row."""


class Structures(NamedTuple):
    """What a dataset's schema says of its landmarks.

    Attributes:
        groups: Structure to the names of its landmarks, in anatomical order.
        structure: What a group is called.
        edges: Pairs of landmarks joined by a line.
    """

    groups: Mapping[str, Sequence[str]] = {}
    structure: str = "structure"
    edges: Sequence[tuple[str, str]] = ()


class Answers(NamedTuple):
    """What the runs of a row answered.

    Attributes:
        predicted: The answers beside the labels, the first seed's films first.
        errors: Their radial errors in the board's unit.
        grading: How certain their points are; None where they are not graded.
    """

    predicted: Predictions
    errors: Float[np.ndarray, "case landmark"]
    grading: Grading | None = None


class Style(NamedTuple):
    """How a row looks wherever it is drawn.

    Attributes:
        colour: Of its lines and points.
        dash: Of its lines.
        symbol: Of its points.
    """

    colour: str
    dash: str = DASHES[0]
    symbol: str = SYMBOLS[0]

    @property
    def line(self) -> dict[str, Any]:
        """How Plotly draws a line."""
        return {"color": self.colour, "dash": self.dash, "width": 2}


class Series(NamedTuple):
    """A row of a board that is drawn.

    Attributes:
        row: The row.
        style: Its look.
        summary: Its errors over all films.
        answers: What its runs answered on each film; None where the labels are not at hand, as in published files.
    """

    row: Row
    style: Style
    summary: RowSummary
    answers: Answers | None = None


class MethodRow(Protocol):
    """A row of any table of methods."""

    @property
    def label(self) -> str:
        """What it is called."""


class Styles:
    """The look of every row, the same on all pages and no other row's; the floor is grey and dotted.

    Args:
        boards: All boards of a site. Rows are numbered as they come, best first, the boards with most rows before.
    """

    def __init__(self, boards: Sequence[Board] = ()) -> None:
        self._places: dict[str, int] = {}
        for board in sorted(boards, key=lambda board: -len(board.ranked)):
            for row in (*board.ranked, *board.measured):
                if row.variant != FLOOR:
                    self._places.setdefault(row.label, len(self._places))

    def __call__(self, label: str, variant: str) -> Style:
        """Return the look of a row.

        Args:
            label: Of the row; a row that no board has takes the next free colour.
            variant: Its variant.
        """
        if variant == FLOOR:
            return Style(FLOOR_COLOUR, "dot")
        turn, colour = divmod(self._places.setdefault(label, len(self._places)), len(COLOURS))
        return Style(COLOURS[colour], DASHES[turn % len(DASHES)], SYMBOLS[turn % len(SYMBOLS)])


def landmark_errors(key: str, series: Sequence[Series], unit: str) -> Chart:
    """Draw each landmark's mean error as a field of colours, a line per method."""
    names = series[0].summary.landmarks
    means = [item.summary.means for item in series]
    top = float(np.nanquantile(np.array(means), 0.85))
    labels = [item.row.label for item in series]
    trace = {
        "type": "heatmap",
        "x": list(names),
        "y": labels,
        "z": [rounded(values, 3) for values in means],
        "zmin": 0,
        "zmax": float(f"{top:.3g}"),
        "colorscale": SHADES,
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"title": {"text": unit}, "thickness": 10, "outlinewidth": 0},
        "hovertemplate": f"%{{y}}<br>%{{x}}: %{{z:.3g}} {unit}<extra></extra>",
    }
    worst = max(range(len(names)), key=lambda i: np.nan_to_num(means[0][i], nan=-1))
    return Chart(
        f"{key}-landmarks",
        "Error per landmark",
        f"Mean radial error of each of {len(names)} landmarks. {labels[0]} errs most at {names[worst]}: "
        f"{number(means[0][worst], unit)} {unit}.",
        {"data": [trace], "layout": FIELD},
        _table(f"{key}-landmarks-table", "landmark", names, series, means, unit),
        f"Darker is worse; everything from {number(top, unit)} {unit} on has the darkest colour.",
        height=190 + 22 * len(series),
        wide=True,
        legend=False,
    )


def group_errors(key: str, series: Sequence[Series], unit: str, structures: Structures) -> Chart | None:
    """Draw the mean error of each structure in anatomical order; None where the landmarks have no groups."""
    names, word = series[0].summary.landmarks, structures.structure
    members = {group: [names.index(n) for n in each if n in names] for group, each in structures.groups.items()}
    members = {group: each for group, each in members.items() if each}
    if len(members) < 2:
        return None
    labels = list(members)
    means = [item.summary.group_means(members.values()) for item in series]
    traces = [
        trace_of(place, item, marked=True)
        | {"x": labels, "y": rounded(values), "hovertemplate": f"%{{x}}: %{{y:.3g}} {unit}"}
        for place, (item, values) in enumerate(zip(series, means, strict=True))
    ]
    low, high = (pick(range(len(labels)), key=lambda i: means[0][i]) for pick in (min, max))
    return Chart(
        f"{key}-groups",
        f"Error per {word}",
        f"Mean radial error of the landmarks of each {word}, in anatomical order. {series[0].row.label} errs least "
        f"at {labels[low]} ({number(means[0][low], unit)} {unit}) and most at {labels[high]} "
        f"({number(means[0][high], unit)} {unit}).",
        {"data": traces, "layout": layout_of("", f"Mean radial error ({unit})", zero=True)},
        _table(f"{key}-groups-table", word, labels, series, means, unit),
    )


def _table(
    key: str, what: str, names: Sequence[str], series: Sequence[Series], means: Sequence[Sequence[float]], unit: str
) -> PageTable:
    """Return the mean errors by landmark or group, a column per method."""
    columns = (TableColumn(what.capitalize()), *(TableColumn(item.row.label, unit, numeric=True) for item in series))
    rows = [
        TableRow((TableCell(name, float(place)), *number_cells(values, unit)))
        for place, (name, values) in enumerate(zip(names, zip(*means, strict=True), strict=True))
    ]
    return PageTable(key, f"Mean radial error per {what} ({unit})", columns, tuple(rows))


def method_table(
    key: str, caption: str, columns: Sequence[TableColumn], rows: Iterable[tuple[MethodRow, Iterable[TableCell]]]
) -> PageTable:
    """Return a table of numbers with a row per method."""
    lines = tuple(TableRow((TableCell.name(row.label), *cells)) for row, cells in rows)
    return PageTable(key, caption, (METHOD, *columns), lines)


def number_cells(values: Iterable[float], unit: str) -> list[TableCell]:
    """Return cells of numbers of one unit."""
    return [TableCell.number(value, number(value, unit)) for value in values]


def rounded(values: Sequence[float], digits: int = 4) -> list[float | None]:
    """Round to significant digits for a chart; None where there is no number.

    Example:
        >>> rounded([1.23456, float("nan"), 1234.56])
        [1.235, None, 1235.0]
    """
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values]


def trace_of(place: int, item: Series, *, marked: bool = False) -> dict[str, Any]:
    """Return a row's line, with a symbol at every point where `marked`, without its numbers."""
    line = {"name": item.row.label, "mode": "lines", "line": item.style.line} | hidden(place, item.row.variant)
    return line | ({"mode": "lines+markers", "marker": {"symbol": item.style.symbol, "size": 6}} if marked else {})


def hidden(place: int, variant: str) -> dict[str, Any]:
    """Return what keeps a line out of the chart until it is switched on: all but the best ones and the floor."""
    return {} if place < VISIBLE - 1 or variant == FLOOR else {"visible": False}


def layout_of(
    x_title: str,
    y_title: str,
    *,
    x: Sequence[float] | None = None,
    y: Sequence[float] | None = None,
    zero: bool = False,
) -> dict[str, Any]:
    """Return the layout of a chart with two axes, each with its title and, where given, its range."""
    horizontal: dict[str, Any] = {"title": {"text": x_title}}
    vertical: dict[str, Any] = {"title": {"text": y_title}}
    if x is not None:
        horizontal["range"] = list(x)
    if y is not None:
        vertical["range"] = list(y)
    if zero:
        vertical["rangemode"] = "tozero"
    return {"xaxis": horizontal, "yaxis": vertical}


def log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Return a logarithmic axis with few, plainly written ticks."""
    known = [value for value in values if math.isfinite(value) and value > 0] or [1.0]
    first, last = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    steps = {0: (1, 2, 5), 1: (1, 2, 5), 2: (1, 2, 5), 3: (1, 2, 5), 4: (1, 3)}.get(last - first, (1,))
    every = 1 if last - first < 5 else 2
    ticks = [step * 10.0**power for power in range(first, last + 1, every) for step in steps]
    texts = [count(tick) if tick >= 1e4 else f"{tick:g}" for tick in ticks]
    texts = [text.replace(".00 ", " ") for text in texts]
    return {"type": "log", "tickvals": [float(f"{tick:.3g}") for tick in ticks], "ticktext": texts}
