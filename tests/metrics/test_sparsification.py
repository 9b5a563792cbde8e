"""The sparsification error against a plain loop, and what an oracle and a coin score."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics.sparsification import Sparsification, sparsification_curve, sparsification_error

from .conftest import SPINE, make_spines


def loop(errors: np.ndarray, uncertainties: np.ndarray) -> float:
    """Leave out the most uncertain landmarks one by one."""
    area = []
    for order in (np.argsort(uncertainties), np.argsort(errors)):
        area.append(np.mean([errors[order[: len(errors) - left_out]].mean() for left_out in range(len(errors))]))
    return float((area[0] - area[1]) / errors.mean())


@given(st.integers(1, 30), st.integers(0, 99))
def test_the_area_agrees_with_a_loop(count: int, seed: int) -> None:
    errors, uncertainties = np.random.default_rng(seed).random((2, count))
    found = sparsification_error(torch.tensor(errors), torch.tensor(uncertainties))
    assert found.item() == pytest.approx(loop(errors, uncertainties), abs=1e-9)


@pytest.mark.parametrize("function", [lambda e: e, lambda e: 100 * e, lambda e: e**3 + 1], ids=["e", "100e", "e3"])
def test_an_oracle_scores_zero(function: object) -> None:
    errors = torch.rand(200, dtype=torch.float64)
    assert callable(function)
    assert sparsification_error(errors, function(errors)).item() == pytest.approx(0, abs=1e-12)


def test_one_and_the_same_uncertainty_scores_like_a_coin() -> None:
    # Without an order the curve stays at the mean. Of uniform errors the oracle's falls from 1 to 0: half the area.
    errors = torch.rand(20_000, dtype=torch.float64)
    same, coin = (
        sparsification_error(errors, order).item() for order in (torch.ones_like(errors), torch.rand_like(errors))
    )
    assert same == pytest.approx(0.5, abs=0.01)
    assert coin == pytest.approx(0.5, abs=0.02)


def test_the_wrong_order_scores_twice_as_badly_as_none() -> None:
    errors = torch.rand(20_000, dtype=torch.float64)
    assert sparsification_error(errors, -errors).item() == pytest.approx(1, abs=0.02)


def test_ties_do_not_depend_on_the_order_of_the_landmarks() -> None:
    errors, uncertainties = torch.rand(40, dtype=torch.float64), torch.randint(3, (40,)).double()
    shuffled = torch.randperm(40)
    curve = sparsification_curve(errors, uncertainties)
    torch.testing.assert_close(sparsification_curve(errors[shuffled], uncertainties[shuffled]), curve)


def test_missing_landmarks_are_left_out() -> None:
    errors, uncertainties = torch.rand(2, 30, dtype=torch.float64)
    expected = sparsification_error(errors[5:], uncertainties[5:])
    hidden = torch.arange(30) < 5
    missing = (values.masked_fill(hidden, torch.nan) for values in (errors, uncertainties))
    torch.testing.assert_close(sparsification_error(*missing), expected)


def test_the_metric_orders_by_the_predicted_variance() -> None:
    cases = make_spines(12, missing=0.1)
    metric, shown = Sparsification(SPINE._replace(unit="px")), cases.visible.numpy()
    errors = np.linalg.norm((cases.points - cases.target).numpy()[shown], axis=1)
    variance = np.trace(cases.covariance.numpy()[shown], axis1=1, axis2=2)
    found = metric.reduce(metric.terms(cases))["ause"].item()
    assert found == pytest.approx(loop(errors, variance))
    assert found < 0.4
