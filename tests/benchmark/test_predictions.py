"""The one schema of predictions: what is written is read, whatever the order of rows and the age of the file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmark.cell import Cell
from benchmark.predictions import (
    ANSWER,
    CENTRE,
    CROP,
    KEY,
    LABELS,
    PUBLISHED,
    case_rows,
    read_cases,
    read_patients,
    read_predictions,
    write_predictions,
)
from datamodules.base import Case
from tests.stored_runs import NAMES, predictions

CELL = Cell("skull", "official", "main", "mean_shape", "mean_shape")
POINTS = np.array([[1.25, 2.5], [3.0, 4.0], [5.0, 6.0]])
COVARIANCE = np.array([[[4.0, 1.0], [1.0, 9.0]]] * 3)
CENTRES = np.array([[3.0, 4.0], [3.0, 4.0], [5.0, 6.5]])
CROPS = np.array([[20.0, 10.0], [20.0, 10.0], [8.0, 6.0]])
MISSING = np.array([[1.0, 2.0], [np.nan, np.nan], [5.0, 7.0]])


def cases() -> list[Case]:
    return [Case("b", Path(), MISSING, (100, 80), (0.1, 0.2)), Case("a", Path(), POINTS, (90, 70))]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path, patients = tmp_path / "run" / "predictions.parquet", {"a": "a", "b": "a"}
    rows = [case_rows("test", case, NAMES, POINTS, COVARIANCE, CENTRES, CROPS) for case in cases()]
    write_predictions(path, CELL, rows, {"test": ("a", "b")}, patients, corruption="none")
    assert pq.read_schema(path).names == [*KEY, *ANSWER[:2], *LABELS, *ANSWER[2:]]
    assert pq.read_schema(path).metadata[b"corruption"] == b"none"
    assert read_patients(path) == patients
    assert read_cases(path) == {"test": ["b", "a"]}
    read = read_predictions(path)["test"]
    assert (read.cases, read.landmarks) == (("a", "b"), NAMES)
    np.testing.assert_array_equal(read.points, [POINTS, POINTS])
    np.testing.assert_array_equal(read.truth, [POINTS, MISSING])
    np.testing.assert_array_equal(read.visible, np.isfinite(read.truth).all(-1))
    np.testing.assert_array_equal(read.covariance, [COVARIANCE, COVARIANCE])
    np.testing.assert_array_equal(read.centres, [CENTRES, CENTRES])
    np.testing.assert_array_equal(read.crops, [CROPS, CROPS])
    np.testing.assert_array_equal(read.spacing, [[np.nan, np.nan], [0.1, 0.2]])
    np.testing.assert_array_equal(read.size, [[90, 70], [100, 80]])
    np.testing.assert_allclose(read.sigma("mm")[1], np.sqrt(4 * 0.01 + 9 * 0.04))
    np.testing.assert_allclose(read.sigma("px"), np.sqrt(13))
    np.testing.assert_allclose(read.sigma("crop")[0, :2], np.sqrt(4 / 20**2 + 9 / 10**2))  # Eq. 17 in fractions
    np.testing.assert_allclose(read.sigma("crop")[:, 2], np.sqrt(4 / 8**2 + 9 / 6**2))


def test_a_file_without_centres_and_crops_is_read(tmp_path: Path) -> None:
    rows = pd.concat([case_rows("test", case, NAMES, POINTS, COVARIANCE) for case in cases()])
    rows.drop(columns=[*CENTRE, *CROP]).to_parquet(tmp_path / "old", index=False)
    read = read_predictions(tmp_path / "old")["test"]
    np.testing.assert_array_equal(read.covariance, [COVARIANCE, COVARIANCE])
    for unknown in (read.centres, read.crops, read.sigma("crop")):
        assert np.isnan(unknown).all()


def test_a_case_without_a_finite_point_for_each_label_is_not_written(tmp_path: Path) -> None:
    good = [case_rows("test", case, NAMES, POINTS) for case in cases()]
    with pytest.raises(RuntimeError, match="1 cases have no prediction and 0 have"):
        write_predictions(tmp_path / "p", CELL, good, {"test": ("a", "b", "c")}, {})
    broken = [case_rows("test", case, NAMES, np.where(np.eye(3, 2) > 0, np.inf, POINTS)) for case in cases()]
    with pytest.raises(RuntimeError, match="0 cases have no prediction and 2 have"):
        write_predictions(tmp_path / "p", CELL, broken, {"test": ("a", "b")}, {})
    assert not list(tmp_path.iterdir())


def test_published_files_have_points_and_no_labels(tmp_path: Path) -> None:
    frame = predictions(np.ones((2, 3)))
    frame[list(PUBLISHED)].to_parquet(tmp_path / "p", index=False)
    read = read_predictions(tmp_path / "p", NAMES)["test"]
    np.testing.assert_array_equal(read.points.reshape(-1, 2), frame[["x", "y"]])
    assert not read.visible.any()
    assert np.isnan(read.truth).all()
    assert np.isnan(read.covariance).all()


def test_numbered_landmarks_of_old_files_are_named(tmp_path: Path) -> None:
    frame = predictions(np.ones((2, 3)))
    frame.assign(landmark=np.tile(range(3), 2)).sample(frac=1, random_state=0).to_parquet(tmp_path / "p", index=False)
    read = read_predictions(tmp_path / "p", NAMES)["test"]
    assert read.landmarks == NAMES
    np.testing.assert_array_equal(read.points.reshape(-1, 2), frame[["x", "y"]])


def test_landmarks_stand_in_the_datasets_order(tmp_path: Path) -> None:
    predictions(np.ones((1, 3))).to_parquet(tmp_path / "p", index=False)
    one, other = (read_predictions(tmp_path / "p", names)["test"].points for names in (NAMES, NAMES[::-1]))
    np.testing.assert_array_equal(one, other[:, ::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda frame: frame.drop(index=4), "case001 has 2 of 3 landmarks"),
        (lambda frame: pd.concat([frame, frame[:1]]), "a case has a landmark twice"),
        (lambda frame: pd.concat([frame, frame[:1].assign(landmark="ear")]), "or one that its dataset lacks"),
    ],
)
def test_an_incomplete_file_is_refused(change: object, message: str, tmp_path: Path) -> None:
    assert callable(change)
    change(predictions(np.ones((2, 3)))).to_parquet(tmp_path / "p", index=False)
    with pytest.raises(ValueError, match=message):
        read_predictions(tmp_path / "p", NAMES)
