"""Average ranks of methods over datasets, with Friedman's and Nemenyi's tests (Demšar, JMLR 7, 2006)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata, studentized_range

from leaderboards.boards.board import Board, Row
from leaderboards.boards.statistics import ALPHA, Friedman, friedman

FEWEST: Final = 3
"""Datasets, and methods, below which no test is made."""


@dataclass(frozen=True, eq=False)
class AverageRanks:
    """Methods ranked on every one of a set of boards.

    Args:
        drawn: Whether these are boards of drawn films.
        boards: Of two datasets or more.
        datasets: Their names, in order.
        methods: Labels of the rows that are ranked on every board, best average first.
        ranks: Of each method on each dataset, among these methods; the boards of a dataset are averaged.
        left_out: Labels of rows that are ranked on some of the boards only.
        friedman: The test of the average ranks; None where there are too few datasets or methods.
    """

    drawn: bool
    boards: tuple[Board, ...]
    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    ranks: Float[np.ndarray, "method dataset"]
    left_out: tuple[str, ...]
    friedman: Friedman | None

    @property
    def averages(self) -> Float[np.ndarray, " method"]:
        """Over datasets."""
        return np.asarray(self.ranks.mean(axis=1))

    @property
    def critical_difference(self) -> float:
        """By how much average ranks of two methods must differ to be significant in Nemenyi's test."""
        methods, datasets = self.ranks.shape
        quantile = float(studentized_range.ppf(1 - ALPHA, methods, np.inf)) / np.sqrt(2)
        return float(quantile * np.sqrt(methods * (methods + 1) / (6 * datasets)))

    @property
    def p_values(self) -> Float[np.ndarray, "method method"]:
        """Of Nemenyi's test, which corrects for the number of pairs itself."""
        import scikit_posthocs as posthocs  # here and not above: slow

        return np.asarray(posthocs.posthoc_nemenyi_friedman(self.ranks.T))


def average_ranks(boards: Sequence[Board]) -> list[AverageRanks]:
    """Rank methods over datasets, apart for real and for drawn films.

    Of all sets of boards, the one with the most methods times datasets is taken, and the one with the most datasets
    where that has more; a method must be ranked on all boards of a set. Test sets and protocols of one dataset are
    averaged first, so that every dataset counts once.

    Args:
        boards: All boards.

    Returns:
        None where no two datasets share two methods.
    """
    return [
        ranks
        for drawn in (False, True)
        for ranks in _of_films([board for board in boards if board.phantom == drawn], drawn=drawn)
    ]


def _of_films(boards: Sequence[Board], *, drawn: bool) -> list[AverageRanks]:
    """Rank on the widest set of boards and on the one of most datasets."""
    rows = [_by_label(board) for board in boards]
    places: dict[str, frozenset[int]] = {}
    for place, labels in enumerate(rows):
        for label in labels:
            places[label] = places.get(label, frozenset()) | {place}
    return [_over(chosen, boards, rows, places, drawn=drawn) for chosen in _sets_of_boards(places, boards)]


def _over(
    chosen: frozenset[int],
    boards: Sequence[Board],
    rows: Sequence[Mapping[str, Row]],
    places: Mapping[str, frozenset[int]],
    *,
    drawn: bool,
) -> AverageRanks:
    methods = sorted(label for label, there in places.items() if chosen <= there)
    datasets = sorted({boards[place].dataset for place in chosen})
    ranks = np.zeros((len(methods), len(datasets)))
    for column, dataset in enumerate(datasets):
        here = [place for place in sorted(chosen) if boards[place].dataset == dataset]
        ranks[:, column] = np.mean([_ranks(boards[place], rows[place], methods) for place in here], axis=0)
    order = np.argsort(ranks.mean(axis=1), kind="stable")
    return AverageRanks(
        drawn,
        boards=tuple(boards[place] for place in sorted(chosen)),
        datasets=tuple(datasets),
        methods=tuple(methods[method] for method in order),
        ranks=ranks[order],
        left_out=tuple(sorted(places.keys() - set(methods))),
        friedman=friedman(ranks.T) if len(datasets) >= FEWEST else None,
    )


def _by_label(board: Board) -> dict[str, Row]:
    """Return the ranked rows by label; one that stands there twice (with two budgets) means no row in particular."""
    labels = [row.label for row in board.ranked]
    return {row.label: row for row in board.ranked if labels.count(row.label) == 1}


def _sets_of_boards(places: Mapping[str, frozenset[int]], boards: Sequence[Board]) -> list[frozenset[int]]:
    """Choose the boards with the most methods times datasets, then those of the most datasets if these are more.

    Where several are as good: more boards, then the first ones.
    """
    sets = sorted(set(places.values()), key=sorted)
    candidates = {one & other for one, other in combinations_with_replacement(sets, 2)}

    def size(chosen: frozenset[int]) -> tuple[int, int]:
        return len({boards[place].dataset for place in chosen}), sum(chosen <= there for there in places.values())

    def order(chosen: frozenset[int]) -> tuple[int, list[int]]:
        return len(chosen), [-place for place in sorted(chosen)]

    shared = [chosen for chosen in candidates if min(size(chosen)) >= 2]
    widest = max(shared, key=lambda chosen: (math.prod(size(chosen)), *order(chosen)), default=frozenset())
    more = [chosen for chosen in shared if size(chosen)[0] > size(widest)[0] and size(chosen)[1] >= FEWEST]
    longest = max(more, key=lambda chosen: (size(chosen), *order(chosen)), default=frozenset())
    return [chosen for chosen in (widest, longest) if chosen]


def _ranks(board: Board, rows: Mapping[str, Row], methods: Sequence[str]) -> Float[np.ndarray, " method"]:
    first = board.columns[0]
    values = np.array([rows[method].value(first.name) for method in methods])
    return np.asarray(rankdata(-values if first.higher_is_better else values))
