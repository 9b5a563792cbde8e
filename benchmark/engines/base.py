"""What an engine is: it carries jobs somewhere and brings their records back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

from benchmark.cell import Context, Job
from benchmark.store import RunRecord, RunStore
from benchmark.training.progress import Progress
from benchmark.training.progress_file import RunningCell

LOOK_SECONDS = 1.0
"""Between two looks at jobs that run where nothing can be heard of them but through the store."""
STOPPED = "Stopped. The same command goes on from the last finished epochs."

Watch = Callable[[Job, Progress], None]
Outcome = tuple[Job, RunRecord | None]
"""A job and its record; None where another run has the cell."""


class Engine(Protocol):
    """Runs jobs somewhere. A job is one importable function, `run_job`, of a key and a context."""

    @property
    def workers(self) -> int:
        """How many jobs run at a time."""

    @property
    def resources(self) -> str:
        """What each worker has, for a line that a user reads."""

    @property
    def farewell(self) -> str:
        """What a user reads who has stopped the command."""

    def run(self, jobs: Sequence[Job], context: Context, watch: Watch) -> Iterator[Outcome]:
        """Yield each job as it ends, also one that failed, and call `watch` with all progress."""


def limit_threads(threads: int) -> None:
    """Let the libraries of this process and of its children use so many threads each."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def absolute(context: Context) -> Context:
    """Return a context whose paths mean the same in any working folder."""
    return replace(
        context,
        store=context.store.resolve(),
        roots={name: root.resolve() for name, root in context.roots.items()},
        cache=context.cache and context.cache.resolve(),
        plugins=tuple(plugin.resolve() for plugin in context.plugins),
    )


def watch_stored(job: Job, context: Context, watch: Watch) -> None:
    """Tell the watcher what the job's process, wherever it is, has written of its progress."""
    if cell := RunningCell.read(RunStore(context.store).path(*job)):
        known = (float("nan") if value is None else value for value in (cell.loss, cell.error))
        watch(job, Progress(cell.step, cell.epoch, cell.epochs, *known))
