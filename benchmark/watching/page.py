"""The status of a store as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmark.speeds import duration
from benchmark.training.progress import GPU_MEMORY, STYLES, VALIDATION_ERROR
from benchmark.watching.status import CellStatus, State, StoreStatus

ORDER: Final[tuple[State, ...]] = (
    *("running", "stale", "waiting", "interrupted", "failed", "damaged", "unsupported", "done"),
)
MOST: Final = 20
"""So many lines of each table at most; `--json` has all."""


def summary(status: StoreStatus) -> str:
    """Return all of it in a line."""
    counts = status.counts
    parts = [f"{len(status.cells)} cells", *(f"{counts[state]} {state}" for state in ORDER if state in counts)]
    left = status.time_left
    return ", ".join([*parts, *([str(left)] if left else [])])


def page(status: StoreStatus) -> RenderableType:
    """Return the summary, what runs, what failed and how fast each method is."""
    parts: list[RenderableType] = [Text(summary(status), style="bold")]
    if active := status.having("running", "stale"):
        parts += [Text(), _running(active)]
    if bad := status.having("failed", "damaged"):
        lines = [f"{cell.cell} {cell.state}: {cell.reason}" for cell in bad[:MOST]]
        parts += [Text(), *map(Text, lines), Text("See osteomark logs CELL.", style="dim"), *_more(bad)]
    if status.speeds:
        parts += [Text(), _speeds(status)]
    return Group(*parts)


def _running(cells: Sequence[CellStatus]) -> RenderableType:
    on_gpu = any(cell.running and cell.running.memory is not None for cell in cells)
    columns = (
        "cell",
        "where",
        "epoch",
        VALIDATION_ERROR,
        *((GPU_MEMORY,) if on_gpu else ()),
        "time",
        "left",
        "seen",
        "state",
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", justify="left" if column in ("cell", "where", "state") else "right")
    for cell in cells[:MOST]:
        running = cell.running
        if running is None:
            continue
        left, seen = cell.remaining, cell.heartbeat
        memory = ("" if running.memory is None else f"{running.memory:.0f}",) if on_gpu else ()
        table.add_row(
            cell.cell.rpartition("-")[0],  # without the hash, which few need; `logs` finds the cell by the rest
            f"{running.host} {running.pid}",
            f"{int(running.epoch)}/{running.epochs}" if running.epochs else "",
            "" if running.error is None else f"{running.error:.4g}",
            *memory,
            duration(running.seconds),
            "" if left is None or cell.state == "stale" else duration(left),
            "no lease" if seen is None else f"{duration(seen)} ago",
            running.step if cell.state == "running" else "stale",
            style="cyan" if cell.state == "running" else STYLES["failed"],
        )
    return Group(table, *_more(cells))


def _speeds(status: StoreStatus) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("method", "dataset/protocol", "done", "per cell", "per epoch"):
        table.add_column(
            column, overflow="fold", justify="left" if column in ("method", "dataset/protocol") else "right"
        )
    for speed in status.speeds[:MOST]:
        epoch = "" if speed.epoch_seconds is None else f"{speed.epoch_seconds:.3g} s"
        where = f"{speed.kind.dataset}/{speed.kind.protocol}"
        table.add_row(speed.kind.variant, where, str(speed.cells), duration(speed.seconds), epoch)
    return Group(table, *_more(status.speeds))


def _more(lines: Sequence[object]) -> list[Text]:
    return [Text(f"and {len(lines) - MOST} more; --json has all", style="dim")] if len(lines) > MOST else []
