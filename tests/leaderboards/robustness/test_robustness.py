"""Robustness pages: the numbers by hand, the same bytes every time, and nothing that a plot hides from a reader."""

from __future__ import annotations

import io
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from leaderboards.boards.board import Score, ScoreColumn
from leaderboards.robustness.page import show_stress, stress_page, write_stress
from leaderboards.robustness.plot import MOST, plot
from leaderboards.robustness.scores import StressBoard, StressKey, StressRow, read_stress
from leaderboards.text.markdown import page_markdown
from tests.leaderboards.conftest import markdown_rows

LEVELS = {"noise": "{} photons", "rotation": "turned by {}°"}
SCORES = {
    "mean_shape": {"clean": [50.0], "noise": [50.0] * 5, "rotation": [52.0, 54.0, 56.0, 58.0, 80.0]},
    "posenet": {"clean": [10.0], "noise": [10.0, 11.0, 14.0, 20.0, 45.0], "rotation": [10.0, 10.5, 12.0, 15.0, 22.5]},
    "svr": {"clean": [20.0], "noise": [19.0, 20.0, 20.0, 20.0, 21.0], "rotation": [30.0, 40.0, 60.0, 75.0, 95.0]},
}


def write_scores(store: Path, scores: dict[str, dict[str, list[float]]] = SCORES, **changes: object) -> Path:
    """Write a `stress.csv` of two columns as the benchmark leaves it."""
    rows = [
        {
            **{"dataset": "aasce", "protocol": "official", "content": "films1", "test_set": "test", "variant": variant},
            **{"config": "c0ffee00", "corruption": corruption, "severity": severity, "column": column, "value": value},
            **{"low": 0.9 * value, "high": 1.1 * value, "cases": 16, "title": column, "unit": "px"},
            **{"level": LEVELS.get(corruption, "as they are {}").format(severity), "higher_is_better": False},
            **{"method": variant, "budget": "paper", "seeds": "0", "badges": "phantom films"},
        }
        | changes
        for variant, corruptions in scores.items()
        for corruption, values in corruptions.items()
        for severity, given in enumerate(values, start=corruption != "clean")
        for column, value in (("mre_px", given), ("median_px", given / 2))
    ]
    store.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(store / "stress.csv", index=False)
    return store


def test_means_degradations_and_corruption_errors_are_those_of_a_calculation_by_hand(tmp_path: Path) -> None:
    (board,) = read_stress(write_scores(tmp_path))
    rows = {method.label: method for method in board.rows}
    posenet = rows["posenet"]
    assert (posenet.mean("noise"), posenet.mean("rotation")) == (20.0, 14.0)
    assert posenet.degradation("noise") == pytest.approx(100)
    assert posenet.mean_degradation == pytest.approx((100 + 40) / 2)
    assert posenet.error("noise") == pytest.approx(100 * 20 / 50)
    assert posenet.mean_error == pytest.approx((40 + 100 * 14 / 60) / 2)
    assert rows["svr"].degradation("noise") == pytest.approx(0)
    assert (rows["mean_shape"].mean_error, rows["mean_shape"].degradation("noise")) == (100, 0)
    assert [method.label for method in board.rows] == ["posenet", "svr", "mean_shape"]


def test_the_page_has_every_number_and_says_what_severities_mean(tmp_path: Path) -> None:
    text = page_markdown(stress_page(read_stress(write_scores(tmp_path))))
    (summary,) = (row for row in markdown_rows(text, "mCE") if row["Method"] == "posenet")
    assert list(summary.values())[1:] == ["10.00 [9.00, 11.00]", "+100 %", "+40 %", "+70 %", "32 %"]
    (noise,) = (row for row in markdown_rows(text, "Worse by") if row["Method"] == "posenet")
    scores = ["10.00", "10.00", "11.00", "14.00", "20.00", "45.00", "20.00"]
    assert list(noise.values())[1:] == [*scores, "+100 %", "40 %"]
    assert "| rotation | turned by 1° | turned by 2° | turned by 3° | turned by 4° | turned by 5° |" in text
    assert "16 films; the score is mre_px (px) ↓." in text
    assert "Caveats: **phantom films**." in text


def test_building_again_changes_no_byte_and_other_files_stay(tmp_path: Path) -> None:
    store, out = write_scores(tmp_path / "store"), tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    paths = write_stress(store, out)
    first = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_stress(store, out)] == first
    assert [path.suffix for path in paths] == [".md", ".csv", ".svg"]
    assert {path.name for path in out.iterdir()} == {*(path.name for path in paths), "mine.txt"}
    assert f"({paths[2].name})" in paths[0].read_text()
    frame = pd.read_csv(paths[1]).set_index(["method", "corruption"])
    assert frame.loc[("svr", "rotation"), "severity_4"] == 75
    assert frame.loc[("svr", "rotation"), "corruption_error_percent"] == pytest.approx(100)


