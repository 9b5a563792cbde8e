"""What every metric of the package must do, whichever metrics there are."""

import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import metrics
from metrics.base import Anatomy, Cases, LandmarkMetric

from .conftest import ANATOMIES

Maker = Callable[..., Cases]
METRICS = metrics.discover()
NEEDS_OF_A_RUN = {"covariance", "validation"}
NEEDS = {"spacing", "groups", "normalizer", "radii", "size"} | NEEDS_OF_A_RUN


@pytest.fixture(params=METRICS, ids=list(METRICS))
def place(request: pytest.FixtureRequest) -> tuple[LandmarkMetric, Maker]:
    """A metric and the maker of cases of an anatomy that it supports."""
    kind = METRICS[request.param]
    return next((kind(anatomy), make) for anatomy, make in ANATOMIES if not kind.unsupported(anatomy))


@pytest.fixture
def metric(place: tuple[LandmarkMetric, Maker]) -> LandmarkMetric:
    return place[0]


@pytest.fixture
def spines(place: tuple[LandmarkMetric, Maker]) -> Maker:
    return place[1]


def select(cases: Cases, index: slice | Tensor) -> Cases:
    return Cases(*(field[index] for field in cases))


def score(metric: LandmarkMetric, *batches: Cases) -> dict[str, Tensor]:
    metric.reset()
    for batch in batches:
        metric.update(batch)
    return metric.compute()


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9, equal_nan=True)


def test_the_package_holds_the_metrics_of_the_papers() -> None:
    assert {"coordinate_mse", "cobb_angle", "normalized_error", "pearson", "radial_error", "sdr"} <= METRICS.keys()


def test_columns_are_unique_across_metrics() -> None:
    for shared, _ in ANATOMIES:
        kinds = [kind for kind in METRICS.values() if not kind.unsupported(shared)]
        names = [name for kind in kinds for name in kind(shared).columns()]
        assert len(names) == len(set(names))


def test_every_metric_says_what_it_is_and_what_it_needs(metric: LandmarkMetric) -> None:
    assert metric.title and metric.requires <= NEEDS
    assert all(column.title and column.higher_is_better in {True, False, None} for column in metric.columns().values())


def test_results_are_finite_scalars_named_like_the_columns(metric: LandmarkMetric, spines: Maker) -> None:
    result = score(metric, spines(7, missing=0.02))
    assert list(result) == list(metric.columns())
    assert all(value.shape == () and value.isfinite() for value in result.values())


def test_a_perfect_prediction_has_the_best_value(metric: LandmarkMetric, spines: Maker) -> None:
    if metric.requires & NEEDS_OF_A_RUN:
        return  # what these measure is the uncertainty, which a perfect prediction can state wrongly
    cases = spines(7)
    perfect, worse = score(metric, cases._replace(points=cases.target)), score(metric, cases)
    for name, column in metric.columns().items():
        best = (100.0 if column.unit == "%" else 1.0) if column.higher_is_better else 0.0
        assert perfect[name].item() == pytest.approx(best, abs=1e-6)
        assert perfect[name] > worse[name] if column.higher_is_better else perfect[name] <= worse[name]


def test_batches_score_like_the_whole(metric: LandmarkMetric, spines: Maker) -> None:
    cases = spines(9, missing=0.03)
    assert_same(score(metric, *(select(cases, part) for part in torch.arange(9).split(4))), score(metric, cases))


def test_the_order_of_the_cases_does_not_matter(metric: LandmarkMetric, spines: Maker) -> None:
    cases = spines(9, missing=0.03)
    assert_same(score(metric, select(cases, torch.arange(8, -1, -1))), score(metric, cases))


def test_predictions_of_missing_points_do_not_matter(metric: LandmarkMetric, spines: Maker) -> None:
    cases = spines(9, missing=0.1)
    hidden = ~cases.visible[..., None]
    expected = score(metric, cases)
    for junk in (1e6, float("nan"), float("inf")):
        assert_same(score(metric, cases._replace(points=cases.points.masked_fill(hidden, junk))), expected)


