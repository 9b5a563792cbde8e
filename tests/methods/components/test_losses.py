"""Losses against numbers worked out by hand from the papers' equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from methods.components.heatmap import gaussian
from methods.components.losses import (
    Categorical,
    background_piece,
    core_piece,
    foreground_piece,
    ic_loss,
    l1,
    l2,
)

ALL = torch.ones(1, 1, dtype=torch.bool)


@pytest.mark.parametrize("piece", [background_piece, foreground_piece, core_piece])
@pytest.mark.parametrize("joint", [0.05, 0.5])
def test_the_pieces_are_continuous_and_zero_without_error(piece: object, joint: float) -> None:
    assert callable(piece)
    below, above = piece(torch.tensor([joint - 1e-6, joint + 1e-6], dtype=torch.float64)).tolist()
    assert abs(above - below) < 1e-4
    assert piece(torch.zeros(1)).item() == 0


@pytest.mark.parametrize(
    ("piece", "error", "expected"),
    [
        (background_piece, 0.4, 0.08),
        (background_piece, 1.0, 1 - 1 / 8),
        (foreground_piece, 0.3, 0.3),
        (foreground_piece, 1.0, 1.25),
        (core_piece, 0.04, 0.04),
        (core_piece, 0.2, 4 * math.log(1.2) + 0.05 - 4 * math.log(1.05)),
        (core_piece, 1.0, 1 + 4 * math.log(1.5) - 4 * math.log(1.05) - 0.25 + 0.05),
    ],
)
def test_the_pieces_have_the_values_of_the_equations(piece: object, error: float, expected: float) -> None:
    assert callable(piece)
    assert piece(torch.tensor(error, dtype=torch.float64)).item() == pytest.approx(expected)


def _reference(predicted: np.ndarray, target: np.ndarray, categorical: str, weigh: bool = True) -> float:
    """Eq. 6 to 17 pixel by pixel, in plain Python."""
    total = 0.0
    counts = [np.sum(target < 0.4), np.sum((target >= 0.4) & (target < 0.9)), np.sum(target >= 0.9)]
    for guess, wanted in zip(predicted.ravel(), target.ravel(), strict=True):
        error, region, found = abs(wanted - guess), _region(wanted), _region(guess)
        omega = {"none": False, "background-foreground": region < 2, "all": True}[categorical]
        if omega and region == found:
            continue
        weight = 1.0 if region == 0 or (region == 1 and not weigh) else counts[0] / counts[region]
        total += weight * _piece(region, error)
    return total / target.size


def _region(value: float) -> int:
    return 0 if value < 0.4 else 1 if value < 0.9 else 2


def _piece(region: int, error: float) -> float:
    if region == 0:
        return error**2 - 1 / 8 if error > 0.5 else 0.5 * error**2
    if region == 1:
        return error**2 + 0.25 if error > 0.5 else error
    if error <= 0.05:
        return error
    middle = 4 * math.log(1 + min(error, 0.5)) + 0.05 - 4 * math.log(1.05)
    return middle if error <= 0.5 else error**2 - 0.25 + middle


@pytest.mark.parametrize("categorical", ["none", "background-foreground", "all"])
@pytest.mark.parametrize("weigh", [True, False])
def test_ic_loss_equals_the_equations_pixel_by_pixel(categorical: Categorical, weigh: bool) -> None:
    target = gaussian(torch.tensor([[[20.0, 30.0]]]), (16, 12), 1.5, 4).double()
    predicted = target + 0.6 * torch.randn(target.shape, dtype=torch.float64)
    loss = ic_loss(predicted, target, ALL, categorical, weigh_foreground=weigh)
    assert loss.item() == pytest.approx(_reference(predicted.numpy(), target.numpy(), categorical, weigh))


def test_ic_loss_stops_charging_background_that_is_classified_right() -> None:
    target, predicted = torch.zeros(1, 1, 4, 4), torch.full((1, 1, 4, 4), 0.39)
    assert ic_loss(predicted, target, ALL) == 0
    assert ic_loss(predicted, target, ALL, categorical="none") > 0


@given(error=st.floats(-2, 2), true=st.floats(0, 1))
def test_ic_loss_is_never_negative(error: float, true: float) -> None:
    target = torch.full((1, 1, 2, 2), true)
    for categorical in ("none", "background-foreground", "all"):
        assert ic_loss(target + error, target, ALL, categorical) >= 0


@pytest.mark.parametrize("loss", [l1, l2, ic_loss])
def test_missing_landmarks_neither_count_nor_poison_the_gradient(loss: object) -> None:
    assert callable(loss)
    target = torch.rand(1, 2, 4, 4)
    alone = target[:, :1]
    poisoned = torch.cat([alone, torch.full_like(alone, torch.nan)], dim=1)
    predicted = torch.rand(1, 2, 4, 4, requires_grad=True)
    value: Tensor = loss(predicted, poisoned, torch.tensor([[True, False]]))
    torch.testing.assert_close(value, loss(predicted[:, :1], alone, ALL))
    value.backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert (predicted.grad[:, 1] == 0).all()
