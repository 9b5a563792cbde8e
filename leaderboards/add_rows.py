"""Adds the rows of a store to published leaderboards, without the store that these came from.

A row takes the place of the published row of the same variant, on corrupted films too: where the store has none of
them, those of the replaced run are dropped, since they are of other weights. Ranks and paired tests are made anew over
all rows, from the scores of single films that are published.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pandas as pd

from benchmark.store import FACTS, STRESS, RunStore
from leaderboards.boards.board import FLOOR, Board, Row, mark_against_floor, rank_rows
from leaderboards.boards.case_scores import CaseScore, CaseScores, compare_rows
from leaderboards.boards.published import CASES, read_case_scores, read_published
from leaderboards.boards.read import read_table
from leaderboards.publish import case_csv, publish_points, row_summaries
from leaderboards.robustness.scores import StressKey
from leaderboards.site.published_rows import POINTS
from leaderboards.site.run_predictions import RunPredictions
from leaderboards.site.summaries import SUMMARIES, read_summaries, summary_json
from leaderboards.text.data import page_json
from leaderboards.text.files import csv_text, write_files

Scores = Mapping[str, CaseScore]
Place = tuple[str, str, str, str]
"""Dataset, protocol, content and test set of a board."""


def add_rows(store: Path | str, boards: Sequence[Board], folder: Path | str) -> list[Path]:
    """Add a store's measured rows to published boards of the same films.

    Pages and cards are not written: `leaderboards.build.rewrite_published` does that from the data.

    Args:
        store: A scored run store.
        boards: All of its boards.
        folder: Of published leaderboards.

    Returns:
        The written files.

    Raises:
        ValueError: The published leaderboards have no board of the same films, or the store has no row for one.
    """
    root, published = Path(store), read_published(folder)
    new = {_place(board): board for board in boards if not board.private and _added(board)}
    if not new:
        raise ValueError(f"{root} has no measured row of a public dataset to add.")
    if strange := new.keys() - {_place(board) for board in published}:
        dataset, protocol, content, test_set = sorted(strange)[0]
        raise ValueError(
            f"{folder} has no board of {dataset}, {protocol}, films {content}, {test_set}; rows are added to boards of "
            f"the same films only."
        )
    files: dict[str, str] = {}
    for _, group in groupby(published, key=lambda board: board.page):
        files |= _page_files(Path(folder), list(group), new)
    files[FACTS] = _facts(root, Path(folder))
    if (Path(folder) / STRESS).is_file():
        files[STRESS] = _stress(root, Path(folder), new)
    written = write_files(files, folder)
    return [*written, *_points(root, Path(folder), new)]


def merged(board: Board, new: Board, scores: Mapping[str, Scores]) -> Board:
    """Return a published board with the rows of a store's added, ranked and compared anew.

    Args:
        board: The published board.
        new: The store's, of the same films.
        scores: `Row.key` to case to ranking score, of all rows.
    """
    added = _added(new)
    taken, known = {row.variant for row in added}, {column.name for column in board.columns}
    columns = (*board.columns, *(column for column in new.columns if column.name not in known))
    kept = [row for row in board.rows if row.status != "reported" and row.variant not in taken]
    rows = rank_rows([_unmarked(row) for row in (*kept, *added)], columns)
    board = replace(board, columns=columns, rows=tuple(mark_against_floor(rows, columns)))
    return replace(board, comparison=compare_rows(board, scores))


def _place(board: Board) -> Place:
    return board.dataset, board.protocol, board.content, board.test_set


def _added(board: Board) -> list[Row]:
    """Return the rows of a store's board that were measured on all folds."""
    return [row for row in board.measured if row.status == "done"]


def _unmarked(row: Row) -> Row:
    """Return a row as it is before it is ranked."""
    return replace(row, rank=None, badges=tuple(badge for badge in row.badges if f"not better than {FLOOR}" != badge))


def _page_files(folder: Path, boards: Sequence[Board], new: Mapping[Place, Board]) -> dict[str, str]:
    """Return the data of a page: its boards, the scores of films and the summed errors; nothing where none is new."""
    if not any(_place(board) in new for board in boards):
        return {}
    page = boards[0].page
    scores, summaries = read_case_scores(folder / CASES / f"{page}.csv"), read_summaries(folder, page)
    of_films, answers = CaseScores(), RunPredictions()
    content = []
    for board in boards:
        if (other := new.get(_place(board))) is None:
            content.append(board)
            continue
        added = _added(other)
        gone = [row.key for row in board.measured if row.variant in {row.variant for row in added}]
        of_test, summed = scores.setdefault(board.test_set, {}), summaries.setdefault(board.test_set, {})
        for key in gone:
            of_test.pop(key, None)
            summed.pop(key, None)
        of_test |= {row.key: of_films.of_row(row, board.test_set, board.columns[0].name) for row in added}
        summed |= row_summaries(other, added, answers)
        content.append(merged(board, other, of_test))
        order = [row.key for row in content[-1].ranked]  # as they are written from a store
        scores[board.test_set] = {key: of_test[key] for key in order if key in of_test}
        summaries[board.test_set] = {key: summed[key] for key in order if key in summed}
    return {
        f"{page}.json": page_json(content),
        f"{CASES}/{page}.csv": case_csv(scores),
        f"{SUMMARIES}/{page}.json": summary_json(summaries),
    }


def _facts(store: Path, folder: Path) -> str:
    """Return what is published of methods and datasets, with what the store says of the added ones."""
    here, there = (json.loads((root / FACTS).read_text(encoding="utf-8")) for root in (folder, store))
    facts = {**here, "methods": {**here["methods"], **there["methods"]}}
    return json.dumps(facts, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _stress(store: Path, folder: Path, new: Mapping[Place, Board]) -> str:
    """Return what is published of corrupted films, with the store's in place of that of replaced runs.

    The store's are taken where the published board has the same score of as many films: others could not be compared.
    """
    added = {(*place, row.variant) for place, board in new.items() for row in _added(board)}
    published = read_table(folder / STRESS, ())
    parts = [published[[key not in added for key in _keys(published, "variant")]]]
    if (store / STRESS).is_file():
        own, scored = read_table(store / STRESS, ()), set(_keys(published, "cases", "column"))
        rows = zip(_keys(own, "variant"), _keys(own, "cases", "column"), strict=True)
        parts.append(own[[key in added and score in scored for key, score in rows]])
    return csv_text(pd.concat(parts).reindex(columns=published.columns))


def _keys(stress: pd.DataFrame, *columns: str) -> list[tuple[str, ...]]:
    """Return the place of each row of a `stress.csv` and what some columns have there."""
    return list(stress[[*StressKey._fields, *columns]].itertuples(index=False, name=None))


def _points(store: Path, folder: Path, new: Mapping[Place, Board]) -> list[Path]:
    """Publish the points of the added rows, and remove those of the rows that they replace."""
    facts = json.loads((store / FACTS).read_text(encoding="utf-8"))
    added = {(*place[:2], row.variant) for place, board in new.items() for row in _added(board)}
    for dataset, protocol, variant in added:
        for path in (folder / POINTS / dataset / protocol).glob(f"*/{variant}-seed*.parquet"):
            path.unlink()
    runs = [run for run in RunStore(store).runs() if run.status == "done" and not run.human]
    chosen = [run for run in runs if (run.cell.dataset, run.cell.protocol, run.cell.variant) in added]
    return [publish_points(run, folder, facts) for run in chosen]
