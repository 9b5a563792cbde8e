"""Temperatures of covariances against draws whose covariance is known."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from metrics.base import Anatomy, Cases
from metrics.calibration import Calibration
from metrics.temperature import SHARED, Temperature, temperatures


def overconfident(count: int, factors: Sequence[float], seed: int = 0) -> Cases:
    """Draw errors of a Gaussian whose stated covariance is too small, by another factor for each landmark."""
    right = torch.tensor([[9.0, 2.0], [2.0, 4.0]], dtype=torch.float64)
    errors = torch.tensor(np.random.default_rng(seed).multivariate_normal([0, 0], right.numpy(), (count, len(factors))))
    stated = right / torch.tensor(factors, dtype=torch.float64)[:, None, None]
    unknown = torch.full((count, len(factors), 3), torch.nan, dtype=torch.float64)
    films = torch.full((count, 2), 500.0, dtype=torch.float64)
    visible = torch.ones(count, len(factors), dtype=torch.bool)
    covariance = stated.expand(count, -1, -1, -1)
    zero = torch.zeros_like(errors)
    return Cases(errors, zero, visible, films, films, covariance, unknown, unknown[..., :2], unknown[..., 0])


def test_the_temperature_of_each_landmark_is_the_factor_by_which_its_covariance_is_too_small() -> None:
    factors = [0.25, 1.0, 9.0]
    assert temperatures(overconfident(4000, factors)).numpy() == pytest.approx(np.array(factors), rel=0.06)


def test_the_truth_is_most_likely_at_the_temperature_of_a_single_landmark() -> None:
    cases = overconfident(12, [2.0])
    difference, stated = cases.points.numpy()[:, 0], cases.covariance.numpy()[0, 0]

    def likelihood(factor: float) -> float:
        exponents = np.einsum("ni,ij,nj->n", difference, np.linalg.inv(factor * stated), difference)
        return float(-exponents.sum() - len(difference) * np.log(np.linalg.det(factor * stated)))

    fitted = float(temperatures(cases))
    assert likelihood(fitted) > max(likelihood(0.98 * fitted), likelihood(1.02 * fitted))


def test_few_cases_are_drawn_to_the_mean_of_all_landmarks() -> None:
    each = temperatures(overconfident(2, [1.0, 25.0])).numpy()
    distances = overconfident(2, [1.0, 25.0])
    inverse = np.linalg.inv(distances.covariance.numpy())
    half = np.einsum("nki,nkij,nkj->nk", distances.points, inverse, distances.points) / 2
    assert each == pytest.approx((half.sum(0) + SHARED * half.mean()) / (2 + SHARED))


def test_missing_landmarks_do_not_count() -> None:
    cases = overconfident(6, [1.0, 4.0])
    hidden = cases._replace(visible=cases.visible & (torch.arange(6) > 0)[:, None])
    alone = Cases(*(value[1:] for value in cases))
    torch.testing.assert_close(temperatures(hidden), temperatures(alone))


def test_calibrated_regions_hold_what_they_promise() -> None:
    factors = [0.2, 1.0, 6.0]
    fitted = temperatures(overconfident(3000, factors, seed=1))
    cases = overconfident(3000, factors, seed=2)._replace(temperature=fitted.expand(3000, -1))
    names = Anatomy(names=("a", "b", "c"), groups={})
    before = Calibration(names).reduce(Calibration(names).terms(cases))
    after = Temperature(names).reduce(Temperature(names).terms(cases))
    assert before["coverage_90"] < 85
    assert after["coverage_90_calibrated"].item() == pytest.approx(90, abs=1.0)
    assert after["calibration_error_calibrated"] < 1 < before["calibration_error"]


def test_without_a_covariance_there_is_no_temperature() -> None:
    cases = overconfident(3, [1.0])
    assert temperatures(cases._replace(covariance=torch.full_like(cases.covariance, torch.nan))).isnan().all()
