"""Compares the rows of a board film by film: paired differences, tests of every pair, ties and average ranks; no torch.

Rows are compared on the cases for which all of them have a number. Films of one patient are not independent: where it
is known whose films they are, they are averaged before a test, and drawn together by a bootstrap.

* The difference of two rows is the first one's value minus the second one's on the same case. Its mean and its median
  come with a 95 % percentile bootstrap interval over patients.
* A pair is tested by Wilcoxon's signed ranks on the patients' differences, two-sided; equal values drop out. Below six
  patients no difference can have p < .05, so no test is made.
* P values are corrected for all pairs of a board by Holm's step-down rule. Two rows are *tied* where the corrected p is
  not below .05: nothing shows which one is better, which is no proof that they are equal.
* Each patient ranks the rows; Friedman's test asks whether the average ranks could be chance.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import friedmanchisquare, rankdata, wilcoxon

from benchmark.scoring.bootstrap import ENDS, resample

ALPHA: Final = 0.05
FEWEST: Final = 6
"""With fewer pairs of values the smallest two-sided p of signed ranks is 2 / 2^5 = .0625."""
MEDIANS: Final = 500
"""Up to so many pairs the median's interval is computed for all, else for those with the first row only."""
_CHUNK: Final = 2000


class Difference(NamedTuple):
    """A difference of two rows and its 95 % bootstrap interval, NaN where there is none.

    Attributes:
        value: First minus second, in the score's unit.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float
    high: float


class RowPair(NamedTuple):
    """What is known of two rows.

    Attributes:
        first: Position of one row.
        second: Position of the other.
        mean: Mean difference over cases.
        median: Median difference over cases.
        better: Patients (or cases) on which the first is better.
        worse: Those on which the second is better.
        p: Of the signed-rank test; NaN where there are too few for one.
        p_holm: Corrected for all pairs.
    """

    first: int
    second: int
    mean: Difference
    median: Difference
    better: int
    worse: int
    p: float
    p_holm: float


class Friedman(NamedTuple):
    """Friedman's test of average ranks.

    Attributes:
        statistic: Chi-square with rows - 1 degrees of freedom.
        p: Its p value.
    """

    statistic: float
    p: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """The rows of one board compared with each other, in the order in which they were given.

    Args:
        rows: Their names.
        cases: On how many cases they are compared.
        left_out: How many more cases some row has no number for.
        patients: How many patients the cases show; None where that is not known, and cases count as patients.
        average_ranks: Of each row, over patients; 1 is best.
        friedman: The test of these ranks; None for fewer than three rows or too few patients.
        pairs: Every two rows, the earlier first.
    """

    rows: tuple[str, ...]
    cases: int
    left_out: int
    patients: int | None
    average_ranks: tuple[float, ...]
    friedman: Friedman | None
    pairs: tuple[RowPair, ...]

    @property
    def units(self) -> int:
        """How many values a test has: patients where they are known, else cases."""
        return self.cases if self.patients is None else self.patients

    @property
    def tested(self) -> bool:
        """Whether there are enough patients for a test to find anything."""
        return self.units >= FEWEST

    @property
    def smallest_p(self) -> float:
        """The smallest corrected p that the pair with the clearest difference can have."""
        return min(1.0, 2.0 ** (1 - self.units) * len(self.pairs))

    @cached_property
    def p_values(self) -> Float[np.ndarray, "row row"]:
        """Corrected p of every pair, 1 on the diagonal."""
        table = np.ones((len(self.rows), len(self.rows)))
        for pair in self.pairs:
            table[pair.first, pair.second] = table[pair.second, pair.first] = pair.p_holm
        return table

    def pair(self, first: int, second: int) -> RowPair:
        """Return a pair by the positions of its rows, the smaller one first."""
        return self._by_rows[first, second]

    def tied_with(self, row: int) -> tuple[int, ...]:
        """Return the positions of the rows that no test separates from a row; none where no test could be made."""
        if not self.tested:
            return ()
        return tuple(int(other) for other in np.flatnonzero(self.p_values[row] >= ALPHA) if other != row)

    @cached_property
    def _by_rows(self) -> dict[tuple[int, int], RowPair]:
        return {(pair.first, pair.second): pair for pair in self.pairs}


def compare(
    rows: Sequence[str],
    values: Float[np.ndarray, "case row"],
    patients: Sequence[str] | None,
    *,
    higher_is_better: bool,
) -> Comparison:
    """Compare every two rows.

    Args:
        rows: Their names.
        values: The score of each row on each case; cases with a NaN are left out for all rows.
        patients: Of each case; every case is one of its own if None.
        higher_is_better: Direction of the score.

    Returns:
        The comparison; without any common case it has no pair.
    """
    complete = np.isfinite(values).all(axis=1)
    kept = values[complete]
    names = np.arange(len(values)) if patients is None else np.array(patients)
    patient = np.unique(names[complete], return_inverse=True)[1]
    by_patient = _means(kept, patient)
    ranks = rankdata(-by_patient if higher_is_better else by_patient, axis=1)
    return Comparison(
        tuple(rows),
        cases=len(kept),
        left_out=len(values) - len(kept),
        patients=None if patients is None else len(by_patient),
        average_ranks=tuple(ranks.mean(axis=0).tolist()) if len(ranks) else (float("nan"),) * len(rows),
        friedman=friedman(ranks),
        pairs=_pairs(kept, patient, by_patient, higher_is_better=higher_is_better) if len(kept) else (),
    )


def friedman(ranks: Float[np.ndarray, "block row"]) -> Friedman | None:
    """Test whether rows differ in how they are ranked by blocks (patients or datasets).

    Args:
        ranks: Of every row in every block; any numbers that order the rows in the same way will do.

    Returns:
        None for fewer than three rows or two blocks, and where all blocks tie all rows.
    """
    blocks, rows = ranks.shape
    if rows < 3 or blocks < 2 or (ranks == ranks[:, :1]).all():
        return None
    test = friedmanchisquare(*ranks.T)
    return Friedman(float(test.statistic), float(test.pvalue))


def holm(p: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Correct p values for their number by Holm's step-down rule (Scand. J. Statist. 6, 1979).

    The smallest of m is multiplied by m, the next one by m - 1 and so on; none becomes smaller than the one before, or
    larger than 1. NaN stays NaN.

    Example:
        >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    steps = np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * steps), 1.0)
    return corrected


def signed_rank_p(differences: Float[np.ndarray, "patient pair"]) -> Float[np.ndarray, " pair"]:
    """Give the two-sided p of Wilcoxon's signed-rank test for each column; 1 where nothing differs.

    Differences of zero drop out, as in Wilcoxon's own rule. SciPy chooses: exact up to 50 values without ties.
    """
    sizes = np.sort(np.abs(differences), axis=0)
    plain = (sizes[:1] > 0).all(axis=0) & (np.diff(sizes, axis=0) > 0).all(axis=0)
    p = np.ones(differences.shape[1])
    if plain.any():  # all at once, as scipy chooses the same way for all of them
        p[plain] = wilcoxon(differences[:, plain], axis=0).pvalue
    for column in np.flatnonzero(~plain):
        if changed := differences[differences[:, column] != 0, column].tolist():
            p[column] = wilcoxon(changed).pvalue
    return p


def _means(
    values: Float[np.ndarray, "case row"], patient: Int[np.ndarray, " case"]
) -> Float[np.ndarray, "patient row"]:
    """Average the cases of each patient; a patient's only case stays exactly what it is."""
    counts = np.bincount(patient)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, patient, values)
    return sums / counts[:, None]


