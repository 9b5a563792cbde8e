from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from lightning import seed_everything

import datamodules
import methods
from benchmark.cell import Budget, Cell, Context
from benchmark.predictions import (
    PREDICTIONS,
    VALIDATION,
    calibrating_cases,
    read_calibration,
    read_predictions,
    read_table,
)
from benchmark.scoring.cases import read_case_sets, to_cases
from benchmark.store import HISTORY, RunRecord, RunStore
from benchmark.training.progress import Progress
from benchmark.training.run_cell import BEST, LAST, UNVALIDATED, run_cell
from metrics.conformal import conformal_quantiles, nonconformity

MakeCell = Callable[..., Cell]
ONE_EPOCH = Budget("test", epochs=1)


def test_the_key_changes_with_every_field_of_a_cell_and_with_the_data(make_cell: MakeCell) -> None:
    cell = make_cell("steady")
    others = [
        make_cell("steady", delay=0.1),
        make_cell("steady-slow"),
        make_cell("steady", seed=1),
        make_cell("steady", split="fold2"),
        make_cell("steady", budget=Budget("test", epochs=2)),
        make_cell("steady", budget=Budget("test", precision="bf16-mixed")),
        make_cell("steady", budget=Budget("test", train_cases=3)),
        make_cell("steady", budget=Budget("test", devices=2)),
        make_cell("steady", budget=Budget("test", sync_batchnorm=True)),
        make_cell("steady", budget=Budget("test", micro_batch=2)),
        replace(cell, protocol="3-fold-other"),
    ]
    keys = [other.key("data") for other in others] + [cell.key("data"), cell.key("other data")]
    assert len(set(keys)) == len(keys)
    assert make_cell("steady").key("data") == cell.key("data")


def test_keys_that_were_made_before_a_budget_had_more_settings_stay(make_cell: MakeCell) -> None:
    assert set(Budget().as_key()) == {"name", "epochs", "train_cases", "precision", "workers"}


def test_a_changed_default_changes_the_key(make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch) -> None:
    before = make_cell("mean_shape").key("data")
    kind = methods.discover()["mean_shape"]
    monkeypatch.setattr(kind.__init__, "__defaults__", ((32, 32),))
    assert make_cell("mean_shape").key("data") != before


def test_the_config_is_shared_by_seeds_and_splits_only(make_cell: MakeCell) -> None:
    config = make_cell("steady").config
    assert make_cell("steady", seed=1, split="fold2").config == config
    assert make_cell("steady", budget=ONE_EPOCH).config != config
    assert make_cell("steady", epochs=4).config != config


def test_a_cell_survives_json(make_cell: MakeCell) -> None:
    cell = make_cell("posenet")
    assert Cell.from_json(cell.as_json()) == cell
    assert hash(Cell.from_json(cell.as_json())) == hash(cell)


@pytest.mark.parametrize(
    "setting",
    [
        *({"epochs": 0}, {"train_cases": -1}, {"workers": 1.5}, {"epochs": True}, {"micro_batch": 0}),
        {"micro_batch": 2, "precision": "16-mixed"},
    ],
)
def test_a_budget_that_is_no_count_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"budget.{next(iter(setting))}"):
        Budget("test", **setting)


