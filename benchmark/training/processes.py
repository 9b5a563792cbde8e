"""What processes that are started for cells have in common; no torch, whose import must wait."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading


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
