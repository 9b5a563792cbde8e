import io
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from rich.console import Console

from benchmark.cell import Budget, Cell
from benchmark.speeds import Speeds, duration
from benchmark.store import RunRecord
from benchmark.training.progress import CellState, LiveTable, Progress


def board(*, terminal: bool, cells: int = 3) -> tuple[LiveTable, list[Cell]]:
    console = Console(width=120, height=20, force_terminal=terminal, record=True, file=io.StringIO())
    named = [Cell("hand", "3-fold", "fold1", "unet", "unet", seed) for seed in range(cells)]
    return LiveTable(named, 1, console), named


def test_the_live_table_shows_where_every_cell_stands() -> None:
    shown, cells = board(terminal=True)
    shown.watch(cells[0], Progress("training", 3, 10, 0.5, 12.0))
    shown.watch(cells[0], Progress("training", 4, 10, 0.25, 14.0))
    shown.console.print(shown.picture())
    rows = [line.split() for line in shown.console.export_text().splitlines()]
    assert rows[1][:8] == ["hand", "3-fold", "fold1", "unet", "0", "4/10", "0.25", "12"]
    assert rows[1][-1] == "training"
    assert rows[2][-1] == "waiting"


def test_the_live_table_fits_the_terminal_and_follows_what_runs() -> None:
    shown, cells = board(terminal=True, cells=100)
    for cell in cells[:60]:
        shown.watch(cell, Progress("training"))
        shown.finish(RunRecord("done", cell, "", "", ""))
    shown.watch(cells[60], Progress("training"))
    shown.console.print(shown.picture())
    text = shown.console.export_text()
    assert len(text.splitlines()) <= 18
    assert "training" in text
    assert "60/100 cells" in text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """A clock that a test sets."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    yield clock


def test_the_rest_is_foretold_from_cells_of_the_same_kind(clock: SimpleNamespace) -> None:
    shown, cells = board(terminal=False)
    shown.watch(cells[0], Progress("training"))
    clock.now = 110.0
    assert str(shown.time_left()) == "time left unknown"
    shown.finish(RunRecord("done", cells[0], "", "", ""))
    assert shown.time_left() == (20, 0)
    shown.watch(cells[1], Progress("training", 0, 4))
    clock.now = 115.0
    shown.watch(cells[1], Progress("training", 1, 4))
    assert shown.time_left() == (15 + 10, 0)


def test_a_quick_cell_says_nothing_of_cells_of_other_kinds(clock: SimpleNamespace) -> None:
    console = Console(width=120, height=20, force_terminal=False, file=io.StringIO())
    names = ("mean_shape", "unet", "unet", "unet")
    cells = [Cell("hand", "3-fold", "fold1", name, name, seed) for seed, name in enumerate(names)]
    shown = LiveTable(cells, 1, console)
    shown.watch(cells[0], Progress("training"))
    clock.now = 101.0
    shown.finish(RunRecord("done", cells[0], "", "", ""))
    assert "time left unknown" in shown.summary()
    shown.watch(cells[1], Progress("training", 0, 100))
    clock.now = 131.0
    shown.watch(cells[1], Progress("training", 25, 100))
    assert "1 running, 2 waiting" in shown.summary()
    assert "at least 1 min 30 s left (2 cells not timed yet)" in shown.summary()


def test_finished_cells_of_the_store_foretell_the_first(clock: SimpleNamespace) -> None:
    console = Console(width=120, height=20, force_terminal=False, file=io.StringIO())
    cells = [Cell("hand", "3-fold", "fold1", "unet", "unet", seed) for seed in range(5)]
    ended = [RunRecord("done", cell, "", "", "", seconds={"fit": 60.0, "predict": 2.0}) for cell in cells[:2]]
    other = RunRecord("done", Cell("hand", "3-fold", "fold1", "unet", "unet", budget=Budget("smoke", 1)), "", "", "")
    failed = RunRecord("failed", cells[0], "", "", "", seconds={"fit": 1.0})
    shown = LiveTable(cells[2:], 2, console, Speeds([*ended, other, failed]))
    assert shown.time_left() == (124, 0)


def test_a_resumed_cell_is_foretold_by_the_epochs_of_this_attempt(clock: SimpleNamespace) -> None:
    row = CellState(Cell("hand", "3-fold", "fold1", "unet", "unet"))
    row.advance(Progress("reading data"))
    row.advance(Progress("training", 80, 100))
    clock.now = 110.0
    row.advance(Progress("training", 90, 100))
    assert row.remaining(None) == pytest.approx(10)


def test_memory_is_shown_where_there_is_a_gpu() -> None:
    shown, cells = board(terminal=True)
    shown.watch(cells[0], Progress("training", 3, 10))
    shown.console.print(shown.picture())
    assert "GPU MB" not in shown.console.export_text()
    shown.watch(cells[0], Progress("training", 4, 10, memory=1234.5))
    shown.console.print(shown.picture())
    assert {"GPU", "1234"} <= set(shown.console.export_text().split())


def test_every_running_cell_is_shown_before_those_that_ended_or_wait() -> None:
    shown, cells = board(terminal=True, cells=100)
    for cell in (cells[0], cells[50], cells[99]):
        shown.watch(cell, Progress("training"))
    for cell in cells[1:40]:
        shown.watch(cell, Progress("training"))
        shown.finish(RunRecord("done", cell, "", "", ""))
    shown.console.print(shown.picture())
    states = [line.split()[-1] for line in shown.console.export_text().splitlines()[1:-1]]
    assert states.count("training") == 3
    assert {"done", "waiting"} <= set(states)


def test_plain_lines_say_how_every_cell_ended() -> None:
    shown, cells = board(terminal=False, cells=2)
    with shown:
        shown.watch(cells[0], Progress("training", 1, 1, 0.5, 12.345))
        shown.finish(RunRecord("done", cells[0], "", "", ""))
        shown.watch(cells[1], Progress("starting"))
        shown.finish(RunRecord("failed", cells[1], "", "", "", reason="ValueError: [bad]"))
    lines = shown.console.export_text().splitlines()
    assert len(lines) == 2
    assert "hand/3-fold/fold1/unet/seed0 done in" in lines[0]
    assert "validation error 12.35 px" in lines[0]
    assert lines[1].startswith("2/2 cells, 1 failed")
    assert lines[1].endswith("(ValueError: [bad])")


def test_rows_keep_what_a_message_does_not_mention() -> None:
    row = CellState(Cell("hand", "3-fold", "fold1", "unet", "unet"))
    row.advance(Progress("training", 2, 5, 1.0, 3.0))
    row.advance(Progress("predicting"))
    assert (row.epoch, row.epochs, row.loss, row.error) == (2, 5, 1.0, 3.0)
    assert duration(59.6) == "1 min 0 s"
