"""Exponential Weighted Center and Adaptive Wing against numbers worked out by hand from their equations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from methods.components.losses import adaptive_wing, ewc, l2

ALL = torch.ones(1, 1, dtype=torch.bool)


def _pixel(value: float, requires_grad: bool = False) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64, requires_grad=requires_grad)


@pytest.mark.parametrize(
    ("guess", "true", "expected"),
    [(0.0, 1.0, 40.0), (0.5, 0.0, 0.25), (0.25, 0.5, 0.0625 * math.sqrt(40)), (0.7, 0.7, 0.0)],
)
def test_ewc_weighs_the_squared_error_by_alpha_to_the_truth(guess: float, true: float, expected: float) -> None:
    assert ewc(_pixel(guess), _pixel(true), ALL).item() == pytest.approx(expected)


def test_the_gradient_of_ewc_is_that_of_the_equation() -> None:
    guess = torch.tensor([[[[0.2, 0.9]]]], dtype=torch.float64, requires_grad=True)
    ewc(guess, torch.tensor([[[[1.0, 0.5]]]], dtype=torch.float64), ALL).backward()
    expected = [2 * (0.2 - 1) * 40 / 2, 2 * (0.9 - 0.5) * 40**0.5 / 2]
    assert guess.grad is not None
    assert guess.grad.flatten().tolist() == pytest.approx(expected)


@given(guess=st.floats(-1, 2), true=st.floats(0, 1))
def test_ewc_with_alpha_one_is_l2(guess: float, true: float) -> None:
    assert ewc(_pixel(guess), _pixel(true), ALL, alpha=1.0) == l2(_pixel(guess), _pixel(true), ALL)


@pytest.mark.parametrize(
    ("guess", "true", "expected"),
    [
        (0.75, 1.0, 14 * math.log(1 + 0.25**1.1)),
        (0.25, 0.0, 14 * math.log(1 + 0.25**2.1)),
        (0.0, 1.0, 14 * 1.1 * 0.5**0.1 / (1 + 0.5**1.1) * (1 - 0.5) + 14 * math.log(1 + 0.5**1.1)),
        (1.0, 0.0, 14 * 2.1 * 0.5**1.1 / (1 + 0.5**2.1) * (1 - 0.5) + 14 * math.log(1 + 0.5**2.1)),
        (0.4, 0.4, 0.0),
    ],
)
def test_adaptive_wing_has_the_values_of_its_equation(guess: float, true: float, expected: float) -> None:
    assert adaptive_wing(_pixel(guess), _pixel(true), ALL).item() == pytest.approx(expected)


@given(true=st.floats(0, 1), sign=st.sampled_from([-1, 1]))
def test_adaptive_wing_is_continuous_in_value_and_slope_where_its_pieces_meet(true: float, sign: int) -> None:
    values, slopes = [], []
    for error in (0.5 - 1e-7, 0.5 + 1e-7):
        guess = _pixel(true + sign * error, requires_grad=True)
        loss = adaptive_wing(guess, _pixel(true), ALL)
        loss.backward()
        values.append(loss.item())
        assert guess.grad is not None
        slopes.append(guess.grad.item())
    assert values[0] == pytest.approx(values[1], abs=1e-5)
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-5)


@given(true=st.floats(0, 1))
def test_adaptive_wing_is_flat_at_a_perfect_fit(true: float) -> None:
    guess = _pixel(true, requires_grad=True)
    adaptive_wing(guess, _pixel(true), ALL).backward()
    assert guess.grad is not None
    assert guess.grad.item() == 0


@pytest.mark.parametrize("loss", [ewc, adaptive_wing])
def test_missing_landmarks_neither_count_nor_poison_the_gradient(loss: object) -> None:
    assert callable(loss)
    truth, predicted = torch.rand(1, 2, 4, 4), torch.rand(1, 2, 4, 4, requires_grad=True)
    poisoned = torch.cat([truth[:, :1], torch.full((1, 1, 4, 4), torch.nan)], dim=1)
    value: Tensor = loss(predicted, poisoned, torch.tensor([[True, False]]))
    torch.testing.assert_close(value, loss(predicted[:, :1], truth[:, :1], ALL))
    value.backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert loss(predicted, poisoned, torch.zeros(1, 2, dtype=torch.bool)) == 0