def test_the_plot_is_an_image_with_a_panel_a_corruption_and_a_line_a_method(tmp_path: Path) -> None:
    svg = write_stress(write_scores(tmp_path), tmp_path)[2].read_text()
    root = ElementTree.fromstring(svg)
    texts = {"".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"noise", "rotation", "posenet", "svr", "mean_shape", "mre_px (px) ↓"} <= texts
    lines = {node.get("style", "") for node in root.iter("{http://www.w3.org/2000/svg}path")}
    assert len({style for style in lines if "stroke-width: 1.6" in style}) == 3


def test_lines_lie_where_their_numbers_are() -> None:
    values = {1: 2.0, 2: 4.0, 3: 8.0, 4: 16.0, 5: 32.0}
    scores = {"noise": {severity: Score(value) for severity, value in values.items()}}
    row = StressRow("posenet", "posenet", "c", "paper", "", 16, Score(1.0), scores, {}, higher_is_better=False)
    column = ScoreColumn("mre_px", "MRE", "px", False, "")
    board = StressBoard(StressKey("aasce", "official", "films", "test"), column, (row,), {"noise": {}})
    root = ElementTree.fromstring(plot(board))
    paths = [n.get("d", "") for n in root.iter("{http://www.w3.org/2000/svg}path") if "1.6" in n.get("style", "")]
    numbers = np.array(paths[0].replace("M", " ").replace("L", " ").split(), float).reshape(-1, 2)
    assert np.allclose(np.diff(numbers, n=2, axis=0), 0, atol=1e-3)  # powers of two on a logarithmic scale
    assert (np.diff(numbers[:, 1]) < 0).all()


def test_a_part_that_a_method_lacks_is_left_out_of_its_means(tmp_path: Path) -> None:
    lacking = SCORES | {"posenet": {"clean": [10.0], "noise": [10.0, 11.0, 14.0], "rotation": [11.0] * 5}}
    (board,) = read_stress(write_scores(tmp_path, lacking))
    posenet = next(method for method in board.rows if method.label == "posenet")
    assert np.isnan(posenet.degradation("noise"))
    assert posenet.mean_degradation == pytest.approx(10)
    rows = markdown_rows(page_markdown(stress_page([board])), "Worse by")
    assert next(list(row.values()) for row in rows if row["Method"] == "posenet")[1:] == [
        "10.00",
        *["-"] * 5,
        "n/a",
        "-",
        "-",
    ]
    assert write_stress(tmp_path, tmp_path)


def test_without_the_trivial_method_there_is_no_corruption_error(tmp_path: Path) -> None:
    (board,) = read_stress(write_scores(tmp_path, {"svr": SCORES["svr"]}))
    assert np.isnan(board.rows[0].mean_error)
    assert board.rows[0].degradation("rotation") == pytest.approx(200)


def test_a_score_that_is_best_high_gets_worse_by_falling(tmp_path: Path) -> None:
    (board,) = read_stress(write_scores(tmp_path, {"svr": SCORES["svr"]}, higher_is_better=True))
    assert board.rows[0].degradation("rotation") == pytest.approx(-200)


def test_a_variant_with_two_configurations_has_two_names(tmp_path: Path) -> None:
    store = write_scores(tmp_path, {"svr": SCORES["svr"]})
    frame = pd.read_csv(store / "stress.csv")
    pd.concat([frame, frame.assign(config="deadbeef")]).to_csv(store / "stress.csv", index=False)
    (board,) = read_stress(store)
    assert {method.label for method in board.rows} == {"svr (c0ffee00)", "svr (deadbeef)"}


def test_many_methods_are_drawn_up_to_a_limit_that_the_page_names(tmp_path: Path) -> None:
    many = {f"method{number:02d}": SCORES["svr"] for number in range(MOST + 3)}
    (board,) = read_stress(write_scores(tmp_path, many))
    assert f"of the first {MOST} methods" in page_markdown(stress_page([board]))
    svg = write_stress(tmp_path, tmp_path)[2].read_text()
    assert f"method{MOST - 1:02d}" in svg
    assert f"method{MOST:02d}" not in svg


def test_the_terminal_shows_how_much_worse(tmp_path: Path) -> None:
    stream = io.StringIO()
    show_stress(read_stress(write_scores(tmp_path)), Console(file=stream, width=120))
    assert all(word in stream.getvalue() for word in ("posenet", "10.00", "+100", "+40", "32 %"))


def test_a_store_that_was_not_stressed_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="osteomark stress --store"):
        write_stress(tmp_path, tmp_path)
