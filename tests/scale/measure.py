"""Measures what a store of 3,000 cells costs, for docs/scale.md: `make scale`.

Nothing is trained: the cells' files are drawn (`fake_store`), and jobs that do nothing are carried by the real runner.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from benchmark.cell import Context, Job
from benchmark.engines.base import Outcome, Watch
from benchmark.engines.local import LocalEngine
from benchmark.matrix import Matrix
from benchmark.runner import run_matrix
from benchmark.scoring import score as scoring
from benchmark.store import CARDS, RunRecord, RunStore, utc_now
from benchmark.training.progress import Progress
from datamodules import DatasetRegistry
from datamodules.phantom.hand.films import write_hand
from tests.scale import fake_store


@contextmanager
def measured(what: str) -> Iterator[None]:
    """Print the wall and processor time that the body takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    print(f"{what}: {time.perf_counter() - wall:.2f} s, of the processor {time.process_time() - cpu:.2f} s", flush=True)


def command(*arguments: str) -> None:
    """Measure a whole command, the start of Python included, with the processor time of all its processes."""
    wall, before = time.perf_counter(), os.times()
    subprocess.run([sys.executable, "-m", "benchmark", *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    spent = time.perf_counter() - wall
    print(f"osteomark {arguments[0]}: {spent:.2f} s, of the processor {cpu:.2f} s", flush=True)


def measure_listing(root: Path) -> None:
    """Read every record, and the status."""
    with measured("read all run records"):
        runs = RunStore(root).runs()
    command("status", "--store", str(root))
    files = [path.stat().st_size for path in root.rglob("*") if path.is_file()]
    print(f"{len(runs)} runs, {len(files)} files, {sum(files) / 1e6:.0f} MB without checkpoints")


def measure_boards(root: Path) -> None:
    """Score one row of a few datasets, then all rows, and write the leaderboards."""
    groups = scoring.group_runs(RunStore(root).runs())
    datasets = DatasetRegistry(descriptions=root / CARDS)
    for group in groups[:: len(groups) // 3]:
        cell = group.runs[0].cell
        with measured(f"score one row of {len(group.runs)} runs ({cell.dataset}, {cell.variant})"):
            scoring._rows(group, datasets)
    print(f"{len(groups)} rows, first none of them scored, then all")
    command("score", "--store", str(root))
    command("score", "--store", str(root))
    command("leaderboard", "--store", str(root))


class Idle:
    """An engine whose jobs are done when they are handed over."""

    workers, resources, farewell = 8, "nothing each", ""

    def run(self, jobs: Sequence[Job], context: Context, watch: Watch) -> Iterator[Outcome]:
        """Write the record of each job as the job's own process would."""
        store = RunStore(context.store)
        for job in jobs:
            watch(job, Progress("training", 1, 1))
            yield job, store.write(replace(RunRecord.failed(job, utc_now()), status="done"))


def measure_scheduling(folder: Path, cells: int, real_cells: int) -> None:
    """Carry many jobs that do nothing through the runner, and a few that train nothing through worker processes."""
    write_hand(folder / "hand", films=24)
    context = Context(folder / "idle", {"hand": folder / "hand"})
    seeds = tuple(range(cells // (3 * len(fake_store.VARIANTS))))
    matrix = Matrix().narrow(fake_store.VARIANTS, ["hand"], seeds)
    with measured(f"schedule {cells} cells that do nothing"):
        run_matrix(matrix, context, Idle(), Console(file=io.StringIO()))
    with measured(f"start again with {cells} finished cells"):
        run_matrix(matrix, context, Idle(), Console(file=io.StringIO()))
    matrix = Matrix().narrow(["mean_shape"], ["hand"], range(real_cells // 3))
    context = replace(context, store=folder / "real")
    records = run_matrix(matrix, context, LocalEngine(slots=1), Console(file=io.StringIO()))
    start, end = min(record.started for record in records), max(record.finished for record in records)
    spent = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()  # without the worker's start
    work = sum(sum(record.seconds.values()) for record in records)
    each = (spent - work) / len(records)
    print(
        f"{len(records)} cells in one worker process: {spent:.0f} s, {each:.2f} s each beside training and predicting"
    )


def main() -> None:
    """Write the store and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=fake_store.SEEDS, help="5 make 3,000 cells")
    parser.add_argument("--store", type=Path, help="an existing fake store")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        root = given.store or Path(folder)
        if not given.store:
            with measured("write the fake store"):
                fake_store.write_store(root, given.seeds)
        with TemporaryDirectory() as work:
            measure_scheduling(Path(work), cells=600 * given.seeds, real_cells=30)
        measure_listing(root)
        measure_boards(root)


if __name__ == "__main__":
    main()