@pytest.fixture(scope="module")
def steady(phantoms: Path, make_cell: MakeCell, tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A finished run of both stages."""
    from .conftest import PLUGINS

    context = Context(tmp_path_factory.mktemp("runs"), {"hand": phantoms / "hand"}, plugins=PLUGINS)
    return run_cell(make_cell("steady"), context)


def test_a_run_leaves_exactly_its_artefacts(steady: RunRecord) -> None:
    assert steady.status == "done", steady.traceback
    files = {str(path.relative_to(steady.folder)) for path in steady.folder.rglob("*") if path.is_file()}
    assert files == {"run.json", PREDICTIONS, VALIDATION, HISTORY, "checkpoints/best.ckpt"}


def test_the_validation_cases_are_predicted_like_the_test_cases(steady: RunRecord, phantoms: Path) -> None:
    tests, validation = (pd.read_parquet(steady.folder / name) for name in (PREDICTIONS, VALIDATION))
    data = datamodules.discover()["hand"](phantoms / "hand", split="fold1")
    assert list(validation.columns) == list(tests.columns)
    assert set(validation["test_set"]) == {"validation"}
    assert tuple(validation["case"].unique()) == data.split.val
    errors = np.hypot(validation["x"] - validation["true_x"], validation["y"] - validation["true_y"])
    best = pd.read_csv(steady.folder / HISTORY)["val/radial_error"].min()
    assert errors[validation["visible"]].mean() == pytest.approx(best, rel=1e-3)


def test_run_json_says_what_the_run_was(steady: RunRecord) -> None:
    read = RunRecord.read(steady.folder / "run.json")
    assert read == steady
    assert (read.epochs, read.checkpoint["rule"], read.test_sets) == (6, BEST, {"test": 8})
    network = 1 * 4 * 9 + 4 + 8 + 64 * 74 + 74
    assert read.parameters == {"trainable": network, "keras": network + 8}
    assert read.flops == 2 * (4 * 4 * 4 * 9 + 64 * 74)
    assert read.versions["torch"] == torch.__version__
    assert read.latency_ms is not None
    assert 0 < read.latency_ms < 1000
    assert set(read.seconds) == {"prepare", "fit", "predict"}


def test_predictions_hold_the_labels_of_the_annotation_file(steady: RunRecord, phantoms: Path) -> None:
    table = read_table(steady.folder / PREDICTIONS)
    data = datamodules.discover()["hand"](phantoms / "hand", split="fold1")
    assert len(table) == 8 * 37
    case = data.inventory.cases[table["case"][0]]
    rows = table[table["case"] == case.name]
    assert np.array_equal(rows[["true_x", "true_y"]].to_numpy(), case.points, equal_nan=True)
    assert list(rows["landmark"]) == list(data.schema.names)
    assert set(zip(rows["height"], rows["width"], strict=True)) == {case.size}
    metadata = pq.read_schema(steady.folder / PREDICTIONS).metadata
    assert (metadata[b"variant"], metadata[b"seed"]) == (b"steady", b"0")


def test_predictions_are_those_of_the_best_epoch_of_the_last_stage(
    steady: RunRecord, context: Context, make_cell: MakeCell
) -> None:
    history = pd.read_csv(steady.folder / HISTORY)
    last = history[history["stage"] == 1].reset_index()
    assert steady.checkpoint["epoch"] == last["val/radial_error"].idxmin()
    data = context.datamodule(make_cell("steady"))
    method = methods.discover(context.plugins)["steady"](data.schema, **dict(steady.cell.hparams)).eval()
    stored = torch.load(steady.folder / "checkpoints" / steady.checkpoint["file"], weights_only=True)
    method.load_state_dict(stored["state_dict"])
    data.configure(method.input_spec, batch_size=1)
    batch = next(iter(data.predict_dataloader()[0]))
    with torch.no_grad():
        points = method.predict(batch).transform(batch.to_image).points[0].numpy()
    table = pd.read_parquet(steady.folder / PREDICTIONS)
    assert np.allclose(table.loc[table["case"] == batch.case[0], ["x", "y"]].to_numpy(), points, atol=1e-3)


def test_a_method_that_keeps_its_last_epoch_has_that_one_and_its_record_says_so(
    steady: RunRecord, context: Context, make_cell: MakeCell
) -> None:
    record = run_cell(make_cell("steady", checkpoint="last"), context)
    assert record.checkpoint == {"rule": LAST, "epoch": None, "file": "last.ckpt"}
    history = pd.read_csv(record.folder / HISTORY)
    pd.testing.assert_series_equal(history["train/loss"], pd.read_csv(steady.folder / HISTORY)["train/loss"])
    validation = pd.read_parquet(record.folder / VALIDATION)
    errors = np.hypot(validation["x"] - validation["true_x"], validation["y"] - validation["true_y"])
    assert errors[validation["visible"]].mean() == pytest.approx(history["val/radial_error"].iloc[-1], rel=1e-3)


def test_cases_that_calibrate_do_not_choose_the_checkpoint(
    steady: RunRecord, context: Context, make_cell: MakeCell
) -> None:
    record = run_cell(make_cell("steady", budget=replace(steady.cell.budget, calibrate=True)), context)
    assert record.folder != steady.folder
    data = context.datamodule(make_cell("steady"))
    stored = read_predictions(record.folder / VALIDATION)["validation"]
    assert set(stored.cases) == set(data.split.val)
    kept = read_calibration(record.folder / VALIDATION)
    assert kept.cases == tuple(sorted(data.split.val)[1::2])
    chose = [name not in kept.cases for name in stored.cases]
    errors = stored.errors("px")[chose]
    last = pd.read_csv(record.folder / HISTORY).query("stage == 1")
    assert np.nanmean(errors) == pytest.approx(last["val/radial_error"].min(), rel=1e-3)
    scored = read_case_sets(record.folder / PREDICTIONS, data.schema.names)["test"].cases
    expected = conformal_quantiles(nonconformity(to_cases(kept)))
    torch.testing.assert_close(scored.quantiles[0], expected)


def test_too_few_validation_patients_cannot_calibrate() -> None:
    with pytest.raises(ValueError, match="at least two patients, and 2 validate; leave it out"):
        calibrating_cases(["a", "b"], {"a": "a", "b": "a"})


def test_where_nothing_validates_the_last_epoch_is_the_result(
    context: Context, make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = datamodules.discover()["hand"].splits
    monkeypatch.setattr(
        datamodules.discover()["hand"],
        "splits",
        lambda self: tuple(replace(split, train=split.train + split.val, val=()) for split in splits(self)),
    )
    record = run_cell(make_cell("steady", budget=ONE_EPOCH), context)
    assert record.checkpoint["rule"] == UNVALIDATED
    assert not (record.folder / VALIDATION).exists()


def test_the_same_seed_twice_gives_identical_predictions_and_another_seed_does_not(
    steady: RunRecord, context: Context, make_cell: MakeCell
) -> None:
    seed_everything(99, verbose=False)
    again, other = run_cell(make_cell("steady"), context), run_cell(make_cell("steady", seed=1), context)
    first, second, third = (pd.read_parquet(r.folder / PREDICTIONS) for r in (steady, again, other))
    pd.testing.assert_frame_equal(first, second)
    assert not np.allclose(first[["x", "y"]], third[["x", "y"]])


def test_a_method_that_fails_is_recorded_with_its_traceback(context: Context, make_cell: MakeCell) -> None:
    record = run_cell(make_cell("broken"), context)
    assert record.status == "failed"
    assert record.reason.startswith("RuntimeError: mat1 and mat2")
    assert "return (self.weight @" in RunRecord.read(record.folder / "run.json").traceback
    assert not RunStore(context.store).is_done(record.cell, record.fingerprint)


def test_a_method_that_does_not_support_the_landmarks_says_why(context: Context, make_cell: MakeCell) -> None:
    record = run_cell(make_cell("groups-only"), context)
    assert (record.status, record.reason) == ("unsupported", "needs landmarks grouped into vertebrae")
    assert RunStore(context.store).is_done(record.cell, record.fingerprint)


def test_the_budget_limits_epochs_and_training_cases(context: Context, make_cell: MakeCell) -> None:
    told: list[Progress] = []
    record = run_cell(make_cell("steady", budget=Budget("test", epochs=2, train_cases=4)), context, told.append)
    assert record.epochs == 4
    assert [p.epoch for p in told if p.step == "training" and p.loss == p.loss] == [1, 2, 3, 4]
    assert {p.epochs for p in told if p.step == "training"} == {4}
    whole = run_cell(make_cell("mean_shape"), context)
    part = run_cell(make_cell("mean_shape", budget=Budget("test", train_cases=4)), context)
    assert not pd.read_parquet(whole.folder / PREDICTIONS).equals(pd.read_parquet(part.folder / PREDICTIONS))
    assert whole.fingerprint == part.fingerprint


def test_the_mean_shape_is_the_mean_of_the_training_labels(context: Context, make_cell: MakeCell) -> None:
    record = run_cell(make_cell("mean_shape"), context)
    data = context.datamodule(record.cell)
    cases = [data.inventory.cases[name] for name in data.split.train]
    share = np.nanmean([(case.points + 0.5) / case.size[::-1] for case in cases], axis=0)
    table = pd.read_parquet(record.folder / PREDICTIONS)
    expected = [share * data.inventory.cases[name].size[::-1] - 0.5 for name in table["case"].unique()]
    assert np.allclose(table[["x", "y"]].to_numpy(), np.concatenate(expected), atol=0.01)


def test_lightning_is_silent(context: Context, make_cell: MakeCell, capfd: pytest.CaptureFixture[str]) -> None:
    run_cell(make_cell("steady", budget=ONE_EPOCH), context)
    assert capfd.readouterr() == ("", "")


def test_a_fit_that_broke_off_goes_on_and_ends_as_if_it_had_not(
    steady: RunRecord, context: Context, make_cell: MakeCell
) -> None:
    def stop_after(epochs: int) -> Callable[[Progress], None]:
        def report(progress: Progress) -> None:
            if progress.epoch == epochs and progress.loss == progress.loss:
                raise KeyboardInterrupt

        return report

    for epochs in (2, 4, 5):
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run_cell(make_cell("steady"), context, stop_after(epochs))
    record = run_cell(make_cell("steady"), context)
    columns = ["stage", "epoch", "train/loss", "val/radial_error", "lr"]
    first, second = (pd.read_csv(r.folder / HISTORY)[columns] for r in (steady, record))
    pd.testing.assert_frame_equal(first, second)
    assert first["epoch"].tolist() == [0, 1, 2, 0, 1, 2]
    pd.testing.assert_frame_equal(*(pd.read_parquet(r.folder / PREDICTIONS) for r in (steady, record)))
