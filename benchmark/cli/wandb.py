"""The commands below `osteomark wandb`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmark.cli.console import console

if TYPE_CHECKING:
    from leaderboards.boards.board import Board

BOARDS: Final = "leaderboards"


def push(
    store: Path,
    *,
    data_root: Path | None = None,
    artifacts: bool = False,
    private: bool = False,
    plugin: Sequence[Path] = (),
) -> int:
    """Send the runs and leaderboards of a store to Weights & Biases; what it has of them is written anew.

    Args:
        store: Folder of the runs.
        data_root: Folder with the datasets' folders: validation films are shown. Without it only phantoms are.
        artifacts: Send the predicted points and the chosen weights of each run, too; never of private sets.
        private: Send runs on private sets, too, without films and files.
        plugin: Python files with methods of your own.
    """
    from benchmark.predictions import SCORED
    from benchmark.scoring.score import score
    from benchmark.tracking.push import Push, push_runs
    from leaderboards.boards.read import read_boards

    sent = Push(store, data_root, artifacts, private)
    for run in push_runs(sent):
        console.print(f"{run.cell}: {run.status}", markup=False)
    boards: list[Board] = []
    for on, films in SCORED.items():
        if any(films.has(run) for run in sent.runs()):
            score(store, plugin, on)
            boards += [board for board in read_boards(store, on=on) if private or not board.private]
    if boards:
        _push_boards(store, boards, private=private)
    offline = sorted(store.glob("wandb/offline-run-*"))
    if offline:
        console.print(f"Runs without a key lie in {store / 'wandb'}; `wandb sync` sends them.", markup=False)
    return 0


def _push_boards(store: Path, boards: Sequence[Board], *, private: bool) -> None:
    """Send every page of boards as a table of one W&B run that belongs to the store."""
    import pandas as pd
    import wandb

    from benchmark.tracking.tracker import Identity, Tracker, fit
    from leaderboards.text.data import board_csv

    name = re.sub(r"[^A-Za-z0-9_-]", "-", store.resolve().name)
    identity = Identity(fit(f"{BOARDS}-{name}", 64), f"{BOARDS} of {name}", BOARDS, BOARDS, private=private)
    with Tracker(store, identity) as tracker:
        for page, group in groupby(boards, key=lambda board: board.page):
            frame = pd.read_csv(StringIO(board_csv(tuple(group))))
            tracker.log(1, {f"{BOARDS}/{page}": wandb.Table(dataframe=frame)})
    if tracker.failure:
        raise ConnectionError(f"W&B did not take the leaderboards: {tracker.failure}. The same command starts anew.")
