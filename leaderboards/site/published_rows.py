"""What is published of the rows of a page: summed errors, scores of films and predicted points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float

from benchmark.predictions import read_predictions
from leaderboards.boards.board import Board, Row
from leaderboards.boards.case_scores import CaseScore, CaseScores
from leaderboards.boards.published import CASES, read_case_scores
from leaderboards.site.summaries import RowSummary, read_summaries

POINTS: Final = "predictions"
"""Folder of the predicted points."""


class PublishedRows:
    """The published files of one page.

    Args:
        folder: Of the published leaderboards.
        page: File stem of the page.
    """

    def __init__(self, folder: Path, page: str) -> None:
        self._folder = folder
        self._summaries = read_summaries(folder, page)
        self._scores = read_case_scores(folder / CASES / f"{page}.csv")

    def summary(self, board: Board, row: Row) -> RowSummary | None:
        """Return a row's summed errors; None where they are not published."""
        return self._summaries.get(board.test_set, {}).get(row.key)

    def scores(self, board: Board, row: Row) -> Mapping[str, CaseScore]:
        """Return the ranking score of each film."""
        return self._scores.get(board.test_set, {}).get(row.key, {})

    def points(self, board: Board, row: Row) -> Mapping[str, Float[np.ndarray, "landmark 2"]]:
        """Return the points that a row's first seed predicts on each film, in the pixels that the files state.

        Files name the variant alone: nothing is returned where several rows have one.
        """
        if Counter(other.variant for other in board.measured)[row.variant] > 1 or not row.seeds:
            return {}
        root = self._folder / POINTS / board.dataset / board.protocol
        found: dict[str, Float[np.ndarray, "landmark 2"]] = {}
        for path in sorted(root.glob(f"*/{row.variant}-seed{row.seeds[0]}-*.parquet")):
            predicted = read_predictions(path, self._landmarks(board, row)).get(board.test_set)
            if predicted is not None:
                found |= dict(zip(predicted.cases, predicted.points, strict=True))
        return found

    def _landmarks(self, board: Board, row: Row) -> tuple[str, ...]:
        summary = self.summary(board, row)
        return summary.landmarks if summary else ()


def ranking_scores(board: Board, row: Row, published: PublishedRows | None) -> Mapping[str, CaseScore]:
    """Return the score of each film that ranks a board.

    Args:
        board: The board.
        row: One of its rows.
        published: Where scores are, if there are no runs.
    """
    if published is not None:
        return published.scores(board, row)
    return CaseScores().of_row(row, board.test_set, board.columns[0].name)
