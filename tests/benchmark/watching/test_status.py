import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmark.cell import Cell, Job
from benchmark.cli.main import main
from benchmark.store import LOG, PROGRESS, RunRecord, RunStore
from benchmark.training.lease import STALE, lease_path
from benchmark.training.progress import Progress
from benchmark.training.progress_file import ProgressFile
from benchmark.watching import logs as logs_of_cells
from benchmark.watching.page import page, summary
from benchmark.watching.status import StoreStatus, read_status


def job(variant: str, seed: int = 0) -> Job:
    return Job(Cell("hand", "3-fold", "fold1", variant, variant, seed), "data")


def running(store: RunStore, what: Job, age: float = 0.0) -> Path:
    """Leave the files of a cell that runs at epoch 4 of 10, `age` seconds after its last sign of life."""
    folder = store.path(*what)
    file = ProgressFile(folder)
    file.tell(Progress("training", 2, 10))
    file._began = time.monotonic() - 60
    file._written = 0
    file.tell(Progress("training", 4, 10, 0.5, 12.34, memory=2048.0))
    lease = lease_path(folder)
    lease.touch()
    os.utime(lease, (time.time() - age,) * 2)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Two cells that run, one of them without a sign of life, and one in every other state."""
    store = RunStore(tmp_path / "runs")
    jobs = [job("unet", seed) for seed in range(5)]
    store.plan([*jobs, job("mean_shape"), job("svr"), job("fpn")])
    record = replace(RunRecord.failed(jobs[0], "2026-01-01T00:00:00+00:00"), status="done", epochs=10)
    store.write(replace(record, seconds={"fit": 100.0, "predict": 20.0}, reason=""))
    running(store, jobs[1])
    running(store, jobs[2], age=STALE + 5)
    store.path(*jobs[3]).mkdir(parents=True)
    store.write(RunRecord.failed(job("svr"), "2026-01-01T00:00:00+00:00", "ValueError: too [small]"))
    store.write(replace(RunRecord.failed(job("fpn"), ""), status="unsupported", reason="needs groups"))
    damaged = store.path(*job("mean_shape"))
    damaged.mkdir(parents=True)
    (damaged / "run.json").write_text('{"status": "do')
    return store


def shown(status: StoreStatus, width: int = 160) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(page(status))
    return console.export_text()


def test_every_cell_is_in_the_state_that_its_files_say(store: RunStore) -> None:
    status = read_status(store.root)
    states = {cell.cell.split("/", 3)[-1].rsplit("-", 1)[0]: cell.state for cell in status.cells}
    assert states == {
        "unet/seed0": "done",
        "unet/seed1": "running",
        "unet/seed2": "stale",
        "unet/seed3": "interrupted",
        "unet/seed4": "waiting",
        "mean_shape/seed0": "damaged",
        "svr/seed0": "failed",
        "fpn/seed0": "unsupported",
    }
    assert summary(status).startswith("8 cells, 1 running, 1 stale, 1 waiting, 1 interrupted, 1 failed, 1 damaged")


def test_the_time_left_comes_from_this_attempts_epochs_and_from_cells_that_ended(store: RunStore) -> None:
    (running,) = read_status(store.root).having("running")
    assert running.remaining == pytest.approx(60 * 6 / 2, rel=0.05)  # 2 of 8 epochs in 60 s, or a bit more
    left = read_status(store.root).time_left
    assert left is not None
    assert left == (pytest.approx(60 * 6 / 2 + 3 * 120, rel=0.05), 0)  # three more cells of 120 s


def test_a_cell_whose_kind_never_ended_is_not_timed(store: RunStore) -> None:
    store.plan([job("scn")])
    left = read_status(store.root).time_left
    assert left is not None
    assert left.untimed == 1
    assert "(1 cell not timed yet)" in summary(read_status(store.root))


def test_a_store_in_which_nothing_runs_foretells_nothing(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.plan([job("unet")])
    assert summary(read_status(tmp_path)) == "1 cells, 1 waiting"


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_page_fits_the_terminal_and_names_what_a_user_asks_for(store: RunStore, width: int) -> None:
    text = shown(read_status(store.root), width)
    assert max(map(len, text.splitlines())) <= width
    joined = "".join(text.split())
    for part in (os.uname().nodename[:8], str(os.getpid()), "4/10", "2048", "stale", "too[small]", "2min0s", "12s"):
        assert part in joined, part


def test_json_has_every_cell_that_is_not_done(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--store", str(store.root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"]["running"] == 1
    assert {cell["state"] for cell in found["cells"]} == set(found["counts"]) - {"done", "unsupported"}
    (cell,) = (cell for cell in found["cells"] if cell["state"] == "running")
    assert cell["running"]["pid"] == os.getpid()
    assert cell["heartbeat"] < STALE
    assert found["speeds"][0]["seconds"] == 120


def test_watching_ends_when_nothing_runs_any_more(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    (store.path(*job("unet", 1)) / PROGRESS).unlink()
    assert main(["status", "--store", str(store.root), "--watch"]) == 0
    assert capsys.readouterr().out.startswith("8 cells, 1 stale, 1 waiting, 2 interrupted")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("status --store nowhere", "there is no store nowhere"),
        ("status --store {store} --watch --json", "exclude each other"),
        ("logs une --store {store}", "give more of one"),
        ("logs hand/3-fold/fold1/unte --store {store}", "did you mean 'hand/3-fold/fold1/unet/seed"),
        ("logs unet/seed3 --store {store}", "has not been started"),
    ],
)
def test_bad_input_is_a_sentence(store: RunStore, line: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.format(store=store.root).split()) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("name", ["{relative}", "{folder}", "unet/seed1", "{relative}/"])
def test_a_cell_is_found_by_its_path_or_a_part_of_it(
    store: RunStore, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = store.path(*job("unet", 1))
    (folder / LOG).write_text("a warning of [torch]\n")
    asked = name.format(relative=folder.relative_to(store.root), folder=folder)
    assert main(["logs", asked, "--store", str(store.root)]) == 0
    assert capsys.readouterr().out == "a warning of [torch]\n"


def test_a_followed_log_goes_on_until_the_cell_has_ended(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store.path(*job("unet", 1))
    log = folder / LOG
    log.write_text("first\n")
    added: list[Callable[[], object]] = [
        lambda: log.write_text("first\nsecond\n"),
        lambda: (log.write_text("first\nsecond\nlast\n"), (folder / PROGRESS).unlink()),
    ]
    monkeypatch.setattr(logs_of_cells.time, "sleep", lambda seconds: added.pop(0)())
    assert "".join(logs_of_cells.log_lines(folder, follow=True)) == "first\nsecond\nlast\n"
