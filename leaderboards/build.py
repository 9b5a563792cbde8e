"""Builds the leaderboards: a pure function of a scored run store, the same bytes every time."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from benchmark.store import write_atomically
from leaderboards.pages import index_text, page_name, page_text
from leaderboards.reader import read_boards
from leaderboards.reported import Reported
from leaderboards.tables import COLUMNS, board_frame, column_frame
from leaderboards.terminal import show

__all__ = ["build", "show"]


def build(store: Path | str, out: Path | str, reported: Sequence[Reported] | None = None) -> list[Path]:
    """Write the overview, a Markdown page and a CSV file per dataset and protocol, and what the CSV's columns mean.

    Args:
        store: A run store that `osteomark score` went over.
        out: The folder to write to; files of other pages in it stay.
        reported: The papers' numbers; those of `reported.yaml` by default.

    Returns:
        The written files, the overview first.

    Raises:
        FileNotFoundError: The store was not scored yet.
        ValueError: A `run.json` is damaged.
    """
    folder = Path(out)
    boards = read_boards(store, reported)
    paths = [_write(folder / "index.md", index_text(boards))]
    for name, group in groupby(boards, key=page_name):
        page = list(group)
        frame = pd.concat([board_frame(board).astype(object) for board in page], ignore_index=True)
        paths += [_write(folder / f"{name}.md", page_text(page)), _write(folder / f"{name}.csv", _csv(frame))]
    return [*paths, _write(folder / COLUMNS, _csv(column_frame(boards)))]


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.8g", lineterminator="\n")


def _write(path: Path, text: str) -> Path:
    write_atomically(path, lambda file: file.write_text(text, encoding="utf-8", newline="\n"))
    return path
