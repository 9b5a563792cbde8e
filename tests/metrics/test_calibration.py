"""Coverage and calibration error against the closed forms of a bivariate Gaussian."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from metrics.calibration import GRID, REGIONS, Calibration, calibration_curve, region_probability

from .conftest import SPINE, make_spines
from .test_uncertainty import COVARIANCE, gaussian_cases


def result(factor: float, count: int = 4000) -> dict[str, float]:
    """Score a method that states `factor` times the covariance of its errors."""
    metric = Calibration(SPINE._replace(unit="px"))
    cases = gaussian_cases(COVARIANCE, factor * COVARIANCE, count)
    return {name: value.item() for name, value in metric.reduce(metric.terms(cases)).items()}


def test_the_probability_is_the_chi_square_of_two_degrees_of_freedom() -> None:
    squares = np.linspace(0, 30, 50)
    np.testing.assert_allclose(region_probability(torch.tensor(squares)), chi2(2).cdf(squares), atol=1e-12)


def test_the_right_covariance_covers_what_it_promises() -> None:
    found = result(factor=1)
    covered = [found[f"coverage_{100 * p:g}"] for p in REGIONS]
    assert covered == pytest.approx([50, 90, 95], abs=1)
    assert found["calibration_error"] < 1


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0, 9.0])
def test_a_wrong_covariance_covers_what_follows_from_its_factor(factor: float) -> None:
    # The region of probability p ends at d^2 = -2 ln(1 - p), which the errors exceed with (1 - p)^factor.
    found = result(factor)
    levels = np.array(GRID)
    assert [found[f"coverage_{100 * p:g}"] for p in REGIONS] == pytest.approx(
        [100 * (1 - (1 - p) ** factor) for p in REGIONS], abs=1
    )
    expected = 100 * np.abs(1 - (1 - levels) ** factor - levels).mean()
    assert found["calibration_error"] == pytest.approx(expected, abs=1)


def test_the_curve_counts_the_landmarks_within_each_region() -> None:
    probabilities = np.random.default_rng(0).random((9, 4))
    probabilities[2, 1] = np.nan
    kept = probabilities[~np.isnan(probabilities)]
    expected = [(kept <= level).mean() for level in (0.1, 0.5, 0.77)]
    np.testing.assert_allclose(calibration_curve(torch.tensor(probabilities), (0.1, 0.5, 0.77)), expected)


def test_the_unit_and_the_spacing_do_not_matter() -> None:
    cases = make_spines(9)
    metric = Calibration(SPINE)
    unknown = cases._replace(spacing=torch.full_like(cases.spacing, torch.nan))
    torch.testing.assert_close(metric.terms(unknown), metric.terms(cases))


def test_turning_the_film_does_not_matter() -> None:
    cases, metric = make_spines(9), Calibration(SPINE)
    turn = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64)
    turned = cases._replace(
        points=cases.points @ turn.mT, target=cases.target @ turn.mT, covariance=turn @ cases.covariance @ turn.mT
    )
    torch.testing.assert_close(metric.terms(turned), metric.terms(cases))


def test_the_direction_of_an_error_counts() -> None:
    cases = gaussian_cases(COVARIANCE, np.diag([100.0, 1.0]), count=2)
    cases.points[0], cases.points[1] = torch.tensor([5.0, 0.0]), torch.tensor([0.0, 5.0])
    long, short = Calibration(SPINE).terms(cases)[:, :-1].tolist()
    assert long == [5.0 * (level >= 1 - np.exp(-0.125)) for level in GRID]  # d^2 = 25 / 100
    assert short == [0.0] * len(GRID)  # d^2 = 25, outside of even the 95 % region
