"""What goes wrong in one cell: it is recorded in a sentence, nothing is half written, and the next attempt is right."""

import os
import pickle
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmark.cell import Budget, Cell, Context, Job
from benchmark.engines.local import LocalEngine
from benchmark.predictions import PREDICTIONS, VALIDATION, read_table
from benchmark.store import CHECKPOINTS, HISTORY, LOG, RunRecord, RunStore
from benchmark.training.callbacks import NonFiniteLossError
from benchmark.training.lease import lease_path
from benchmark.training.model_file import read_model
from benchmark.training.processes import Watchdog
from benchmark.training.progress import Progress
from benchmark.training.run_cell import run_cell
from benchmark.training.run_job import run_job

MakeCell = Callable[..., Cell]


class Interruption(BaseException):
    """The machine goes down."""


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.path}",)


def job_of(cell: Cell, context: Context) -> Job:
    return Job(cell, context.datamodule(cell).fingerprint)


def interrupt(job: Job, context: Context, epoch: float) -> Path:
    """Run a job up to an epoch, and return its folder."""

    def report(progress: Progress) -> None:
        if progress.epoch > epoch:
            raise Interruption

    with pytest.raises(Interruption):
        run_job(job, context, report)
    return RunStore(context.store).path(*job)


def assert_same(one: RunRecord | None, other: RunRecord | None) -> None:
    assert one is not None and other is not None
    assert one.status == other.status == "done"
    for name in (PREDICTIONS, VALIDATION):
        pd.testing.assert_frame_equal(read_table(one.folder / name), read_table(other.folder / name), check_exact=True)
    curves = (pd.read_csv(record.folder / HISTORY).drop(columns="seconds") for record in (one, other))
    pd.testing.assert_frame_equal(*curves, check_exact=True)


@pytest.fixture
def elsewhere(context: Context, tmp_path: Path) -> Context:
    """The same context with a store of its own."""
    return replace(context, store=tmp_path / "elsewhere")


def test_a_loss_that_is_no_number_stops_the_fit_and_names_the_films(context: Context, make_cell: MakeCell) -> None:
    cell = make_cell("faulty-nan")
    record = run_job(job_of(cell, context), context)
    assert record is not None and record.status == "failed"
    assert record.reason.startswith(f"{NonFiniteLossError.__name__}: the training loss is nan at batch 0 of epoch 1: ")
    films = record.reason.rstrip(".").rsplit(": ", 1)[1].split(", ")
    assert films and set(films) <= set(context.datamodule(cell).split.train)
    assert not (record.folder / CHECKPOINTS).exists()


@pytest.mark.slow
def test_a_cell_that_hangs_is_ended_recorded_and_free(context: Context, make_cell: MakeCell) -> None:
    job = job_of(make_cell("faulty-hang"), context)
    ((_, hung),) = LocalEngine(slots=1).run([job], replace(context, stall=8.0), lambda job, progress: None)
    assert hung is not None
    assert (hung.status, hung.reason) == ("failed", "It made no progress for 8 s.")
    assert RunStore(context.store).runs() == [hung]
    assert "faulty.py" in (hung.folder / LOG).read_text(), "where it hung"
    assert not lease_path(hung.folder).exists()


def test_a_cell_over_its_limit_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    codes: list[int] = []
    reasons: list[str] = []

    def end(code: int) -> None:
        codes.append(code)
        ended.set()
        watchdog._over.set()  # nothing ends this process

    monkeypatch.setattr("benchmark.training.processes.LOOK_SECONDS", 0.01)
    monkeypatch.setattr("benchmark.training.processes.faulthandler.dump_traceback", lambda: None)
    monkeypatch.setattr("benchmark.training.processes.os._exit", end)
    with Watchdog(0.05, None, reasons.append) as watchdog:
        assert ended.wait(20)
    assert (codes, reasons) == ([124], ["It was not done within its limit of 0.05 s."])


@pytest.mark.parametrize("name", ["stage0.ckpt", "stage1.ckpt", "best.ckpt"])
def test_a_damaged_checkpoint_is_found_and_its_stage_trained_again(
    context: Context, elsewhere: Context, make_cell: MakeCell, name: str
) -> None:
    job = job_of(make_cell("steady"), context)
    folder = interrupt(job, context, epoch=5)
    path = folder / CHECKPOINTS / name
    path.write_bytes(path.read_bytes()[:1000])
    (folder / HISTORY).write_text("epo")
    assert_same(run_job(job, context), run_job(job, elsewhere))


def test_a_checkpoint_that_runs_code_is_not_run(context: Context, make_cell: MakeCell, tmp_path: Path) -> None:
    job = job_of(make_cell("steady"), context)
    folder = interrupt(job, context, epoch=5)
    mark = tmp_path / "ran"
    for path in (folder / CHECKPOINTS).glob("*.ckpt"):
        torch.save({"state_dict": Evil(mark)}, path)
    record = run_job(job, context)
    assert record is not None and record.status == "done"
    for path in (tmp_path / "zip.ckpt", tmp_path / "raw.ckpt"):
        torch.save({"state_dict": Evil(mark)}, path) if path.stem == "zip" else path.write_bytes(
            pickle.dumps(Evil(mark))
        )
        with pytest.raises(ValueError, match="is no checkpoint"):
            read_model(path)
    assert not mark.exists()
    pickle.loads(pickle.dumps(Evil(mark)))
    assert mark.exists(), "the pickle does run code where it is let"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 96 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small disk takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_fails_the_cell_in_a_sentence_and_it_goes_on_once_there_is_room(
    context: Context, elsewhere: Context, make_cell: MakeCell, small_disk: Path
) -> None:
    full = replace(context, store=small_disk / "runs")
    job = job_of(make_cell("steady"), context)
    record = run_job(job, full)
    assert record is not None and record.status == "failed"
    assert "No space left on device" in record.reason
    names = [path.name for path in small_disk.rglob("*")]
    assert not [name for name in names if name.startswith(".")], "nothing half written"
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert_same(run_job(job, full), run_job(job, elsewhere))


def test_the_same_cell_gives_the_same_predictions(context: Context, elsewhere: Context, make_cell: MakeCell) -> None:
    cell = make_cell("steady")
    assert_same(run_cell(cell, context), run_cell(cell, elsewhere))


@pytest.mark.slow
def test_processes_that_load_films_change_no_number_nor_does_a_resume_with_new_ones(
    context: Context, elsewhere: Context, make_cell: MakeCell
) -> None:
    none, two = (make_cell("plain", budget=Budget("test", workers=n), augment=True, epochs=3) for n in (0, 2))
    expected = run_cell(none, context)
    assert_same(run_cell(two, context), expected)
    job = job_of(two, elsewhere)
    interrupt(job, elsewhere, epoch=1.5)
    assert_same(run_job(job, elsewhere), expected)
    still = run_cell(make_cell("plain", budget=Budget("test"), epochs=3), context)
    losses = [pd.read_csv(record.folder / HISTORY)["train/loss"] for record in (expected, still)]
    assert not losses[0].equals(losses[1]), "films do move"
