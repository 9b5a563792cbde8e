"""Discovery, the checks of an anatomy, and pooling that skips what is missing."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor

import metrics
from metrics.base import Anatomy, pooled_mean, pooled_median, pooled_percentage, pooled_sd
from metrics.radial_error import RadialError

CLASS = """
class {name}(LandmarkMetric):
    title = "x"
"""
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


@pytest.mark.parametrize("classes", [0, 2])
def test_a_file_without_exactly_one_metric_is_named(
    classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = "from metrics.base import LandmarkMetric\n" + "".join(CLASS.format(name=f"M{i}") for i in range(classes))
    (tmp_path / "odd_metric.py").write_text(body)
    monkeypatch.setattr(metrics, "__path__", [str(tmp_path)])
    with pytest.raises(
        TypeError, match=rf"odd_metric\.py must define exactly one LandmarkMetric, but defines {classes}"
    ):
        metrics.discover()
    sys.modules.pop("metrics.odd_metric", None)


def test_a_new_file_is_discovered_and_packages_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "from metrics.base import LandmarkMetric\nfrom metrics.sdr import SuccessDetectionRate\n"
    (tmp_path / "fresh_metric.py").write_text(body + CLASS.format(name="Fresh"))
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "__init__.py").write_text("raise ImportError\n")
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(tmp_path)])
    found = metrics.discover()
    assert found["fresh_metric"].__name__ == "Fresh" and "components" not in found and "base" not in found
    sys.modules.pop("metrics.fresh_metric", None)


def test_an_import_error_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_metric.py").write_text("import no_such_module_of_ours\n")
    monkeypatch.setattr(metrics, "__path__", [str(tmp_path)])
    with pytest.raises(ModuleNotFoundError, match="no_such_module_of_ours"):
        metrics.discover()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalizer": (0, 9)}, "normalizer names landmark 9, but there are 2"),
        ({"groups": {"L1": (0, -1)}}, "group 'L1' names landmark -1, but there are 2"),
        ({"unit": "cm"}, "unit 'cm' is unknown; use 'mm' or 'px'"),
    ],
)
def test_a_contradictory_anatomy_is_refused(change: dict[str, object], message: str) -> None:
    anatomy = Anatomy(names=("a", "b"), groups={})._replace(**change)
    with pytest.raises(ValueError, match=message):
        RadialError(anatomy)
