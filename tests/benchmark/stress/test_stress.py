"""`osteomark stress` from trained phantom runs to tables: what is kept, what is scored, and what nobody may see."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.cell import Cell, Context
from benchmark.cli.main import main
from benchmark.predictions import PREDICTIONS
from benchmark.store import RunRecord, RunStore
from benchmark.stress import predict as stressed
from benchmark.stress.predict import Part, Plan, stress_run
from benchmark.stress.score import score_stress
from benchmark.training.run_cell import run_cell
from datamodules.components.images.corruptions import CORRUPTIONS, SEVERITIES
from methods.mean_shape import MeanShape

from ..conftest import PLUGINS
from ..test_privacy import MARKER, leaks, write_marked

MakeCell = Callable[..., Cell]
KEYS = ["test_set", "case", "landmark"]
POINTS = ["x", "y"]


@pytest.fixture(scope="module")
def trained(phantoms: Path, make_cell: MakeCell, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with runs of three methods."""
    store = tmp_path_factory.mktemp("trained") / "runs"
    context = Context(store, {"hand": phantoms / "hand"}, plugins=PLUGINS)
    for variant in ("mean_shape", "oracle", "steady"):
        hparams = {"epochs": 1} if variant == "steady" else {}
        assert run_cell(make_cell(variant, **hparams), context).status == "done"
    return store


@pytest.fixture
def store(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(trained, tmp_path / "runs"))


@pytest.fixture
def again(phantoms: Path, store: Path) -> Context:
    """Where its films are."""
    return Context(store, {"hand": phantoms / "hand"}, plugins=PLUGINS)


def run_of(store: Path, variant: str) -> RunRecord:
    return next(run for run in RunStore(store).runs() if run.cell.variant == variant)


def answers(run: RunRecord, part: Part) -> pd.DataFrame:
    frame = pd.read_parquet(run.folder / "stress" / part.file)
    return frame.sort_values(KEYS, kind="stable").reset_index(drop=True)


def test_the_command_predicts_scores_and_writes_tables_and_plots_once(
    store: Path, phantoms: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(store.parent)
    line = f"stress --store {store} --data-root {phantoms} --severities 1 5 --corruptions noise rotation --cases 3"
    line += " --slots 1 --plugin " + " ".join(map(str, PLUGINS))
    assert main(line.split()) == 0
    first = capsys.readouterr().out
    assert first.count("5 predicted, 0 there before") == 3
    pages = store / "leaderboards"
    texts = {path.name: path.read_bytes() for path in pages.iterdir()}
    assert {Path(name).suffix for name in texts} == {".md", ".csv", ".svg"}
    frame = pd.read_csv(store / "stress.csv")
    assert set(frame["variant"]) == {"mean_shape", "oracle", "steady"}
    assert set(zip(frame["corruption"], frame["severity"], strict=True)) == {
        ("clean", 0),
        *((name, severity) for name in ("noise", "rotation") for severity in (1, 5)),
    }
    assert set(frame["cases"]) == {3}
    assert main(line.split()) == 0
    assert capsys.readouterr().out.count("0 predicted, 5 there before") == 3
    assert {path.name: path.read_bytes() for path in pages.iterdir()} == texts
    assert not (store / "scores.csv").exists()


def test_intensities_cannot_change_what_the_mean_shape_answers(store: Path, again: Context) -> None:
    run = run_of(store, "mean_shape")
    plan = Plan.of(cases=2)
    assert stress_run(run, plan, again) == (len(plan.parts), 0, (), False)
    clean = answers(run, Part("clean", 0))
    stored = pd.read_parquet(run.folder / PREDICTIONS).set_index(KEYS).loc[clean.set_index(KEYS).index].reset_index()
    pd.testing.assert_frame_equal(clean[KEYS + POINTS], stored[KEYS + POINTS])
    for part in plan.parts:
        moves = part.name == "rotation"
        assert clean[POINTS].equals(answers(run, part)[POINTS]) != moves, part
    scores = pd.read_csv(score_stress(store)).query("column == 'mre_mm'")
    clean_score = scores.query("corruption == 'clean'")["value"].item()
    same = scores.groupby("corruption")["value"].apply(lambda values: (values == clean_score).all())
    assert set(same[~same].index) == {"rotation"}


def test_the_evaluator_stays_in_pixels_of_the_film_as_it_is(store: Path, again: Context) -> None:
    run = run_of(store, "oracle")
    stress_run(run, Plan.of(["rotation"]), again)
    for severity in SEVERITIES:
        frame = answers(run, Part("rotation", severity))
        assert np.allclose(frame[POINTS], frame[["true_x", "true_y"]], atol=1e-2)
    scores = pd.read_csv(score_stress(store))
    assert scores.query("column == 'mre_px'")["value"].max() < 1e-2


def test_a_score_is_that_of_the_ordinary_evaluator_on_the_same_cases(store: Path, again: Context) -> None:
    run = run_of(store, "steady")
    stress_run(run, Plan.of(["blur"], [5], cases=4), again)
    frame = answers(run, Part("blur", 5))
    errors = np.hypot(frame["x"] - frame["true_x"], frame["y"] - frame["true_y"])[frame["visible"]]
    row = pd.read_csv(score_stress(store)).query("corruption == 'blur' and column == 'mre_px'").iloc[0]
    assert row["value"] == pytest.approx(errors.mean(), rel=1e-6)
    assert row["low"] < row["value"] < row["high"]
    assert row["level"] == "moved by 3 % of the film"


def test_what_is_there_is_kept_and_more_cases_are_added(store: Path, again: Context) -> None:
    run, plan = run_of(store, "steady"), Plan.of(["noise"], [2])
    part = plan.parts[1]
    assert stress_run(run, Plan(plan.parts, 2), again)[:2] == (2, 0)
    few = answers(run, part)
    changed = few.assign(x=few["x"] + 1000)
    metadata_kept(run, part, changed)
    assert stress_run(run, Plan(plan.parts, 2), again)[:2] == (0, 2)
    assert stress_run(run, Plan(plan.parts, 5), again)[:2] == (2, 0)
    more = answers(run, part)
    assert (few["case"].nunique(), more["case"].nunique()) == (2, 5)
    pd.testing.assert_frame_equal(more[more["case"].isin(few["case"])].reset_index(drop=True), changed)


def metadata_kept(run: RunRecord, part: Part, frame: pd.DataFrame) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = run.folder / "stress" / part.file
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata(pq.read_schema(path).metadata), path)


