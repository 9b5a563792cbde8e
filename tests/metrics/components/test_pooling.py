"""Pooling skips what is missing, and drawn cases count as often as they are drawn."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

from metrics.components.pooling import pooled_mean, pooled_median, pooled_percentage, pooled_sd, pooled_sum

ROWS = arrays(float, (2, 4, 3), elements=st.one_of(st.floats(-1e3, 1e3), st.just(np.nan)))


def reference(function: str, values: np.ndarray) -> np.ndarray:
    """Pool each resample by plain numpy on the values that are left after dropping NaN."""
    kept = [resample[~np.isnan(resample)] for resample in values]
    return np.array([getattr(np, function)(part) if part.size else np.nan for part in kept])


@given(ROWS)
def test_pooled_mean_agrees_with_numpy(values: np.ndarray) -> None:
    np.testing.assert_allclose(pooled_mean(torch.tensor(values)), reference("mean", values), atol=1e-9)


@given(ROWS)
def test_pooled_sd_agrees_with_numpy(values: np.ndarray) -> None:
    np.testing.assert_allclose(pooled_sd(torch.tensor(values)), reference("std", values), atol=1e-9)


@given(ROWS)
def test_pooled_median_agrees_with_numpy(values: np.ndarray) -> None:
    np.testing.assert_allclose(pooled_median(torch.tensor(values)), reference("median", values), atol=1e-9)


@given(ROWS)
def test_pooled_percentage_counts_only_the_known(values: np.ndarray) -> None:
    tensor = torch.tensor(values)
    share = pooled_percentage(tensor > 0, ~tensor.isnan())
    expected = 100 * reference("mean", np.where(np.isnan(values), np.nan, (values > 0).astype(float)))
    np.testing.assert_allclose(share, expected, atol=1e-9)


@pytest.mark.parametrize("pool", [pooled_mean, pooled_sd, pooled_median])
def test_pooling_nothing_gives_nan(pool: object) -> None:
    nothing: Tensor = torch.full((3, 2), torch.nan)
    assert callable(pool) and pool(nothing).isnan()


DRAWS = arrays(np.int64, (5, 4), elements=st.integers(0, 3))


def repeats(draws: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array([np.bincount(draw, minlength=4) for draw in draws], dtype=float))


@given(ROWS, DRAWS)
@pytest.mark.parametrize(("pool", "function"), [(pooled_mean, "mean"), (pooled_sd, "std"), (pooled_median, "median")])
def test_counts_are_repeated_rows(pool: object, function: str, values: np.ndarray, draws: np.ndarray) -> None:
    assert callable(pool)
    found = pool(torch.tensor(values), repeats(draws))
    expected = np.stack([reference(function, values[:, draw]) for draw in draws], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6 if function == "std" else 1e-9)


@given(ROWS, DRAWS)
def test_percentages_and_sums_of_draws(values: np.ndarray, draws: np.ndarray) -> None:
    tensor, counts = torch.tensor(values), repeats(draws)
    drawn = np.stack([values[:, draw] for draw in draws], axis=1)
    np.testing.assert_allclose(pooled_sum(tensor, counts), np.nansum(drawn, axis=-2), atol=1e-9)
    share = pooled_percentage(tensor > 0, ~tensor.isnan(), counts)
    np.testing.assert_array_equal(share, pooled_percentage(torch.tensor(drawn) > 0, ~torch.tensor(drawn).isnan()))


def test_an_infinite_case_counts_in_the_draws_that_have_it() -> None:
    values = torch.tensor([[1.0], [torch.inf], [-torch.inf]])
    counts = torch.tensor([[2.0, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]])
    assert pooled_mean(values, counts).tolist()[:3] == [1.0, torch.inf, -torch.inf]
    assert pooled_mean(values, counts)[3].isnan()
    assert pooled_median(values, counts).tolist()[:1] == [1.0]


def test_many_values_have_their_exact_median() -> None:
    random = np.random.default_rng(0)
    values = random.integers(0, 500, (60, 7)).astype(float)
    draws = random.integers(0, 60, (20, 60))
    counts = torch.from_numpy(np.array([np.bincount(draw, minlength=60) for draw in draws], dtype=float))
    found = pooled_median(torch.tensor(values), counts)
    np.testing.assert_array_equal(found, [np.median(values[draw]) for draw in draws])