def test_visible_and_the_truth_must_both_be_there_to_count(metric: LandmarkMetric, spines: Maker) -> None:
    cases = spines(9, missing=0.1)
    by_nan = cases._replace(visible=torch.ones_like(cases.visible))
    by_flag = cases._replace(target=cases.target.masked_fill(~cases.visible[..., None], 5.0))
    assert_same(score(metric, by_nan), score(metric, cases))
    assert_same(score(metric, by_flag), score(metric, cases))


def test_a_case_without_any_point_changes_nothing(metric: LandmarkMetric, spines: Maker) -> None:
    cases, empty = spines(5), spines(2, seed=1, missing=1.0)
    assert_same(score(metric, cases, empty), score(metric, cases))


def test_nothing_visible_gives_nan_and_no_error(metric: LandmarkMetric, spines: Maker) -> None:
    assert all(value.isnan() for value in score(metric, spines(3, missing=1.0)).values())


def test_an_unanswered_point_is_an_error_not_a_gap(metric: LandmarkMetric, spines: Maker) -> None:
    cases = spines(4)
    cases.points[2, 3, 1] = float("nan")
    with pytest.raises(ValueError, match=r"landmark 3 in case 2 .* not finite; every method must predict"):
        metric.update(cases)


def test_a_bootstrap_in_one_call_equals_a_loop(metric: LandmarkMetric, spines: Maker) -> None:
    terms = metric.terms(spines(8, missing=0.03))
    index = torch.randint(8, (2, 5, 8), generator=torch.Generator().manual_seed(0))
    together = metric.reduce(terms[index])
    assert all(value.shape == (2, 5) for value in together.values())
    for place in [(0, 0), (1, 2), (1, 4)]:
        assert_same({name: value[place] for name, value in together.items()}, metric.reduce(terms[index[place]]))


def test_counts_stand_for_repeated_cases(metric: LandmarkMetric, spines: Maker) -> None:
    terms = torch.stack([metric.terms(spines(9, seed=seed, missing=0.03)) for seed in range(2)])
    draws = torch.randint(9, (6, 12), generator=torch.Generator().manual_seed(0))
    draws[-1] = 4  # one case alone
    counts = torch.nn.functional.one_hot(draws, 9).sum(1).double()
    together = metric.reduce(terms, counts)
    assert list(together) == list(metric.columns()) and all(value.shape == (2, 6) for value in together.values())
    for place, draw in enumerate(draws):
        assert_same({name: value[:, place] for name, value in together.items()}, metric.reduce(terms[:, draw]))


def test_pickling_keeps_what_was_collected(metric: LandmarkMetric, spines: Maker) -> None:
    before = score(metric, spines(4))
    assert_same(pickle.loads(pickle.dumps(metric)).compute(), before)


def test_single_precision_agrees_with_double(metric: LandmarkMetric, spines: Maker) -> None:
    cases = spines(6, missing=0.03)
    single = Cases(*(field if field.dtype == torch.bool else field.float() for field in cases))
    for name, value in score(metric, cases).items():
        assert score(metric, single)[name].item() == pytest.approx(value.item(), rel=1e-3)


@pytest.fixture
def bare(anatomy: Anatomy) -> Anatomy:
    return Anatomy(names=anatomy.names, groups={})


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sdr", "no detection radii"),
        ("normalized_error", "no pair of landmarks"),
        ("cobb_angle", "not grouped into vertebrae"),
        ("centre_distance", "not grouped into vertebrae"),
        ("relative_distance", "not grouped into vertebrae"),
        ("lumbar_angles", "not grouped into vertebrae"),
        ("cephalometry", "lacks the landmark 'sella'"),
        ("share_within", "pixel spacing is unknown"),
    ],
)
def test_a_metric_says_why_it_cannot_be_computed(name: str, reason: str, bare: Anatomy) -> None:
    assert reason in (METRICS[name].unsupported(bare) or "")
    with pytest.raises(ValueError, match=reason):
        METRICS[name](bare)


@pytest.mark.parametrize("name", ["radial_error", "coordinate_mse", "pearson", "uncertainty", "conformal"])
def test_the_others_ask_for_nothing(name: str, bare: Anatomy) -> None:
    assert METRICS[name].unsupported(bare) is None
