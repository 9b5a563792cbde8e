import io
import time

import pandas as pd
import pytest
from rich.console import Console

from benchmark.cell import Cell
from benchmark.store import RunRecord
from benchmark.training.progress import CellState, LiveTable, Progress, duration


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


def test_the_rest_is_foretold_from_cells_of_the_same_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    shown, cells = board(terminal=False)
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    shown.watch(cells[0], Progress("training"))
    now = 110.0
    assert pd.isna(shown.remaining())
    shown.finish(RunRecord("done", cells[0], "", "", ""))
    assert shown.remaining() == 20
    shown.watch(cells[1], Progress("training", 0, 4))
    now = 115.0
    shown.watch(cells[1], Progress("training", 1, 4))
    assert shown.remaining() == pytest.approx(15 + 15)


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
