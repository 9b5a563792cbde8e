"""What a user sees while a matrix runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchmark.cell import Cell
from benchmark.speeds import CellKind, Speeds, TimeLeft, duration, time_left
from benchmark.store import RunRecord

HEARTBEAT_SECONDS = 30.0
FRAME_LINES = 6
VALIDATION_ERROR = "val px"
GPU_MEMORY = "GPU MB"
TELLING_SHARE = 0.05
"""Of a cell's epochs: before so many are done, its own speed says little."""
STYLES = {"waiting": "dim", "done": "green", "failed": "bold red", "unsupported": "yellow"}
NAN = float("nan")
STARTING = "starting"
ELSEWHERE = "elsewhere"
"""The step of a cell that another run has."""


class Progress(NamedTuple):
    """Where a cell stands.

    Attributes:
        step: What it is doing.
        epoch: Epochs done, over all stages, with the part of the running one.
        epochs: Epochs planned, over all stages; 0 while unknown.
        loss: The last epoch's training loss; NaN where the message says nothing of it.
        error: The last epoch's validation radial error in original pixels; NaN likewise.
        memory: The most memory that the cell has held on its accelerator, in MB; NaN without one.
    """

    step: str
    epoch: float = 0
    epochs: int = 0
    loss: float = NAN
    error: float = NAN
    memory: float = NAN


Report = Callable[[Progress], None]


@dataclass
class CellState:
    """One cell on the board.

    Args:
        cell: Which.
        state: `waiting`, what it is doing, or how it ended.
        epoch: Epochs done.
        epochs: Epochs planned.
        first_epoch: Epochs that earlier attempts had done.
        loss: The last known training loss.
        error: The lowest validation error so far.
        memory: The most memory on its accelerator so far, in MB.
        start: When it started, on the monotonic clock.
        seconds: How long it took, once ended.
    """

    cell: Cell
    state: str = "waiting"
    epoch: float = 0
    epochs: int = 0
    first_epoch: float | None = None
    loss: float = NAN
    error: float = NAN
    memory: float = NAN
    start: float | None = None
    seconds: float | None = None

    @property
    def running(self) -> bool:
        """Whether it has started and not ended."""
        return self.start is not None and self.seconds is None

    @property
    def elapsed(self) -> float:
        """Seconds it has taken so far."""
        if self.seconds is not None:
            return self.seconds
        return 0.0 if self.start is None else time.monotonic() - self.start

    def remaining(self, expected: float | None) -> float | None:
        """Return the seconds that it still takes.

        Args:
            expected: What a cell of its kind takes; None where that is not known.

        Returns:
            By its own epochs once these tell, else by what is expected; None where neither is known.
        """
        share = share_of_epochs(self.epoch, self.epochs, self.first_epoch or 0)
        if self.running and share is not None:
            return max(0.0, self.elapsed * (1 - share) / share)
        return None if expected is None else max(0.0, expected - self.elapsed)

    def advance(self, progress: Progress) -> None:
        """Take in a message."""
        if self.start is None and progress.step not in (STARTING, ELSEWHERE):  # a worker's own start is not the cell's
            self.start = time.monotonic()
        self.state = progress.step
        self.epochs = progress.epochs or self.epochs
        self.epoch = progress.epoch or self.epoch
        if self.first_epoch is None and progress.step == "training":
            self.first_epoch = progress.epoch
        self.memory = self.memory if math.isnan(progress.memory) else progress.memory
        self.loss = self.loss if math.isnan(progress.loss) else progress.loss
        if not math.isnan(progress.error) and not progress.error > self.error:
            self.error = progress.error

    @property
    def end(self) -> float:
        """When it ended, on the monotonic clock; 0 where it never started."""
        return 0.0 if self.start is None else self.start + self.elapsed

    def finish(self, record: RunRecord) -> None:
        """Take in the end."""
        self.state, self.seconds = record.status, self.elapsed


def share_of_epochs(epoch: float, epochs: int, first_epoch: float) -> float | None:
    """Return the part of an attempt's epochs that is done; None while too few are to tell its speed.

    Args:
        epoch: Epochs done, with the part of the running one.
        epochs: Epochs planned.
        first_epoch: Epochs that earlier attempts had done.
    """
    todo = epochs - first_epoch
    share = (epoch - first_epoch) / todo if todo > 0 else 0.0
    return share if share > TELLING_SHARE else None


