"""Charts of rows that predict a covariance: errors per point, sigma_p per point, and both together.

They are Fig. 12, 13 and 14 of Upadhyay et al. (CHIL 2020) for any method with a covariance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import gaussian_kde, spearmanr

from leaderboards.boards.numbers import number
from leaderboards.pages.model import Chart, TableCell, TableColumn
from leaderboards.pages.svg import COLOURS as LINES
from leaderboards.site.charts.figures import (
    SHADES,
    Answers,
    Series,
    hidden,
    layout_of,
    method_table,
    number_cells,
    rounded,
)
from leaderboards.site.charts.uncertainty_classes import CERTAIN_MM, CLASSES, COLOURS, MODERATE_MM, Grading
from leaderboards.site.run_predictions import mean_of

FEW: Final = 8
"""More kinds of points than these are not told apart in one chart."""
QUANTILES: Final = np.linspace(0.01, 0.99, 41)
"""What a violin is drawn from, so that a page does not hold every error."""
LINE_POINTS: Final = 121
FIELD_POINTS: Final = 25
"""Of a side of the field of both densities."""
QUARTERS: Final = ("least", "second", "third", "largest")

Kinds = Mapping[str, Sequence[int]]
"""Kinds of points that a chart tells apart, with the positions of their landmarks."""


class Stated(NamedTuple):
    """The uncertainty that a row states.

    Attributes:
        series: The row.
        answers: What its runs answered.
        unit: Of sigma_p: `crop` for fractions of the crop's sides, `mm` or `px`.
        sigma: NaN where none is stated.
    """

    series: Series
    answers: Answers
    unit: str
    sigma: Float[np.ndarray, "case landmark"]

    def pairs(self, landmarks: Sequence[int]) -> Float[np.ndarray, "2 point"]:
        """Return error and sigma_p of the points that have both."""
        both = np.stack([values[:, list(landmarks)].ravel() for values in (self.answers.errors, self.sigma)])
        return both[:, np.isfinite(both).all(axis=0)]

    def text(self, value: float) -> str:
        """Write a value of sigma_p."""
        return f"{value:.3g} of the crop" if self.unit == "crop" else f"{number(value, self.unit)} {self.unit}"

    @property
    def axis(self) -> str:
        """The title of an axis of sigma_p."""
        return f"sigma_p ({'fraction of the crop' if self.unit == 'crop' else self.unit})"


def uncertainty_charts(
    key: str, series: Sequence[Series], unit: str, groups: Mapping[str, Sequence[str]]
) -> list[Chart]:
    """Draw errors and sigma_p by kind of point; nothing where no row predicts a covariance.

    Args:
        key: Prefix of the charts' ids.
        series: The drawn rows, best first.
        unit: Of their errors.
        groups: The dataset's structures with the names of their landmarks.
    """
    answered = [(item, item.answers) for item in series if item.answers is not None]
    stated = [each for item, answers in answered if (each := _stated(item, answers, unit)) is not None]
    if not stated:
        return []
    kinds = point_kinds(series[0].summary.landmarks, groups)
    charts = [
        _violins(key, answered, unit, kinds),
        _densities(key, stated, unit, kinds),
        _joint(key, stated, unit, kinds),
    ]
    return [chart for chart in charts if chart is not None]


def point_kinds(names: Sequence[str], groups: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Tell the landmarks apart, or else their groups, or else nothing, as far as there are few.

    Example:
        >>> point_kinds(["TL", "BR"], {})
        {'TL': [0], 'BR': [1]}
        >>> point_kinds([f"p{i}" for i in range(9)], {"a": ["p0", "p1"], "b": ["p8"]})
        {'a': [0, 1], 'b': [8]}
        >>> list(point_kinds([f"p{i}" for i in range(9)], {}))
        ['all landmarks']
    """
    if len(names) <= FEW:
        return {name: [place] for place, name in enumerate(names)}
    members = {group: [names.index(name) for name in each if name in names] for group, each in groups.items()}
    members = {group: places for group, places in members.items() if places}
    return members if 1 < len(members) <= FEW else {"all landmarks": list(range(len(names)))}


