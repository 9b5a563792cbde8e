"""The engine of a Ray cluster: cells are its tasks, on any number of machines that share the store."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import Any

import ray
from ray.exceptions import RayError

from benchmark.cell import Context, Job
from benchmark.engines.base import LOOK_SECONDS, STOPPED, Outcome, Watch, absolute, limit_threads, watch_stored
from benchmark.store import RunRecord, utc_now
from benchmark.training.run_job import record_death, run_job

AHEAD = 16
"""Tasks that wait in Ray's queue, so that a cluster that can grow sees the demand."""
Task = ray.ObjectRef[RunRecord | None]


class RayEngine:
    """Cells as tasks of a Ray cluster; one whose worker or machine is lost runs again on another.

    Args:
        address: Of a running cluster, or `auto` for the one that this machine belongs to. If empty, RAY_ADDRESS
            counts, and without it Ray is started on this machine and ends with this process.
        num_cpus: Cores per device of a cell. A fraction lets cells share a core.
        num_gpus: GPUs per device of a cell. A fraction lets cells share a GPU; 1 if not given, where there are GPUs.
        max_retries: How often a cell is given to another worker after a worker or a machine was lost.
        init: Further arguments of `ray.init`. Without them there is no dashboard and no file is uploaded.

    Raises:
        ValueError: There is no cluster at the address, or `ray.init` does not take an argument.
    """

    def __init__(
        self,
        *,
        address: str = "",
        num_cpus: float = 1.0,
        num_gpus: float | None = None,
        max_retries: int = 3,
        init: Mapping[str, Any] | None = None,
    ) -> None:
        if not ray.is_initialized():
            _connect(address or os.environ.get("RAY_ADDRESS", "local"), init or {})
        self.num_cpus, self.max_retries = num_cpus, max_retries
        self.num_gpus = float(ray.cluster_resources().get("GPU", 0) > 0) if num_gpus is None else num_gpus

    @property
    def workers(self) -> int:
        """How many jobs of one device run at a time on the machines that are in the cluster now."""
        return max(1, sum(_fitting(node, self._needs(1)) for node in _machines()))

    @property
    def resources(self) -> str:
        """What each worker has."""
        gpus = f", GPUs each: {self.num_gpus:g}" if self.num_gpus else ""
        return f"cores each: {self.num_cpus:g}{gpus}, machines: {len(_machines())}"

    @property
    def farewell(self) -> str:
        """What a user reads who has stopped the command."""
        return STOPPED

    def run(self, jobs: Sequence[Job], context: Context, watch: Watch) -> Iterator[Outcome]:
        """Yield each job as it ends; on leaving early the tasks are ended, their checkpoints stay.

        Raises:
            ValueError: No machine of the cluster has what a cell needs.
        """
        for devices in {job.cell.budget.devices for job in jobs}:
            self._require(devices)
        context, started = absolute(context), utc_now()
        waiting, running, shared = deque(jobs), dict[Task, Job](), ray.put(context)
        try:
            while waiting or running:
                while waiting and len(running) < self.workers + AHEAD:
                    job = waiting.popleft()
                    running[self._submit(job, shared)] = job
                ended, _ = ray.wait(list(running), timeout=LOOK_SECONDS)
                for task in ended:
                    job = running.pop(task)
                    yield job, _record(task, job, context, started)
                for job in running.values():
                    watch_stored(job, context, watch)
        finally:
            for task in running:
                ray.cancel(task, force=True)

    def _needs(self, devices: int) -> dict[str, float]:
        """Return what a cell takes of one machine; ranks of one cell cannot share a GPU."""
        gpus = self.num_gpus if devices == 1 else devices * ceil(self.num_gpus)
        return {"CPU": devices * self.num_cpus, "GPU": gpus}

    def _require(self, devices: int) -> None:
        needs = self._needs(devices)
        if not any(_fitting(machine, needs) for machine in _machines()):
            raise ValueError(
                f"no machine of the Ray cluster has {needs['CPU']:g} cores and {needs['GPU']:g} GPUs for a cell with "
                f"budget.devices {devices}; change num_cpus and num_gpus of the engine, or add such a machine."
            )

    def _submit(self, job: Job, context: ray.ObjectRef[Context]) -> Task:
        needs = self._needs(job.cell.budget.devices)
        task = ray.remote(_work).options(
            num_cpus=needs["CPU"], num_gpus=needs["GPU"], max_retries=self.max_retries, name=str(job.cell)
        )
        return task.remote(job, context, max(1, int(self.num_cpus)))


def _connect(address: str, init: Mapping[str, Any]) -> None:
    """Join a cluster or start one, without a dashboard, and with nothing printed here that workers print."""
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "warning"}
    try:
        ray.init(address, **{**(quiet if address == "local" else {"log_to_driver": False}), **init})
    except (ConnectionError, RuntimeError, TypeError) as error:
        raise ValueError(f"Ray at {address!r}: {' '.join(str(error).split())}") from error


def _machines() -> list[Mapping[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _fitting(machine: Mapping[str, float], needs: Mapping[str, float]) -> int:
    """Return how many cells a machine has room for."""
    return min((int(machine.get(name, 0) / amount) for name, amount in needs.items() if amount), default=1)


def _work(job: Job, context: Context, threads: int) -> RunRecord | None:
    limit_threads(threads)
    return run_job(job, context)


def _record(task: Task, job: Job, context: Context, started: str) -> RunRecord | None:
    try:
        record: RunRecord | None = ray.get(task)
        return record
    except RayError as error:
        last = str(error).strip().splitlines()[-1]
        return record_death(job, context, started, f"The cell's Ray task failed: {last}")
