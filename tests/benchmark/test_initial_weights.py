"""Lumbar from cervical: two runs of two matrices, where the second starts from the weights of the first."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console

import tests.data.cervical_crops
import tests.data.lumbar_crops
from benchmark.cell import Budget, Cell, Context, Job
from benchmark.engines.base import Outcome, Watch
from benchmark.initial_weights import WEIGHTS, content_hash, weights_file, with_initial_weights
from benchmark.lookup import changed_hparams, discover_methods, effective_hparams, find_variant
from benchmark.matrix import DatasetEntry, Matrix, MethodEntry
from benchmark.runner import run_matrix
from benchmark.store import CHECKPOINTS, RunRecord
from benchmark.training.run_job import run_job
from methods.bayeregx import BayeRegX
from methods.components.initial_weights import read_weights


class Here:
    """An engine without worker processes."""

    workers, resources = 1, "this process"

    def run(self, jobs: Sequence[Job], context: Context, watch: Watch) -> Iterator[Outcome]:
        del watch
        for job in jobs:
            yield job, run_job(job, context)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """Cervical and lumbar crops, and a store with a cervical run of `bayeregx` whose weights are unlike any start."""
    root = tmp_path_factory.mktemp("crops")
    tests.data.cervical_crops.write(root / "cervical_crops")
    tests.data.lumbar_crops.write(root / "lumbar_crops")
    context = Context(root / "runs", {name: root / name for name in ("cervical_crops", "lumbar_crops")})
    (record,) = run(context, "bayeregx", "cervical_crops")
    assert record.status == "done", record.traceback
    checkpoint = next((record.folder / CHECKPOINTS).glob("*.ckpt"))
    stored = torch.load(checkpoint, weights_only=True)
    stored["state_dict"]["regressor.heads.0.weight"].uniform_(-0.1, 0.1)
    torch.save(stored, checkpoint)
    return context


@pytest.fixture
def context(crops: Context, tmp_path: Path) -> Context:
    """A copy of that store."""
    shutil.copytree(crops.store, tmp_path / "runs")
    return replace(crops, store=tmp_path / "runs")


def run(context: Context, variant: str, dataset: str, **hparams: object) -> list[RunRecord]:
    """Run a matrix of one cell whose learning rate moves no weight."""
    small = {**BayeRegX.smoke, "lr": 0.0, "schedule": "constant", **hparams}
    matrix = Matrix(
        budget=Budget("test", epochs=1, train_cases=8),
        methods=(MethodEntry(variant, small),),
        datasets=(DatasetEntry(dataset),),
    )
    return run_matrix(matrix, context, Here(), Console(file=StringIO()))


def cervical_run(context: Context) -> Path:
    return next(context.store.glob("cervical_crops/patients/main/bayeregx/*"))


def regressor(folder: Path) -> dict[str, torch.Tensor]:
    weights = read_weights(next((folder / CHECKPOINTS).glob("*.ckpt")))
    trained = {name: value for name, value in weights.items() if name.startswith("regressor.")}
    return {name: value for name, value in trained.items() if "running_" not in name and "num_batches" not in name}


def cell_from(value: str, variant: str = "bayeregx-from-cervical", **hparams: object) -> Cell:
    found = find_variant(variant, discover_methods())
    small = {**BayeRegX.smoke, "lr": 0.0, "schedule": "constant", "init_from": value, **hparams}
    return Cell("lumbar_crops", "patients", "main", found.method, variant, 0, effective_hparams(found, small))


def test_the_second_matrix_starts_from_the_run_of_the_first(context: Context) -> None:
    (record,) = run(context, "bayeregx-from-cervical", "lumbar_crops")
    assert record.status == "done", record.traceback
    (fresh,) = run(context, "bayeregx", "lumbar_crops")
    source, started, new = (regressor(folder) for folder in (cervical_run(context), record.folder, fresh.folder))
    assert all(torch.equal(started[name], value) for name, value in source.items())  # no step moved them
    assert not torch.equal(new["regressor.heads.0.weight"], source["regressor.heads.0.weight"])
    name = dict(record.cell.hparams)["init_from"]
    assert name.startswith("cervical_crops-")
    assert record.weights == name
    assert fresh.weights == "none"
    assert changed_hparams(find_variant("bayeregx-from-cervical", discover_methods()), record.cell)["init_from"] == name


def test_a_finished_run_is_not_run_again_even_without_its_source(context: Context) -> None:
    (record,) = run(context, "bayeregx-from-cervical", "lumbar_crops")
    assert run(context, "bayeregx-from-cervical", "lumbar_crops") == []
    shutil.rmtree(cervical_run(context))
    name = dict(record.cell.hparams)["init_from"]
    assert run(context, "bayeregx", "lumbar_crops", init_from=name)[0].status == "done"


def test_the_key_covers_the_content_of_the_weights_and_not_where_they_lie(context: Context, tmp_path: Path) -> None:
    folder = cervical_run(context)
    by_name, by_folder = (with_initial_weights([cell_from(v)], context.store) for v in ("cervical_crops", str(folder)))
    assert by_name == by_folder
    checkpoint = next((folder / CHECKPOINTS).glob("*.ckpt"))
    first = _given(checkpoint, tmp_path / "a" / "weights.ckpt", context)
    assert _given(checkpoint, tmp_path / "b" / "weights.ckpt", context) == first
    stored = torch.load(checkpoint, weights_only=True)
    stored["state_dict"]["regressor.heads.0.bias"] += 1e-6
    torch.save(stored, checkpoint)
    assert _given(checkpoint, tmp_path / "a" / "weights.ckpt", context).key("data") != first.key("data")


def _given(checkpoint: Path, copy: Path, context: Context) -> Cell:
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(checkpoint, copy)
    (cell,) = with_initial_weights([cell_from(str(copy))], context.store)
    return cell


def test_a_copy_holds_the_weights_alone_and_is_known_by_its_name(context: Context) -> None:
    (cell,) = with_initial_weights([cell_from("cervical_crops")], context.store)
    name = str(dict(cell.hparams)["init_from"])
    stored = torch.load(weights_file(context.store, name), weights_only=True)
    assert set(stored) == {"state_dict"}
    assert name == f"cervical_crops-{content_hash(stored['state_dict'])}"
    assert with_initial_weights([cell], context.store) == [cell]


def test_what_cannot_be_found_or_is_not_unique_stops_everything_first(context: Context) -> None:
    with pytest.raises(ValueError, match=r"has no finished run of bayeregx on hand with seed 0 .* run that first"):
        with_initial_weights([cell_from("hand")], context.store)
    with pytest.raises(ValueError, match=r"no finished run of bayeregx on cervical_crops .* run that first"):
        run(context, "bayeregx-from-cervical", "lumbar_crops", width=8)
    assert not (context.store / "lumbar_crops").exists()
    other = cervical_run(context).with_name("seed0-other")
    shutil.copytree(cervical_run(context), other)
    with pytest.raises(ValueError, match=r"several runs .*; give the folder of one as init_from"):
        with_initial_weights([cell_from("cervical_crops")], context.store)
    assert not (context.store / WEIGHTS).exists()


def test_weights_of_another_network_fail_the_cell_with_a_sentence(context: Context) -> None:
    (record,) = run(context, "bayeregx", "lumbar_crops", init_from=str(cervical_run(context)), width=8)
    assert record.status == "failed"
    assert "both runs need the same network and as many landmarks to a crop" in record.reason


def test_a_run_without_init_from_keeps_its_cell(context: Context) -> None:
    cell = cell_from("", "bayeregx")
    assert with_initial_weights([cell], context.store) == [cell]
