"""The statistics of the leaderboards, recomputed by plain loops and on data whose answer is known."""

import itertools
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, wilcoxon

from benchmark.scoring import bootstrap, resampling
from leaderboards.boards import statistics as stats
from leaderboards.boards.statistics import Comparison, RowPair, compare, friedman, holm, signed_rank_p


def board(cases: int = 30, rows: int = 4, seed: int = 0, step: float = 0.4) -> np.ndarray:
    """Errors of rows that become worse from one to the next, on films that are not equally hard."""
    rng = np.random.default_rng(seed)
    return rng.gamma(2, 2, (cases, 1)) + rng.normal(0, 1, (cases, rows)) + step * np.arange(rows)


def compared(values: np.ndarray, patients: list[str] | None = None, **options: bool) -> Comparison:
    names = [f"row{i}" for i in range(values.shape[1])]
    return compare(names, values, patients, **({"higher_is_better": False} | options))


def patient_means(values: np.ndarray, patients: list[str]) -> np.ndarray:
    return np.array([values[[p == name for p in patients]].mean(axis=0) for name in sorted(set(patients))])


def loop_interval(differences: np.ndarray, patients: list[str], statistic: object) -> tuple[float, float]:
    """The percentile bootstrap over patients, one resample and one patient at a time."""
    rng, names, found = np.random.default_rng(bootstrap.SEED), sorted(set(patients)), []
    for _ in range(bootstrap.RESAMPLES):
        drawn = [names[i] for i in rng.integers(0, len(names), len(names))]
        sample = [d for name in drawn for d, patient in zip(differences, patients, strict=True) if patient == name]
        found.append(statistic(sample))  # type: ignore[operator]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def exact_p(differences: np.ndarray) -> float:
    """The two-sided p of signed ranks by trying every choice of signs."""
    ranks = np.abs(differences).argsort().argsort() + 1
    sums = [
        sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in itertools.product([0, 1], repeat=len(ranks))
    ]
    seen = ranks[differences > 0].sum()
    return min(1.0, 2 * min(np.mean(np.array(sums) <= seen), np.mean(np.array(sums) >= seen)))


def test_the_test_of_a_pair_is_that_of_every_choice_of_signs() -> None:
    values = board(cases=10, rows=3)
    found = compared(values)
    for a, b in itertools.combinations(range(3), 2):
        assert found.pair(a, b).p == pytest.approx(exact_p(values[:, a] - values[:, b]))


def test_every_pair_is_tested_as_by_itself() -> None:
    values = board(cases=60, rows=6)
    values[:40, 3] = values[:40, 2]  # two rows that agree on most films
    for pair in compared(values).pairs:
        differences = values[:, pair.first] - values[:, pair.second]
        assert pair.p == pytest.approx(wilcoxon(differences[differences != 0]).pvalue)


