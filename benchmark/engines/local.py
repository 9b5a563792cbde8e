"""The engine of one machine: one worker process per GPU, or a few that share the processor's cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

from benchmark.cell import Context, Job
from benchmark.engines.base import STOPPED, Outcome, Watch, limit_threads
from benchmark.store import RunRecord, utc_now
from benchmark.training.processes import GRACE_SECONDS, ended_by_sigterm, follow_parent, fork_loaders
from benchmark.training.progress import STARTING, Progress
from benchmark.training.run_job import record_death, run_job

CPU_SLOTS = 4
WORKER_BYTES = 3 * 2**30
"""What a worker on the processor may need."""
_PROCESSES = multiprocessing.get_context("spawn")


class Slot(NamedTuple):
    """A device that one cell uses, or one of several cells that share it.

    Attributes:
        number: From 0.
        device: Value of `CUDA_VISIBLE_DEVICES`; None on the processor.
        threads: Of the processor.
    """

    number: int
    device: str | None
    threads: int


def take(slots: Sequence[Slot]) -> None:
    """Limit this process to its slots, before torch is imported."""
    devices = [slot.device for slot in slots if slot.device is not None]
    if devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(devices)
    limit_threads(slots[0].threads)


def local_slots(count: int | None = None, slots_per_gpu: int = 1, threads: int | None = None) -> list[Slot]:
    """Return this machine's slots: a few per visible GPU, otherwise a few that divide the processor's cores.

    Small networks gain little from a second core, so without a GPU there are up to `CPU_SLOTS` slots.

    Args:
        count: How many; if there are more than GPUs, these are given out in turn.
        slots_per_gpu: How many share a GPU, where `count` does not say it.
        threads: Of each; an equal part of the cores if not given.
    """
    import torch  # takes a second; `--help` does not need it

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = torch.cuda.device_count()
    names = given.split(",")[:gpus] if given else [str(index) for index in range(gpus)]
    count = count or gpus * slots_per_gpu or max(1, min(cores, CPU_SLOTS, _memory() // WORKER_BYTES))
    threads = threads or max(1, cores // count)
    return [Slot(index, names[index % gpus] if gpus else None, threads) for index in range(count)]


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class LocalEngine:
    """Worker processes on this machine, one per slot; a worker that dies takes only its cell with it.

    A cell of several devices takes as many slots, on GPUs of their own.

    Args:
        slots: How many; if not given, `slots_per_gpu` of each visible GPU, or up to four that share the cores.
        slots_per_gpu: How many cells share a GPU.
        threads: Of the processor, for each slot; an equal part of the cores if not given.
    """

    def __init__(self, *, slots: int | None = None, slots_per_gpu: int = 1, threads: int | None = None) -> None:
        self.slots = local_slots(slots, slots_per_gpu, threads)

    @property
    def workers(self) -> int:
        """How many jobs run at a time."""
        return len(self.slots)

    @property
    def resources(self) -> str:
        """What each worker has."""
        slot, gpus = self.slots[0], len({slot.device for slot in self.slots})
        if slot.device is None:
            return f"threads each: {slot.threads}"
        return "a GPU each" if gpus == len(self.slots) else f"on GPUs: {gpus}"

    @property
    def farewell(self) -> str:
        """What a user reads who has stopped the command."""
        return STOPPED

    def run(self, jobs: Sequence[Job], context: Context, watch: Watch) -> Iterator[Outcome]:
        """Yield each job as it ends; on leaving early the workers are ended, their checkpoints stay.

        Raises:
            ValueError: A cell needs more devices than there are.
        """
        for devices in {job.cell.budget.devices for job in jobs}:
            self._require(devices)
        waiting, crew = deque(jobs), Crew(self.slots, context, watch)
        try:
            while waiting or crew.busy:
                while waiting and (worker := crew.worker(waiting[0].cell.budget.devices)):
                    worker.start(waiting.popleft())
                for connection in wait([worker.connection for worker in crew.busy]):
                    worker = next(worker for worker in crew.busy if worker.connection is connection)
                    if outcome := worker.receive():
                        yield outcome
        finally:
            crew.dismiss()

    def _require(self, devices: int) -> None:
        if devices > len(_apart(self.slots)):
            there = len(_apart(self.slots))
            cure = "use fewer" if self.slots[0].device else f"give the engine {devices} slots"
            raise ValueError(f"budget.devices is {devices}, but this machine's slots have {there}; {cure}.")


def _apart(slots: Sequence[Slot]) -> list[Slot]:
    """Return the slots that a cell of several devices may use together: one of each GPU, or all on the processor."""
    devices = {slot.number if slot.device is None else slot.device: slot for slot in reversed(slots)}
    return sorted(devices.values())


class Crew:
    """The workers of an engine, each with the slots that it was hired for.

    Args:
        slots: What they share.
        context: For all their jobs.
        watch: Told what happens.
    """

    def __init__(self, slots: Sequence[Slot], context: Context, watch: Watch) -> None:
        self.slots, self.context, self.watch = slots, context, watch
        self.workers: list[Worker] = []

    @property
    def busy(self) -> list[Worker]:
        """Those that have a job."""
        return [worker for worker in self.workers if worker.job]

    def worker(self, devices: int) -> Worker | None:
        """Return an idle worker with so many devices; None where too few are free.

        A worker that is kept idle has loaded its libraries and its data already; one whose slots another needs goes.
        """
        taken = {slot for worker in self.busy for slot in worker.slots}
        free = [slot for slot in self.slots if slot not in taken]
        chosen = tuple(free[:1] if devices == 1 else _apart(free)[:devices])
        if len(chosen) < devices:
            return None
        for worker in self.workers:
            if worker.slots == chosen:
                return worker
        for worker in [worker for worker in self.workers if set(worker.slots) & set(chosen)]:
            worker.kill()
            self.workers.remove(worker)
        self.workers.append(Worker(chosen, self.context, self.watch))
        return self.workers[-1]

    def dismiss(self) -> None:
        """Let all give back their leases, then end them."""
        for worker in self.workers:
            worker.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for worker in self.workers:
            worker.kill(patience=deadline - time.monotonic())


class Worker:
    """A process that runs one job after another; one that died is replaced by the next job.

    Args:
        slots: What it may use.
        context: For all its jobs.
        watch: Told what happens.
    """

    connection: Connection
    process: SpawnProcess

    def __init__(self, slots: tuple[Slot, ...], context: Context, watch: Watch) -> None:
        self.slots, self.context, self.watch = slots, context, watch
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

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._alive:
            self.process.terminate()

    def kill(self, patience: float = 0.0) -> None:
        """End the process; checkpoints and results are atomic, so nothing is left half written.

        Args:
            patience: Seconds in which it may end by itself.
        """
        if self._alive:
            self._alive = False
            self.process.join(max(0.0, patience))
            self.process.kill()
            self.process.join()
            self.connection.close()

    def _hire(self) -> None:
        self.connection, theirs = _PROCESSES.Pipe()
        self.process = _PROCESSES.Process(target=work, args=(theirs, self.slots, self.context))
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


def work(connection: Connection, slots: tuple[Slot, ...], context: Context) -> None:
    """Run the jobs that arrive, in a worker process, until the pipe closes.

    Args:
        connection: Jobs come in, progress and records go out.
        slots: What this process may use.
        context: For all jobs.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    follow_parent()
    take(slots)
    fork_loaders()
    with ended_by_sigterm():
        while True:
            try:
                job: Job = connection.recv()
            except EOFError:
                return
            connection.send(Ended(run_job(job, context, connection.send)))
