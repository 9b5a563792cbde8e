"""The published leaderboards of real films, recomputed from the published predictions by code that shares nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.io import loadmat

from datamodules.aasce import AASCE
from datamodules.hand import Hand
from datamodules.isbi2015 import ISBI2015
from leaderboards.boards.published import read_published
from leaderboards.build import rewrite_published
from leaderboards.robustness.page import write_stress
from leaderboards.site.summaries import read_summaries, summary_json

DATASETS = {"aasce": AASCE, "hand": Hand, "isbi2015": ISBI2015}
PUBLISHED = Path(__file__).resolve().parents[2] / "leaderboards" / "published"
WRIST_MM = 50.0


def _points(file: Path) -> pd.DataFrame:
    """Return the predictions of one run with one (K, 2) array per test set and case."""
    table = pd.read_parquet(file)
    grouped = table.groupby(["test_set", "case"], sort=False)[["x", "y"]]
    return pd.Series({key: group.to_numpy(np.float64) for key, group in grouped}).rename("points").reset_index()


def _rows(board: str) -> pd.DataFrame:
    return pd.read_csv(PUBLISHED / f"{board}.csv")


def _value(rows: pd.DataFrame, test_set: str, variant: str, column: str) -> float:
    found = rows[(rows["test_set"] == test_set) & (rows["method"] == variant)]
    assert len(found) == 1
    return float(found.iloc[0][column])


def _runs(board: str) -> list[Path]:
    return sorted((PUBLISHED / "predictions" / board).rglob("*.parquet"))


def _variant(file: Path) -> str:
    return file.stem.rsplit("-seed", 1)[0]


def _film_size(file: Path) -> np.ndarray:
    with Image.open(file) as film:
        return np.array(film.size)


def test_predictions_and_tables_are_published_together() -> None:
    for board in ("aasce/official", "isbi2015/official", "hand/3-fold-reduced"):
        rows = _rows(board.replace("/", "-"))
        measured = set(rows[rows["status"] == "done"]["method"])
        assert {_variant(file) for file in _runs(board)} == measured


def test_no_label_is_published() -> None:
    for file in PUBLISHED.rglob("*.parquet"):
        assert list(pd.read_parquet(file).columns) == ["test_set", "case", "landmark", "x", "y"]


def test_every_file_of_points_states_its_frame() -> None:
    frames = {file: pq.read_schema(file).metadata[b"frame"].decode() for file in PUBLISHED.rglob("*.parquet")}
    official = "pixels of the dataset's official films, 1935 x 2400 (width x height)"
    assert {frame for file, frame in frames.items() if "isbi2015" in file.parts} == {official}
    assert {frame for file, frame in frames.items() if "isbi2015" not in file.parts} == {
        "pixels of each film as it was read"
    }


def test_the_scores_of_films_are_those_of_the_boards() -> None:
    boards = read_published(PUBLISHED)
    assert len(boards) == 4
    for board in boards:
        cases = pd.read_csv(PUBLISHED / f"cases/{board.page}.csv").query("test_set == @board.test_set")
        for row in board.ranked:
            assert cases[row.key].mean() == pytest.approx(row.value(board.columns[0].name), rel=1e-4)
            assert len(cases) == row.cases


def test_the_leak_free_scores_are_over_the_films_that_the_datasets_do_not_name() -> None:
    seen = {}
    for board in read_published(PUBLISHED):
        cases = pd.read_csv(PUBLISHED / f"cases/{board.page}.csv").query("test_set == @board.test_set")
        data = DATASETS[board.dataset]
        clean = cases[[not (data.repeats and data.repeats.search(case)) for case in cases["case"].astype(str)]]
        seen[board.name] = len(clean)
        caveats = () if board.test_set == "test2" else data.find_protocol(board.protocol).caveats
        assert tuple(board.facts["caveats"]) == caveats
        for row in board.ranked:
            score = row.score(board.columns[0].name)
            assert row.cases_leak_free == len(clean)
            assert score.value_leak_free == pytest.approx(clean[row.key].mean(), rel=1e-5)
            assert score.low_leak_free < score.value_leak_free < score.high_leak_free
    assert seen == {
        "aasce · official · test": 111,
        "hand · 3-fold-reduced · test": 9,
        "isbi2015 · official · test1": 127,
        "isbi2015 · official · test2": 100,
    }


def _content(file: Path) -> bytes | list[str]:
    """The bytes of a file, and of a drawing its words: where they stand depends on the version of matplotlib."""
    return re.findall(r"<text[^>]*>([^<]*)", file.read_text()) if file.suffix == ".svg" else file.read_bytes()


def test_the_published_pages_are_what_todays_code_writes_from_their_data(tmp_path: Path) -> None:
    for name in ("facts.json", "stress.csv", "cases", "summaries", *(p.name for p in PUBLISHED.glob("*-*.json"))):
        (tmp_path / name).symlink_to(PUBLISHED / name)
    data = {path.name for path in tmp_path.iterdir()}
    written = write_stress(PUBLISHED, tmp_path) + rewrite_published(tmp_path)
    pages = {path.relative_to(tmp_path) for path in written}
    assert len(pages) > 40
    stale = [str(page) for page in pages if _content(tmp_path / page) != _content(PUBLISHED / page)]
    assert {path.name for path in PUBLISHED.iterdir()} == data | {"predictions"} | {page.parts[0] for page in pages}
    assert stale == [], "`make published` writes them again"


def test_a_summary_of_errors_comes_back_as_it_was(tmp_path: Path) -> None:
    for page in ("aasce-official", "isbi2015-official", "hand-3-fold-reduced"):
        text = (PUBLISHED / f"summaries/{page}.json").read_text()
        assert summary_json(read_summaries(PUBLISHED, page)) == text


def test_every_trained_method_beats_the_mean_shape() -> None:
    for board, column in (("aasce-official", "mre_px"), ("isbi2015-official", "mre_mm")):
        rows = _rows(board)
        for test_set, group in rows[rows["status"] == "done"].groupby("test_set"):
            floor = _value(rows, str(test_set), "mean_shape", column)
            assert set(group[group[column] >= floor]["method"]) == {"mean_shape"}


@pytest.mark.parametrize("file", _runs("aasce/official"), ids=_variant)
def test_aasce_scores_follow_from_the_labels(file: Path, real_data: Path) -> None:
    errors, squares = [], []
    for case, points in _points(file)[["level_1", "points"]].itertuples(index=False):
        truth = loadmat(real_data / f"aasce/labels/test/{case}.jpg.mat")["p2"].astype(float)
        size = _film_size(real_data / f"aasce/data/test/{case}.jpg")
        errors.append(np.linalg.norm(points - truth, axis=1))
        squares.append((((points - truth) / size) ** 2).mean())
    rows, variant = _rows("aasce-official"), _variant(file)
    assert len(errors) == 128
    assert _value(rows, "test", variant, "mre_px") == pytest.approx(np.mean(errors), rel=1e-4)
    assert _value(rows, "test", variant, "median_px") == pytest.approx(np.median(errors), rel=1e-3)
    assert _value(rows, "test", variant, "sdr_40px") == pytest.approx(100 * np.mean(np.array(errors) <= 40), abs=0.02)
    assert _value(rows, "test", variant, "mse") == pytest.approx(np.mean(squares), rel=1e-3)


@pytest.mark.parametrize("variant", sorted({_variant(file) for file in _runs("isbi2015/official")}))
def test_isbi_scores_follow_from_both_readers_labels(variant: str, real_data: Path) -> None:
    rows = _rows("isbi2015-official")
    seeds = [file for file in _runs("isbi2015/official") if _variant(file) == variant]
    for test_set, group in pd.concat(map(_points, seeds)).groupby("level_0"):
        errors = np.array([_isbi_errors(real_data / "isbi_ceph", *row[1:]) for row in group.itertuples(index=False)])
        assert len(errors) == len(seeds) * {"test1": 150, "test2": 100}[str(test_set)]
        assert _value(rows, str(test_set), variant, "mre_mm") == pytest.approx(errors.mean(), rel=1e-4)
        for radius in (2, 2.5, 3, 4):
            share = 100 * (errors <= radius).mean()
            assert _value(rows, str(test_set), variant, f"sdr_{radius}mm") == pytest.approx(share, abs=0.05)


def _isbi_errors(root: Path, case: str, points: np.ndarray) -> np.ndarray:
    """Errors in mm: labels, published points and a .1 mm pixel all belong to 1935x2400, whatever the films' size."""
    readers = [
        np.loadtxt(root / f"AnnotationsByMD/400_{reader}/{case}.txt", delimiter=",", max_rows=19)
        for reader in ("senior", "junior")
    ]
    return np.linalg.norm((points - np.mean(readers, axis=0)) * 0.1, axis=1)


@pytest.mark.parametrize("variant", sorted({_variant(file) for file in _runs("hand/3-fold-reduced")}))
def test_hand_scores_pool_the_folds(variant: str, real_data: Path) -> None:
    labels = pd.read_csv(real_data / "hand/all.csv", header=None, index_col=0)
    files = [file for file in _runs("hand/3-fold-reduced") if _variant(file) == variant]
    errors = []
    for case, points in pd.concat(map(_points, files))[["level_1", "points"]].itertuples(index=False):
        truth = labels.loc[int(case)].to_numpy(float).reshape(37, 2)
        spacing = WRIST_MM / np.linalg.norm(truth[1] - truth[5])
        errors.append(np.linalg.norm(points - truth, axis=1) * spacing)
    assert len(errors) == 9
    assert _value(_rows("hand-3-fold-reduced"), "test", variant, "mre_mm") == pytest.approx(np.mean(errors), rel=1e-4)
