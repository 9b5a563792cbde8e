"""One cell on several devices of a machine: a process per device, which train together and are one run.

The process that runs the cell is rank 0: it alone writes, reports and predicts. It starts the other ranks as processes
that train only. They find each other by files in a temporary folder, so that cells beside each other need no ports.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from benchmark.cell import Budget
from benchmark.training.processes import follow_parent, fork_loaders

LOOK_SECONDS: Final = 0.2
"""Between two looks at ranks that have not started yet."""
MEETING_SECONDS: Final = 120
"""For ranks that have all started to become a group."""


class Rank(NamedTuple):
    """The place of a process among those that train a cell.

    Attributes:
        number: From 0.
        devices: How many there are, one device each.
    """

    number: int
    devices: int


class _Ranks(LightningEnvironment):
    """Tells Lightning that the processes of all ranks are there already."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index = index

    @property
    def creates_processes_externally(self) -> bool:
        """Lightning starts no process."""
        return True

    def local_rank(self) -> int:
        """All ranks are on one machine."""
        return self.index


def ddp(rank: Rank) -> DDPStrategy:
    """Return Lightning's strategy for a process whose group is joined; a stage need not train every weight."""
    return DDPStrategy(cluster_environment=_Ranks(rank.number), find_unused_parameters=True)


def require_devices(budget: Budget, batch_size: int, validating: int) -> None:
    """Check that a cell can be trained on the devices of its budget.

    Args:
        budget: Says how many devices.
        batch_size: Of the method.
        validating: Number of validation cases.

    Raises:
        ValueError: It cannot; the message says what to change.
    """
    devices, gpus = budget.devices, torch.cuda.device_count()
    if batch_size % devices:
        raise ValueError(
            f"a batch of {batch_size} films cannot be divided among budget.devices {devices}; choose a batch_size that "
            f"is a multiple of it."
        )
    if 0 < validating < devices:
        raise ValueError(f"{validating} validation films are too few for budget.devices {devices}.")
    if 0 < gpus < devices:
        raise ValueError(f"budget.devices is {devices}, but this process sees only {gpus} of the GPUs.")
    if budget.sync_batchnorm and not gpus:
        raise ValueError("budget.sync_batchnorm needs GPUs; leave it out on the processor.")


@contextmanager
def other_ranks(devices: int, work: Callable[..., None], *arguments: Any) -> Iterator[Rank]:  # noqa: ANN401  # `work`'s
    """Start the other ranks of a cell, join them as rank 0, and see them end.

    Args:
        devices: How many ranks there are in all.
        work: What another rank does, an importable function; called as `work(rank, *arguments)` in its process.
        arguments: For `work`; they can be pickled.

    Yields:
        This process's rank.

    Raises:
        RuntimeError: Another rank failed, or ended before it began; the message is its traceback's last line.
    """
    if devices == 1:
        yield Rank(0, 1)
        return
    with tempfile.TemporaryDirectory(prefix="osteomark-ranks-") as folder:
        meeting = Path(folder)
        others: ProcessContext = start_processes(  # type: ignore[no-untyped-call]
            _other_rank, (devices, meeting, work, arguments), devices - 1, join=False, start_method="spawn"
        )
        try:
            _await(others, meeting)
            with _group(Rank(0, devices), meeting):
                yield Rank(0, devices)
            while not others.join():
                pass
        except BaseException as error:
            _blame(others, error)
            raise
        finally:
            for process in others.processes:
                process.kill()
                process.join()


def _other_rank(index: int, devices: int, meeting: Path, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Be rank `index` + 1; torch hands an exception over to rank 0."""
    follow_parent()
    fork_loaders()
    rank = Rank(index + 1, devices)
    _mark(meeting, index).touch()
    with _group(rank, meeting):
        work(rank, *arguments)


def _mark(meeting: Path, index: int) -> Path:
    """Return the file that a process makes when it has started."""
    return meeting / f"started{index}"


def _await(others: ProcessContext, meeting: Path) -> None:
    """Wait until all processes have started, however long their imports take; one that ended is not waited for.

    A group would wait for it for half an hour.

    Raises:
        ProcessException: One has failed.
        RuntimeError: One has ended.
    """
    for index, process in enumerate(others.processes):
        while not _mark(meeting, index).exists():
            if process.exitcode is not None:
                others.join()
                raise RuntimeError("the process of another device ended before it began to train.")
            process.join(LOOK_SECONDS)


@contextmanager
def _group(rank: Rank, meeting: Path) -> Iterator[None]:
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    store = distributed.FileStore(str(meeting / "store"), rank.devices)  # type: ignore[attr-defined]  # it is public
    store.set_timeout(timedelta(seconds=MEETING_SECONDS))
    distributed.init_process_group(backend, store=store, rank=rank.number, world_size=rank.devices)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _blame(others: ProcessContext, error: BaseException) -> None:
    """Raise the error of another rank that failed first, instead of the broken connection that it left here."""
    if isinstance(error, distributed.DistError) or "gloo" in str(error):
        try:
            others.join(timeout=60)  # it takes a moment to end
        except ProcessException as failed:
            error = failed
    if isinstance(error, ProcessException):
        last = str(error).strip().splitlines()[-1]
        raise RuntimeError(f"the process of another device failed: {last}") from error
