"""Likelihood, sharpness and error-uncertainty correlation against scipy and against closed forms."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import multivariate_normal, rankdata, spearmanr

from metrics.base import Cases
from metrics.uncertainty import SMALLEST, Uncertainty, floored, gaussian_nll, rank_correlation, ranks, residuals

from .conftest import SPINE, make_spines

PX = SPINE._replace(unit="px")
COVARIANCE = np.array([[9.0, 2.0], [2.0, 4.0]])


def gaussian_cases(covariance: np.ndarray, stated: np.ndarray, count: int = 4000) -> Cases:
    """Errors that are drawn from one Gaussian while another is stated."""
    errors = np.random.default_rng(0).multivariate_normal([0, 0], covariance, (count, 5))
    target = torch.zeros(count, 5, 2, dtype=torch.float64)
    return Cases(
        points=torch.tensor(errors),
        target=target,
        visible=torch.ones(count, 5, dtype=torch.bool),
        spacing=torch.full((count, 2), 0.2, dtype=torch.float64),
        size=torch.full((count, 2), 500.0, dtype=torch.float64),
        covariance=torch.tensor(stated).expand(count, 5, 2, 2),
        quantiles=torch.full((count, 5, 3), torch.nan, dtype=torch.float64),
        centres=torch.full((count, 5, 2), torch.nan, dtype=torch.float64),
        temperature=torch.full((count, 5), torch.nan, dtype=torch.float64),
    )


def result(cases: Cases, unit: str = "px") -> dict[str, float]:
    metric = Uncertainty(SPINE._replace(unit="mm") if unit == "mm" else PX)
    return {name: value.item() for name, value in metric.reduce(metric.terms(cases)).items()}


def test_the_likelihood_is_that_of_scipy() -> None:
    difference = np.random.default_rng(1).normal(size=(6, 2))
    expected = -multivariate_normal([0, 0], COVARIANCE).logpdf(difference)
    found = gaussian_nll(torch.tensor(difference), torch.tensor(COVARIANCE).expand(6, 2, 2))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("factor", [1.0, 0.25, 4.0])
def test_the_expected_likelihood_follows_from_the_stated_covariance(factor: float) -> None:
    # E[NLL] = tr(S^-1 C) / 2 + ln(2 pi) + ln(det S) / 2, smallest where the stated S is the true C.
    found = result(gaussian_cases(COVARIANCE, factor * COVARIANCE))["nll"]
    expected = 1 / factor + math.log(2 * math.pi) + math.log(factor**2 * np.linalg.det(COVARIANCE)) / 2
    assert found == pytest.approx(expected, rel=0.01)


def test_the_right_covariance_is_as_sharp_as_the_errors_are_large() -> None:
    cases = gaussian_cases(COVARIANCE, COVARIANCE)
    assert result(cases)["sharpness"] == pytest.approx(math.sqrt(13))
    assert result(cases)["sharpness"] == pytest.approx(cases.points.square().sum(-1).mean().sqrt().item(), rel=0.01)


def test_millimetres_scale_the_sharpness_and_shift_the_likelihood() -> None:
    cases = gaussian_cases(COVARIANCE, COVARIANCE, count=10)
    pixels, millimetres = result(cases), result(cases, "mm")
    assert millimetres["sharpness"] == pytest.approx(0.2 * pixels["sharpness"])
    assert millimetres["nll"] == pytest.approx(pixels["nll"] + math.log(0.2**2))
    assert result(cases, "mm")["error_correlation"] == pytest.approx(pixels["error_correlation"], nan_ok=True)


def test_the_correlation_is_spearmans_over_all_landmarks_that_are_there() -> None:
    cases = make_spines(20, missing=0.2)
    metric = Uncertainty(PX)
    shown = cases.visible.numpy()
    errors = np.linalg.norm((cases.points - cases.target).numpy()[shown], axis=1)
    sigma = np.trace(cases.covariance.numpy()[shown], axis1=1, axis2=2)
    found = metric.reduce(metric.terms(cases))["error_correlation"].item()
    assert found == pytest.approx(spearmanr(errors, sigma).statistic)
    assert found > 0.3


@given(arrays(float, (2, 7), elements=st.one_of(st.sampled_from([0.0, 1.0, np.nan]), st.floats(-9, 9))))
def test_ranks_share_ties_and_leave_out_nan(values: np.ndarray) -> None:
    expected = rankdata(values, axis=1, nan_policy="omit")
    np.testing.assert_allclose(ranks(torch.tensor(values)), expected)


def test_one_and_the_same_uncertainty_correlates_with_nothing() -> None:
    assert rank_correlation(torch.rand(9), torch.ones(9)).isnan()


def test_a_reversed_order_has_correlation_minus_one() -> None:
    errors = torch.rand(9)
    assert rank_correlation(errors, -errors.exp()).item() == pytest.approx(-1)


def test_a_singular_covariance_is_raised_to_the_smallest_variance() -> None:
    stated = np.array([[4.0, 4.0], [4.0, 4.0]])
    eigenvalues = np.linalg.eigvalsh(floored(torch.tensor(stated)))
    assert eigenvalues.tolist() == pytest.approx([SMALLEST, 8 + SMALLEST])
    assert math.isfinite(result(gaussian_cases(COVARIANCE, np.zeros((2, 2)), count=9))["nll"])


@given(st.integers(0, 99))
def test_a_sound_covariance_is_not_changed(seed: int) -> None:
    half = torch.randn(5, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    covariance = half @ half.mT + 0.01 * torch.eye(2)
    torch.testing.assert_close(floored(covariance), covariance, rtol=0, atol=0)


def test_missing_landmarks_have_no_residual() -> None:
    cases = make_spines(4, missing=0.3)
    difference, covariance = residuals(cases, "mm")
    assert torch.equal(difference.isnan().any(-1), ~cases.visible)
    assert torch.equal(covariance.isnan().any(-1).any(-1), ~cases.visible)


def test_a_run_without_a_covariance_is_not_scored() -> None:
    cases = make_spines(3)
    without = cases._replace(covariance=torch.full_like(cases.covariance, torch.nan))
    partly = cases._replace(covariance=cases.covariance.clone())
    partly.covariance[1, 4] = torch.nan
    assert Uncertainty(PX).lacks(cases) is None
    assert Uncertainty(PX).lacks(without) == Uncertainty(PX).lacks(partly) == "The method gives no covariance."


def test_a_landmark_that_is_missing_needs_no_covariance() -> None:
    cases = make_spines(5, missing=0.3)
    covariance = cases.covariance.masked_fill(~cases.visible[..., None, None], torch.nan)
    assert Uncertainty(PX).lacks(cases._replace(covariance=covariance)) is None
