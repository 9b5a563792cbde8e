"""The engine of one machine: one worker process per GPU, or a few that share the processor's cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

from benchmark.cell import Context, Job
from benchmark.engines.base import Outcome, Watch
from benchmark.store import RunRecord, utc_now
from benchmark.training.progress import STARTING, Progress
from benchmark.training.run_job import record_death, run_job

CPU_SLOTS = 4
WORKER_BYTES = 3 * 2**30
"""What a worker on the processor may need."""
_PROCESSES = multiprocessing.get_context("spawn")


class Slot(NamedTuple):
    """What one worker may use.

    Attributes:
        device: Value of `CUDA_VISIBLE_DEVICES`; None on the processor.
        threads: Of the processor.
    """

    device: str | None
    threads: int

    def take(self) -> None:
        """Limit this process to it, before torch is imported."""
        if self.device is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.device
        limit_threads(self.threads)


def local_slots(count: int | None = None) -> list[Slot]:
    """Return this machine's slots: one per visible GPU, otherwise a few that divide the processor's cores.

    Small networks gain little from a second core, so without a GPU there are up to `CPU_SLOTS` slots.

    Args:
        count: How many; more than there are GPUs share them in turn.
    """
    import torch  # takes a second; `--help` does not need it

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = torch.cuda.device_count()
    names = given.split(",")[:gpus] if given else [str(index) for index in range(gpus)]
    count = count or gpus or max(1, min(cores, CPU_SLOTS, _memory() // WORKER_BYTES))
    threads = max(1, cores // count)
    return [Slot(names[index % gpus] if gpus else None, threads) for index in range(count)]


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class LocalEngine:
    """Worker processes on this machine, one per slot; a worker that dies takes only its cell with it.

    Args:
        slots: One worker each.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots

    @property
    def workers(self) -> int:
        """How many jobs run at a time."""
        return len(self.slots)

    @property
    def resources(self) -> str:
        """What each worker has."""
        slot = self.slots[0]
        return f"threads each: {slot.threads}" if slot.device is None else "a GPU each"

    def run(self, jobs: Sequence[Job], context: Context, watch: Watch) -> Iterator[Outcome]:
        """Yield each job as it ends; on leaving early the workers are killed, their checkpoints stay."""
        waiting = deque(jobs)
        workers = [Worker(slot, context, watch) for slot in self.slots[: len(waiting)]]
        try:
            for worker in workers:
                worker.start(waiting.popleft())
            while busy := {worker.connection: worker for worker in workers if worker.job}:
                for connection in wait(list(busy)):
                    worker = busy[connection]  # type: ignore[index]  # `wait` returns what it was given
                    if outcome := worker.receive():
                        if waiting:
                            worker.start(waiting.popleft())
                        yield outcome
        finally:
            for worker in workers:
                worker.kill()


class Worker:
    """A process that runs one job after another; one that died is replaced by the next job.

    Args:
        slot: What it may use.
        context: For all its jobs.
        watch: Told what happens.
    """

    connection: Connection
    process: SpawnProcess

    def __init__(self, slot: Slot, context: Context, watch: Watch) -> None:
        self.slot, self.context, self.watch = slot, context, watch
        self.job: Job | None = None
        self._alive = False

    def start(self, job: Job) -> None:
        """Begin a job; what comes of it is to be received."""
        if not self._alive:
            self._hire()
        self.job, self._started = job, utc_now()
        self.watch(job, Progress(STARTING))
        with suppress(OSError):  # it died; `receive` says so
            self.connection.send(job)

    def receive(self) -> Outcome | None:
        """Take the worker's next message: progress goes to the watcher, what ends the job is returned.

        The record of a worker that died is made here and written for it.
        """
        job = self.job
        assert job is not None, "only a worker with a job answers"
        try:
            message: Progress | Ended = self.connection.recv()
        except (EOFError, OSError):
            message = Ended(self._obituary(job))
        if isinstance(message, Ended):
            self.job = None
            return job, message.record
        self.watch(job, message)
        return None

    def kill(self) -> None:
        """End the process at once; checkpoints and results are atomic, so nothing is left half written."""
        if self._alive:
            self._alive = False
            self.process.kill()
            self.process.join()
            self.connection.close()

    def _hire(self) -> None:
        self.connection, theirs = _PROCESSES.Pipe()
        self.process = _PROCESSES.Process(target=work, args=(theirs, self.slot, self.context))
        self.process.start()
        theirs.close()  # so that the worker's death ends the pipe
        self._alive = True

    def _obituary(self, job: Job) -> RunRecord | None:
        """Record the death of the worker; None where another run has taken the cell already."""
        self.process.join(timeout=5)  # its own end, not ours, is the reason
        self.kill()
        code = self.process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
        return record_death(job, self.context, self._started, f"The worker process {how}{hint}.")


class Ended(NamedTuple):
    """What a worker says at the end of a job."""

    record: RunRecord | None


def work(connection: Connection, slot: Slot, context: Context) -> None:
    """Run the jobs that arrive, in a worker process, until the pipe closes.

    Args:
        connection: Jobs come in, progress and records go out.
        slot: What this process may use.
        context: For all jobs.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_die_with_parent, daemon=True).start()
    slot.take()
    if sys.platform == "linux":  # loaders fork, as in any other process; spawned ones would pickle the whole trainer
        multiprocessing.set_start_method("fork", force=True)
    while True:
        try:
            job: Job = connection.recv()
        except EOFError:
            return
        connection.send(Ended(run_job(job, context, connection.send)))


def limit_threads(threads: int) -> None:
    """Let the libraries of this process and of its children use so many threads each."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
