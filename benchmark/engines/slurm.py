"""The engine of a Slurm cluster: cells are jobs of its arrays, on any number of nodes that share the store."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import submitit
from submitit.core.utils import DelayedSubmission, UncompletedJobError

from benchmark.cell import Cell, Context, Job
from benchmark.engines.base import LOOK_SECONDS, Outcome, Watch, absolute, limit_threads, watch_stored
from benchmark.store import RunRecord, utc_now, write_atomically
from benchmark.training.run_job import record_death, run_job

ARRAY = 1000
"""Jobs of an array; Slurm takes up to 1001 where nobody set its MaxArraySize otherwise."""
SIGNAL_SECONDS = 120
"""How long before its time limit a job is told of it."""
SECONDS_PER_JOB = 0.01
"""What a look at a job may cost a shared file system."""
Handle = submitit.Job[RunRecord | None]


class SlurmEngine:
    """Cells as jobs of Slurm arrays, submitted from a machine that has `sbatch`.

    A job that comes to its time limit or is preempted goes back into the queue, and goes on from its last complete
    epoch. Stopping the command leaves the jobs in the queue.

    Args:
        partition: Where jobs run; the cluster's default if empty.
        minutes: Time limit of a job.
        num_cpus: Cores per device of a cell.
        num_gpus: GPUs per device of a cell; 0 on a cluster without.
        mem_gb: Memory of a job; the cluster's default if not given.
        parallel: How many jobs of an array run at a time.
        requeues: How often a job may go back into the queue.
        folder: For Slurm's output and what the jobs are given, on the shared file system. If empty, beside the store,
            with `-slurm` after its name.
        sbatch: Further options of `sbatch` by their long names.
        setup: Shell lines that a job runs first.
        cluster: `local` runs all jobs at once on this machine, to try things out without Slurm.

    Raises:
        ValueError: This machine has no Slurm.
    """

    def __init__(
        self,
        *,
        partition: str = "",
        minutes: int = 240,
        num_cpus: int = 4,
        num_gpus: int = 1,
        mem_gb: float | None = None,
        parallel: int = 256,
        requeues: int = 100,
        folder: str = "",
        sbatch: Mapping[str, Any] | None = None,
        setup: Sequence[str] = (),
        cluster: Literal["slurm", "local"] = "slurm",
    ) -> None:
        if cluster == "slurm" and shutil.which("sbatch") is None:
            raise ValueError("this machine has no sbatch; give the command on a machine from which Slurm takes jobs.")
        self.num_cpus, self.num_gpus, self.mem_gb, self.parallel = num_cpus, num_gpus, mem_gb, parallel
        self.minutes, self.requeues, self.folder, self.cluster = minutes, requeues, folder, cluster
        self.options: dict[str, Any] = {"slurm_partition": partition} if partition else {}
        self.options |= {"slurm_additional_parameters": dict(sbatch or {}), "slurm_setup": list(setup)}
        self.arrays: list[str] = []

    @property
    def workers(self) -> int:
        """How many jobs run at a time, where the cluster has room."""
        return self.parallel

    @property
    def resources(self) -> str:
        """What each worker has."""
        return f"cores each: {self.num_cpus}, GPUs each: {self.num_gpus}, time limit: {self.minutes} min"

    @property
    def farewell(self) -> str:
        """What a user reads who has stopped the command."""
        return (
            f"Stopped, but the jobs stay in the queue; scancel {' '.join(self.arrays)} takes them out. The same "
            f"command waits for what they train and submits what is not finished."
        )

    def run(self, jobs: Sequence[Job], context: Context, watch: Watch) -> Iterator[Outcome]:
        """Yield each job as it ends; on leaving early the jobs stay in the queue."""
        context, started = absolute(context), utc_now()
        running = self._submit(jobs, context)
        while running:
            time.sleep(LOOK_SECONDS + SECONDS_PER_JOB * len(running))
            for handle, job in list(running.items()):
                if handle.done():
                    del running[handle]
                    yield job, _record(handle, job, context, started)
                else:
                    watch_stored(job, context, watch)

    def _submit(self, jobs: Sequence[Job], context: Context) -> dict[Handle, Job]:
        """Submit arrays of jobs that take the same number of devices."""
        store = context.store
        folder = Path(self.folder).resolve() if self.folder else store.with_name(f"{store.name}-slurm")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # jobs unpickle what they are given here
        running: dict[Handle, Job] = {}
        for devices in sorted({job.cell.budget.devices for job in jobs}):
            alike = [job for job in jobs if job.cell.budget.devices == devices]
            executor = self._executor(folder, devices)
            for start in range(0, len(alike), ARRAY):
                array = alike[start : start + ARRAY]
                at = CellAt(_write(array, folder), context, self.num_cpus, self.requeues)
                handles = executor.map_array(at, range(len(array)))
                self.arrays.append(handles[0].job_id.partition("_")[0])
                running |= dict(zip(handles, array, strict=True))
        return running

    def _executor(self, folder: Path, devices: int) -> submitit.AutoExecutor:
        limits = {f"{self.cluster}_max_num_timeout": self.requeues + 1}  # `CellAt` counts
        executor = submitit.AutoExecutor(folder, cluster=self.cluster, **limits)
        executor.update_parameters(
            name="osteomark",
            timeout_min=self.minutes,
            cpus_per_task=self.num_cpus * devices,
            gpus_per_node=self.num_gpus * devices,
            slurm_array_parallelism=self.parallel,
            slurm_signal_delay_s=SIGNAL_SECONDS,
            **({} if self.mem_gb is None else {"mem_gb": self.mem_gb}),
            **self.options,
        )
        return executor


class CellAt:
    """What a job of an array does: it finds its cell by its index and runs it.

    Args:
        cells: The array's cells, as `_write` wrote them.
        context: Of all cells.
        threads: Of the processor, for each device.
        requeues: How often the job may still go back into the queue.
    """

    def __init__(self, cells: Path, context: Context, threads: int, requeues: int) -> None:
        self.cells, self.context, self.threads, self.requeues = cells, context, threads, requeues

    def __call__(self, index: int) -> RunRecord | None:
        """Run the cell."""
        limit_threads(self.threads)
        stored = json.loads(self.cells.read_text())[index]
        return run_job(Job(Cell.from_json(stored["cell"]), stored["fingerprint"]), self.context)

    def checkpoint(self, index: int) -> DelayedSubmission:
        """Return what the requeued job does: the same, from the checkpoint that the last complete epoch left.

        submitit calls it in a signal's handler, then ends the process, which gives the lease back on its way out.
        """
        if self.requeues == 0:
            raise SystemExit(1)
        return DelayedSubmission(CellAt(self.cells, self.context, self.threads, self.requeues - 1), index)


def _write(jobs: Sequence[Job], folder: Path) -> Path:
    """Write the cells of an array for its jobs, and for a user who looks for a job's cell."""
    path = folder / f"cells-{uuid4().hex[:8]}.json"
    content = [{"cell": job.cell.as_json(), "fingerprint": job.fingerprint} for job in jobs]
    write_atomically(path, lambda part: part.write_text(json.dumps(content, indent=1)))
    return path


def _record(handle: Handle, job: Job, context: Context, started: str) -> RunRecord | None:
    try:
        return handle.result()
    except UncompletedJobError:
        paths = handle.paths
        reason = f"The Slurm job {handle.job_id} ended as {handle.state} without a result (output: {paths.stdout})."
        return record_death(job, context, started, reason)
