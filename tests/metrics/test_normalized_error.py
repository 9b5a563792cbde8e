"""NME, failure rates, CED curve and its area against plain numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics.base import Anatomy, Cases
from metrics.normalized_error import NormalizedError, ced_area, ced_curve, normalized_mean_error

Maker = Callable[..., Cases]


def nme_of(cases: Cases, normalizer: tuple[int, int]) -> np.ndarray:
    """Work out Eq. 18 of Fard et al. case by case."""
    values = []
    for points, target, visible in zip(*(field.numpy() for field in cases[:3]), strict=True):
        d = np.linalg.norm(target[normalizer[0]] - target[normalizer[1]])
        values.append(np.linalg.norm(points[visible] - target[visible], axis=1).mean() / d)
    return np.array(values)


def test_nme_and_failure_rates_agree_with_numpy(spines: Maker, anatomy: Anatomy) -> None:
    cases = spines(40, missing=0.1, sigma=20)
    assert anatomy.normalizer is not None
    nme = nme_of(cases, anatomy.normalizer)
    nme = nme[~np.isnan(nme)]
    metric = NormalizedError(anatomy)
    metric.update(cases)
    result = {name: value.item() for name, value in metric.compute().items()}
    assert 0 < (nme > 0.1).sum() < (nme > 0.08).sum() < len(nme) < 40
    assert result["nme"] == pytest.approx(100 * nme.mean())
    assert result["fr_08"] == pytest.approx(100 * (nme > 0.08).mean())
    assert result["fr_10"] == pytest.approx(100 * (nme > 0.10).mean())


def test_the_area_is_that_under_the_curve(spines: Maker, anatomy: Anatomy) -> None:
    metric = NormalizedError(anatomy)
    nme = metric.terms(spines(40, missing=0.1, sigma=20))[:, 0]
    grid = torch.linspace(0, 0.1, 20001, dtype=torch.float64)
    assert ced_area(nme).item() == pytest.approx(np.trapezoid(ced_curve(nme, grid), grid) / 0.1, abs=1e-4)


def test_the_curve_counts_the_cases_below_each_threshold() -> None:
    nme = np.random.default_rng(0).random(50)
    thresholds = np.linspace(0, 1, 11)
    expected = [(nme <= threshold).mean() for threshold in thresholds]
    np.testing.assert_allclose(ced_curve(torch.tensor(nme), torch.tensor(thresholds)), expected)


def test_the_curve_takes_resamples() -> None:
    nme = torch.rand(4, 3, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    curve = ced_curve(nme, torch.tensor([0.2, 0.5]))
    assert curve.shape == (4, 3, 2)
    torch.testing.assert_close(curve[2, 1], ced_curve(nme[2, 1], torch.tensor([0.2, 0.5])))


def test_a_known_shift_has_a_known_nme(spines: Maker, anatomy: Anatomy) -> None:
    cases = spines(3)
    first, second = anatomy.normalizer or (0, 1)
    distance = torch.linalg.vector_norm(cases.target[:, first] - cases.target[:, second], dim=-1)
    shift = 0.05 * distance[:, None, None] * torch.tensor([0.6, 0.8])
    metric = NormalizedError(anatomy)
    metric.update(cases._replace(points=cases.target + shift))
    result = {name: value.item() for name, value in metric.compute().items()}
    vertebrae = {f"nme_{name}": 5 for name in anatomy.groups}
    assert result == pytest.approx({"nme": 5, "fr_08": 0, "fr_10": 0, "auc": 0.5, **vertebrae})


def test_the_nme_of_a_vertebra_is_that_of_its_landmarks(spines: Maker, anatomy: Anatomy) -> None:
    cases = spines(30, missing=0.2, sigma=20)
    assert anatomy.normalizer is not None
    metric = NormalizedError(anatomy)
    metric.update(cases)
    result = metric.compute()
    for name, members in anatomy.groups.items():
        seen = cases.visible[:, list(members)].numpy()
        error = np.linalg.norm((cases.points - cases.target)[:, list(members)].numpy(), axis=-1)
        a, b = (cases.target[:, index].numpy() for index in anatomy.normalizer)
        nme = np.array([row[there].mean() if there.any() else np.nan for row, there in zip(error, seen, strict=True)])
        assert result[f"nme_{name}"].item() == pytest.approx(100 * np.nanmean(nme / np.linalg.norm(a - b, axis=1)))


def test_without_groups_there_is_no_nme_of_a_part(spines: Maker, anatomy: Anatomy) -> None:
    metric = NormalizedError(anatomy._replace(groups={}))
    assert list(metric.columns()) == ["nme", "fr_08", "fr_10", "auc"]
    assert metric.terms(spines(3)).shape == (3, 1)


@pytest.mark.parametrize("hidden", [0, 1])
def test_a_case_without_its_normalizer_does_not_count(hidden: int) -> None:
    target = torch.tensor([[[0.0, 0.0], [0.0, 10.0], [5.0, 5.0]]])
    visible = torch.tensor([[True, True, True]])
    visible[0, hidden] = False
    assert normalized_mean_error(target + 1, target, visible, (0, 1)).isnan().all()


def test_coinciding_normalizer_landmarks_do_not_count() -> None:
    target = torch.zeros(1, 2, 2)
    assert normalized_mean_error(target + 1, target, torch.ones(1, 2, dtype=torch.bool), (0, 1)).isnan().all()


@given(st.floats(0.1, 20), st.floats(-500, 500), st.integers(0, 99))
def test_nme_does_not_depend_on_the_size_or_place_of_the_film(scale: float, shift: float, seed: int) -> None:
    points, target = 99 * torch.rand(2, 3, 5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    visible = torch.ones(3, 5, dtype=torch.bool)
    resized = normalized_mean_error(points * scale + shift, target * scale + shift, visible, (0, 4))
    torch.testing.assert_close(resized, normalized_mean_error(points, target, visible, (0, 4)), rtol=1e-6, atol=0)
