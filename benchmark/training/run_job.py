"""One job wherever it runs: its lease, its log and its progress around `run_cell`; all engines call this function."""

from __future__ import annotations

import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmark.cell import Context, Job
from benchmark.store import LOG, PROGRESS, RUN, RunRecord, RunStore, remove_leftovers, utc_now
from benchmark.training.lease import Lease, LostLeaseError, held
from benchmark.training.processes import Watchdog
from benchmark.training.progress import Progress, Report
from benchmark.training.progress_file import ProgressFile


def run_job(job: Job, context: Context, report: Report = lambda progress: None) -> RunRecord | None:
    """Run a job unless another run has it or has ended it.

    Args:
        job: The cell and the fingerprint of its data.
        context: Where the data is and where the result goes.
        report: Told what happens.

    Returns:
        The record in the store, also of a job that failed or that another run has ended meanwhile; None where
        another run holds the cell, or has taken it because this one seemed dead.
    """
    store = RunStore(context.store)
    try:
        with held(lease := Lease(store, job)) as taken:
            if not taken:
                return None
            if record := store.ended(job, since=context.started):  # by another run, after this one looked
                return record
            return _run(job, context, lease, report)
    except LostLeaseError:
        return None
    except OSError as error:  # of the store itself, a full disk for example
        return _recorded(store, RunRecord.failed(job, utc_now(), f"{type(error).__name__}: {error}"))


def record_death(job: Job, context: Context, started: str, reason: str) -> RunRecord | None:
    """Record that the process that ran a job has died.

    Args:
        job: The cell and the fingerprint of its data.
        context: Of the job.
        started: When the process began the job, UTC, ISO 8601.
        reason: How it ended, in a sentence.

    Returns:
        The record in the store, that of the job's end if it came that far; None where another run has taken the cell.
    """
    store = RunStore(context.store)
    failed = RunRecord.failed(job, started, reason)
    try:
        with held(Lease(store, job)) as taken:
            if not taken:
                return None
            (store.path(*job) / PROGRESS).unlink(missing_ok=True)
            return store.ended(job, since=started) or _recorded(store, failed)
    except OSError:
        return _recorded(store, failed)


def _run(job: Job, context: Context, lease: Lease, report: Report) -> RunRecord:
    """Run a job whose lease is held."""
    import benchmark.training.run_cell  # noqa: F401  # takes seconds, which no limit counts

    store, folder, started = RunStore(context.store), lease.folder, utc_now()
    remove_leftovers(folder)
    (folder / RUN).unlink(missing_ok=True)  # of an attempt that failed or whose files are damaged
    progress = ProgressFile(folder)

    def expire(reason: str) -> None:
        if not store.ended(job, since=started):
            _recorded(store, RunRecord.failed(job, started, reason))
        progress.remove()
        lease.give_back()

    def tell(message: Progress) -> None:
        lease.check()
        watchdog.heard()
        progress.tell(message)
        report(message)

    try:
        with (
            _log_file(folder / LOG, private=context.dataset(job.cell).private),
            Watchdog(context.limit, context.stall, expire) as watchdog,
        ):
            return _attempt(job, context, tell)
    finally:
        progress.remove()


def _attempt(job: Job, context: Context, report: Report) -> RunRecord:
    from benchmark.training.run_cell import run_cell
    from datamodules.base import DataError

    try:
        return run_cell(job.cell, context, report)
    except Exception as error:  # the data went bad after the matrix was checked; other cells go on
        logging.exception("%s failed before it began", job.cell)
        known = isinstance(error, DataError) or not context.dataset(job.cell).private  # a private set's tell nothing
        reason = f"{type(error).__name__}: {error}" if known else f"{type(error).__name__} in a private set."
        return _recorded(RunStore(context.store), RunRecord.failed(job, utc_now(), reason))


def _recorded(store: RunStore, failed: RunRecord) -> RunRecord:
    """Write the record of a failure; where the disk is full, the cell stays open and the run still says why."""
    try:
        return store.write(failed)
    except OSError as error:
        logging.warning("the record of %s cannot be written: %s", failed.cell, error)
        return replace(failed, folder=store.path(failed.cell, failed.fingerprint))


@contextmanager
def _log_file(path: Path, *, private: bool = False) -> Iterator[None]:
    """Send everything that is written to the terminal, by whatever library, to a file instead; if private, nowhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(stream) for stream in (1, 2)]
    with path.open("a") as file:
        print(f"--- {utc_now()} process {os.getpid()} on {platform.node()}", file=file, flush=True)
        if private:
            print("The data is private: what libraries print is not kept; run.json says what failed.", file=file)
    with Path(os.devnull if private else path).open("a") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
