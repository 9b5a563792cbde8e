"""Split conformal regions: the order statistic, the guarantee by simulation, and the size."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics.base import Cases
from metrics.conformal import LEVELS, Conformal, conformal_quantiles, nonconformity

from .conftest import SPINE, make_spines

PX = SPINE._replace(unit="px")


@given(st.integers(1, 60), st.sampled_from(LEVELS))
def test_the_quantile_is_the_order_statistic_with_one_case_more(count: int, level: float) -> None:
    scores = torch.randperm(count)[:, None].double()
    rank = math.ceil(round((count + 1) * level, 9))
    expected = math.inf if rank > count else rank - 1
    assert conformal_quantiles(scores, [level]).item() == expected


@pytest.mark.parametrize(("level", "needed"), [(0.5, 1), (0.9, 9), (0.95, 19)])
def test_too_few_cases_give_no_finite_region(level: float, needed: int) -> None:
    scores = torch.rand(needed, 1)
    assert conformal_quantiles(scores, [level]).isfinite().all()
    assert conformal_quantiles(scores[1:], [level]).isinf().all()


def test_missing_landmarks_do_not_count_as_cases() -> None:
    scores = torch.rand(30, 2, dtype=torch.float64)
    scores[10:, 1] = torch.nan
    torch.testing.assert_close(conformal_quantiles(scores)[1], conformal_quantiles(scores[:10, 1:])[0])


def heavy_tailed(draws: int, cases: int, generator: np.random.Generator) -> Cases:
    """Errors of a t-distribution, the stated covariance being wrong by a factor that changes from case to case."""
    errors = generator.standard_t(2, (draws * cases, 2, 2)) * [[1.0], [5.0]]
    stated = np.eye(2) * generator.uniform(0.1, 9, (draws * cases, 2, 1, 1))
    count, none = draws * cases, torch.full((draws * cases, 2, 3), torch.nan)
    size = torch.full((count, 2), 1e9, dtype=torch.float64)
    visible = torch.ones(count, 2, dtype=torch.bool)
    points = torch.tensor(errors)
    zero, spacing = torch.zeros_like(points), torch.ones_like(size)
    return Cases(points, zero, visible, spacing, size, torch.tensor(stated), none, none[..., :2], none[..., 0])


@pytest.mark.parametrize("validation", [1, 9, 15, 40])
@pytest.mark.parametrize("covariance", [True, False])
def test_coverage_is_guaranteed_whatever_the_errors(validation: int, covariance: bool) -> None:
    # Over many draws of validation and test cases coverage is at least p and, without ties, below p + 1 / (n + 1).
    draws, tests = 1500, 4
    generator = np.random.default_rng(validation)
    cases = heavy_tailed(draws, validation + tests, generator)
    if not covariance:
        cases = cases._replace(covariance=torch.full_like(cases.covariance, torch.nan))
    scores = nonconformity(cases).unflatten(0, (draws, -1))
    covered = [
        (draw[validation:, :, None] <= conformal_quantiles(draw[:validation])).double().mean((0, 1)) for draw in scores
    ]
    coverage = torch.stack(covered).mean(0).tolist()
    for level, found in zip(LEVELS, coverage, strict=True):
        most = level + 1 / (validation + 1) if math.ceil((validation + 1) * level) <= validation else 1
        assert level - 0.015 <= found <= most + 0.015


def test_the_metric_counts_what_its_regions_cover() -> None:
    validation, test = make_spines(50, seed=1), make_spines(400, seed=2, missing=0.1)
    quantiles = conformal_quantiles(nonconformity(validation))
    cases = test._replace(quantiles=quantiles.expand(400, -1, -1))
    metric = Conformal(PX)
    result = {name: value.item() for name, value in metric.reduce(metric.terms(cases)).items()}
    scores, shown = nonconformity(test).numpy(), test.visible.numpy()
    for place, level in enumerate(LEVELS):
        expected = 100 * (scores <= quantiles[:, place].numpy())[shown].mean()
        assert result[f"conformal_coverage_{100 * level:g}"] == pytest.approx(expected)
        assert expected == pytest.approx(100 * level, abs=4)


def test_the_score_is_the_mahalanobis_distance_or_the_radial_error() -> None:
    cases = make_spines(3, missing=0.2)
    difference = (cases.points - cases.target).numpy()
    expected = np.sqrt(np.einsum("...i,...ij,...j", difference, np.linalg.inv(cases.covariance.numpy()), difference))
    np.testing.assert_allclose(nonconformity(cases), expected)
    plain = cases._replace(covariance=torch.full_like(cases.covariance, torch.nan))
    np.testing.assert_allclose(nonconformity(plain), np.linalg.norm(difference, axis=-1))


def test_the_radius_is_that_of_a_circle_of_the_same_area() -> None:
    cases = make_spines(1)
    ellipse = torch.diag(torch.tensor([16.0, 1.0], dtype=torch.float64)).expand(1, 20, 2, 2)
    cases = cases._replace(covariance=ellipse, quantiles=torch.tensor([1.0, 2.0, 3.0]).expand(1, 20, 3))
    found = Conformal(PX).reduce(Conformal(PX).terms(cases))
    assert [found[f"conformal_radius_{p:g}"].item() for p in (50, 90, 95)] == pytest.approx([2, 4, 6])
    millimetres = Conformal(SPINE).reduce(Conformal(SPINE).terms(cases))["conformal_radius_50"].item()
    assert millimetres == pytest.approx(2 * cases.spacing[0].prod().sqrt().item())


def test_a_region_is_never_larger_than_the_film() -> None:
    cases = make_spines(3)
    cases = cases._replace(quantiles=torch.full_like(cases.quantiles, torch.inf))
    found = Conformal(PX).reduce(Conformal(PX).terms(cases))
    film = (cases.size.prod(-1) / math.pi).sqrt().median()
    assert found["conformal_radius_95"].item() == pytest.approx(film.item())
    assert found["conformal_coverage_50"] == 100


def test_a_run_without_validation_predictions_is_not_scored() -> None:
    cases = make_spines(3)
    old = cases._replace(quantiles=torch.full_like(cases.quantiles, torch.nan))
    assert Conformal(PX).lacks(old) == "The run kept no predictions of its validation cases."
    assert Conformal(PX).lacks(cases) is None
    few = cases._replace(quantiles=torch.full_like(cases.quantiles, torch.inf))
    assert Conformal(PX).lacks(few) is None


@pytest.mark.parametrize(("quantile", "coverage"), [(5.0, 100), (4.999, 0)])
def test_a_truth_on_the_edge_of_its_region_is_covered(quantile: float, coverage: float) -> None:
    cases = make_spines(2)
    cases = cases._replace(
        points=torch.tensor([3.0, 4.0], dtype=torch.float64).expand_as(cases.points),
        target=torch.zeros_like(cases.points),
        covariance=torch.full_like(cases.covariance, torch.nan),
        quantiles=torch.full_like(cases.quantiles, quantile),
    )
    assert Conformal(PX).reduce(Conformal(PX).terms(cases))["conformal_coverage_90"] == coverage


def test_columns_name_their_level_and_only_the_radius_has_a_better_direction() -> None:
    columns = Conformal(SPINE).columns()
    assert "95 %" in columns["conformal_coverage_95"].title
    assert "95 %" in columns["conformal_radius_95"].title
    assert columns["conformal_coverage_50"][1:] == ("%", None)
    assert columns["conformal_radius_50"][1:] == ("mm", False)
