"""Scores on the test cases that no known leak touches."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

import datamodules
from benchmark.scoring.leak_free import leak_free_cases
from benchmark.scoring.score import score
from datamodules.aasce import AASCE
from datamodules.base import Protocol
from datamodules.isbi2015 import ISBI2015, TRAIN_TEST1, WITHIN_TEST1
from tests.stored_runs import Skull, predictions, write_run

MM = 0.5  # of every film in `predictions`
SCORES = ["value", "low", "high"]


class Leaky(Skull):
    """The skull, whose cases 1 and 3 are known to repeat others."""

    protocols = (
        Protocol("official", "Train and test.", unit="mm", leaks="films"),
        Protocol("random", "Drawn by film.", unit="mm", leaks="patients"),
        Protocol("clean", "Whole patients.", unit="mm"),
    )
    repeats: ClassVar = re.compile("00[13]$")


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[pd.DataFrame, str], pd.DataFrame]:
    """Scores one run with the leaky skull, by column."""
    monkeypatch.setattr(datamodules, "discover", lambda: {"skull": Leaky})

    def scored(frame: pd.DataFrame, protocol: str) -> pd.DataFrame:
        store = tmp_path / str(len(list(tmp_path.iterdir())))
        write_run(store, frame, protocol=protocol)
        return pd.read_csv(score(store)).set_index("column")

    return scored


def errors() -> np.ndarray:
    return np.random.default_rng(0).gamma(2.0, 2.0, (9, 3))


def test_the_leak_free_value_is_that_of_the_other_cases(scored: Callable[[pd.DataFrame, str], pd.DataFrame]) -> None:
    off = errors()
    row = scored(predictions(off), "official").loc["mre_mm"]
    kept = np.delete(off, [1, 3], axis=0)
    assert row["value"] == pytest.approx(MM * off.mean(), rel=1e-6)
    assert row["value_leak_free"] == pytest.approx(MM * kept.mean(), rel=1e-6)
    assert (row["cases"], row["cases_leak_free"]) == (9, 7)


def test_leak_free_scores_are_those_of_a_run_that_was_tested_on_these_films_only(
    scored: Callable[[pd.DataFrame, str], pd.DataFrame],
) -> None:
    frame = predictions(errors())
    both = scored(frame, "official")
    alone = scored(frame[~frame["case"].isin(["case001", "case003"])], "clean")
    found = both[[f"{name}_leak_free" for name in SCORES]].set_axis(SCORES, axis=1)
    pd.testing.assert_frame_equal(found, alone[SCORES])


def test_without_a_known_leak_both_scores_are_the_same(scored: Callable[[pd.DataFrame, str], pd.DataFrame]) -> None:
    rows = scored(predictions(errors()), "clean")
    assert (rows.loc[rows.index.notna(), "cases_leak_free"] == 9).all()
    for name in SCORES:
        assert rows[f"{name}_leak_free"].equals(rows[name])


def test_patients_on_both_sides_of_a_split_leave_no_leak_free_score(
    scored: Callable[[pd.DataFrame, str], pd.DataFrame],
) -> None:
    row = scored(predictions(errors()), "random").loc["mre_mm"]
    assert np.isfinite(row["value"])
    assert row[["cases_leak_free", "value_leak_free", "low_leak_free"]].isna().all()


def test_a_leak_that_becomes_known_changes_old_scores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datamodules, "discover", lambda: {"skull": Leaky})
    write_run(tmp_path, predictions(errors()))
    before = pd.read_csv(score(tmp_path)).set_index("column").loc["mre_mm", "cases_leak_free"]
    monkeypatch.setattr(Leaky, "repeats", re.compile("00[1-3]$"))
    after = pd.read_csv(score(tmp_path)).set_index("column").loc["mre_mm", "cases_leak_free"]
    assert (before, after) == (7, 6)


def test_isbi_keeps_127_films_of_test1_and_all_of_test2() -> None:
    test1, test2 = ([f"{number:03d}" for number in numbers] for numbers in (range(151, 301), range(301, 401)))
    repeated = {f"{second:03d}" for _, second in (*TRAIN_TEST1, *WITHIN_TEST1)}
    for protocol in ("official", "official-senior", "official-junior", "official-150"):
        kept = leak_free_cases(ISBI2015, protocol, test1) or ()
        assert {test1[place] for place in kept} == set(test1) - repeated
        assert len(kept) == 127
        assert leak_free_cases(ISBI2015, protocol, test2) == tuple(range(100))
    assert leak_free_cases(ISBI2015, "4-fold", test1) == tuple(range(150))


def test_aasce_keeps_the_films_of_its_leak_free_protocol(real_data: Path) -> None:
    test = AASCE(real_data / "aasce", "official").splits()[0].tests["test"]
    expected = AASCE(real_data / "aasce", "leak-free").splits()[0].tests["test"]
    kept = leak_free_cases(AASCE, "official", test) or ()
    assert tuple(test[place] for place in kept) == expected
    assert (len(test), len(kept)) == (128, 111)
    assert leak_free_cases(AASCE, "consistent", test) is None
