"""What a user sees while a matrix runs: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import statistics
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
from benchmark.store import RunRecord

HEARTBEAT_SECONDS = 30.0
FRAME_LINES = 6
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
    """

    step: str
    epoch: float = 0
    epochs: int = 0
    loss: float = NAN
    error: float = NAN


Report = Callable[[Progress], None]


@dataclass
class CellState:
    """One cell on the board.

    Args:
        cell: Which.
        state: `waiting`, what it is doing, or how it ended.
        epoch: Epochs done.
        epochs: Epochs planned.
        loss: The last known training loss.
        error: The lowest validation error so far.
        start: When it started, on the monotonic clock.
        seconds: How long it took, once ended.
    """

    cell: Cell
    state: str = "waiting"
    epoch: float = 0
    epochs: int = 0
    loss: float = NAN
    error: float = NAN
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

    @property
    def projected(self) -> float:
        """Seconds it takes in all, by what it has done; NaN while that is too little to tell."""
        if not self.running:
            return NAN if self.seconds is None else self.seconds
        share = self.epoch / self.epochs if self.epochs else 0.0
        return self.elapsed / share if share > 0.05 else NAN

    def advance(self, progress: Progress) -> None:
        """Take in a message."""
        if self.start is None and progress.step not in (STARTING, ELSEWHERE):  # a worker's own start is not the cell's
            self.start = time.monotonic()
        self.state = progress.step
        self.epochs = progress.epochs or self.epochs
        self.epoch = progress.epoch or self.epoch
        self.loss = self.loss if math.isnan(progress.loss) else progress.loss
        if not math.isnan(progress.error) and not progress.error > self.error:
            self.error = progress.error

    def finish(self, record: RunRecord) -> None:
        """Take in the end."""
        self.state, self.seconds = record.status, self.elapsed


class LiveTable:
    """The state of a matrix that runs, and its picture; use it as a context manager.

    Args:
        cells: All that will run now.
        slots: How many run at a time.
        console: Where to show it.
    """

    def __init__(self, cells: Sequence[Cell], slots: int, console: Console) -> None:
        self.rows = {cell: CellState(cell) for cell in cells}
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
        if not self.console.is_terminal:
            note = f" ({record.reason})" if record.reason else ""
            error = "" if math.isnan(row.error) else f", validation error {row.error:.4g} px"
            line = f"{self.summary()}: {record.cell} {row.state} in {duration(row.elapsed)}{error}{note}"
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def summary(self) -> str:
        """Return how far all is, in a line."""
        ended = [row for row in self.rows.values() if row.seconds is not None]
        failed = sum(row.state == "failed" for row in ended)
        parts = [f"{len(ended)}/{len(self.rows)} cells"]
        parts += [f"{failed} failed"] if failed else []
        parts += [duration(time.monotonic() - self._start)]
        remaining = self.remaining()
        parts += [] if math.isnan(remaining) or len(ended) == len(self.rows) else [f"about {duration(remaining)} left"]
        return ", ".join(parts)

    def remaining(self) -> float:
        """Return the seconds that are left, by what cells of the same variant took; NaN before anything is known."""
        known: dict[str, list[float]] = {}
        for row in self.rows.values():
            if not math.isnan(row.projected):
                known.setdefault(row.cell.variant, []).append(row.projected)
        if not known:
            return NAN
        costs = {variant: statistics.fmean(seconds) for variant, seconds in known.items()}
        typical = statistics.fmean(costs.values())
        left = 0.0
        for row in self.rows.values():
            whole = row.projected if not math.isnan(row.projected) else costs.get(row.cell.variant, typical)
            left += max(0.0, whole - row.elapsed)
        return left / max(1, self.slots)

    def picture(self) -> RenderableType:
        """Return the table with the line below it."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("dataset", "protocol", "split", "method"):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        for title in ("seed", "epoch", "loss", "val px", "time"):
            table.add_column(title, justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True)
        for row in self._visible():
            table.add_row(*_texts(row), style=STYLES.get(row.state, "cyan"))
        ended = sum(row.seconds is not None for row in self.rows.values())
        partly = sum(min(1.0, row.epoch / row.epochs) for row in self.rows.values() if row.running and row.epochs)
        line = Table.grid(padding=(0, 2))
        line.add_row(ProgressBar(total=len(self.rows), completed=ended + partly, width=30), Text(self.summary()))
        return Group(table, line)

    def _visible(self) -> list[CellState]:
        """Return the rows around the first that has not ended, as many as the terminal has lines for."""
        rows, height = list(self.rows.values()), max(3, self.console.height - FRAME_LINES)
        first = next((index for index, row in enumerate(rows) if row.seconds is None), len(rows))
        top = max(0, min(first - height // 2, len(rows) - height))
        return rows[top : top + height]


def duration(seconds: float) -> str:
    """Return seconds in the units a person would use.

    Example:
        >>> duration(8.2), duration(754), duration(4210)
        ('8 s', '12 min 34 s', '1 h 10 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _epochs(row: CellState) -> str:
    return f"{int(row.epoch)}/{row.epochs}" if row.epochs else ""


def _texts(row: CellState) -> tuple[str, ...]:
    cell, number = row.cell, "{:.4g}".format
    return (
        *(cell.dataset, cell.protocol, cell.split, cell.variant, str(cell.seed), _epochs(row)),
        "" if math.isnan(row.loss) else number(row.loss),
        "" if math.isnan(row.error) else number(row.error),
        duration(row.elapsed) if row.running or row.seconds else "",
        row.state,
    )
