"""Two runs on one store: a cell is trained once, whoever dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.cell import Cell, Context, Job
from benchmark.predictions import PREDICTIONS
from benchmark.store import LOG, PROGRESS, RUN, RunStore
from benchmark.training import lease as leases
from benchmark.training.lease import Lease, held, lease_path
from benchmark.training.progress import Progress
from benchmark.training.run_job import run_job

MakeCell = Callable[..., Cell]
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def job(context: Context, make_cell: MakeCell) -> Job:
    cell = make_cell("steady", epochs=1)
    return Job(cell, context.datamodule(cell).fingerprint)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The only entry is what the clock says."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def find_empty(context: Context, job: Job) -> Lease:
    """Return a lease that found its file empty."""
    lease = Lease(RunStore(context.store), job)
    lease.path.parent.mkdir(parents=True)
    lease.path.touch()
    assert not lease.take()
    return lease


def test_a_cell_that_another_run_holds_is_left_to_it_and_then_taken_from_it(context: Context, job: Job) -> None:
    with held(Lease(RunStore(context.store), job)) as mine:
        assert mine
        assert run_job(job, context) is None
        assert not (RunStore(context.store).path(*job) / LOG).exists()
    record = run_job(job, context)
    assert record is not None and record.status == "done"
    started = (record.folder / RUN).stat().st_mtime_ns
    again = run_job(job, context)
    assert again == record
    assert (record.folder / RUN).stat().st_mtime_ns == started, "it was read, not trained again"
    assert not lease_path(RunStore(context.store).path(*job)).exists()


def test_the_lease_of_a_process_that_died_is_taken_at_once(context: Context, job: Job) -> None:
    path = lease_path(RunStore(context.store).path(*job))
    path.parent.mkdir(parents=True)
    make = f"lease = SoftFileLease({str(path)!r}, lease_duration={leases.STALE})"
    script = f"import time; from filelock import SoftFileLease; {make}; lease.acquire(); print('held', flush=True)"
    lease = Lease(RunStore(context.store), job)
    command = [sys.executable, "-c", f"{script}; time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert not lease.take()
        holder.send_signal(signal.SIGKILL)
    assert path.exists()
    assert lease.take()
    lease.give_back()


def test_the_lease_of_a_process_that_died_before_it_wrote_who_it_was_is_taken_once_stale(
    context: Context, job: Job, now: list[float]
) -> None:
    lease = find_empty(context, job)
    now[0] += leases.STALE - 1
    assert not lease.take()
    assert lease.path.read_bytes() == b"", "its process may be about to write"
    now[0] += 1
    taken = [lease.take()]
    while not any(taken) and len(taken) < 5:
        now[0] += 3
        taken.append(lease.take())
    assert any(taken)
    assert lease.owner is not None and lease.owner.pid == os.getpid()
    lease.give_back()
    assert not lease.path.exists()


def test_a_lease_that_is_being_written_is_left_to_its_process(context: Context, job: Job, now: list[float]) -> None:
    lease = find_empty(context, job)
    lease.path.unlink()
    other = Lease(RunStore(context.store), job)
    assert other.take()
    now[0] += leases.STALE / 2
    assert not lease.take()
    assert other.owner is not None and other.owner.token == other._lock.token
    other.give_back()


def test_who_lost_the_cell_stops_without_writing(
    context: Context, make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT", 0.05)
    monkeypatch.setattr(leases, "STALE", 0.3)
    cell = make_cell("steady-slow")
    job = Job(cell, context.datamodule(cell).fingerprint)
    path = lease_path(RunStore(context.store).path(*job))
    told: list[Progress] = []

    def steal(progress: Progress) -> None:
        told.append(progress)
        if progress.step == "training" and path.exists() and not stolen:
            stolen.append(path.read_text())
            path.unlink()
            path.write_text("another run's")
            time.sleep(0.5)

    stolen: list[str] = []
    assert run_job(job, context, steal) is None
    folder = RunStore(context.store).path(*job)
    assert stolen
    assert not (folder / RUN).exists() and not (folder / PREDICTIONS).exists() and not (folder / PROGRESS).exists()
    assert path.read_text() == "another run's", "it is the other run's to give back"


def test_a_running_cell_says_where_it_stands_and_who_runs_it(context: Context, make_cell: MakeCell) -> None:
    cell = make_cell("steady", epochs=1)
    job = Job(cell, context.datamodule(cell).fingerprint)
    path = RunStore(context.store).path(*job) / PROGRESS
    seen: list[dict[str, object]] = []
    record = run_job(job, context, lambda progress: seen.append(json.loads(path.read_text())))
    assert record is not None and record.status == "done"
    assert seen[0]["pid"] == os.getpid() and seen[0]["step"] == "reading data"
    assert seen[0]["loss"] is None, "JSON has no NaN"
    assert not path.exists()


@pytest.mark.slow
def test_two_commands_on_one_store_train_each_cell_once(phantoms: Path, tmp_path: Path) -> None:
    plugin = Path(__file__).parents[1] / "plugins" / "steady.py"
    matrix = tmp_path / "both.yaml"
    matrix.write_text(
        "seeds: [0, 1, 2]\nmethods: [{name: steady, hparams: {delay: 0.05}}]\n"
        "datasets: [{name: hand, splits: [fold1]}]\n"
    )
    words = f"-m benchmark run --matrix {matrix} --data-root {phantoms} --store {tmp_path / 'runs'} --plugin {plugin}"
    command = [sys.executable, *words.split(), "--slots", "1"]
    env = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    runs = [subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    texts = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], texts
    logs = [path.read_text() for path in tmp_path.glob(f"runs/*/*/*/*/*/{LOG}")]
    assert len(logs) == 3
    assert [log.count("--- ") for log in logs] == [1, 1, 1]
    assert not list(tmp_path.rglob("*.lease"))
    assert all("leaderboards" in text for text in texts), "both end with the tables of all cells"
