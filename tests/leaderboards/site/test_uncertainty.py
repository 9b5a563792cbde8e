"""Charts of rows with a covariance: what they draw is what numpy and scipy make of the stored predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import gaussian_kde, spearmanr

from benchmark.predictions import read_predictions
from leaderboards.boards.board import Row
from leaderboards.boards.read import read_boards
from leaderboards.pages.model import Chart, PageTable
from leaderboards.site.charts.figures import Answers, Series, Style
from leaderboards.site.charts.uncertainty import QUANTILES, uncertainty_charts
from leaderboards.site.charts.uncertainty_classes import COLOURS, PAPERS, Grading, Thresholds, grade
from leaderboards.site.summaries import summarise
from tests.stored_runs import NAMES, predictions

MM = 0.5
"""Per pixel, of the stored films."""


def frame(seed: int = 0, cases: int = 40, first: int = 0) -> pd.DataFrame:
    """Predictions whose errors follow their variances, read from crops."""
    random = np.random.default_rng(seed)
    sigma = random.uniform(0.5, 3.0, (cases, len(NAMES))) * np.arange(1, len(NAMES) + 1)
    found = predictions(sigma * np.abs(random.normal(size=sigma.shape)), first=first)
    variances = np.square(sigma).ravel()
    return found.assign(cov_xx=variances, cov_xy=0.0, cov_yy=variances / 4, crop_side_x=200.0, crop_side_y=100.0)


def sigma_in_crops(table: pd.DataFrame) -> pd.Series:
    """Eq. 17 in fractions of the crop, column by column."""
    return np.sqrt(table["cov_xx"] / table["crop_side_x"] ** 2 + table["cov_yy"] / table["crop_side_y"] ** 2)


def series_of(table: pd.DataFrame, folder: Path, row: Row, grading: Grading | None = None) -> Series:
    table.to_parquet(folder / "predictions.parquet", index=False)
    read = read_predictions(folder / "predictions.parquet", NAMES)["test"]
    summary = summarise(read, "mm", ())
    assert summary is not None
    return Series(row, Style("#0072b2"), summary, Answers(read, read.errors("mm"), grading))


@pytest.fixture(scope="module")
def row(site_store: Path) -> Row:
    """Any row of a board."""
    boards = read_boards(site_store, [])
    return next(board for board in boards if (board.dataset, board.protocol) == ("skull", "official")).ranked[0]


def charts(series: Series, *others: Series) -> dict[str, Chart]:
    return {chart.id.removeprefix("k-"): chart for chart in uncertainty_charts("k", [series, *others], "mm", {})}


def cells(table: PageTable) -> list[str]:
    return [cell.text for cell in table.rows[0].cells]


def test_violins_are_drawn_from_the_quantiles_of_each_points_errors(tmp_path: Path, row: Row) -> None:
    table = frame()
    chart = charts(series_of(table, tmp_path, row))["violins"]
    (trace,) = chart.spec["data"]
    for name in NAMES:
        errors = MM * (table["x"] - table["true_x"])[table["landmark"] == name]
        drawn = [y for x, y in zip(trace["x"], trace["y"], strict=True) if x == name]
        np.testing.assert_allclose(drawn, np.quantile(errors, QUANTILES), rtol=5e-3)
        cell = chart.table.rows[0].cells[1 + NAMES.index(name)]
        assert cell.text == f"{np.median(errors):.2f}"
        assert cell.notes == (f"95 % within {np.quantile(errors, 0.95):.2f}",)


def test_the_density_of_sigma_is_in_fractions_of_the_crop_with_the_limits_as_lines(tmp_path: Path, row: Row) -> None:
    table = frame()
    chart = charts(series_of(table, tmp_path, row, Grading(PAPERS, "crop", fitted=False)))["sigma"]
    traces = {trace["name"]: trace for trace in chart.spec["data"]}
    assert tuple(traces) == NAMES
    for name, trace in traces.items():
        sigma = sigma_in_crops(table)[table["landmark"] == name]
        grid = trace["dx"] * np.arange(len(trace["y"]))
        np.testing.assert_allclose(trace["y"], gaussian_kde(sigma)(grid), rtol=1e-2, atol=0.1)
    assert [(line["x0"], line["line"]["color"]) for line in chart.spec["layout"]["shapes"]] == [
        (0.0087, COLOURS[0]),
        (0.0097, COLOURS[1]),
    ]
    assert chart.spec["layout"]["xaxis"]["title"]["text"] == "sigma_p (fraction of the crop)"
    assert "those that Upadhyay et al. chose" in chart.summary


def test_the_table_counts_the_points_of_each_class(tmp_path: Path, row: Row) -> None:
    table, limits = frame(), Thresholds(0.02, 0.05)
    chart = charts(series_of(table, tmp_path, row, Grading(limits, "crop", fitted=True)))["sigma"]
    sigma, errors = sigma_in_crops(table), MM * (table["x"] - table["true_x"])
    classes = [sigma < 0.02, (sigma >= 0.02) & (sigma < 0.05), sigma >= 0.05]
    assert cells(chart.table)[-3:] == [f"{100 * each.mean():.1f}" for each in classes]
    notes = [cell.notes for cell in chart.table.rows[0].cells[-3:]]
    assert notes == [(f"mean error {errors[each].mean():.2f} mm",) for each in classes]
    assert f"{100 * classes[0].mean():.1f} % certain" in chart.summary
    assert "fitted on the run's own validation films" in chart.summary


def test_error_and_sigma_are_drawn_together_and_ranked(tmp_path: Path, row: Row) -> None:
    table = frame()
    chart = charts(series_of(table, tmp_path, row, Grading(PAPERS, "crop", fitted=False)))["joint"]
    sigma, errors = sigma_in_crops(table).to_numpy(), (MM * (table["x"] - table["true_x"])).to_numpy()
    trace = chart.spec["data"][0]
    density = gaussian_kde([errors, sigma])
    some, other = ((trace["z"][j][i], density([trace["x"][i], trace["y"][j]])[0]) for i, j in ((3, 5), (9, 2)))
    assert some[0] / other[0] == pytest.approx(some[1] / other[1], rel=0.05)
    assert f"{spearmanr(errors, sigma).statistic:.2f}" in chart.summary
    quarters = np.array_split(errors[np.argsort(sigma, kind="stable")], 4)
    assert cells(chart.table)[1:] == [f"{part.mean():.2f}" for part in quarters]
    assert [trace["name"] for trace in chart.spec["data"]] == ["all points", *NAMES]


def test_without_crops_sigma_counts_in_the_unit_of_the_board(tmp_path: Path, row: Row) -> None:
    table = frame().drop(columns=["crop_side_x", "crop_side_y"])
    chart = charts(series_of(table, tmp_path, row))["sigma"]
    median = np.median(MM * np.sqrt(table["cov_xx"] + table["cov_yy"])[table["landmark"] == NAMES[0]])
    assert cells(chart.table)[1:3] == ["mm", f"{median:.3g}"]
    assert cells(chart.table)[-3:] == ["not graded"] * 3
    assert chart.spec["layout"]["shapes"] == []


def test_rows_without_a_covariance_have_violins_beside_one_that_has(tmp_path: Path, row: Row) -> None:
    plain = predictions(np.ones((4, len(NAMES))))
    (tmp_path / "plain").mkdir()
    silent = series_of(plain, tmp_path / "plain", row)
    assert uncertainty_charts("k", [silent], "mm", {}) == []
    found = charts(silent, series_of(frame(), tmp_path, row))
    assert len(found["violins"].spec["data"]) == 2
    assert len(found["sigma"].table.rows) == len(found["joint"].table.rows) == 1


def test_a_constant_uncertainty_has_no_density(tmp_path: Path, row: Row) -> None:
    table = frame().assign(cov_xx=4.0, cov_yy=1.0)
    assert set(charts(series_of(table, tmp_path, row))) == {"violins"}


def test_missing_labels_do_not_count(tmp_path: Path, row: Row) -> None:
    table = frame()
    hidden = (table["landmark"] == NAMES[0]) & (np.arange(len(table)) % 2 == 0)
    shown = table[~hidden & (table["landmark"] == NAMES[0])]
    chart = charts(series_of(table.assign(visible=~hidden), tmp_path, row))["violins"]
    assert cells(chart.table)[1] == f"{np.median(MM * (shown['x'] - shown['true_x'])):.2f}"


# --- grading ----------------------------------------------------------------------------------------------------------


def test_points_are_graded_in_fractions_of_crops_where_crops_are_known_and_by_validation_films(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "a")
    frame(1, first=100).to_parquet(tmp_path / "b")
    frame(cases=4, first=100).to_parquet(tmp_path / "few")
    for name, first in (("old", 0), ("old validation", 100)):
        frame(first=first).drop(columns=["crop_side_x", "crop_side_y"]).to_parquet(tmp_path / name)
    predictions(np.ones((9, len(NAMES)))).to_parquet(tmp_path / "silent")
    names = ("a", "b", "few", "old", "old validation", "silent")
    test, validation, few, old, others, silent = (read_predictions(tmp_path / name, NAMES)["test"] for name in names)
    fitted = grade(test, validation, "mm")
    assert fitted is not None
    assert (fitted.unit, fitted.fitted) == ("crop", True)
    sure = validation.errors("mm")[validation.sigma("crop") < fitted.thresholds.certain]
    assert sure.size
    assert (sure > 1.5).mean() <= 0.05
    for unit, films in (("px", validation), ("mm", few), ("mm", test), ("mm", None)):  # nothing to fit on: the paper's
        assert grade(test, films, unit) == Grading(PAPERS, "crop", fitted=False)
    in_mm = grade(old, others, "mm")
    assert in_mm is not None
    assert (in_mm.unit, in_mm.fitted) == ("mm", True)
    ungraded = [(old, others, "px"), (old, few, "mm"), (old, old, "mm"), (old, None, "mm"), (silent, validation, "mm")]
    assert [grade(*each) for each in ungraded] == [None] * len(ungraded)


def test_a_grading_names_its_limits_and_whose_they_are() -> None:
    paper, own = Grading(PAPERS, "crop", fitted=False), Grading(Thresholds(0.4, 1.25), "mm", fitted=True)
    assert paper.words == ("sigma_p below 0.0087 of the crop's sides", "from 0.0087 to 0.0097", "from 0.0097 on")
    assert own.words == ("sigma_p below 0.4 mm", "from 0.4 mm to 1.25 mm", "from 1.25 mm on")
    assert "Upadhyay et al." in paper.source
    assert "validation films" in own.source