def test_holm_by_hand() -> None:
    assert holm(np.array([0.01, 0.02, 0.03, 0.005])).tolist() == pytest.approx([0.03, 0.04, 0.04, 0.02])
    assert holm(np.array([0.6, 0.5, 0.9])).tolist() == [1.0, 1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(p: list[float]) -> None:
    rejected, rest = set(), sorted(range(len(p)), key=lambda i: p[i])
    while rest and p[rest[0]] * len(rest) < stats.ALPHA:
        rejected.add(rest.pop(0))
    assert set(np.flatnonzero(holm(np.array(p)) < stats.ALPHA)) == rejected


def test_all_pairs_of_a_board_are_corrected_together() -> None:
    found = compared(board(rows=5))
    p = sorted(pair.p for pair in found.pairs)
    assert len(p) == comb(5, 2)
    assert min(pair.p_holm for pair in found.pairs) == pytest.approx(min(1.0, 10 * p[0]))


@pytest.mark.parametrize("patients", [[str(i) for i in range(25)], [str(i // 3) for i in range(25)]])
def test_differences_and_their_intervals_are_those_of_a_plain_loop(patients: list[str]) -> None:
    values = board(cases=25, rows=2)
    differences = values[:, 0] - values[:, 1]
    pair = compared(values, [f"{int(name):02d}" for name in patients]).pair(0, 1)
    names = [f"{int(name):02d}" for name in patients]
    assert (pair.mean.value, pair.median.value) == pytest.approx((differences.mean(), np.median(differences)))
    assert pair.mean[1:] == pytest.approx(loop_interval(differences, names, np.mean))
    assert pair.median[1:] == pytest.approx(loop_interval(differences, names, np.median))


def test_films_of_one_patient_are_averaged_before_the_test() -> None:
    values, patients = board(cases=40, rows=3), [f"p{i // 4}" for i in range(40)]
    found, means = compared(values, patients), patient_means(board(cases=40, rows=3), patients)
    assert (found.cases, found.patients, found.units) == (40, 10, 10)
    for pair in found.pairs:
        differences = means[:, pair.first] - means[:, pair.second]
        assert pair.p == pytest.approx(wilcoxon(differences).pvalue)
        assert (pair.better, pair.worse) == ((differences < 0).sum(), (differences > 0).sum())
        assert pair.mean.value == pytest.approx((values[:, pair.first] - values[:, pair.second]).mean())


def test_copies_of_films_do_not_make_a_difference_surer_where_patients_are_known() -> None:
    values = board(cases=12, rows=2)
    copies, patients = np.repeat(values, 5, axis=0), [f"{i // 5:02d}" for i in range(60)]
    once, naive, known = compared(values), compared(copies), compared(copies, patients)
    assert known.pair(0, 1).p == once.pair(0, 1).p
    assert known.pair(0, 1).mean == pytest.approx(once.pair(0, 1).mean)
    assert naive.pair(0, 1).p < once.pair(0, 1).p
    assert width(known.pair(0, 1)) > 1.8 * width(naive.pair(0, 1))


def width(pair: RowPair) -> float:
    return pair.mean.high - pair.mean.low


def test_identical_rows_tie_and_a_clear_shift_is_found() -> None:
    values = board(rows=1)[:, [0, 0, 0]]
    values[:, 2] += 1 + 0.1 * np.random.default_rng(1).random(len(values))
    found = compared(values)
    assert found.pair(0, 1).p == 1.0
    assert found.pair(0, 1).mean == (0, 0, 0)
    assert found.pair(0, 2).p_holm < 0.001
    assert [found.tied_with(row) for row in range(3)] == [(1,), (0,), ()]
    assert (found.pair(0, 2).better, found.pair(0, 2).worse) == (30, 0)
    assert (found.pair(0, 1).better, found.pair(0, 1).worse) == (0, 0)


def test_ties_follow_the_corrected_p() -> None:
    found = compared(board(cases=40, rows=5))
    for a, b in itertools.combinations(range(5), 2):
        tied = found.pair(a, b).p_holm >= 0.05
        assert (b in found.tied_with(a), a in found.tied_with(b)) == (tied, tied)


def test_the_direction_of_the_score_decides_who_is_better() -> None:
    values = board(rows=3, step=2)
    lower, higher = compared(values), compared(values, higher_is_better=True)
    assert lower.average_ranks == pytest.approx([4 - rank for rank in higher.average_ranks])
    assert (lower.pair(0, 2).better, lower.pair(0, 2).worse) == (higher.pair(0, 2).worse, higher.pair(0, 2).better)
    assert lower.pair(0, 2).p == higher.pair(0, 2).p


def test_cases_that_not_every_row_has_are_left_out_for_all() -> None:
    values = board(cases=20, rows=3)
    holes = values.copy()
    holes[[3, 7], [0, 2]] = np.nan
    found, expected = compared(holes), compared(np.delete(values, [3, 7], axis=0))
    assert (found.cases, found.left_out) == (18, 2)
    assert found.pairs == expected.pairs
    assert found.average_ranks == expected.average_ranks


def test_too_few_films_are_not_tested_and_tie_nobody() -> None:
    found = compared(board(cases=5, rows=3, step=100))
    assert not found.tested
    assert all(np.isnan([pair.p, pair.p_holm]).all() for pair in found.pairs)
    assert found.tied_with(0) == ()
    assert found.pair(0, 1).mean.value == pytest.approx(-100, abs=3)


def test_six_clear_films_reach_the_smallest_p_there_is() -> None:
    found = compared(board(cases=6, rows=3, step=100))
    assert found.tested
    assert min(pair.p_holm for pair in found.pairs) == pytest.approx(found.smallest_p) == pytest.approx(3 * 2 / 2**6)


def test_no_smallest_p_is_larger_than_one() -> None:
    assert compared(board(cases=5, rows=10)).smallest_p == 1.0


@pytest.mark.parametrize(("p", "tied"), [(0.05, (1,)), (0.0499, ())])
def test_rows_are_tied_at_a_corrected_p_of_exactly_five_percent(p: float, tied: tuple[int, ...]) -> None:
    none = stats.Difference(0.0, 0.0, 0.0)
    pair = RowPair(0, 1, none, none, better=4, worse=2, p=p, p_holm=p)
    assert Comparison(("a", "b"), 6, 0, None, (1.0, 2.0), None, (pair,)).tied_with(0) == tied


def test_two_patients_have_an_interval_and_one_has_none() -> None:
    values = board(cases=6, rows=2)
    two, one = ["a", "a", "b", "b", "b", "b"], ["a"] * 6
    differences = values[:, 0] - values[:, 1]
    assert compared(values, two).pair(0, 1).mean[1:] == pytest.approx(loop_interval(differences, two, np.mean))
    single = compared(values, one).pair(0, 1)
    assert single.mean.value == pytest.approx(differences.mean())
    assert np.isnan([*single.mean[1:], *single.median[1:]]).all()


def test_a_patient_with_many_films_counts_once() -> None:
    patients = [f"p{i}" for i in range(8) for _ in range(i + 1)]
    values = board(cases=len(patients), rows=3)
    found, means = compared(values, patients), patient_means(values, patients)
    for pair in found.pairs:
        assert pair.p == pytest.approx(wilcoxon(means[:, pair.first] - means[:, pair.second]).pvalue)
    assert found.average_ranks == pytest.approx((means.argsort(axis=1).argsort(axis=1) + 1).mean(axis=0))


def test_without_common_films_nothing_is_compared() -> None:
    found = compared(np.array([[1.0, np.nan], [np.nan, 2.0]]))
    assert (found.cases, found.left_out, found.pairs, found.friedman) == (0, 2, (), None)


def test_a_single_row_has_nobody_to_be_compared_with() -> None:
    found = compared(board(rows=1))
    assert (found.pairs, found.tied_with(0), found.average_ranks) == ((), (), (1.0,))


def test_average_ranks_share_places_among_equals() -> None:
    values = np.array([[1.0, 2.0, 2.0], [3.0, 1.0, 2.0]])
    assert compared(values).average_ranks == (2.0, 1.75, 2.25)


def test_the_friedman_test_follows_its_formula() -> None:
    values = board(cases=20, rows=4)
    ranks = values.argsort(axis=1).argsort(axis=1) + 1
    n, k = ranks.shape
    statistic = 12 / (n * k * (k + 1)) * (ranks.sum(axis=0) ** 2).sum() - 3 * n * (k + 1)
    found = friedman(values)
    assert found == compared(values).friedman
    assert found.statistic == pytest.approx(statistic)
    assert found.p == pytest.approx(friedmanchisquare(*values.T).pvalue)


def test_the_friedman_test_needs_three_rows_two_blocks_and_a_difference() -> None:
    assert friedman(board(cases=9, rows=2)) is None
    assert friedman(board(cases=1, rows=4)) is None
    assert friedman(np.ones((9, 4))) is None


def test_the_friedman_test_of_three_rows_and_two_blocks() -> None:
    found = friedman(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]))
    assert found is not None
    assert (found.statistic, found.p) == pytest.approx((4.0, np.exp(-2)))  # chi-square with two degrees of freedom


def test_one_difference_of_zero_drops_out() -> None:
    differences = np.random.default_rng(3).normal(0.4, 1, (12, 2))
    differences[4, 1] = 0
    assert signed_rank_p(differences)[1] == pytest.approx(exact_p(np.delete(differences[:, 1], 4)))


def test_ties_among_differences_do_not_change_the_other_pairs() -> None:
    differences = np.random.default_rng(0).normal(size=(20, 3))
    alone = signed_rank_p(differences[:, [0]])
    differences[:, 1], differences[:5, 2] = 0, 0
    assert signed_rank_p(differences)[[0]] == alone
    assert signed_rank_p(differences)[1] == 1.0


def test_many_rows_are_compared_in_parts_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    values = board(cases=15, rows=6)
    whole = compared(values)
    monkeypatch.setattr(stats, "_CHUNK", 4)
    assert compared(values).pairs == whole.pairs
    monkeypatch.setattr(stats, "MEDIANS", 15)  # as many as there are pairs
    assert compared(values).pairs == whole.pairs
    monkeypatch.setattr(stats, "MEDIANS", 4)
    without = compared(values)
    assert without.pair(0, 5) == whole.pair(0, 5)
    assert np.isnan(without.pair(2, 5).median.low)
    assert without.pair(2, 5).mean == whole.pair(2, 5).mean


def test_the_statistics_resample_as_the_scores_do() -> None:
    assert stats.resample is resampling.resample is bootstrap.resample
    assert stats.ENDS is resampling.ENDS is bootstrap.ENDS
