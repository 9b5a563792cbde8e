"""The processes that run cells: what ends one before its cell is done, and how its loaders start; no torch.

Schedulers take a machine back by SIGTERM. It ends a process as Ctrl-C would, so that leases are given back. A cell's
last complete epoch is on disk at any time, so there is nothing more to save.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Final, Self

TERMINATED: Final = 143
"""Exit code after SIGTERM, as shells and schedulers know it: 128 + 15."""
GRACE_SECONDS: Final = 8.0
"""How long workers may take to end; schedulers kill after 10 s or more."""
TIMED_OUT: Final = 124
"""Exit code of a process whose cell hung, as that of the program `timeout`."""
LOOK_SECONDS: Final = 1.0
"""Between two looks of a `Watchdog` at its clock."""


class Terminated(SystemExit):
    """SIGTERM came; no `Exception`, so that nothing records it as a failure of the method."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Raise `Terminated` in the main thread, which calls this, when SIGTERM comes; a second one is ignored."""

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Watchdog:
    """Ends this process when a cell takes too long or says nothing for too long; a context manager.

    Args:
        limit: Seconds that the attempt may take; None for as long as it wants.
        stall: Seconds without any progress; None likewise.
        expire: Called with the reason, in a sentence, before the process ends.
    """

    def __init__(self, limit: float | None, stall: float | None, expire: Callable[[str], None]) -> None:
        self.limit, self.stall, self.expire = limit, stall, expire
        self._begun = self._heard = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        """Start watching, if there is a limit."""
        if self.limit or self.stall:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop watching."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def heard(self) -> None:
        """Take note of progress."""
        self._heard = time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            if reason := self._reason(time.monotonic()):
                faulthandler.dump_traceback()  # to the log: where it hangs
                self.expire(reason)
                os._exit(TIMED_OUT)

    def _reason(self, now: float) -> str:
        if self.limit and now - self._begun > self.limit:
            return f"It was not done within its limit of {self.limit:g} s."
        if self.stall and now - self._heard > self.stall:
            return f"It made no progress for {self.stall:g} s."
        return ""


def follow_parent() -> None:
    """End this process as soon as the one that started it has ended, however that ended."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def fork_loaders() -> None:
    """Let loaders fork their workers, as in any other process; a process that was spawned itself would spawn them.

    Spawned workers would need a copy of the whole trainer.
    """
    if sys.platform == "linux":
        multiprocessing.set_start_method("fork", force=True)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
