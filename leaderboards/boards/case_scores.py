"""Reads how the rows of a board did on every film, from the `scores.parquet` beside its runs, and compares them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmark.store import SCORES, RunRecord
from leaderboards.boards.board import Board, Row
from leaderboards.boards.statistics import Comparison, compare

MOST: Final = 100
"""So many rows of a board are compared at most, from the first rank on."""
_COLUMNS: Final = ("test_set", "case", "column", "value", "patient")


class CaseScore(NamedTuple):
    """One score of one film.

    Attributes:
        value: The score; NaN where it does not apply.
        patient: Whose film it is, empty where that is not known.
    """

    value: float
    patient: str


def compare_rows(board: Board, scores: Mapping[str, Mapping[str, CaseScore]]) -> Comparison | None:
    """Compare the ranked rows of a board by its first column.

    Args:
        board: A board with its ranks.
        scores: `Row.key` to case to that score.

    Returns:
        The comparison of the rows whose scores of single films are known, the best `MOST` of them; None if there is
        none.
    """
    by_row = {row.key: scores[row.key] for row in board.ranked[:MOST] if scores.get(row.key)}
    if not by_row:
        return None
    cases = sorted(set().union(*by_row.values()))
    nothing = CaseScore(float("nan"), "")
    table = [[of_row.get(case, nothing) for of_row in by_row.values()] for case in cases]
    values = np.array([[score.value for score in line] for line in table])
    patients = [max(score.patient for score in line) for line in table]
    known = patients if all(patients) else None
    higher = bool(board.columns[0].higher_is_better)
    return compare(tuple(by_row), values, known, higher_is_better=higher)


class CaseScores:
    """The scores of single films below a run store; every file is read once for each score that is asked for.

    Args:
        file: Name of the runs' files.
    """

    def __init__(self, file: str = SCORES) -> None:
        self._file = file
        self._known: dict[tuple[Path, str], dict[str, dict[str, CaseScore]]] = {}

    def compare(self, board: Board) -> Comparison | None:
        """Compare the ranked rows of a board by its first column.

        Args:
            board: A board with its ranks.

        Returns:
            The comparison of the rows whose runs have case scores, the best `MOST` of them; None if there is none.
        """
        if not board.ranked:
            return None
        first = board.columns[0]
        by_row = {row.key: self.of_row(row, board.test_set, first.name) for row in board.ranked[:MOST]}
        return compare_rows(board, by_row)

    def of_row(self, row: Row, test_set: str, column: str) -> dict[str, CaseScore]:
        """Return the score of each film: the folds' films put together, what several folds and seeds say averaged.

        Args:
            row: Of the board of that test set.
            test_set: Its name.
            column: The score.

        Returns:
            Case to score; nothing where a run that counts has no case scores.
        """
        seeds = [[self._of_run(run, column).get(test_set, {}) for run in runs] for runs in row.counted.values()]
        if not seeds or not all(map(all, seeds)):
            return {}
        pooled = [_pooled(folds) for folds in seeds]
        return {case: _mean([scores[case] for scores in pooled if case in scores]) for case in pooled[0]}

    def _of_run(self, run: RunRecord, column: str) -> Mapping[str, Mapping[str, CaseScore]]:
        key = run.folder / self._file, column
        if key not in self._known:
            self._known[key] = _read(*key) if key[0].is_file() else {}
        return self._known[key]


def _pooled(folds: Sequence[Mapping[str, CaseScore]]) -> dict[str, CaseScore]:
    """Put the films of all folds together; one that several folds have, test or validate, is averaged."""
    found: dict[str, list[CaseScore]] = {}
    for fold in folds:
        for case, score in fold.items():
            found.setdefault(case, []).append(score)
    return {case: _mean(scores) for case, scores in found.items()}


def _mean(scores: Sequence[CaseScore]) -> CaseScore:
    return CaseScore(sum(score.value for score in scores) / len(scores), scores[0].patient)


def _read(path: Path, column: str) -> dict[str, dict[str, CaseScore]]:
    """Read one score of all films, by test set and case; files without patients are read too."""
    file = pq.ParquetFile(path)
    there = [name for name in _COLUMNS if name in file.schema_arrow.names]
    table = file.read(columns=there, use_threads=False)
    table = table.filter(pc.equal(table["column"], column))
    content: dict[str, list[Any]] = {name: table[name].to_pylist() for name in there}
    patients = content.get("patient", [None] * table.num_rows)
    by_test_set: dict[str, dict[str, CaseScore]] = {}
    lines = zip(content["test_set"], content["case"], content["value"], patients, strict=True)
    for test_set, case, value, patient in lines:
        number = float("nan") if value is None else value
        by_test_set.setdefault(test_set, {})[case] = CaseScore(number, patient or "")
    return by_test_set
