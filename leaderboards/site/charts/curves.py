"""Curves: cumulative errors of landmarks and of films, calibration and learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from leaderboards.boards.board import ScoreColumn
from leaderboards.boards.numbers import number
from leaderboards.pages.model import Chart, PageTable, TableCell, TableColumn
from leaderboards.site.charts.figures import (
    VISIBLE,
    Series,
    hidden,
    layout_of,
    log_axis,
    method_table,
    number_cells,
    rounded,
    trace_of,
)
from leaderboards.site.summaries import LEVELS, SHARES, quantiles_of

QUANTILES: Final = (25, 50, 75, 90, 95)
EPOCHS: Final = 80
"""Points of a learning curve at most."""


def error_curves(key: str, series: Sequence[Series], unit: str) -> Chart:
    """Draw the cumulative distribution of all landmarks' errors."""
    shares = [item.summary.quantiles for item in series]
    traces, limit = _cumulative(series, shares, unit)
    best = min(range(len(series)), key=lambda i: series[i].summary.within(50))
    half, most = (f"{number(series[best].summary.within(share), unit)} {unit}" for share in (50, 90))
    traces[best].pop("visible", None)
    layout = layout_of(f"Radial error ({unit})", "Landmarks within (%)", x=[0, limit], y=[0, 100])
    caption = "Error within which a share of the landmarks lies"
    return Chart(
        f"{key}-ced",
        "Cumulative error",
        f"Share of landmarks whose radial error is at most so large. Half of {series[best].row.label}'s landmarks lie "
        f"within {half} and nine in ten within {most}, the smallest median of {len(series)} methods.",
        {"data": traces, "layout": layout},
        quantile_table(f"{key}-ced-table", caption, series, shares, unit),
        "A curve further up and to the left is better. All landmarks of all test cases count alike.",
    )


def film_curves(
    key: str, series: Sequence[Series], scores: Sequence[Sequence[float]], column: ScoreColumn
) -> Chart | None:
    """Draw the cumulative distribution of a score over films (Fard et al. 2022, Fig. 8); None where none is stored.

    Args:
        key: Prefix of the chart's id.
        series: The rows.
        scores: Of each row, the score of every film, NaN where it does not apply.
        column: The score; lower is better.
    """
    finite = [[value for value in each if math.isfinite(value)] for each in scores]
    known = [(item, quantiles_of(values)) for item, values in zip(series, finite, strict=True) if values]
    if not known:
        return None
    drawn, shares = [item for item, _ in known], [values for _, values in known]
    traces, limit = _cumulative(drawn, shares, column.unit)
    best = min(range(len(drawn)), key=lambda i: shares[i][SHARES.index(50)])
    traces[best].pop("visible", None)
    half = number(shares[best][SHARES.index(50)], column.unit)
    layout = layout_of(f"{column.title} of a film ({column.unit})", "Films within (%)", x=[0, limit], y=[0, 100])
    caption = f"{column.title} within which a share of the films lies"
    return Chart(
        f"{key}-ced-{column.name}",
        f"Cumulative {column.title}",
        f"Share of films whose {column.title} is at most so large. Half of the films lie within {half} {column.unit} "
        f"with {drawn[best].row.label}, the smallest median of {len(drawn)} methods.",
        {"data": traces, "layout": layout},
        quantile_table(f"{key}-ced-{column.name}-table", caption, drawn, shares, column.unit),
        "Unlike the mean, it does not hang on a few failed films.",
    )


def _cumulative(
    series: Sequence[Series], quantiles: Sequence[Sequence[float]], unit: str
) -> tuple[list[dict[str, Any]], float]:
    """Return the lines of cumulative distributions, given by their values at `SHARES`, and where the axis ends."""
    limit = _nice(max(values[SHARES.index(90)] for values in quantiles[: VISIBLE - 1]))
    traces = [
        trace_of(place, item)
        | {"x": rounded(values), "y": list(SHARES)}
        | {"hovertemplate": f"%{{y}} % within %{{x:.3g}} {unit}"}
        for place, (item, values) in enumerate(zip(series, quantiles, strict=True))
    ]
    return traces, limit


def quantile_table(
    key: str, caption: str, series: Sequence[Series], quantiles: Sequence[Sequence[float]], unit: str
) -> PageTable:
    """Return the values within which `QUANTILES` lie, a row per method.

    Args:
        key: The table's id.
        caption: What it says.
        series: The rows.
        quantiles: Of each row, the values at `SHARES`.
        unit: Of the values.
    """
    columns = [TableColumn(f"{q} %", f"within, {unit}", numeric=True) for q in QUANTILES]
    rows = [
        (item.row, number_cells([values[SHARES.index(share)] for share in QUANTILES], unit))
        for item, values in zip(series, quantiles, strict=True)
    ]
    return method_table(key, caption, columns, rows)


