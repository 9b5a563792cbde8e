"""Coordinate MSE and Pearson correlation against plain numpy, and the trivial floor on the real films."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics.base import Anatomy, Cases
from metrics.coordinate_mse import CoordinateMse, coordinate_mse
from metrics.pearson import Pearson, coordinate_sums, pearson_rho

Maker = Callable[..., Cases]


def fractions(cases: Cases) -> list[tuple[np.ndarray, np.ndarray]]:
    """Give predicted and true visible points of each case as fractions of the film."""
    points, target, visible, _, size = (field.numpy() for field in cases[:5])
    return [
        (p[v] / [width, height], t[v] / [width, height])
        for p, t, v, (height, width) in zip(points, target, visible, size, strict=True)
    ]


def test_mse_agrees_with_numpy(spines: Maker, anatomy: Anatomy) -> None:
    cases = spines(11, missing=0.2)
    metric, expected = CoordinateMse(anatomy), [np.square(p - t).mean() for p, t in fractions(cases)]
    metric.update(cases)
    assert metric.compute()["mse"].item() == pytest.approx(np.mean(expected))
    distances = [np.square(p - t).sum(axis=1).mean() for p, t in fractions(cases)]
    assert metric.compute()["mse_sum"].item() == pytest.approx(np.mean(distances))
    assert metric.compute()["mse_median"].item() == pytest.approx(np.median(expected))


def test_rho_agrees_with_numpy(spines: Maker, anatomy: Anatomy) -> None:
    cases = spines(11, missing=0.2)
    metric = Pearson(anatomy)
    metric.update(cases)
    predicted, target = (np.concatenate([pair[i].ravel() for pair in fractions(cases)]) for i in (0, 1))
    assert metric.compute()["rho"].item() == pytest.approx(np.corrcoef(predicted, target)[0, 1])


def test_x_is_divided_by_the_width_and_y_by_the_height() -> None:
    target, visible = torch.zeros(1, 4, 2), torch.ones(1, 4, dtype=torch.bool)
    size = torch.tensor([[200.0, 100.0]])
    assert coordinate_mse(target + torch.tensor([10.0, 0.0]), target, visible, size).item() == pytest.approx(0.01 / 2)
    assert coordinate_mse(target + torch.tensor([0.0, 10.0]), target, visible, size).item() == pytest.approx(0.0025 / 2)


@pytest.mark.parametrize("metric", [CoordinateMse, Pearson])
def test_a_film_of_unknown_size_does_not_count(
    metric: type[CoordinateMse | Pearson], spines: Maker, anatomy: Anatomy
) -> None:
    known, unknown = spines(4), spines(2, seed=1)
    both, alone = metric(anatomy), metric(anatomy)
    for each in (both, alone):
        each.update(known)
    both.update(unknown._replace(size=torch.full_like(unknown.size, torch.nan)))
    assert both.compute() == alone.compute()


def test_rho_of_a_prediction_without_spread_is_nan() -> None:
    target = torch.rand(3, 5, 2, dtype=torch.float64)
    sums = coordinate_sums(torch.full_like(target, 0.3), target, torch.ones(3, 5, dtype=torch.bool))
    assert pearson_rho(sums.sum(0)).isnan()


@given(st.floats(-5, 5), st.floats(0.1, 10), st.integers(0, 99))
def test_rho_does_not_see_a_shift_or_scale_common_to_x_and_y(shift: float, scale: float, seed: int) -> None:
    points, target = torch.rand(2, 3, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    visible = torch.ones(3, 5, dtype=torch.bool)
    moved = pearson_rho(coordinate_sums(points * scale + shift, target, visible).sum(0))
    assert moved.item() == pytest.approx(pearson_rho(coordinate_sums(points, target, visible).sum(0)).item(), abs=1e-6)


def test_rho_of_a_mirrored_prediction_is_minus_one() -> None:
    target = torch.rand(3, 5, 2, dtype=torch.float64)
    sums = coordinate_sums(-target, target, torch.ones(3, 5, dtype=torch.bool)).sum(0)
    assert pearson_rho(sums).item() == pytest.approx(-1)


def test_the_mean_shape_scores_what_was_measured_on_the_real_films(aasce: Path) -> None:
    train, test = (
        np.loadtxt(aasce / "labels" / part / "landmarks.csv", delimiter=",").reshape(-1, 2, 68).swapaxes(1, 2)
        for part in ("training", "test")
    )
    size = torch.ones(128, 2, dtype=torch.float64)  # the labels are fractions of the film already
    target, unknown = torch.tensor(test), torch.full((128, 2), torch.nan)
    none = torch.full((128, 68, 2, 2), torch.nan)
    points = torch.tensor(train.mean(0)).expand_as(target)
    cases = Cases(
        points,
        target,
        torch.ones(128, 68, dtype=torch.bool),
        unknown,
        size,
        none,
        *(2 * [none[..., 0]]),
        none[..., 0, 0],
    )
    names = Anatomy(names=tuple(map(str, range(68))), groups={})
    mse, rho = (metric.reduce(metric.terms(cases)) for metric in (CoordinateMse(names), Pearson(names)))
    assert mse["mse"].item() == pytest.approx(4.46e-3, abs=5e-6)
    assert mse["mse_sum"].item() == pytest.approx(8.92e-3, abs=1e-5)
    assert rho["rho"].item() == pytest.approx(0.9437, abs=5e-5)
