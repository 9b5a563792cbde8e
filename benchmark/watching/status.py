"""Where the cells of a store stand, read from its files alone, on whatever machine; no torch.

A cell runs where its folder has a `progress.json` and the lease beside it is fresh. One whose lease nobody has touched
for `STALE` seconds has lost its process. Waiting cells are those that have not begun yet of the matrices that were run
on the store, whose lists lie in its folder `plans`.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from benchmark.speeds import CellKind, Speeds, TimeLeft, time_left
from benchmark.store import RUN, RunStore
from benchmark.training.lease import STALE, lease_path
from benchmark.training.progress_file import RunningCell

State = Literal["running", "stale", "waiting", "interrupted", "done", "failed", "unsupported", "damaged"]
ENDED = ("done", "unsupported")


@dataclass(frozen=True)
class CellStatus:
    """Where one cell stands.

    Args:
        cell: Its folder, relative to the store.
        state: `stale` where its process seems dead, `interrupted` where it ended without a record, `damaged` where its
            `run.json` cannot be read.
        config: `Cell.config`; empty where neither a record nor a plan says it.
        reason: Why it failed, or why it cannot run.
        seconds: That it took, or has taken in this attempt.
        epochs: That it trained, or is to train.
        finished: UTC, ISO 8601.
        running: What a running or stale cell says of itself.
        heartbeat: Seconds since its process last showed that it lives.
    """

    cell: str
    state: State
    config: str = ""
    reason: str = ""
    seconds: float = 0.0
    epochs: int = 0
    finished: str = ""
    running: RunningCell | None = None
    heartbeat: float | None = None

    @property
    def kind(self) -> CellKind:
        """What decides how long it takes."""
        dataset, protocol, _, variant, _ = Path(self.cell).parts
        return CellKind(dataset, protocol, variant, self.config)

    @property
    def remaining(self) -> float | None:
        """Seconds that a running cell still takes, by the epochs of this attempt; None where these do not tell yet."""
        if self.running is None:
            return None
        share = self.running.share
        return None if share is None else self.running.seconds * (1 - share) / share


class MethodSpeed(NamedTuple):
    """How long the cells of one kind took.

    Attributes:
        kind: Which.
        cells: How many are done.
        seconds: Of a cell, the mean of the last ones.
        epoch_seconds: Of an epoch, likewise; None where nothing was trained by epochs.
    """

    kind: CellKind
    cells: int
    seconds: float
    epoch_seconds: float | None


@dataclass(frozen=True)
class StoreStatus:
    """Where all cells of a store stand.

    Args:
        cells: In the order of their paths.
    """

    cells: tuple[CellStatus, ...]

    @property
    def counts(self) -> dict[State, int]:
        """How many cells are in each state that occurs."""
        return dict(Counter(cell.state for cell in self.cells))

    def having(self, *states: State) -> list[CellStatus]:
        """Return the cells in some states."""
        return [cell for cell in self.cells if cell.state in states]

    @property
    def speeds(self) -> list[MethodSpeed]:
        """How long the cells of each kind took, for those of which one is done."""
        known, kinds = self._learned(), defaultdict(list)
        for cell in self.having("done"):
            kinds[cell.kind].append(cell)
        return [
            MethodSpeed(kind, len(cells), known.expected(kind) or 0.0, _epoch_seconds(cells))
            for kind, cells in sorted(kinds.items())
        ]

    @property
    def time_left(self) -> TimeLeft | None:
        """The time that is left at the present number of running cells; None where none runs."""
        running, waiting = self.having("running"), self.having("waiting", "interrupted", "stale")
        if not running:
            return None
        known = self._learned()
        left = [_sooner(cell, known) for cell in running]
        return time_left(left, [known.expected(cell.kind) for cell in waiting], len(running))

    def as_json(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        left = self.time_left
        return {
            "counts": self.counts,
            "seconds_left": left and left.seconds,
            "cells_not_timed": left and left.untimed,
            "cells": [_as_json(cell) for cell in self.cells if cell.state not in ENDED],
            "speeds": [{**speed._asdict(), "kind": speed.kind._asdict()} for speed in self.speeds],
        }

    def _learned(self) -> Speeds:
        speeds = Speeds()
        for cell in sorted(self.having("done"), key=lambda cell: cell.finished):
            speeds.learn(cell.kind, cell.seconds)
        return speeds


def read_status(root: Path) -> StoreStatus:
    """Read where the cells of a store stand.

    Raises:
        ValueError: There is no such folder.
    """
    if not root.is_dir():
        raise ValueError(f"there is no store {root}; give the folder of the runs with --store.")
    store = RunStore(root)
    planned = store.planned()
    found = {str(folder.relative_to(root)): folder for folder in store.folders()}
    now = time.time()
    cells = [_status(name, folder, planned, now) for name, folder in found.items()]
    cells += [CellStatus(name, "waiting", config) for name, config in planned.items() if name not in found]
    return StoreStatus(tuple(sorted(cells, key=lambda cell: Path(cell.cell).parts)))


def _status(name: str, folder: Path, planned: Mapping[str, str], now: float) -> CellStatus:
    running = RunningCell.read(folder)
    heartbeat = _age(lease_path(folder), now)
    if running is not None:
        alive = heartbeat is not None and heartbeat < STALE
        state: State = "running" if alive else "stale"
        config = planned.get(name, "")
        return CellStatus(
            name, state, config, seconds=running.seconds, epochs=running.epochs, running=running, heartbeat=heartbeat
        )
    return _ended(name, folder, planned)


def _ended(name: str, folder: Path, planned: Mapping[str, str]) -> CellStatus:
    try:
        record = json.loads((folder / RUN).read_bytes())
        seconds = sum(record["seconds"].values())
        config, finished = record["cell"]["config"], record["finished"]
        return CellStatus(name, record["status"], config, record["reason"], seconds, record["epochs"], finished)
    except FileNotFoundError:
        return CellStatus(name, "interrupted", planned.get(name, ""))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return CellStatus(name, "damaged", planned.get(name, ""), "its run.json cannot be read")


def _age(path: Path, now: float) -> float | None:
    try:
        return max(0.0, now - path.stat().st_mtime)
    except OSError:
        return None


def _sooner(cell: CellStatus, known: Speeds) -> float | None:
    if cell.remaining is not None:
        return cell.remaining
    expected = known.expected(cell.kind)
    return None if expected is None else max(0.0, expected - cell.seconds)


def _epoch_seconds(cells: Sequence[CellStatus]) -> float | None:
    trained = [cell for cell in cells if cell.epochs]
    return sum(cell.seconds for cell in trained) / sum(cell.epochs for cell in trained) if trained else None


def _as_json(cell: CellStatus) -> dict[str, Any]:
    plain = asdict(replace(cell, running=None))
    return plain | {"running": cell.running and asdict(cell.running)}
