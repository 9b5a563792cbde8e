"""How long cells take, learned from cells that have ended, and what that says of the time that is left; no torch."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from benchmark.cell import Cell
from benchmark.store import RunRecord

RECENT: Final = 5
"""Of a kind of cell the last so many count: machines differ, and so do days."""


class CellKind(NamedTuple):
    """What decides how long a cell takes: cells of one kind differ in fold and seed only.

    Attributes:
        dataset: The datamodule's name.
        protocol: The protocol's name.
        variant: The method's variant.
        config: `Cell.config`, the hash of hyper-parameters and budget.
    """

    dataset: str
    protocol: str
    variant: str
    config: str

    @classmethod
    def of(cls, cell: Cell) -> CellKind:
        """Return the kind of a cell."""
        return cls(cell.dataset, cell.protocol, cell.variant, cell.config)


class Speeds:
    """The seconds that cells of each kind took.

    Args:
        runs: That have ended; only those that are done count.
    """

    def __init__(self, runs: Iterable[RunRecord] = ()) -> None:
        self._taken: dict[CellKind, list[float]] = {}
        for run in sorted(runs, key=lambda run: run.finished):
            if run.status == "done" and not run.human:
                self.learn(CellKind.of(run.cell), sum(run.seconds.values()))

    def learn(self, kind: CellKind, seconds: float) -> None:
        """Take in a cell that has ended; tell the older ones first."""
        self._taken.setdefault(kind, []).append(seconds)

    def expected(self, kind: CellKind) -> float | None:
        """Return the seconds that a cell of a kind takes; None where none has ended yet."""
        taken = self._taken.get(kind)
        return statistics.fmean(taken[-RECENT:]) if taken else None


class TimeLeft(NamedTuple):
    """How long it takes until all cells have ended.

    Attributes:
        seconds: By what is known; a lower limit where some cells are untimed.
        untimed: Cells of which nothing is known yet, as no cell of their kind has ended.
    """

    seconds: float
    untimed: int

    def __str__(self) -> str:
        """Say it in words; a number stands alone only where it is one of all cells.

        Example:
            >>> print(TimeLeft(100, 0), TimeLeft(100, 2), TimeLeft(0, 2), sep="; ")
            about 1 min 40 s left; at least 1 min 40 s left (2 cells not timed yet); time left unknown
        """
        if self.untimed and not self.seconds:
            return "time left unknown"
        if not self.untimed:
            return f"about {duration(self.seconds)} left"
        cells = "cell" if self.untimed == 1 else "cells"
        return f"at least {duration(self.seconds)} left ({self.untimed} {cells} not timed yet)"


def time_left(running: Sequence[float | None], waiting: Iterable[float | None], slots: int) -> TimeLeft:
    """Tell when the last cell ends if each waiting one starts as soon as a slot is free.

    Args:
        running: The seconds that each running cell still takes; None where that is not known.
        waiting: The seconds that each waiting cell takes, in the order in which they start; None likewise.
        slots: How many run at a time.
    """
    known = [seconds for seconds in running if seconds is not None]
    later = list(waiting)
    timed = [seconds for seconds in later if seconds is not None]
    ends = [*known, *[0.0] * max(0, slots - len(known))] or [0.0]
    heapq.heapify(ends)
    for seconds in timed:
        heapq.heappush(ends, heapq.heappop(ends) + seconds)
    return TimeLeft(max(ends), len(running) - len(known) + len(later) - len(timed))


def duration(seconds: float) -> str:
    """Return seconds in the units a person would use.

    Example:
        >>> duration(8.2), duration(754), duration(4210), duration(190000)
        ('8 s', '12 min 34 s', '1 h 10 min', '2 d 4 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