def _pairs(
    values: Float[np.ndarray, "case row"],
    patient: Int[np.ndarray, " case"],
    by_patient: Float[np.ndarray, "patient row"],
    *,
    higher_is_better: bool,
) -> tuple[RowPair, ...]:
    rows, units = values.shape[1], len(by_patient)
    first, second = np.triu_indices(rows, 1)
    if not len(first):
        return ()
    sign = 1 if higher_is_better else -1
    parts = []
    for start in range(0, len(first), _CHUNK):
        here = slice(start, start + _CHUNK)
        differences = sign * (by_patient[:, first[here]] - by_patient[:, second[here]])
        p = signed_rank_p(differences) if units >= FEWEST else np.full(differences.shape[1], np.nan)
        parts.append(np.stack([(differences > 0).sum(axis=0), (differences < 0).sum(axis=0), p]))
    better, worse, p = np.concatenate(parts, axis=1)
    columns = zip(first, second, *_differences(values, patient, first, second), better, worse, p, holm(p), strict=True)
    return tuple(
        RowPair(int(a), int(b), mean, median, int(wins), int(losses), float(p), float(p_holm))
        for a, b, mean, median, wins, losses, p, p_holm in columns
    )


def _differences(
    values: Float[np.ndarray, "case row"],
    patient: Int[np.ndarray, " case"],
    first: Int[np.ndarray, " pair"],
    second: Int[np.ndarray, " pair"],
) -> tuple[list[Difference], list[Difference]]:
    """Return mean and median difference of every pair with their intervals."""
    means: list[Difference] = []
    medians: list[Difference] = []
    wanted = (first == 0) | (len(first) <= MEDIANS)
    for start in range(0, len(first), _CHUNK):
        here = slice(start, start + _CHUNK)
        differences = values[:, first[here]] - values[:, second[here]]
        limits = _intervals(differences, patient, wanted[here])
        means += _described(differences.mean(axis=0), limits[0])
        medians += _described(np.median(differences, axis=0), limits[1])
    return means, medians


def _described(values: Float[np.ndarray, " pair"], limits: Float[np.ndarray, "end pair"]) -> Iterable[Difference]:
    return map(Difference, values.tolist(), *limits.tolist())


def _intervals(
    differences: Float[np.ndarray, "case pair"], patient: Int[np.ndarray, " case"], wanted: Bool[np.ndarray, " pair"]
) -> Float[np.ndarray, "statistic end pair"]:
    """Bootstrap the mean of every column and the median of the wanted ones, drawing patients with all their cases."""
    pairs, patients = differences.shape[1], int(patient.max()) + 1
    if patients < 2:
        return np.full((2, 2, pairs), np.nan)
    columns = np.flatnonzero(wanted)

    def statistic(draw: np.ndarray) -> np.ndarray:
        times = np.stack([np.bincount(row, minlength=patients) for row in draw])[:, patient]
        statistics = np.full((2, pairs, len(draw)), np.nan)
        statistics[0] = (times @ differences / times.sum(axis=1, keepdims=True)).T
        by_case = np.ascontiguousarray(times.T, dtype=np.int32)
        for column in columns:
            statistics[1, column] = _weighted_medians(differences[:, column], by_case)
        return statistics

    return np.asarray(np.quantile(resample(statistic, patients), ENDS, axis=-1)).swapaxes(0, 1)


def _weighted_medians(
    values: Float[np.ndarray, " case"], times: Int[np.ndarray, "case resample"]
) -> Float[np.ndarray, " resample"]:
    """Return the median of values that occur so many times in each resample."""
    order = np.argsort(values, kind="stable")
    ranked, below = values[order], np.cumsum(times[order], axis=0, dtype=times.dtype)
    twice, total = 2 * below, below[-1]
    return np.asarray((ranked[(twice < total).sum(axis=0)] + ranked[(twice <= total).sum(axis=0)]) / 2)