def test_a_run_whose_method_has_changed_is_not_stressed_with_its_old_weights(
    store: Path, again: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MeanShape, "version", 2)
    outcome = stress_run(run_of(store, "mean_shape"), Plan.of(["metal"], [1], 2), again)
    assert outcome.failed and outcome.predicted == 0
    assert "was trained by version 1 of mean_shape, and version 2 is here" in outcome.problems[0]


def test_new_weights_and_changed_corruptions_are_predicted_anew(
    store: Path, again: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, plan = run_of(store, "oracle"), Plan.of(["metal"], [1], 2)
    assert stress_run(run, plan, again)[:2] == (2, 0)
    path = run.weights_file
    stored = torch.load(path, weights_only=True)
    stored["state_dict"]["shift"] += 3
    torch.save(stored, path)
    assert list(stressed.stored_parts(run)) == []
    outcome = stress_run(run, plan, again)
    assert outcome[:2] == (2, 0)
    assert "its checkpoint answers clean films otherwise" in outcome.problems[0]
    frame = answers(run, plan.parts[1])
    assert (frame["x"] - frame["true_x"])[frame["visible"]].min() > 1
    monkeypatch.setattr(stressed, "VERSION", 999)
    assert stress_run(run, plan, again)[:2] == (2, 0)


def test_weights_of_another_network_are_refused_in_a_sentence(store: Path, again: Context) -> None:
    run = run_of(store, "oracle")
    path = run.weights_file
    torch.save({"state_dict": {"other": torch.zeros(1)}}, path)
    outcome = stress_run(run, Plan.of(["metal"], [1], 2), again)
    assert outcome.failed
    told = f"ValueError: {path} was saved by another version of {run.cell.method}; run the cell again with --force."
    assert outcome.problems == (told,)


def test_scores_are_over_the_cases_that_all_methods_have(store: Path, again: Context) -> None:
    for variant, cases in (("mean_shape", 2), ("oracle", 5)):
        stress_run(run_of(store, variant), Plan.of(["metal"], [3], cases), again)
    frame = pd.read_csv(score_stress(store))
    assert set(frame["variant"]) == {"mean_shape", "oracle"}
    assert set(frame["cases"]) == {2}


def test_other_films_are_refused_and_the_ordinary_scores_stay(
    store: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["score", "--store", str(store)])
    before = (store / "scores.csv").read_bytes()
    other = shutil.copytree(phantoms / "hand", tmp_path / "other" / "hand")
    first, second, *_ = sorted((other / "images").glob("*.mha"))
    first.write_bytes(second.read_bytes())
    line = f"stress --store {store} --data-root {tmp_path / 'other'} --methods mean_shape --cases 1"
    assert main(line.split()) == 1
    assert "does not hold the films" in capsys.readouterr().out
    main(["score", "--store", str(store)])
    assert (store / "scores.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--corruptions nois", "there is no corruption 'nois'; did you mean 'noise'?"),
        ("--severities 6", "severities are 1 to 5, not 6."),
        ("--methods posenet", "there is no trained method 'posenet'"),
        ("--cases 0", "--cases is 0; give at least 1."),
    ],
)
def test_what_cannot_be_done_is_said(
    line: str, message: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(f"stress --store {trained} {line}".split()) == 2
    assert message in capsys.readouterr().err


def test_fewer_cases_are_part_of_more_and_spread_over_the_set() -> None:
    cases = [f"{number:03d}" for number in range(100)]
    few, more = (Plan.of(cases=count).choose({"test": cases})["test"] for count in (10, 40))
    assert set(few) < set(more) < set(cases)
    assert few == sorted(few)
    assert np.ptp([int(case) for case in few]) > 50
    assert Plan.of().choose({"test": cases[::-1]})["test"] == cases
    assert len(Plan.of().parts) == 1 + len(SEVERITIES) * len(CORRUPTIONS)


@pytest.mark.slow
def test_a_private_set_stays_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    card, here = write_marked(tmp_path / "hospital"), tmp_path / "work"
    here.mkdir()
    monkeypatch.chdir(here)
    assert main(f"run --card {card} --methods mean_shape --epochs 1 --slots 1".split()) == 0
    line = f"stress --card {card} --severities 5 --slots 1"
    assert main(line.split()) == 0
    assert set(pd.read_csv(here / "runs" / "stress.csv")["dataset"]) == {"clinic"}
    (shot,) = here.glob("runs/*/*/*/*/*/stress/metal-5.parquet")
    assert pd.read_parquet(shot)["case"].str.fullmatch("case-[0-9a-f]{12}").all()
    shot.unlink()
    next((card.parent / "films").iterdir()).write_bytes(b"no film")
    assert main(line.split()) == 1
    text = "".join(capfd.readouterr())
    assert "clinic" in text
    assert MARKER not in text
    assert leaks(here) == []
