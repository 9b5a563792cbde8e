"""What an engine is: it carries jobs somewhere and brings their records back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from benchmark.cell import Context, Job
from benchmark.store import RunRecord
from benchmark.training.progress import Progress

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

    def run(self, jobs: Sequence[Job], context: Context, watch: Watch) -> Iterator[Outcome]:
        """Yield each job as it ends, also one that failed, and call `watch` with all progress."""
