import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import datamodules
from benchmark.predictions import COVARIANCE, PATIENTS, PREDICTIONS, VALIDATION
from benchmark.scoring import score as scoring
from benchmark.scoring.bootstrap import RESAMPLES, SEED
from benchmark.scoring.resampling import interval, patients_of
from benchmark.scoring.score import anatomy_of, applicable, score, score_run
from benchmark.store import SCORES
from datamodules import DatasetRegistry
from metrics.base import Anatomy
from metrics.radial_error import RadialError
from tests.stored_runs import Skull, predictions, skull, write_run

__all__ = ["skull"]

MM = 0.5  # of every film in `predictions`


def errors(cases: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 2.0, (cases, 3))


def scored(store: Path) -> pd.DataFrame:
    return pd.read_csv(score(store), dtype={"config": str, "seeds": str})


def value(frame: pd.DataFrame, column: str, **where: object) -> pd.Series:
    rows = frame[frame["column"] == column]
    for key, wanted in where.items():
        rows = rows[rows[key] == wanted]
    assert len(rows) == 1
    return rows.iloc[0]


def loop_interval(per_seed: list[np.ndarray], reduce: object) -> tuple[float, float]:
    """The percentile bootstrap over cases, one resample at a time."""
    rng, means = np.random.default_rng(SEED), []
    for _ in range(RESAMPLES):
        draw = rng.integers(0, len(per_seed[0]), len(per_seed[0]))
        means.append(np.mean([reduce(values[draw]) for values in per_seed]))  # type: ignore[operator]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def test_a_score_is_the_metric_over_all_landmarks_of_all_cases(skull: type[Skull], tmp_path: Path) -> None:
    off = errors(12)
    write_run(tmp_path, predictions(off))
    row = value(scored(tmp_path), "mre_mm")
    assert row["value"] == pytest.approx(MM * off.mean(), rel=1e-6)
    assert (row["cases"], row["unit"], row["higher_is_better"]) == (12, "mm", False)
    assert value(scored(tmp_path), "sdr_2mm")["value"] == pytest.approx(100 * (off * MM <= 2).mean(), rel=1e-6)


@pytest.mark.parametrize("column", ["mre_mm", "median_mm"])
def test_the_interval_is_that_of_a_plain_loop_over_resampled_cases(
    skull: type[Skull], tmp_path: Path, column: str
) -> None:
    off = errors(15)
    write_run(tmp_path, predictions(off))
    row = value(scored(tmp_path), column)
    expected = loop_interval([MM * off], np.mean if column == "mre_mm" else np.median)
    assert (row["low"], row["high"]) == pytest.approx(expected, rel=1e-6)


def test_seeds_are_averaged_within_each_resample_of_the_cases(skull: type[Skull], tmp_path: Path) -> None:
    seeds = [errors(10, seed) for seed in (1, 2, 3)]
    for seed, off in enumerate(seeds):
        write_run(tmp_path, predictions(off), seed=seed)
    row = value(scored(tmp_path), "mre_mm")
    means = [MM * off.mean() for off in seeds]
    assert row["value"] == pytest.approx(np.mean(means), rel=1e-6)
    assert row["sd_seeds"] == pytest.approx(np.std(means, ddof=1), rel=1e-6)
    assert (row["low"], row["high"]) == pytest.approx(loop_interval([MM * off for off in seeds], np.mean), rel=1e-6)
    assert row["seeds"] == "0 1 2"


@given(factor=st.floats(0.1, 10))
def test_the_interval_of_the_mean_scales_with_the_errors(factor: float) -> None:
    metric = RadialError(Anatomy(("a", "b"), {}))
    terms = torch.from_numpy(np.random.default_rng(0).gamma(2, 2, (1, 8, 2)))
    plain, scaled = (interval(metric, t, resamples=50)["mre_px"] for t in (terms, factor * terms))
    assert scaled == pytest.approx([factor * limit for limit in plain])
    assert plain[0] <= terms.mean() <= plain[1]