def calibration_curves(key: str, series: Sequence[Series]) -> Chart | None:
    """Draw observed against promised coverage of the predicted regions; None where nobody predicts a covariance."""
    known = [(item, values) for item in series if (values := _coverage(item))]
    if not known:
        return None
    traces = [
        trace_of(place if len(known) > VISIBLE else 0, item, marked=True)
        | {"x": [0, *values], "y": [0, *rounded([*values.values()])], "hovertemplate": "%{y:.1f} % in %{x} % regions"}
        for place, (item, values) in enumerate(known)
    ]
    levels = [level for level in LEVELS if any(level in values for _, values in known)]
    columns = [TableColumn(f"{level} %", numeric=True) for level in levels]
    rows = [(item.row, number_cells([values.get(level, math.nan) for level in levels], "%")) for item, values in known]
    shared = [level for level in levels if all(level in values for _, values in known)]
    distance = [float(np.mean([abs(values[level] - level) for level in shared])) for _, values in known]
    best = int(np.argmin(distance))
    traces[best].pop("visible", None)
    some = "some" if any(len(values) == len(LEVELS) for _, values in known) else "all"
    few = "" if len(shared) == len(LEVELS) else f" Of {some} rows only {', '.join(map(str, shared))} % are known."
    layout = layout_of("Promised coverage (%)", "Observed coverage (%)", x=[0, 100], y=[0, 100])
    return Chart(
        f"{key}-calibration",
        "Calibration",
        f"Share of landmarks inside the predicted regions against the share that these promise. "
        f"{known[best][0].row.label} is closest to the diagonal, {distance[best]:.1f} points off on average.",
        {"data": [DIAGONAL, *traces], "layout": layout},
        method_table(
            f"{key}-calibration-table", "Observed coverage (%) of regions by promised coverage", columns, rows
        ),
        f"On the thin diagonal both are equal; above it a method is too cautious, below it overconfident.{few}",
    )


def _coverage(item: Series) -> dict[int, float]:
    """Return the observed coverage of each level: those of the board where the row's summary has no curve."""
    if item.summary.coverage:
        return dict(zip(LEVELS, item.summary.coverage, strict=True))
    scores = {level: item.row.value(f"coverage_{level}") for level in LEVELS}
    return {level: value for level, value in scores.items() if math.isfinite(value)}


def learning_curves(key: str, series: Sequence[Series]) -> Chart | None:
    """Draw the error on the validation films by epoch; None where no run kept a history."""
    curves = [(item, item.summary.history) for item in series if item.summary.history]
    if not curves:
        return None
    places = range(len(curves)) if len(curves) > VISIBLE else [0] * len(curves)
    columns = [
        TableColumn("Epochs", numeric=True),
        *(TableColumn(name, "px", numeric=True) for name in ("First", "Best", "Last")),
        TableColumn("Best epoch", numeric=True),
    ]
    rows = [(item.row, _learnt(values)) for item, values in curves]
    still = sum(_best(values) >= 0.9 * (len(values) - 1) for _, values in curves)
    layout = layout_of("Epoch, over all stages", "Validation error (px, log)")
    layout["yaxis"] |= log_axis([value for _, values in curves for value in values])
    return Chart(
        f"{key}-learning",
        "Learning curves",
        f"Mean radial error on the validation films after each epoch, for {len(curves)} methods. {still} of them were "
        "best within the last tenth of their training: they may not have been trained to the end.",
        {"data": [_learning(place, *curve) for place, curve in zip(places, curves, strict=True)], "layout": layout},
        method_table(f"{key}-learning-table", "Validation error (px) over training", columns, rows),
        "The first run of each row, in original pixels. Validation films choose the checkpoint; test films never do.",
    )


DIAGONAL: Final = {
    "x": [0, 100],
    "y": [0, 100],
    "mode": "lines",
    "name": "calibrated",
    "line": {"color": "#767676", "width": 1},
    "hoverinfo": "skip",
    "showlegend": False,
}


def _best(values: Sequence[float]) -> int:
    return int(np.nanargmin(values))


def _learning(place: int, item: Series, values: Sequence[float]) -> dict[str, Any]:
    kept = np.unique(np.linspace(0, len(values) - 1, min(len(values), EPOCHS)).round().astype(int)).tolist()
    return hidden(place, item.row.variant) | {
        "name": item.row.label,
        "mode": "lines" if len(kept) > 1 else "markers",
        "marker": {"symbol": item.style.symbol},
        "line": item.style.line,
        "x": [epoch + 1 for epoch in kept],
        "y": rounded([values[epoch] for epoch in kept]),
        "hovertemplate": "epoch %{x}: %{y:.4g} px",
    }


def _learnt(values: Sequence[float]) -> list[TableCell]:
    best = _best(values)
    epochs, chosen = (TableCell.number(value, str(value)) for value in (len(values), best + 1))
    return [epochs, *number_cells((values[0], values[best], values[-1]), "px"), chosen]


def _nice(value: float) -> float:
    """Round up to 1, 1.5, 2, 3, 4, 5, 6 or 8 times a power of ten."""
    if not math.isfinite(value) or value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * 0.999))
