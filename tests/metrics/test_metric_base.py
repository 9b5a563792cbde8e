"""Discovery and the checks of an anatomy."""

import sys
from pathlib import Path

import pytest

import metrics
from metrics.base import Anatomy
from metrics.radial_error import RadialError

CLASS = """
class {name}(LandmarkMetric):
    title = "x"
"""


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