def _stated(item: Series, answers: Answers, unit: str) -> Stated | None:
    measure = answers.grading.unit if answers.grading else unit
    sigma = answers.predicted.sigma(measure)
    return Stated(item, answers, measure, sigma) if np.isfinite(sigma).any() else None


def _violins(key: str, answered: Sequence[tuple[Series, Answers]], unit: str, kinds: Kinds) -> Chart:
    """Draw how the errors of each kind of point are spread, a violin per row (Fig. 12)."""
    known = {
        kind: [_known(answers.errors[:, list(places)]) for _, answers in answered] for kind, places in kinds.items()
    }
    traces = [
        _violin(place, item, {kind: each[place] for kind, each in known.items()})
        for place, (item, _) in enumerate(answered)
    ]
    first = {kind: float(np.median(each[0])) for kind, each in known.items() if each[0].size}
    least, most = (pick(first, key=lambda kind: first[kind]) for pick in (min, max))
    columns = [TableColumn(kind, unit, numeric=True) for kind in kinds]
    rows = [
        (item.row, [_spread(each[place], unit) for each in known.values()]) for place, (item, _) in enumerate(answered)
    ]
    best = answered[0][0].row.label
    outcome = f"Half of {best}'s errors lie within {number(first[least], unit)} {unit}."
    if len(first) > 1:
        outcome = (
            f"{best}'s median error is smallest at {least} ({number(first[least], unit)} {unit}) and largest at {most} "
            f"({number(first[most], unit)} {unit})."
        )
    layout = layout_of("", f"Radial error ({unit})", zero=True) | {"violinmode": "group", "violingap": 0.15}
    return Chart(
        f"{key}-violins",
        "Spread of errors per point",
        f"How the radial errors of {_listed(kinds)} are spread, a violin per method. {outcome}",
        {"data": traces, "layout": layout},
        method_table(f"{key}-violins-table", f"Median error ({unit}), and within what 95 % lie", columns, rows),
        "Wider where more errors lie; from the 1st to the 99th percentile, with the mean as a dashed line.",
        wide=True,
    )


def _violin(place: int, item: Series, errors: Mapping[str, Float[np.ndarray, " error"]]) -> dict[str, Any]:
    drawn = {
        kind: rounded(np.quantile(values, QUANTILES).tolist(), 3) for kind, values in errors.items() if values.size
    }
    return hidden(place, item.row.variant) | {
        "type": "violin",
        "name": item.row.label,
        "x": [kind for kind, values in drawn.items() for _ in values],
        "y": [value for values in drawn.values() for value in values],
        "line": {**item.style.line, "width": 1},
        "points": False,
        "meanline": {"visible": True},
        "spanmode": "hard",
        "scalemode": "width",
        "hoverinfo": "skip",
    }


def _densities(key: str, stated: Sequence[Stated], unit: str, kinds: Kinds) -> Chart | None:
    """Draw the density of the best row's sigma_p for each kind of point (Fig. 13); None where it never varies."""
    best = stated[0]
    sigma = {kind: best.pairs(places)[1] for kind, places in kinds.items()}
    pooled = np.concatenate(list(sigma.values()))
    limit = _limit(pooled)
    grid = np.linspace(0, limit, LINE_POINTS)
    traces = [
        {
            "name": kind,
            "mode": "lines",
            "line": {"color": LINES[place % len(LINES)], "dash": "solid", "width": 2},
            "x0": 0,
            "dx": float(f"{grid[1]:.6g}"),
            "y": rounded(gaussian_kde(values)(grid).tolist()),
            "hovertemplate": "%{y:.3g} at %{x:.3g}",
        }
        for place, (kind, values) in enumerate(sigma.items())
        if _varies(values)
    ]
    if not traces:
        return None
    layout = layout_of(best.axis, "Density", x=[0, limit], zero=True)
    layout["shapes"] = _limits(best.answers.grading, "x")
    medians = {kind: float(np.median(values)) for kind, values in sigma.items() if values.size}
    least, most = (pick(medians, key=lambda kind: medians[kind]) for pick in (min, max))
    between = f"at {least}" if least == most else f"at {least} to {best.text(medians[most])} at {most}"
    columns, rows = _sigma_table(stated, unit, kinds)
    return Chart(
        f"{key}-sigma",
        "Density of sigma_p",
        f"The uncertainty that {best.series.row.label} states, sigma_p = sqrt(sigma_x^2 + sigma_y^2), for "
        f"{_listed(kinds)}: medians from {best.text(medians[least])} {between}. {_graded(best)}",
        {"data": traces, "layout": layout},
        method_table(f"{key}-sigma-table", "Median sigma_p by point, and points by certainty", columns, rows),
        _limits_note(best.answers.grading),
    )


