"""`progress.json` in a run's folder: where a running cell stands and who runs it, readable from any machine."""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmark.store import PROGRESS, utc_now, write_atomically
from benchmark.training.progress import STARTING, Progress, share_of_epochs

WRITE_SECONDS: Final = 2.0
"""Between two versions of the file; a new step is written at once."""


@dataclass(frozen=True)
class RunningCell:
    """What `progress.json` says.

    Args:
        step: What the cell is doing.
        epoch: Epochs done, over all stages, with the part of the running one.
        epochs: Epochs planned, over all stages; 0 while unknown.
        loss: The last known training loss; None before the first.
        error: The last known validation radial error in original pixels; None before the first.
        host: The machine's name.
        pid: The process on it.
        started: When this attempt began, UTC, ISO 8601.
        updated: When the file was written, by the machine's own clock, UTC, ISO 8601.
        seconds: Since this attempt began.
        first_epoch: Epochs that earlier attempts had done, so that the speed of this one can be told.
        memory: The most that it has held on its accelerator, in MB; None without one.
    """

    step: str
    epoch: float
    epochs: int
    loss: float | None
    error: float | None
    host: str
    pid: int
    started: str
    updated: str
    seconds: float
    first_epoch: float = 0
    memory: float | None = None

    @property
    def share(self) -> float | None:
        """The part of this attempt's epochs that is done; None while too few are to tell its speed."""
        return share_of_epochs(self.epoch, self.epochs, self.first_epoch)

    @classmethod
    def read(cls, folder: Path) -> RunningCell | None:
        """Return what a run's folder says; None where no cell runs in it, or its file cannot be read."""
        try:
            return cls(**json.loads((folder / PROGRESS).read_text()))
        except (OSError, ValueError, TypeError):
            return None


class ProgressFile:
    """Writes `progress.json` while a cell runs.

    Args:
        folder: The run's.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / PROGRESS
        self._began, self._written = time.monotonic(), -math.inf
        self._latest = RunningCell(
            *(STARTING, 0, 0, None, None, platform.node(), os.getpid(), utc_now(), utc_now(), 0.0)
        )

    def tell(self, progress: Progress) -> None:
        """Take in a message and write the file, if it is time to."""
        before, now = self._latest, time.monotonic()
        self._latest = RunningCell(
            step=progress.step,
            epoch=progress.epoch or before.epoch,
            epochs=progress.epochs or before.epochs,
            loss=before.loss if math.isnan(progress.loss) else progress.loss,
            error=before.error if math.isnan(progress.error) else progress.error,
            memory=before.memory if math.isnan(progress.memory) else round(progress.memory),
            **{name: getattr(before, name) for name in ("host", "pid", "started")},
            updated=utc_now(),
            seconds=round(now - self._began, 1),
            first_epoch=before.first_epoch or (progress.epoch if before.step != "training" else 0),
        )
        if self._latest.step == before.step and now - self._written < WRITE_SECONDS:
            return
        self._written = now
        text = json.dumps(asdict(self._latest)) + "\n"
        try:
            write_atomically(self.path, lambda path: path.write_text(text))
        except OSError as error:  # a full disk is not this file's to complain of
            logging.warning("%s cannot be written: %s", self.path, error)

    def remove(self) -> None:
        """Remove the file: the cell no longer runs."""
        self.path.unlink(missing_ok=True)
