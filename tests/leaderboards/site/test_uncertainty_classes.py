"""The paper's classes of uncertain points and the rule that chooses their thresholds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboards.site.charts.uncertainty_classes import CLASSES, Thresholds, classify, fit_thresholds

# Ten validation points: errors grow with sigma, but for two exceptions (the third and the seventh).
SIGMA = np.array([0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009, 0.010])
ERROR = np.array([0.4, 0.7, 1.6, 1.0, 1.4, 1.7, 2.3, 1.9, 2.6, 4.0])
points = st.lists(st.tuples(st.floats(1e-4, 1), st.floats(0, 5)), min_size=1, max_size=30)


def test_to_the_letter_no_certain_point_errs_by_more_than_one_and_a_half_millimetres() -> None:
    assert fit_thresholds(SIGMA, ERROR, tolerance=0) == Thresholds(0.003, 0.007)


def test_a_tolerance_lets_exceptions_pass() -> None:
    # below .006 one of five points errs by more than 1.5 mm, below .007 two of six; then of .006 .007 .008 one errs by
    # more than 2 mm, of the four up to .009 two
    assert fit_thresholds(SIGMA, ERROR, tolerance=0.2) == Thresholds(0.006, 0.007)
    assert fit_thresholds(SIGMA, ERROR, tolerance=0.34) == Thresholds(0.007, 0.007)


def test_points_that_are_all_good_are_all_certain() -> None:
    thresholds = fit_thresholds(SIGMA, np.zeros(10), tolerance=0)
    assert (classify(SIGMA, thresholds) == 0).all()


def test_points_that_are_all_bad_are_all_highly_uncertain() -> None:
    thresholds = fit_thresholds(SIGMA, np.full(10, 9.0), tolerance=0)
    assert (classify(SIGMA, thresholds) == 2).all()


def test_the_order_of_the_points_does_not_matter_and_unknown_ones_do_not_count() -> None:
    order = np.random.default_rng(0).permutation(10)
    sigma, error = np.append(SIGMA[order], [np.nan, 0.0005]), np.append(ERROR[order], [9.0, np.nan])
    assert fit_thresholds(sigma, error, tolerance=0) == fit_thresholds(SIGMA, ERROR, tolerance=0)


@given(drawn=points, tolerance=st.sampled_from([0.0, 0.05, 0.3]))
def test_no_class_holds_more_exceptions_than_the_tolerance(drawn: list[tuple[float, float]], tolerance: float) -> None:
    sigma, error = np.array(drawn).T
    thresholds = fit_thresholds(sigma, error, tolerance=tolerance)
    found = classify(sigma, thresholds)
    assert thresholds.certain <= thresholds.moderate
    for number, limit in ((0, 1.5), (1, 2.0)):
        assert (error[found == number] > limit).sum() <= tolerance * (found == number).sum()


@given(drawn=points, tolerance=st.sampled_from([0.0, 0.05, 0.3]))
def test_no_higher_threshold_would_keep_the_rule(drawn: list[tuple[float, float]], tolerance: float) -> None:
    sigma, error = np.array(drawn).T
    certain = fit_thresholds(sigma, error, tolerance=tolerance).certain
    for higher in sigma[sigma > certain]:
        below = sigma < higher
        assert (error[below] > 1.5).sum() > tolerance * below.sum()


def test_without_a_point_no_threshold_is_chosen() -> None:
    with pytest.raises(ValueError, match="no validation point"):
        fit_thresholds(np.array([np.nan]), np.array([1.0]))


def test_a_class_begins_at_its_threshold() -> None:
    sigma = np.array([0.0086, 0.0087, 0.00969, 0.0097, 0.5])
    assert [CLASSES[c].split()[0] for c in classify(sigma, Thresholds(0.0087, 0.0097))] == [
        *("certain", "moderately", "moderately", "highly", "highly"),
    ]
