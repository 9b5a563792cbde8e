"""Every engine runs the same cells for real: Ray with a cluster that the tests start, Slurm's jobs on this machine."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
from filelock import FileLock

from benchmark.cell import Budget, Cell, Context, Job
from benchmark.cli.main import main
from benchmark.engines import engine_settings, make_engine
from benchmark.predictions import PREDICTIONS, VALIDATION, read_table
from benchmark.store import HISTORY, RunRecord, RunStore
from benchmark.training.progress_file import RunningCell
from benchmark.training.run_cell import run_cell

MakeCell = Callable[..., Cell]
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "local": {"slots": 2, "threads": 1},
    "ray": {"num_cpus": 1, "init": {"num_cpus": 2}},
    "slurm": {"num_cpus": 1, "num_gpus": 0, "minutes": 10, "cluster": "local"},
}
PATIENCE = 240.0


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    """End the cluster that the first Ray engine of the module starts; the later ones find it."""
    yield
    ray.shutdown()


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep xdist's processes from running several engines at a time."""
    with FileLock(tmp_path_factory.getbasetemp().parent / "engines.lock"):
        yield


def run(name: str, cells: Sequence[Cell], context: Context) -> dict[Cell, RunRecord]:
    fingerprint = context.datamodule(cells[0]).fingerprint
    jobs = [Job(cell, fingerprint) for cell in cells]
    outcomes = make_engine({"name": name, **SETTINGS[name]}).run(jobs, context, lambda job, progress: None)
    return {job.cell: record for job, record in outcomes if record}


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
def test_the_same_cells_give_the_same_predictions_on_every_engine(
    context: Context, make_cell: MakeCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [make_cell("steady", budget=Budget("test", epochs=1)), make_cell("broken")]
    monkeypatch.chdir(tmp_path)  # a relative store means the same in every process
    results = {}
    for name in SETTINGS:
        there = Context(Path(f"runs-{name}"), context.roots, plugins=context.plugins)
        records = run(name, cells, there)
        assert [records[cell].status for cell in cells] == ["done", "failed"], records
        results[name] = records[cells[0]]
    for file in (PREDICTIONS, VALIDATION):
        local, *others = (read_table(record.folder / file) for record in results.values())
        for other in others:
            pd.testing.assert_frame_equal(local, other, check_exact=True)


def kill_in_second_stage(folder: Path, how: signal.Signals, done: threading.Event) -> None:
    """Wait until the cell's process is in its second stage, then send it a signal, once."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        cell = RunningCell.read(folder)
        if cell and cell.epoch >= 4:
            os.kill(cell.pid, how)
            done.set()
            return
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(("name", "how"), [("ray", signal.SIGKILL), ("slurm", signal.SIGUSR2)])
def test_a_cell_whose_process_is_taken_away_goes_on_and_ends_as_if_it_had_not_been(
    context: Context, make_cell: MakeCell, name: str, how: signal.Signals
) -> None:
    cell = make_cell("steady-slow", delay=0.1)
    folder = RunStore(context.store).path(cell, context.datamodule(cell).fingerprint)
    killed = threading.Event()
    threading.Thread(target=kill_in_second_stage, args=(folder, how, killed), daemon=True).start()
    record = run(name, [cell], context)[cell]
    assert killed.is_set()
    assert record.status == "done", record.reason
    assert record.epochs == len(pd.read_csv(record.folder / HISTORY)) == 6
    assert (folder / "log.txt").read_text().count("--- ") == 2
    undisturbed = Context(context.store.with_name("undisturbed"), context.roots, plugins=context.plugins)
    other = run_cell(cell, undisturbed)
    pd.testing.assert_frame_equal(*(read_table(r.folder / PREDICTIONS) for r in (record, other)), check_exact=True)


SBATCH = r"""#!/bin/bash
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\)%.*/\1/p' "$1")
export SLURM_ARRAY_JOB_ID=$$ SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
for index in $(seq 0 "$last"); do
  SLURM_JOB_ID=$(($$ + index)) SLURM_ARRAY_TASK_ID=$index setsid bash "$1" >"$1.$index.txt" 2>&1 </dev/null &
