"""Scores of validation films: the same evaluator, files of their own, and nothing of a test film."""

import json
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.cell import Cell
from benchmark.predictions import PREDICTIONS, VALIDATION
from benchmark.scoring.cases import pool, read_case_sets
from benchmark.scoring.resampling import interval
from benchmark.scoring.score import anatomy_of, score, score_run
from benchmark.store import RunRecord, RunStore
from datamodules import DatasetRegistry
from metrics.radial_error import RadialError
from tests.stored_runs import Skull, predictions, skull, write_run

__all__ = ["skull"]

MM = 0.5  # of every film in `predictions`


def errors(cases: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 2.0, (cases, 3))


def validate(record: RunRecord, off: np.ndarray, first: int = 0) -> RunRecord:
    predictions(off, "validation", first).to_parquet(record.folder / VALIDATION, index=False)
    return record


def tuned(store: Path, off: np.ndarray, **place: object) -> RunRecord:
    """A run of a matrix that tunes, which has predictions of validation films alone."""
    done = write_run(store, predictions(off), **place)  # type: ignore[arg-type]
    (done.folder / PREDICTIONS).unlink()
    (done.folder / "run.json").unlink()
    cell = replace(done.cell, purpose="tune")
    return validate(RunStore(store).write(replace(done, cell=cell, test_sets={})), off)


def test_validation_films_are_scored_like_test_films_into_other_files(skull: type[Skull], tmp_path: Path) -> None:
    record = validate(write_run(tmp_path, predictions(errors(9))), errors(6, 1))
    path = score(tmp_path, on="validation")
    rows = pd.read_csv(path).set_index("column")
    assert path.name == "scores-validation.csv"
    assert rows.loc["mre_mm", "value"] == pytest.approx(MM * errors(6, 1).mean(), rel=1e-6)
    assert set(rows["test_set"]) == {"validation"}
    assert set(pd.read_parquet(record.folder / "scores-validation.parquet")["case"]) == {
        f"case{i:03d}" for i in range(6)
    }
    assert not (tmp_path / "scores.csv").exists()
    assert not (record.folder / "scores.parquet").exists()
    both = pd.read_csv(score(tmp_path)).set_index("column")
    assert both.loc["mre_mm", "value"] == pytest.approx(MM * errors(9).mean(), rel=1e-6)
    assert pd.read_csv(path).set_index("column").loc["mre_mm", "value"] == rows.loc["mre_mm", "value"]


def test_regions_are_not_judged_on_the_films_that_they_were_fitted_to(skull: type[Skull], tmp_path: Path) -> None:
    validate(write_run(tmp_path, predictions(errors(9))), errors(30, 1))
    assert "conformal" in set(pd.read_csv(score(tmp_path))["metric"])
    assert "conformal" not in set(pd.read_csv(score(tmp_path, on="validation"))["metric"])


def test_the_known_leaks_of_test_films_say_nothing_of_validation_films(skull: type[Skull], tmp_path: Path) -> None:
    validate(write_run(tmp_path, predictions(errors(9))), errors(6, 1))
    assert pd.read_csv(score(tmp_path))["cases_leak_free"].notna().any()
    assert pd.read_csv(score(tmp_path, on="validation"))["cases_leak_free"].isna().all()


def test_a_film_that_validates_in_two_folds_is_drawn_with_both_predictions(skull: type[Skull], tmp_path: Path) -> None:
    first, second = errors(8, 1), errors(8, 2)
    for split, off in (("fold1", first), ("fold2", second)):
        tested = predictions(errors(3), first=100 if split == "fold1" else 200)
        validate(write_run(tmp_path, tested, protocol="3-fold", split=split), off)
    row = pd.read_csv(score(tmp_path, on="validation")).set_index("column").loc["mre_mm"]
    pooled = np.concatenate([first, second])
    metric = RadialError(anatomy_of(Skull, "3-fold"))
    folds = [run.folder / VALIDATION for run in RunStore(tmp_path).runs()]
    cases = pool(read_case_sets(path, Skull.schema.names)["validation"] for path in folds).cases
    films = [f"film{number}" for number in range(8)] * 2
    wide = interval(metric, torch.stack([metric.terms(cases)]), films)["mre_mm"]
    assert row["value"] == pytest.approx(MM * pooled.mean(), rel=1e-6)
    assert (row["low"], row["high"]) == pytest.approx(wide, rel=1e-6)


def test_a_run_that_tunes_has_no_test_score(skull: type[Skull], tmp_path: Path) -> None:
    record = tuned(tmp_path, errors(6, 1))
    with pytest.raises(FileNotFoundError, match="all of them tune; `osteomark leaderboard --on validation`"):
        score(tmp_path)
    write_run(tmp_path, predictions(errors(9)), variant="posenet")
    assert set(pd.read_csv(score(tmp_path))["variant"]) == {"posenet"}
    assert set(pd.read_csv(score(tmp_path, on="validation"))["variant"]) == {"mean_shape"}
    found = score_run(record.folder, DatasetRegistry(), "validation")
    assert found["validation/mre_mm"] == pytest.approx(MM * errors(6, 1).mean(), rel=1e-6)


def test_the_purpose_is_part_of_the_key_and_old_keys_stay(tmp_path: Path) -> None:
    compare = Cell("skull", "official", "main", "posenet", "posenet")
    tune = Cell("skull", "official", "main", "posenet", "posenet", purpose="tune")
    cell = asdict(compare) | {"budget": compare.budget.as_key()}
    del cell["purpose"]
    before = {"cell": cell, "data": "data"}
    assert compare.key("data") == sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()[:8]
    assert tune.key("data") != compare.key("data")
    assert tune.config == compare.config
    stored = compare.as_json()
    del stored["purpose"]  # as a store of before has it
    assert Cell.from_json(stored) == compare
