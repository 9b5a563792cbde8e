"""Radial error and success detection rate against plain numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics.base import Anatomy, Cases
from metrics.radial_error import RadialError, radial_error
from metrics.sdr import SuccessDetectionRate, success_detection_rate

Maker = Callable[..., Cases]


def errors_in(cases: Cases, unit: str) -> np.ndarray:
    """List the errors of the visible points one by one."""
    points, target, visible, spacing = (field.numpy() for field in cases[:4])
    scale = spacing if unit == "mm" else np.ones_like(spacing)
    return np.array(
        [
            np.hypot(*((points[case, landmark] - target[case, landmark]) * scale[case]))
            for case, landmark in zip(*np.nonzero(visible), strict=True)
        ]
    )


@pytest.mark.parametrize("unit", ["px", "mm"])
def test_mean_sd_and_median_agree_with_numpy(unit: str, spines: Maker, anatomy: Anatomy) -> None:
    cases = spines(11, missing=0.1)
    metric, errors = RadialError(anatomy), errors_in(cases, unit)
    metric.update(cases)
    result = {name: value.item() for name, value in metric.compute().items()}
    assert result[f"mre_{unit}"] == pytest.approx(errors.mean())
    assert result[f"sd_{unit}"] == pytest.approx(errors.std())
    assert result[f"median_{unit}"] == pytest.approx(np.median(errors))


@pytest.mark.parametrize("unit", ["px", "mm"])
def test_detection_rates_agree_with_numpy(unit: str, spines: Maker, anatomy: Anatomy) -> None:
    cases = spines(11, missing=0.1)
    metric, errors = SuccessDetectionRate(anatomy._replace(unit=unit)), errors_in(cases, unit)
    metric.update(cases)
    expected = {f"sdr_{radius:g}{unit}": 100 * (errors <= radius).mean() for radius in anatomy.radii}
    assert {name: value.item() for name, value in metric.compute().items()} == pytest.approx(expected)


def test_millimetres_need_a_dataset_that_knows_them(spines: Maker, anatomy: Anatomy) -> None:
    metric = RadialError(anatomy._replace(unit="px"))
    metric.update(spines(3))
    assert list(metric.compute()) == list(metric.columns()) == ["mre_px", "sd_px", "median_px"]


def test_a_film_without_spacing_counts_in_pixels_only(spines: Maker, anatomy: Anatomy) -> None:
    known, unknown = spines(4), spines(2, seed=1)
    metric, alone = RadialError(anatomy), RadialError(anatomy)
    alone.update(known)
    metric.update(known)
    metric.update(unknown._replace(spacing=torch.full_like(unknown.spacing, torch.nan)))
    assert metric.compute()["mre_mm"] == alone.compute()["mre_mm"]
    assert metric.compute()["mre_px"] != alone.compute()["mre_px"]


def test_spacing_scales_x_and_y_separately(anatomy: Anatomy, spines: Maker) -> None:
    cases = spines(2)
    shifted = cases._replace(points=cases.target + torch.tensor([3.0, 4.0]), spacing=torch.tensor([[2.0, 0.25]] * 2))
    metric = RadialError(anatomy)
    metric.update(shifted)
    result = metric.compute()
    assert result["mre_px"].item() == pytest.approx(5)
    assert result["mre_mm"].item() == pytest.approx(np.hypot(6, 1))
    assert result["sd_mm"].item() == pytest.approx(0, abs=1e-9)


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 99))
def test_moving_truth_and_prediction_together_changes_nothing(x: float, y: float, seed: int) -> None:
    points, target = torch.rand(2, 3, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    visible, shift = torch.ones(3, 5, dtype=torch.bool), torch.tensor([x, y], dtype=torch.float64)
    moved = radial_error(points + shift, target + shift, visible)
    torch.testing.assert_close(moved, radial_error(points, target, visible), rtol=0, atol=1e-9)


@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_a_larger_radius_never_finds_less(one: float, other: float) -> None:
    errors = torch.linspace(0, 12, 60).reshape(6, 10)
    small, large = sorted((one, other))
    assert success_detection_rate(errors, small) <= success_detection_rate(errors, large)


def test_an_error_equal_to_the_radius_is_a_success() -> None:
    assert success_detection_rate(torch.tensor([[2.0, 2.0001]], dtype=torch.float64), 2.0).item() == 50


def test_detection_columns_are_named_by_radius_and_unit(anatomy: Anatomy) -> None:
    metric = SuccessDetectionRate(anatomy._replace(radii=(2.0, 2.5, 10.0), unit="px"))
    assert list(metric.columns()) == ["sdr_2px", "sdr_2.5px", "sdr_10px"]
    assert metric.columns()["sdr_2.5px"] == ("SDR 2.5 px", "%", True)