def _sigma_table(
    stated: Sequence[Stated], unit: str, kinds: Kinds
) -> tuple[list[TableColumn], list[tuple[Any, list[TableCell]]]]:
    """Return each row's median sigma_p, the shares of its points by class and their mean errors."""
    columns = [TableColumn("sigma_p in"), *(TableColumn(kind, numeric=True) for kind in kinds)]
    columns += [TableColumn(name.capitalize(), "% of points", numeric=True) for name in CLASSES]
    rows = []
    for each in stated:
        medians = [
            float(np.median(known)) if (known := each.pairs(places)[1]).size else math.nan for places in kinds.values()
        ]
        cells = [TableCell("fractions of the crop" if each.unit == "crop" else each.unit)]
        cells += [TableCell.number(value, "-" if math.isnan(value) else f"{value:.3g}") for value in medians]
        rows.append((each.series.row, [*cells, *_class_cells(each, unit)]))
    return columns, rows


def _class_cells(each: Stated, unit: str) -> list[TableCell]:
    if each.answers.grading is None:
        return [TableCell("not graded") for _ in CLASSES]
    classes, known = each.answers.grading.classes(each.answers.predicted), np.isfinite(each.answers.errors)
    cells = []
    for place in range(len(CLASSES)):
        chosen = known & (classes == place)
        share, error = 100 * chosen.sum() / known.sum(), mean_of(each.answers.errors[chosen])
        note = [] if math.isnan(error) else [f"mean error {number(error, unit)} {unit}"]
        cells.append(TableCell.number(share, f"{share:.1f}", *note))
    return cells


def _joint(key: str, stated: Sequence[Stated], unit: str, kinds: Kinds) -> Chart | None:
    """Draw the density of error and sigma_p of the best row together (Fig. 14); None where one never varies."""
    best = stated[0]
    every = best.pairs([place for places in kinds.values() for place in places])
    if not all(map(_varies, every)):
        return None
    (right, top), label = map(_limit, every), best.series.row.label
    grids = np.linspace(0, right, FIELD_POINTS), np.linspace(0, top, FIELD_POINTS)
    fields = {"all points": every} | {kind: best.pairs(places) for kind, places in kinds.items() if len(kinds) > 1}
    traces = [
        _field(place, kind, pairs, grids)
        for place, (kind, pairs) in enumerate(fields.items())
        if all(map(_varies, pairs))
    ]
    layout = layout_of(f"Radial error ({unit})", best.axis, x=[0, right], y=[0, top])
    layout["shapes"] = _limits(best.answers.grading, "y")
    if unit == "mm":
        layout["shapes"] = [*layout["shapes"], *(_line("x", mm, "#3d464f") for mm in (CERTAIN_MM, MODERATE_MM))]
    columns = [TableColumn(f"{quarter.capitalize()} quarter", unit, numeric=True) for quarter in QUARTERS]
    rows = [(each.series.row, number_cells(_by_quarter(each), unit)) for each in stated]
    least, *_, most = (number(value, unit) for value in _by_quarter(best))
    return Chart(
        f"{key}-joint",
        "Error and sigma_p",
        f"How error and stated uncertainty of {label}'s points go together: their rank correlation is "
        f"{spearmanr(*every).statistic:.2f}. The quarter of the points with the least sigma_p errs by {least} {unit} "
        f"on average, the quarter with the largest by {most} {unit}.",
        {"data": traces, "layout": layout},
        method_table(f"{key}-joint-table", "Mean error of the points by quarters of sigma_p", columns, rows),
        "Darker where more points lie; each kind of point can be switched on as contours at 10, 30, 50, 70 and 90 % of "
        f"its peak.{_error_limits(unit)} {_limits_note(best.answers.grading)}".strip(),
    )


