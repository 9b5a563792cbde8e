"""The commands that watch a store: `osteomark status` and `osteomark logs`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from benchmark.cli.console import console, print_json

REFRESH_SECONDS: Final = 5.0
PLAIN_SECONDS: Final = 30.0
"""Between two lines where there is no terminal."""


def status(*, store: Path = Path("runs"), watch: bool = False, json: bool = False) -> int:
    """Say where the cells of a store stand: what runs where, what failed and why, how long the rest takes.

    Args:
        store: Folder of the runs, also while other machines write to it.
        watch: Go on until no cell runs.
        json: Print JSON.
    """
    from rich.live import Live

    from benchmark.watching.page import page, summary
    from benchmark.watching.status import read_status

    if watch and json:
        raise ValueError("--watch and --json exclude each other; call --json as often as you like.")
    found = read_status(store)
    if json:
        return print_json(found.as_json())
    if not watch:
        console.print(page(found), soft_wrap=False)
        return 0
    if not console.is_terminal:
        while True:
            console.print(summary(found), markup=False)
            if not found.having("running"):
                return 0
            time.sleep(PLAIN_SECONDS)
            found = read_status(store)
    with Live(page(found), console=console, auto_refresh=False) as live:
        while found.having("running"):
            time.sleep(REFRESH_SECONDS)
            found = read_status(store)
            live.update(page(found), refresh=True)
    return 0


def logs(cell: str, *, store: Path = Path("runs"), follow: bool = False) -> int:
    """Print what a cell wrote while it ran: its progress, warnings, and the traceback where it failed.

    Args:
        cell: Its folder in the store, or any part of that which no other cell has.
        store: Folder of the runs.
        follow: Go on until the cell ends.
    """
    from benchmark.watching.logs import find_run, log_lines

    for text in log_lines(find_run(store, cell), follow=follow):
        console.file.write(text)
        console.file.flush()
    return 0