class LiveTable:
    """The state of a matrix that runs, and its picture; use it as a context manager.

    Args:
        cells: All that will run now.
        slots: How many run at a time.
        console: Where to show it.
        speeds: What cells of each kind took before.
    """

    def __init__(self, cells: Sequence[Cell], slots: int, console: Console, speeds: Speeds | None = None) -> None:
        self.rows = {cell: CellState(cell) for cell in cells}
        self.kinds = {cell: CellKind.of(cell) for cell in cells}
        self.speeds = speeds or Speeds()
        self.slots, self.console = slots, console
        self._start, self._printed = time.monotonic(), time.monotonic()
        self._live = Live(get_renderable=self.picture, console=console, refresh_per_second=2)

    def __enter__(self) -> Self:
        """Show the table, in a terminal."""
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the last picture on the screen."""
        if self.console.is_terminal:
            self._live.stop()

    def watch(self, cell: Cell, progress: Progress) -> None:
        """Take in what an engine says of a cell."""
        self.rows[cell].advance(progress)
        if not self.console.is_terminal and time.monotonic() - self._printed > HEARTBEAT_SECONDS:
            self._printed = time.monotonic()
            row = self.rows[cell]
            self.console.print(f"{self.summary()}: {cell} {row.state} {_epochs(row)}".rstrip(), highlight=False)

    def finish(self, record: RunRecord) -> None:
        """Take in the end of a cell."""
        row = self.rows[record.cell]
        row.finish(record)
        if record.status == "done":
            self.speeds.learn(self.kinds[record.cell], row.elapsed)
        if not self.console.is_terminal:
            note = f" ({record.reason})" if record.reason else ""
            error = "" if math.isnan(row.error) else f", validation error {row.error:.4g} px"
            line = f"{self.summary()}: {record.cell} {row.state} in {duration(row.elapsed)}{error}{note}"
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def summary(self) -> str:
        """Return how far all is, in a line."""
        rows = self.rows.values()
        ended = [row for row in rows if row.seconds is not None]
        running, failed = sum(row.running for row in rows), sum(row.state == "failed" for row in ended)
        waiting = len(self.rows) - len(ended) - running
        counts = {"running": running, "failed": failed, "waiting": waiting}
        parts = [f"{len(ended)}/{len(self.rows)} cells", *(f"{n} {name}" for name, n in counts.items() if n)]
        parts += [duration(time.monotonic() - self._start)]
        parts += [str(self.time_left())] if len(ended) < len(self.rows) else []
        return ", ".join(parts)

    def time_left(self) -> TimeLeft:
        """Return the time that is left, by what cells of the same kind took and by the epochs of those that run."""
        left: dict[bool, list[float | None]] = {True: [], False: []}
        for row in self.rows.values():
            if row.seconds is None:
                left[row.running].append(row.remaining(self.speeds.expected(self.kinds[row.cell])))
        return time_left(left[True], left[False], self.slots)

    def picture(self) -> RenderableType:
        """Return the table with the line below it."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("dataset", "protocol", "split", "method"):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        on_gpu = any(not math.isnan(row.memory) for row in self.rows.values())
        for title in ("seed", "epoch", "loss", VALIDATION_ERROR, *((GPU_MEMORY,) if on_gpu else ()), "time"):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True)
        for row in self._visible():
            table.add_row(*_texts(row, on_gpu=on_gpu), style=STYLES.get(row.state, "cyan"))
        ended = sum(row.seconds is not None for row in self.rows.values())
        partly = sum(min(1.0, row.epoch / row.epochs) for row in self.rows.values() if row.running and row.epochs)
        line = Table.grid(padding=(0, 2))
        line.add_row(ProgressBar(total=len(self.rows), completed=ended + partly, width=30), Text(self.summary()))
        return Group(table, line)

    def _visible(self) -> list[CellState]:
        """Return as many rows as the terminal has lines for: those that run, the last that ended, the next to start."""
        rows, height = list(self.rows.values()), max(3, self.console.height - FRAME_LINES)
        running = [row for row in rows if row.running]
        ended = sorted((row for row in rows if row.seconds is not None), key=lambda row: row.end)
        waiting = [row for row in rows if row.start is None and row.seconds is None]
        room = max(0, height - len(running))
        past = ended[len(ended) - min(len(ended), max(room // 2, room - len(waiting))) :]
        chosen = {id(row) for row in [*running[:height], *past, *waiting[: room - len(past)]]}
        return [row for row in rows if id(row) in chosen]


def _epochs(row: CellState) -> str:
    return f"{int(row.epoch)}/{row.epochs}" if row.epochs else ""


def _texts(row: CellState, *, on_gpu: bool) -> tuple[str, ...]:
    cell, number = row.cell, "{:.4g}".format
    return (
        *(cell.dataset, cell.protocol, cell.split, cell.variant, str(cell.seed), _epochs(row)),
        "" if math.isnan(row.loss) else number(row.loss),
        "" if math.isnan(row.error) else number(row.error),
        *(("" if math.isnan(row.memory) else f"{row.memory:.0f}",) if on_gpu else ()),
        duration(row.elapsed) if row.running or row.seconds else "",
        row.state,
    )