def _field(
    place: int, kind: str, pairs: Float[np.ndarray, "2 point"], grids: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """Return the density of one kind of points in % of its peak, filled for all of them, else as contours."""
    mesh = np.stack([side.ravel() for side in np.meshgrid(*grids)])
    density = gaussian_kde(pairs)(mesh).reshape(FIELD_POINTS, FIELD_POINTS)
    colour = LINES[(place - 1) % len(LINES)] if place else SHADES[-2][1]
    return {
        "type": "contour",
        "name": kind,
        "x": rounded(grids[0].tolist()),
        "y": rounded(grids[1].tolist()),
        "z": [rounded(row, 3) for row in (100 * density / density.max()).tolist()],
        "contours": {"coloring": "lines" if place else "fill", "start": 10, "end": 90, "size": 20},
        "colorscale": [[0, colour], [1, colour]] if place else SHADES,
        "line": {"color": colour, "width": 2 if place else 0, "dash": "solid"},
        "showscale": False,
        "hoverinfo": "skip",
    } | ({"visible": False} if place else {})


def _by_quarter(each: Stated) -> list[float]:
    """Return the mean errors of the points in four equal parts by their sigma_p."""
    errors, sigma = each.pairs(range(each.sigma.shape[1]))
    return [
        float(part.mean()) if part.size else math.nan
        for part in np.array_split(errors[np.argsort(sigma, kind="stable")], 4)
    ]


def _known(values: Float[np.ndarray, "*value"]) -> Float[np.ndarray, " known"]:
    return np.asarray(values[np.isfinite(values)])


def _varies(values: Float[np.ndarray, " value"]) -> bool:
    """Tell whether a density can be estimated: three values or more that are not all one."""
    return values.size > 2 and float(np.ptp(values)) > 1e-9 * float(np.abs(values).max())


def _limit(values: Float[np.ndarray, " value"]) -> float:
    """Return where an axis ends: a little beyond 99 % of the values."""
    return float(f"{1.1 * np.quantile(values, 0.99):.3g}")


def _spread(errors: Float[np.ndarray, " error"], unit: str) -> TableCell:
    if not errors.size:
        return TableCell("-")
    median, most = np.quantile(errors, (0.5, 0.95)).tolist()
    return TableCell.number(median, number(median, unit), f"95 % within {number(most, unit)}")


def _listed(kinds: Kinds) -> str:
    return "all landmarks" if len(kinds) == 1 else f"{', '.join(list(kinds)[:-1])} and {list(kinds)[-1]}"


def _graded(each: Stated) -> str:
    """Say how many points are of each class, and whose limits these are."""
    if each.answers.grading is None:
        return ""
    shares = [cell.text for cell in _class_cells(each, each.unit)]
    text = ", ".join(f"{share} % {name}" for share, name in zip(shares, CLASSES, strict=True))
    return f"Certainty of its points: {text}. {each.answers.grading.source}"


def _limits(grading: Grading | None, axis: str) -> list[dict[str, Any]]:
    """Return the thresholds as lines across a chart, in the colours of the classes that they end."""
    return (
        []
        if grading is None
        else [_line(axis, limit, c) for limit, c in zip(grading.thresholds, COLOURS, strict=False)]
    )


def _line(axis: str, at: float, colour: str) -> dict[str, Any]:
    other = "y" if axis == "x" else "x"
    return {
        "type": "line",
        **{f"{axis}0": at, f"{axis}1": at, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"},
        "line": {"color": colour, "width": 1.5, "dash": "dash"},
    }


def _error_limits(unit: str) -> str:
    return (
        f" Upright: the {CERTAIN_MM:g} and {MODERATE_MM:g} mm that certain and moderately uncertain points may err."
        if unit == "mm"
        else ""
    )


def _limits_note(grading: Grading | None) -> str:
    if grading is None:
        return ""
    low, high = (f"{limit:.3g}" for limit in grading.thresholds)
    equal = " (no point is moderately uncertain)" if low == high else ""
    return (
        f"Dashed: tau1 = {low}, below which points are certain, and tau2 = {high}, from which on they are highly "
        f"uncertain{equal}."
    )
