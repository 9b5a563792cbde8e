"""Kills `osteomark run` at random moments and damages files: in the end the store holds what it would have held.

`make faults` does so for longer: FAULT_CELLS, FAULT_KILLS and FAULT_SEED are read from the environment.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmark.cell import Context
from benchmark.lookup import discover_methods
from benchmark.matrix import Matrix
from benchmark.predictions import PREDICTIONS, VALIDATION, read_table
from benchmark.store import HISTORY, LOG, PROGRESS, RUN, RunStore
from benchmark.training.run_cell import run_cell

REPOSITORY = Path(__file__).parents[2]
PLUGIN = REPOSITORY / "tests" / "benchmark" / "plugins" / "steady.py"
CELLS = int(os.environ.get("FAULT_CELLS", "2"))
KILLS = int(os.environ.get("FAULT_KILLS", "2"))
SEED = int(os.environ.get("FAULT_SEED", "0"))
SLOTS = min(2, CELLS // 2)
RESULTS = (RUN, PREDICTIONS, VALIDATION, HISTORY, "checkpoints/*.ckpt")
FAULTS = ("worker", "main", "group", "terminate")


class Command:
    """`osteomark run` of a matrix on one store, as often as it is needed."""

    def __init__(self, folder: Path, phantoms: Path) -> None:
        self.folder, self.store = folder, folder / "runs"
        matrix = folder / "matrix.yaml"
        matrix.write_text(
            f"seeds: {list(range(CELLS))}\nmethods: [{{name: steady, hparams: {{delay: 0.05}}}}]\n"
            "datasets: [{name: hand, splits: [fold1]}]\n"
        )
        words = f"-m benchmark run --matrix {matrix} --data-root {phantoms} --store {self.store} --plugin {PLUGIN}"
        self.words = [sys.executable, *words.split(), "--slots", str(SLOTS), "--set", "engine.threads=1"]

    def start(self) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
        with (self.folder / "output.txt").open("a") as output:
            return subprocess.Popen(
                self.words, cwd=self.folder, env=environment, stdout=output, stderr=output, start_new_session=True
            )

    def finish(self) -> None:
        """Run it to its end; a worker that was killed has left a failed cell, which the next run tries again."""
        assert self.start().wait() == 0, (self.folder / "output.txt").read_text()

    def undisturbed(self, phantoms: Path) -> RunStore:
        """Train the same cells here, one after the other; numbers of threads round otherwise."""
        torch.set_num_threads(1)
        context = Context(self.folder / "calm", {"hand": phantoms / "hand"}, plugins=(PLUGIN,))
        matrix = Matrix.load(self.words[self.words.index("--matrix") + 1], context.datasets)
        for cell in matrix.cells(discover_methods(context.plugins), context.datasets):
            assert run_cell(cell, context).status == "done"
        return RunStore(context.store)

    def begun(self) -> int:
        """A number that grows whenever a cell begins."""
        return sum(path.stat().st_size for path in self.files(LOG))

    def files(self, name: str) -> list[Path]:
        return sorted(self.store.glob(f"*/*/*/*/*/{name}"))


def workers(process: subprocess.Popen) -> Sequence[int]:
    """The processes that run cells, of a command."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def hurt(process: subprocess.Popen, fault: str, chance: random.Random) -> None:
    """Do one of FAULTS to a command; after all but the first it ends."""
    if fault == "worker":
        if pids := workers(process):
            os.kill(chance.choice(pids), signal.SIGKILL)
        return
    if fault == "main":
        process.kill()
    elif fault == "group":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        start = time.monotonic()
        process.terminate()
        assert process.wait() in (143, -signal.SIGTERM), "the latter before Python has started"
        assert time.monotonic() - start < 60, "10 s on a machine that does nothing else"
    process.wait()


def damage(path: Path, chance: random.Random) -> None:
    """Cut a file off, as a crash of the machine may."""
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def disturb(command: Command, chance: random.Random) -> list[str]:
    """Kill a command KILLS times, starting it again whenever it has ended; return what was done."""
    done: list[str] = []
    faults = [fault for _ in range(KILLS) for fault in chance.sample(FAULTS, len(FAULTS))]  # a few are different ones
    process = command.start()
    while len(done) < KILLS:
        begun, patience = command.begun(), time.monotonic() + 120
        if chance.random() < 0.8:  # else it may be hurt before a cell has begun
            while command.begun() == begun and process.poll() is None and time.monotonic() < patience:
                time.sleep(0.02)
        time.sleep(chance.expovariate(1.0))
        if process.poll() is None:
            done.append(faults[len(done)])
            hurt(process, done[-1], chance)
        if process.poll() is not None:
            victims = [path for name in RESULTS for path in command.files(name)]
            if victims and (chance.random() < 0.3 or len(command.files(RUN)) == CELLS):
                damage(chance.choice(victims), chance)
            process = command.start()
    if process.poll() is None:
        process.kill()
        process.wait()
    return done


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds workers in /proc")
def test_a_matrix_that_is_killed_at_random_moments_ends_as_if_it_had_not_been(
    hand_phantom: Path, tmp_path: Path
) -> None:
    command = Command(tmp_path, hand_phantom)
    undisturbed = command.undisturbed(hand_phantom)
    print(f"seed {SEED}: {disturb(command, random.Random(SEED))}")
    command.finish()
    runs, expected = RunStore(command.store).runs(), undisturbed.runs()
    assert [run.status for run in runs] == ["done"] * CELLS
    assert [run.cell for run in runs] == [run.cell for run in expected]
    for run, other in zip(runs, expected, strict=True):
        assert not run.damage()
        for name in (PREDICTIONS, VALIDATION):
            pd.testing.assert_frame_equal(
                read_table(run.folder / name), read_table(other.folder / name), check_exact=True
            )
        curves = (pd.read_csv(folder / HISTORY).drop(columns="seconds") for folder in (run.folder, other.folder))
        pd.testing.assert_frame_equal(*curves, check_exact=True)
    assert not command.files(PROGRESS)
    kept = [path for run in runs for path in run.folder.rglob("*")]
    assert not [path for path in kept if path.name.startswith(".") or "stage" in path.name]