done
echo "Submitted batch job $$"
"""
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do case $1 in --output | --error) shift 2 ;; *) shift ;; esac; done
exec "$@"
"""


@pytest.mark.slow
@pytest.mark.usefixtures("alone")
def test_jobs_of_a_slurm_array_find_their_cells_by_their_index(
    context: Context, make_cell: MakeCell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": "#!/bin/bash\n"}.items():
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(text)
        script.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    cells = [make_cell("mean_shape"), make_cell("mean_shape", split="fold2")]
    prints = [context.datamodule(cell).fingerprint for cell in cells]
    settings = {"partition": "bones", "minutes": 30, "num_gpus": 2, "sbatch": {"account": "spine"}, "requeues": 5}
    engine = make_engine({"name": "slurm", **settings})
    outcomes = dict(engine.run(list(map(Job, cells, prints)), context, lambda job, progress: None))
    assert [record and record.status for record in outcomes.values()] == ["done", "done"]
    assert {record and record.cell for record in outcomes.values()} == set(cells)
    folder = context.store.with_name("runs-slurm")
    assert folder.stat().st_mode & 0o777 == 0o700
    (script,) = folder.glob("*_submission.sh")
    for line in ("account=spine", "array=0-1%2", "gpus-per-node=2", "partition=bones", "time=30", "signal=USR2@120"):
        assert f"#SBATCH --{line}\n" in script.read_text()
    assert f"scancel {script.name.partition('_')[0]} " in engine.farewell


def test_settings_of_the_command_line_win() -> None:
    matrix = {"name": "ray", "num_gpus": 0.5}
    assert engine_settings({}) == {}
    assert engine_settings(matrix) == engine_settings(matrix, "ray") == matrix
    assert engine_settings(matrix, "local", 3) == {"name": "local", "slots": 3}
    assert engine_settings({"slots": 2}, "local", 3) == {"name": "local", "slots": 3}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "slrum"}, "there is no engine 'slrum'; did you mean 'slurm'"),
        ({"name": "local", "slot": 2}, "there is no setting of the engine local called 'slot'; did you mean 'slots'"),
        ({"name": "slurm"}, "this machine has no sbatch"),
    ],
)
def test_a_wrong_setting_is_answered_by_a_sentence(
    settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match=message):
        make_engine(settings)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"slots": 3, "threads": 5}),
        (["--set", "engine.threads=1"], {"slots": 3, "threads": 1}),
        (["--slots", "2", "--set", "engine.threads=1"], {"slots": 2, "threads": 1}),
        (["--engine", "ray", "--set", "engine.num_gpus=0.5"], {"name": "ray", "num_gpus": 0.5}),
    ],
)
def test_settings_of_the_command_line_reach_the_engine(
    words: list[str], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given: dict[str, Any] = {}

    def refuse(settings: Mapping[str, Any]) -> None:
        given.update(settings)
        raise ValueError("this is all that is tested")

    monkeypatch.setattr("benchmark.engines.make_engine", refuse)
    (tmp_path / "matrix.yaml").write_text("methods: [mean_shape]\nengine: {slots: 3, threads: 5}\n")
    assert main(["run", "--matrix", str(tmp_path / "matrix.yaml"), *words]) == 2
    assert given == expected


@pytest.mark.parametrize("name", ["ray", "slurm"])
def test_an_engine_that_is_not_installed_says_how_to_install_it(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = {"ray": "ray", "slurm": "submitit"}[name]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"benchmark.engines.{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--matrix", "smoke", "--engine", name]) == 2
    said = capsys.readouterr()
    assert f"needs the package {package}, which is not installed" in said.err
    assert f"pip install --editable '.[{name}]'" in said.err.replace("\n", " ")
    assert not said.out and not list(tmp_path.iterdir())
