"""The right to train a cell, or to do another thing once: one process holds it at a time, on whatever machine.

A lease is a file, that of a cell `seed<k>-<hash>.lease` beside the run's folder, which its holder touches every
`HEARTBEAT` seconds. A lease that nobody has touched for `STALE` seconds may be taken, and that of a process that has
died on this machine at once; an empty one, whose process died before it wrote who it was, after `STALE` seconds too. A
holder that has lost the lease of a cell stops without writing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Final

from filelock import OwnerRecord, SoftFileLease, Timeout

from benchmark.cell import Job
from benchmark.store import RunStore

HEARTBEAT: Final = 20.0
STALE: Final = 120.0
"""Longer than a shared file system hides a change from another machine (NFS: up to 60 s), and than a short outage."""
SUFFIX: Final = ".lease"
LOOK_SECONDS: Final = 0.05
"""Between two looks of who waits for a lease."""


class LostLeaseError(BaseException):
    """Another run has taken the cell; no `Exception`, so that nothing records it as a failure of the method."""


class FileLease:
    """A lease.

    Args:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lost = Event()
        self._empty: tuple[tuple[int, int], float] | None = None
        self._lock = SoftFileLease(
            self.path,
            lease_duration=STALE,
            heartbeat_interval=HEARTBEAT,
            on_compromise=lambda _: self._lost.set(),
            thread_local=False,  # a watchdog gives it back for the thread that hangs
        )

    @property
    def owner(self) -> OwnerRecord | None:
        """Who holds it: `hostname` and `pid`; None where nobody does."""
        return self._lock.owner

    def take(self) -> bool:
        """Take it if it is free or stale, and tell whether that worked.

        What is stale shows to who looks twice: keep a `FileLease` to poll another process's.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            self._look_whether_empty()
            return False
        self._lost.clear()
        return True

    def _look_whether_empty(self) -> None:
        """Write into a file that stays empty: filelock takes over one that names no holder, but never an empty one."""
        with suppress(OSError), self.path.open("r+b") as file:
            status = os.fstat(file.fileno())
            version, now = (status.st_ino, status.st_mtime_ns), time.monotonic()
            if status.st_size:
                self._empty = None
            elif self._empty is None or self._empty[0] != version:
                self._empty = version, now
            elif now - self._empty[1] >= STALE:
                file.write(b"abandoned\n")

    def give_back(self) -> None:
        """Let others take it; what another run has taken stays with it."""
        self._lock.release()

    def check(self) -> None:
        """Raise `LostLeaseError` where another run has taken it, also while this process was suspended."""
        owner = self.owner  # None while it cannot be read: the heartbeat decides then
        if self._lost.is_set() or (owner is not None and owner.token != self._lock.token):
            raise LostLeaseError


class Lease(FileLease):
    """The right to train a job's cell.

    Args:
        store: The run store.
        job: The job.
    """

    def __init__(self, store: RunStore, job: Job) -> None:
        self.folder = store.path(*job)
        super().__init__(lease_path(self.folder))


def lease_path(folder: Path) -> Path:
    """Return the file of the lease of a run: beside its folder, which `--force` deletes."""
    return folder.with_name(folder.name + SUFFIX)


@contextmanager
def held(lease: Lease) -> Iterator[bool]:
    """Hold a lease if it can be had, and tell whether it is."""
    taken = lease.take()
    try:
        yield taken
    finally:
        if taken:
            lease.give_back()


@contextmanager
def waited_for(lease: FileLease) -> Iterator[None]:
    """Hold a lease, once whoever has it gives it back or is gone."""
    while not lease.take():
        time.sleep(LOOK_SECONDS)
    try:
        yield
    finally:
        lease.give_back()
