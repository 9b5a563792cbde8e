"""The logs of cells: a run's folder by a part of its path, and its log as it grows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmark.store import LOG, RunStore
from benchmark.training.progress_file import RunningCell

POLL_SECONDS: Final = 0.5
SHOWN: Final = 5


def find_run(root: Path, cell: str) -> Path:
    """Return the folder of a cell.

    Args:
        root: The store.
        cell: Its path, relative to the store or not, the start of it, or a part of it that no other cell has.

    Raises:
        ValueError: No cell, or more than one, is meant.
    """
    folders = {folder.relative_to(root).as_posix(): folder for folder in RunStore(root).folders()}
    asked = cell.removeprefix(f"{root.as_posix()}/").strip("/")
    if asked in folders:
        return folders[asked]
    meant = [name for name in folders if name.startswith(asked)] or [name for name in folders if asked in name]
    if len(meant) == 1:
        return folders[meant[0]]
    if meant:
        more = f" and {len(meant) - SHOWN} more" if len(meant) > SHOWN else ""
        raise ValueError(f"{cell!r} is a part of {', '.join(meant[:SHOWN])}{more}; give more of one.")
    from benchmark.lookup import unknown  # takes seconds

    raise unknown(cell, folders, f"cell below {root} called")


def log_lines(folder: Path, *, follow: bool = False) -> Iterator[str]:
    """Yield a run's log.

    Args:
        folder: The run's.
        follow: Go on with what is added until the cell no longer runs.

    Raises:
        ValueError: There is no log.
    """
    path = folder / LOG
    if not path.is_file():
        raise ValueError(f"{path} is not there: the cell has not been started.")
    with path.open(encoding="utf-8", errors="replace") as file:
        while True:
            running = RunningCell.read(folder) is not None  # before reading, so that the last lines are not missed
            while text := file.read(1 << 16):
                yield text
            if not (follow and running):
                return
            time.sleep(POLL_SECONDS)
