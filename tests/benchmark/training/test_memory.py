"""A cell whose memory runs out is tried once more with micro-batches, if its budget says so."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from benchmark.cell import Budget, Cell, Context, Job
from benchmark.predictions import PREDICTIONS, VALIDATION, read_table
from benchmark.store import CHECKPOINTS, HISTORY, RunRecord
from benchmark.training.checkpoint_files import OUT_OF_MEMORY, stage_file
from benchmark.training.memory import is_out_of_memory
from benchmark.training.progress import Progress
from benchmark.training.run_cell import run_cell
from benchmark.training.run_job import run_job

MakeCell = Callable[..., Cell]
TOLERANCE = 1e-4
"""Relative difference of losses: gradients are added up in another order."""
FILMS = 13
"""Of batches of 4, a last one of 1."""


def budget(**settings: object) -> Budget:
    return Budget("test", train_cases=FILMS, **settings)


def assert_alike(one: RunRecord, other: RunRecord) -> None:
    assert (one.status, other.status) == ("done", "done"), one.traceback + other.traceback
    curves = [pd.read_csv(record.folder / HISTORY).drop(columns="seconds") for record in (one, other)]
    pd.testing.assert_frame_equal(*curves, rtol=TOLERANCE)
    for file in (PREDICTIONS, VALIDATION):
        points = [read_table(record.folder / file)[["x", "y"]].to_numpy() for record in (one, other)]
        np.testing.assert_allclose(*points, rtol=TOLERANCE)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_micro_batches_learn_what_whole_batches_do(context: Context, make_cell: MakeCell, precision: str) -> None:
    whole = run_cell(make_cell("plain", budget=budget(precision=precision)), context)
    parts = run_cell(make_cell("plain", budget=budget(precision=precision, micro_batch=3), memory=3), context)
    assert (whole.micro_batch, parts.micro_batch) == (None, 3)
    if precision == "32-true":
        assert_alike(whole, parts)
    else:  # products of half precision round by their number of rows
        losses = [pd.read_csv(record.folder / HISTORY)["train/loss"] for record in (whole, parts)]
        pd.testing.assert_series_equal(*losses, rtol=0.02)


def test_a_cell_that_has_memory_is_not_divided(context: Context, make_cell: MakeCell) -> None:
    allowed = run_cell(make_cell("plain", budget=budget(micro_batch=1), epochs=1), context)
    assert (allowed.status, allowed.micro_batch) == ("done", None)


def test_without_micro_batches_in_the_budget_the_failure_is_recorded(context: Context, make_cell: MakeCell) -> None:
    record = run_cell(make_cell("plain", budget=budget(), memory=2), context)
    assert (record.status, record.micro_batch) == ("failed", None)
    assert record.reason == "OutOfMemoryError: CUDA out of memory."


def test_a_micro_batch_that_is_too_large_as_well_fails_the_cell(context: Context, make_cell: MakeCell) -> None:
    record = run_cell(make_cell("plain", budget=budget(micro_batch=2), memory=1), context)
    assert (record.status, record.micro_batch) == ("failed", 2)
    assert "out of memory" in record.reason


def test_a_fit_goes_on_where_memory_ran_out_and_a_resume_does_not_try_whole_batches_again(
    context: Context, make_cell: MakeCell, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cell = make_cell("plain", budget=budget(micro_batch=2), memory=2, short_from=1, epochs=4)
    job = Job(cell, context.datamodule(cell).fingerprint)

    class Interruption(BaseException):
        """The machine goes down."""

    def report(progress: Progress) -> None:
        if progress.epoch >= 2:
            raise Interruption

    with pytest.raises(Interruption):
        run_job(job, context, report)
    folder = context.store / cell.path(job.fingerprint)
    assert (folder / CHECKPOINTS / OUT_OF_MEMORY).is_file()
    resumed = run_job(job, context)
    said = "memory ran out (OutOfMemoryError)", *["going on with 2 films at a time"] * 2
    assert tuple(caplog.messages) == said
    whole = run_cell(make_cell("plain", budget=budget(), epochs=4), replace(context, store=tmp_path / "whole"))
    assert resumed is not None and resumed.micro_batch == 2
    assert_alike(whole, resumed)
    assert not (folder / CHECKPOINTS / OUT_OF_MEMORY).exists()
    assert not stage_file(folder / CHECKPOINTS, 0).exists()


@pytest.mark.slow
def test_devices_divide_their_parts_of_a_batch(context: Context, make_cell: MakeCell) -> None:
    settings = {"train_cases": 12}
    whole = run_cell(make_cell("plain", budget=Budget("test", **settings)), context)
    cell = make_cell("plain", budget=Budget("test", **settings, devices=2, micro_batch=1), memory=1)
    checkpoints = context.store / cell.path(whole.fingerprint) / CHECKPOINTS
    checkpoints.mkdir(parents=True)
    (checkpoints / OUT_OF_MEMORY).touch()  # an earlier attempt left it
    parts = run_cell(cell, context)
    assert parts.micro_batch == 1
    assert_alike(whole, parts)


def test_the_processors_allocator_says_in_its_own_way_that_memory_ran_out() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("the process of another device failed: torch.OutOfMemoryError: CUDA out"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(ValueError("out of memory"))
