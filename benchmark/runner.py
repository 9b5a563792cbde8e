"""Runs a matrix: checks the data, runs what the store lacks on an engine, and says what failed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rich.console import Console

from benchmark.cell import Cell, Context, Job
from benchmark.engines.base import Engine
from benchmark.engines.local import LocalEngine
from benchmark.initial_weights import with_initial_weights
from benchmark.lookup import discover_methods
from benchmark.matrix import Matrix
from benchmark.speeds import Speeds
from benchmark.store import CARDS, LOG, RunRecord, RunStore, utc_now
from benchmark.training.lease import Lease, held
from benchmark.training.progress import ELSEWHERE, LiveTable, Progress
from datamodules.audit.check import concerns
from datamodules.base import LandmarkDataModule
from datamodules.private import write_description

POLL_SECONDS: Final = 5.0
"""Between two looks at the cells that other runs have."""


def run_matrix(
    matrix: Matrix,
    context: Context,
    engine: Engine | None = None,
    console: Console | None = None,
    *,
    force: bool = False,
) -> list[RunRecord]:
    """Run the cells of a matrix that are not finished.

    Every dataset is read once before anything is trained, so that bad data stops nothing half-way.

    Args:
        matrix: Names the cells.
        context: Where the data is and where the results go.
        engine: Where the cells run; worker processes on this machine if not given.
        console: Shows what happens; the terminal if not given.
        force: Run finished cells again.

    Returns:
        The records of the cells that ran, in the order in which they ended.

    Raises:
        ValueError: A name is unknown, a dataset is not what it should be, or the run that another one starts from is
            not there.
        KeyboardInterrupt: The user stopped it; the same call goes on from the last finished epochs.
    """
    engine, console = engine or LocalEngine(), console or Console()
    cells = matrix.cells(discover_methods(context.plugins), context.datasets)
    jobs = _checked_jobs(with_initial_weights(cells, context.store), context, console)
    for name in context.roots:
        if context.datasets[name].home is not None:  # a card's: its runs can be scored where the card is not
            write_description(context.datasets[name], context.store / CARDS / f"{name}.json")
    store = RunStore(context.store)
    store.plan(jobs)
    if force:
        _clear(jobs, store, console)
    waiting = [job for job in jobs if not store.is_done(*job)]
    for damage in filter(None, map(store.damage, waiting)):
        console.print(f"{damage} The cell runs again.", markup=False)
    finished, workers = len(jobs) - len(waiting), engine.workers
    console.print(f"{len(jobs)} cells, {finished} finished before; up to {workers} at a time, {engine.resources}")
    shared = replace(context, started=utc_now(), limit=matrix.limit, stall=matrix.stall)
    records = []
    with LiveTable([job.cell for job in waiting], workers, console, Speeds(store.runs(whole=True))) as table:
        for record in _run_all(waiting, shared, engine, table):
            records.append(record)
            table.finish(record)
    _report(records, console)
    return records


def _run_all(jobs: Sequence[Job], context: Context, engine: Engine, table: LiveTable) -> Iterator[RunRecord]:
    """Run jobs; those that another run has are waited for, and taken where it has given them up."""
    elsewhere: dict[Job, Lease] = {}  # each lease is kept: who polls it sees whether it is stale
    store = RunStore(context.store)
    while jobs:
        for job, record in engine.run(jobs, context, lambda job, progress: table.watch(job.cell, progress)):
            if record is None:
                elsewhere[job] = Lease(store, job)
                table.watch(job.cell, Progress(ELSEWHERE))
            else:
                yield record
        jobs = _wait_for_any(elsewhere)
        for job in jobs:
            del elsewhere[job]


def _wait_for_any(elsewhere: Mapping[Job, Lease]) -> list[Job]:
    """Wait until nobody has some of these jobs any more, and return those; none if there are no jobs."""
    while elsewhere:
        free = []
        for job, lease in elsewhere.items():
            with held(lease) as mine:
                free += [job] if mine else []
        if free:
            return free
        time.sleep(POLL_SECONDS)
    return []


def _clear(jobs: Sequence[Job], store: RunStore, console: Console) -> None:
    """Delete what there is of the jobs, so that they run again; what another run has stays."""
    for job in jobs:
        with held(Lease(store, job)) as mine:
            if mine:
                shutil.rmtree(store.path(*job), ignore_errors=True)
            else:
                console.print(f"{job.cell} is running elsewhere and is not run again.", markup=False)


def _checked_jobs(cells: Sequence[Cell], context: Context, console: Console) -> list[Job]:
    """Read every dataset of the cells and describe it in a line."""
    fingerprints: dict[tuple[str, str, str], str] = {}
    for cell in cells:
        key = (cell.dataset, cell.protocol, cell.split)
        if key in fingerprints:
            continue
        data = context.datamodule(cell)
        if not any(dataset == cell.dataset for dataset, _, _ in fingerprints):
            _introduce(cell.dataset, data, console)
        if cell.tunes and not data.split.val:
            raise ValueError(
                f"{cell.dataset}/{cell.protocol}/{cell.split} has no validation films, so nothing can be tuned there; "
                f"choose another protocol or purpose."
            )
        for concern in concerns(data):
            console.print(f"  {cell.protocol}, {cell.split}: {concern}", markup=False)
        fingerprints[key] = data.fingerprint
    return [Job(cell, fingerprints[cell.dataset, cell.protocol, cell.split]) for cell in cells]


def _introduce(name: str, data: LandmarkDataModule, console: Console) -> None:
    inventory = data.inventory
    notes = [f"{len(inventory.cases)} films in {data.folder}"]
    absent = len(inventory.missing) + len(inventory.unreadable)
    notes += [f"files missing or unreadable, their cases left out: {absent}"] if absent else []
    odd = len(inventory.oddities)
    notes += [f"odd films and labels kept: {odd} (osteomark data check {name})"] if odd else []
    console.print(f"{name}: {', '.join(notes)}")
    for note in inventory.notes:
        console.print(f"  {note}", markup=False)


def _report(records: Sequence[RunRecord], console: Console) -> None:
    """Name what could not run and why."""
    for record in records:
        if record.status == "unsupported":
            console.print(f"{record.cell} is not supported: {record.reason}", markup=False)
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        console.print(f"{record.cell} failed: {record.reason} (log: {record.folder / LOG})", markup=False)
    if failed:
        console.print(f"{len(failed)} of {len(records)} cells failed; the same command tries them again.")
