"""Builds the leaderboards: a pure function of a scored run store, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pandas as pd

from benchmark.store import write_atomically
from leaderboards.boards.board import Board
from leaderboards.boards.read import read_boards
from leaderboards.boards.reported import Reported
from leaderboards.text.comparisons import COMPARISONS, board_diagram, comparison_frame, diagram_name
from leaderboards.text.exports import SCHEMA, page_json, schema_text
from leaderboards.text.latex import page_tex
from leaderboards.text.overall import average_ranks, overall_diagram, overall_name
from leaderboards.text.pages import index_text, page_name, page_text
from leaderboards.text.tables import COLUMNS, board_frame, column_frame
from leaderboards.text.terminal import show

__all__ = ["build", "show"]


def build(store: Path | str, out: Path | str, reported: Sequence[Reported] | None = None) -> list[Path]:
    """Write the overview, per dataset and protocol a page as Markdown, CSV, JSON and LaTeX, and what its columns mean.

    Beside them lie the pages' diagrams and a CSV file of all paired comparisons.

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
    return write_boards(read_boards(store, reported), out)


def write_boards(boards: Sequence[Board], out: Path | str) -> list[Path]:
    """Write boards that were read already; see `build`.

    Args:
        boards: All of a store's.
        out: The folder to write to.
    """
    folder = Path(out)
    paths = [_write(folder / "index.md", index_text(boards))]
    for name, group in groupby(boards, key=page_name):
        page = list(group)
        frame = pd.concat([board_frame(board).astype(object) for board in page], ignore_index=True)
        texts = {"md": page_text(page), "csv": _csv(frame), "json": page_json(page), "tex": page_tex(page)}
        paths += [_write(folder / f"{name}.{suffix}", text) for suffix, text in texts.items()]
        paths += [_write(folder / file, text) for file, text in _diagrams(page)]
    paths += [_write(folder / file, text) for file, text in _overall_diagrams(boards)]
    paths.append(_write(folder / SCHEMA, schema_text()))
    paths.append(_write(folder / COMPARISONS, _csv(comparison_frame(boards))))
    return [*paths, _write(folder / COLUMNS, _csv(column_frame(boards)))]


def _diagrams(page: Sequence[Board]) -> Iterator[tuple[str, str]]:
    """Draw the critical-difference diagram of each board of a page."""
    named_films = len({board.content for board in page}) > 1
    for board in page:
        if drawn := board_diagram(board):
            yield diagram_name(board, page_name(board), named_films=named_films), drawn


def _overall_diagrams(boards: Sequence[Board]) -> Iterator[tuple[str, str]]:
    for ranks in average_ranks(boards):
        if drawn := overall_diagram(ranks):
            yield overall_name(ranks), drawn


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, float_format="%.8g", lineterminator="\n")


def _write(path: Path, text: str) -> Path:
    write_atomically(path, lambda file: file.write_text(text, encoding="utf-8", newline="\n"))
    return path
