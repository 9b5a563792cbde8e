import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing import active_children
from pathlib import Path

import pandas as pd
import pytest

from benchmark.cell import Budget, Cell, Context, Job
from benchmark.engines.local import Crew, LocalEngine, Slot, local_slots
from benchmark.predictions import PREDICTIONS, read_table
from benchmark.store import HISTORY, LOG, RunRecord, RunStore
from benchmark.training.progress import Progress
from benchmark.training.run_cell import run_cell

MakeCell = Callable[..., Cell]
ONE_SLOT = {"slots": 1, "threads": 1}


def ignore(job: Job, progress: Progress) -> None:
    """Watch nothing."""


def run(cells: list[Cell], context: Context, watch: Callable[[Job, Progress], None] = ignore) -> list[RunRecord]:
    data = context.datamodule(cells[0])
    jobs = [Job(cell, data.fingerprint) for cell in cells]
    return [record for _, record in LocalEngine(**ONE_SLOT).run(jobs, context, watch) if record]


@pytest.mark.slow
def test_a_killed_worker_costs_its_cell_only_and_the_next_run_goes_on_in_the_same_epoch(
    context: Context, make_cell: MakeCell
) -> None:
    cells = [make_cell("steady-slow"), make_cell("broken"), make_cell("groups-only"), make_cell("mean_shape")]

    def kill_in_second_stage(job: Job, progress: Progress) -> None:
        if job.cell.variant == "steady-slow" and progress.epoch >= 4:
            (worker,) = active_children()
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)

    records = run(cells, context, kill_in_second_stage)
    assert [record.status for record in records] == ["failed", "failed", "unsupported", "done"]
    assert "SIGKILL" in records[0].reason
    assert "mat1 and mat2" in (records[1].folder / LOG).read_text()
    store = RunStore(context.store)
    assert [store.is_done(record.cell, record.fingerprint) for record in records] == [False, False, True, True]
    before = pd.read_csv(records[0].folder / HISTORY)
    epochs: list[float] = []
    (again,) = run(cells[:1], context, lambda job, progress: epochs.append(progress.epoch))
    after = pd.read_csv(again.folder / HISTORY)
    assert again.status == "done"
    assert len(after) == again.epochs == 6
    pd.testing.assert_frame_equal(before[:3], after[:3])
    assert min(epoch for epoch in epochs if epoch) >= 3
    assert not active_children()


@pytest.mark.slow
def test_a_worker_gives_what_this_process_gives(context: Context, make_cell: MakeCell, tmp_path: Path) -> None:
    cell = make_cell("steady", budget=Budget("test", epochs=1, workers=1))
    (there,) = run([cell], context)
    here = run_cell(cell, Context(tmp_path / "here", context.roots, plugins=context.plugins))
    pd.testing.assert_frame_equal(*(read_table(r.folder / PREDICTIONS) for r in (there, here)))


def test_leaving_early_leaves_no_process_behind(context: Context, make_cell: MakeCell) -> None:
    class EnoughError(Exception):
        pass

    def stop(job: Job, progress: Progress) -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        run([make_cell("steady-slow")], context, stop)
    assert not active_children()


@pytest.mark.slow
def test_data_that_goes_bad_fails_its_cell_with_the_reason(context: Context, make_cell: MakeCell) -> None:
    gone = Context(context.store, {"hand": context.store / "nowhere"})
    ((_, record),) = LocalEngine(**ONE_SLOT).run([Job(make_cell("mean_shape"), "print")], gone, ignore)
    assert record is not None
    assert record.status == "failed"
    assert "nowhere" in record.reason


def test_slots_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)), raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("benchmark.engines.local._memory", lambda: 2**40)
    assert local_slots() == [Slot(number, None, 1) for number in range(4)]
    assert local_slots(2) == [Slot(0, None, 3), Slot(1, None, 3)]
    assert local_slots(2, threads=1) == [Slot(0, None, 1), Slot(1, None, 1)]
    monkeypatch.setattr("benchmark.engines.local._memory", lambda: 2**32)
    assert local_slots() == [Slot(0, None, 6)]
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert local_slots() == [Slot(0, "0", 3), Slot(1, "1", 3)]
    assert [slot.device for slot in local_slots(slots_per_gpu=2)] == ["0", "1", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    assert local_slots(3) == [Slot(0, "3", 2), Slot(1, "GPU-5", 2), Slot(2, "3", 2)]


def hired(devices: Sequence[int], gpus: int, monkeypatch: pytest.MonkeyPatch) -> list[list[str | None] | None]:
    """The devices of the workers that cells of so many devices get in turn, with two slots on each GPU."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    crew = Crew(local_slots(slots_per_gpu=2), Context(Path("runs"), {}), ignore)
    found = []
    for count in devices:
        worker = crew.worker(count)
        found.append(worker and [slot.device for slot in worker.slots])
        if worker:
            worker.job = Job(Cell("hand", "3-fold", "fold1", "plain", "plain"), "print")
    return found


def test_a_cell_of_two_devices_takes_two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hired([1, 1, 1, 1, 1], 2, monkeypatch) == [["0"], ["1"], ["0"], ["1"], None]
    assert hired([2, 2, 1], 2, monkeypatch) == [["0", "1"], ["0", "1"], None]
    assert hired([1, 2, 2], 2, monkeypatch) == [["0"], ["1", "0"], None]
    assert hired([1, 1, 2, 1], 3, monkeypatch) == [["0"], ["1"], ["2", "0"], ["1"]]


def test_an_idle_worker_goes_when_a_cell_of_more_devices_needs_its_slot() -> None:
    crew = Crew([Slot(0, None, 1), Slot(1, None, 1)], Context(Path("runs"), {}), ignore)
    first = crew.worker(1)
    assert crew.worker(1) is first
    both = crew.worker(2)
    assert both is not None
    assert [slot.number for slot in both.slots] == [0, 1]
    assert crew.workers == [both]


def test_more_devices_than_slots_are_refused_before_anything_runs(context: Context, make_cell: MakeCell) -> None:
    jobs = [Job(make_cell("plain", budget=Budget(devices=2)), "print")]
    with pytest.raises(ValueError, match="devices is 2, but this machine's slots have 1; give the engine 2 slots"):
        next(LocalEngine(**ONE_SLOT).run(jobs, context, ignore))


@pytest.mark.slow
def test_a_killed_command_goes_on_where_it_was(phantoms: Path, tmp_path: Path) -> None:
    plugin = Path(__file__).parents[1] / "plugins" / "steady.py"
    matrix = tmp_path / "one.yaml"
    matrix.write_text("methods: [steady-slow]\ndatasets: [{name: hand, splits: [fold1]}]\n")
    words = f"-m benchmark run --matrix {matrix} --data-root {phantoms} --store {tmp_path / 'runs'} --plugin {plugin}"
    command = [sys.executable, *words.split()]
    root = Path(__file__).parents[3]
    first = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, stdout=subprocess.DEVNULL
    )
    history = "runs/*/*/*/*/*/history.csv"
    while not any(len(path.read_text().splitlines()) > 4 for path in tmp_path.glob(history)):
        assert first.poll() is None
        time.sleep(0.02)
    first.kill()
    first.wait()
    (path,) = tmp_path.glob(history)
    before = pd.read_csv(path)
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    after = pd.read_csv(path)
    assert len(after) == 6
    pd.testing.assert_frame_equal(before[:3], after[:3])