def patient_loop(values: np.ndarray, patients: list[str]) -> tuple[float, float]:
    """The percentile bootstrap over whole patients, one resample and one patient at a time."""
    rng, names, means = np.random.default_rng(SEED), list(dict.fromkeys(patients)), []
    for _ in range(RESAMPLES):
        drawn = [names[i] for i in rng.integers(0, len(names), len(names))]
        means.append(np.concatenate([values[[p == name for p in patients]].ravel() for name in drawn]).mean())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def in_pairs(case: str) -> str:
    """Two films a patient: case000 and case001, case002 and case003 ..."""
    return str(int(case.removeprefix("case")) // 2)


def test_patients_are_drawn_with_all_their_films_where_names_tell_them(
    skull: type[Skull], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    off = errors(13)  # the last patient has one film
    write_run(tmp_path, predictions(off))
    alone = value(scored(tmp_path), "mre_mm")
    monkeypatch.setattr(Skull, "patient_of", staticmethod(in_pairs))
    monkeypatch.setattr(Skull, "patient_rule", "Two films a patient.")
    row = value(scored(tmp_path), "mre_mm")
    assert (row["low"], row["high"]) == pytest.approx(
        patient_loop(MM * off, [str(i // 2) for i in range(13)]), rel=1e-6
    )
    assert row["value"] == alone["value"]
    assert row["low"] != alone["low"]


def test_patients_that_the_predictions_name_are_drawn_and_stand_beside_the_case_scores(
    skull: type[Skull], tmp_path: Path
) -> None:
    off = errors(12)
    record = write_run(tmp_path, predictions(off))
    file = record.folder / PREDICTIONS
    table = pq.read_table(file)
    names = {f"case{i:03d}": f"case{i // 3:03d}" for i in range(12)}
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, PATIENTS: json.dumps(names)}), file)
    row = value(scored(tmp_path), "mre_mm")
    assert (row["low"], row["high"]) == pytest.approx(patient_loop(MM * off, list(names.values())), rel=1e-6)
    cases = pd.read_parquet(record.folder / SCORES)
    assert dict(zip(cases["case"], cases["patient"], strict=True)) == names


def test_nobody_is_a_patient_where_a_single_case_has_none(skull: type[Skull], tmp_path: Path) -> None:
    record = write_run(tmp_path, predictions(errors(3)))
    score(tmp_path)
    assert pd.read_parquet(record.folder / SCORES)["patient"].isna().all()
    half = type("Half", (Skull,), {"patient_of": classmethod(lambda cls, case: "" if case == "a" else "p")})
    assert patients_of(half, [record.folder / PREDICTIONS], ["a", "b"]) == ()
    assert patients_of(half, [], ["b", "c"]) == ("p", "p")


def test_the_interval_of_copied_films_is_that_of_the_films_once_where_patients_are_known() -> None:
    metric, terms = RadialError(anatomy_of_three()), torch.from_numpy(errors(12))[None]
    copies, patients = terms.repeat_interleave(4, dim=1), [str(i // 4) for i in range(48)]
    once, naive, known = (interval(metric, *given)["mre_px"] for given in ((terms,), (copies,), (copies, patients)))
    assert known == pytest.approx(once)
    assert known[1] - known[0] > 1.7 * (naive[1] - naive[0])


def anatomy_of_three() -> Anatomy:
    return Anatomy(("a", "b", "c"), {}, radii=(2.0,))


def test_one_patient_alone_has_no_interval() -> None:
    metric = RadialError(anatomy_of_three())
    assert np.isnan(interval(metric, torch.from_numpy(errors(5))[None], ["p"] * 5)["mre_px"]).all()


@pytest.mark.parametrize(
    ("dataset", "cases", "patients"),
    [
        ("aasce", ["sunhl-1th-28-Feb-2017-291 H AP", "sunhl-1th-16-Feb-2017-291 D AP"], 1),
        ("aasce", ["sunhl-1th-01-Mar-2017-310 C AP", "sunhl-1th-01-Mar-2017-311 A AP"], 2),
        ("isbi2015", ["159", "278", "301"], 2),
        ("buu", ["0001-F-037Y1", "0001-F-038Y1", "0002-F-037Y1"], 2),
    ],
)
def test_names_of_stored_films_tell_their_patients(dataset: str, cases: list[str], patients: int) -> None:
    told = patients_of(datamodules.discover()[dataset], [], cases)
    assert len(told) == len(cases)
    assert len(set(told)) == patients


def test_a_single_case_has_no_interval(skull: type[Skull], tmp_path: Path) -> None:
    write_run(tmp_path, predictions(errors(1)))
    row = value(scored(tmp_path), "mre_mm")
    assert np.isfinite(row["value"])
    assert np.isnan(row["low"])


def test_folds_are_pooled_by_cases_and_not_averaged(skull: type[Skull], tmp_path: Path) -> None:
    folds = {"fold1": errors(2, 1), "fold2": errors(9, 2), "fold3": 5 * errors(4, 3)}
    for number, (fold, off) in enumerate(folds.items()):
        write_run(tmp_path, predictions(off, first=100 * number), protocol="3-fold", split=fold)
    row = value(scored(tmp_path), "mre_mm")
    assert row["value"] == pytest.approx(MM * np.concatenate(list(folds.values())).mean(), rel=1e-6)
    assert (row["cases"], row["folds_done"], row["folds_expected"]) == (15, 3, 3)


def test_folds_that_test_the_same_cases_have_each_answer_counted_and_each_case_drawn_whole(
    skull: type[Skull], tmp_path: Path
) -> None:
    folds = [errors(6, seed) for seed in (1, 2, 3)]
    for number, off in enumerate(folds, 1):
        write_run(tmp_path, predictions(off), protocol="3-fold", split=f"fold{number}")
    row = value(scored(tmp_path), "mre_mm")
    means = MM * np.mean(folds, axis=(0, 2))
    assert row["value"] == pytest.approx(means.mean(), rel=1e-6)
    assert row["cases"] == row["cases_leak_free"] == 6
    assert (row["low"], row["high"]) == pytest.approx(loop_interval([means], np.mean), rel=1e-6)


def test_a_seed_that_lacks_a_fold_is_left_out(skull: type[Skull], tmp_path: Path) -> None:
    for fold in ("fold1", "fold2"):
        write_run(tmp_path, predictions(errors(5), first=int(fold[-1]) * 10), protocol="3-fold", split=fold, seed=1)
    write_run(tmp_path, predictions(100 * errors(5), first=10), protocol="3-fold", split="fold1", seed=0)
    row = value(scored(tmp_path), "mre_mm")
    assert (row["seeds"], row["folds"], row["folds_done"]) == ("1", "fold1 fold2", 2)
    assert row["value"] == pytest.approx(MM * errors(5).mean(), rel=1e-6)


def test_test_sets_contents_budgets_and_hyper_parameters_are_never_pooled(skull: type[Skull], tmp_path: Path) -> None:
    both = pd.concat([predictions(errors(4), "test1"), predictions(errors(5), "test2", first=50)])
    write_run(tmp_path, both)
    write_run(tmp_path, predictions(errors(6), "test1"), fingerprint="other", content="phantoms")
    write_run(tmp_path, predictions(errors(7), "test1"), hparams=(("lr", 0.1),))
    write_run(tmp_path, predictions(errors(8), "test1"), protocol="3-fold", split="fold1")
    frame = scored(tmp_path)
    cases = frame.loc[frame["column"] == "mre_mm", "cases"]
    assert sorted(cases) == [4, 5, 6, 7, 8]


def test_a_metric_that_the_dataset_cannot_have_says_why(skull: type[Skull], tmp_path: Path) -> None:
    write_run(tmp_path, predictions(errors(3)))
    frame = scored(tmp_path)
    row = frame[frame["metric"] == "cobb_angle"].iloc[0]
    assert np.isnan(row["value"])
    assert "not grouped into vertebrae" in row["reason"]


def test_the_unit_of_the_protocol_comes_first_and_ranks(skull: type[Skull], tmp_path: Path) -> None:
    write_run(tmp_path, predictions(errors(3)))
    columns = scored(tmp_path)["column"].dropna().tolist()
    assert columns[:4] == ["mre_mm", "sd_mm", "median_mm", "sdr_2mm"]
    assert columns[-3:] == ["mre_px", "sd_px", "median_px"]


def test_a_run_that_cannot_be_scored_says_why_and_the_others_go_on(skull: type[Skull], tmp_path: Path) -> None:
    broken = predictions(errors(3)).drop(index=4)
    write_run(tmp_path, broken, variant="posenet")
    write_run(tmp_path, predictions(errors(3)))
    frame = scored(tmp_path)
    reason = frame.loc[frame["variant"] == "posenet", "reason"].item()
    assert "case001 has 2 of 3 landmarks" in reason
    assert np.isfinite(value(frame, "mre_mm", variant="mean_shape")["value"])


def test_case_scores_stand_beside_each_run(skull: type[Skull], tmp_path: Path) -> None:
    off = errors(6)
    record = write_run(tmp_path, predictions(off))
    score(tmp_path)
    cases = pd.read_parquet(record.folder / SCORES)
    per_case = cases[cases["column"] == "mre_mm"].set_index("case")["value"]
    np.testing.assert_allclose(per_case.loc[[f"case{i:03d}" for i in range(6)]], MM * off.mean(1))


def test_one_run_scores_as_it_does_in_the_table(skull: type[Skull], tmp_path: Path) -> None:
    record = write_run(tmp_path, predictions(errors(6)))
    frame = scored(tmp_path)
    values = score_run(record.folder, DatasetRegistry())
    table = frame[frame["column"].notna()]
    assert values == pytest.approx(dict(zip("test/" + table["column"], table["value"], strict=True)), rel=1e-6)


def test_missing_landmarks_do_not_count(skull: type[Skull], tmp_path: Path) -> None:
    off = errors(5)
    frame = predictions(off)
    frame.loc[7, ["visible", "true_x", "true_y"]] = [False, np.nan, np.nan]
    write_run(tmp_path, frame)
    assert value(scored(tmp_path), "mre_mm")["value"] == pytest.approx(MM * np.delete(off.ravel(), 7).mean(), rel=1e-6)


def test_scoring_again_changes_no_byte_and_computes_nothing(
    skull: type[Skull], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, predictions(errors(4)))
    write_run(tmp_path, predictions(errors(4, 1)), variant="posenet")
    before = score(tmp_path).read_bytes()
    monkeypatch.setattr(scoring, "interval", lambda *_: pytest.fail("computed again"))
    assert score(tmp_path).read_bytes() == before


def test_new_predictions_and_new_metric_code_are_scored_again(
    skull: type[Skull], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(tmp_path, predictions(errors(4)))
    first = value(scored(tmp_path), "mre_mm")["value"]
    write_run(tmp_path, predictions(3 * errors(5)))
    assert value(scored(tmp_path), "mre_mm")["value"] > first
    calls: list[object] = []
    monkeypatch.setattr(scoring, "_sources", lambda: "a metric was edited")
    monkeypatch.setattr(scoring, "_rows_or_reason", lambda group, root: (calls.append(group) or [], ""))
    score(tmp_path)
    assert len(calls) == 1


def test_scores_do_not_depend_on_the_order_in_which_runs_were_made(skull: type[Skull], tmp_path: Path) -> None:
    jobs = [("posenet", 0), ("mean_shape", 0), ("posenet", 1)]
    for folder, order in (("one", jobs), ("two", jobs[::-1])):
        for variant, seed in order:
            write_run(tmp_path / folder, predictions(errors(4, seed)), variant=variant, seed=seed)
    assert score(tmp_path / "one").read_bytes() == score(tmp_path / "two").read_bytes()


def test_facts_name_the_protocol_and_the_paper(skull: type[Skull], tmp_path: Path) -> None:
    write_run(tmp_path, predictions(errors(3)), variant="mean_shape")
    score(tmp_path)
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert facts["datasets"]["skull"]["protocols"]["official"]["truth"] == "mean of two readers"
    assert "mean shape" in facts["methods"]["mean_shape"]["paper"]["title"]


SPREAD = {"cov_xx": 4.0, "cov_xy": 0.0, "cov_yy": 4.0}
OF_A_COVARIANCE = {"calibration", "sparsification", "uncertainty"}


def scored_metrics(frame: pd.DataFrame, variant: str) -> set[str]:
    return set(frame.loc[(frame["variant"] == variant) & frame["column"].notna(), "metric"])


def test_only_a_run_with_a_covariance_has_columns_about_it(skull: type[Skull], tmp_path: Path) -> None:
    write_run(tmp_path, predictions(errors(5)))
    record = write_run(tmp_path, predictions(errors(5)).assign(**SPREAD), variant="posenet")
    frame = scored(tmp_path)
    assert scored_metrics(frame, "posenet") - scored_metrics(frame, "mean_shape") == OF_A_COVARIANCE
    inside = 100 * (errors(5) ** 2 / 4 <= -2 * np.log(0.1)).mean()  # errors go along x, of variance 4
    assert value(frame, "coverage_90")["value"] == pytest.approx(inside)
    assert value(frame, "coverage_90")["low"] <= inside <= value(frame, "coverage_90")["high"]
    assert score_run(record.folder, DatasetRegistry())["test/coverage_90"] == pytest.approx(inside)
    assert "nll" in set(pd.read_parquet(record.folder / SCORES)["column"])


def test_predictions_without_columns_for_a_covariance_are_read(skull: type[Skull], tmp_path: Path) -> None:
    write_run(tmp_path, predictions(errors(5)).drop(columns=list(COVARIANCE)))
    assert value(scored(tmp_path), "mre_mm")["value"] == pytest.approx(MM * errors(5).mean())


def test_the_columns_that_not_every_run_has_come_last(skull: type[Skull], tmp_path: Path) -> None:
    assert list(applicable(anatomy_of(skull, "official")))[-5:] == [
        *sorted(OF_A_COVARIANCE),
        "conformal",
        "temperature",
    ]


def test_conformal_regions_are_fitted_on_the_validation_cases_of_each_fold(skull: type[Skull], tmp_path: Path) -> None:
    folds = {"fold1": 1.0, "fold2": 10.0}  # the folds' trainings differ in how well they do
    for number, (fold, factor) in enumerate(folds.items()):
        tested = predictions(factor * errors(40, number), first=100 * number)
        record = write_run(tmp_path, tested, protocol="3-fold", split=fold)
        calibration = predictions(factor * errors(30, 7 + number), "validation", first=50)
        calibration.to_parquet(record.folder / VALIDATION, index=False)
    covered, radii = [], []
    for number, factor in enumerate(folds.values()):
        radius = np.sort(factor * errors(30, 7 + number), axis=0)[27]  # the 28th of 30 is ceil(31 x .9)
        covered.append(factor * errors(40, number) <= radius)
        radii.append(np.minimum(radius, 100 / np.sqrt(np.pi)))  # no region is larger than the film of 100 x 100
    frame = scored(tmp_path)
    assert value(frame, "conformal_coverage_90")["value"] == pytest.approx(100 * np.mean(covered))
    assert value(frame, "conformal_radius_90")["value"] == pytest.approx(MM * np.median(np.repeat(radii, 40, axis=0)))


def test_a_run_without_validation_predictions_has_no_conformal_columns_until_they_are_there(
    skull: type[Skull], tmp_path: Path
) -> None:
    record = write_run(tmp_path, predictions(errors(5)))
    assert "conformal" not in scored_metrics(scored(tmp_path), "mean_shape")
    predictions(errors(30), "validation").to_parquet(record.folder / VALIDATION, index=False)
    assert "conformal" in scored_metrics(scored(tmp_path), "mean_shape")


def test_an_empty_store_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no run; `osteomark run"):
        score(tmp_path)


def test_an_unknown_dataset_is_named(skull: type[Skull]) -> None:
    with pytest.raises(ValueError, match="'wrist' of a stored run is not among skull"):
        DatasetRegistry().find("wrist")


def test_the_first_metric_ranks(skull: type[Skull]) -> None:
    assert list(applicable(anatomy_of(skull, "official")))[:2] == ["radial_error", "sdr"]
