"""Landmark metrics: one file per metric, a pure function and a `LandmarkMetric`; the file stem is the metric's name.

To add a metric, write `metrics/<name>.py`. Nothing else needs an edit: `discover` finds it, `osteomark score` fills it
in for the runs that are already stored, and its columns appear in the leaderboards.
"""

import importlib
import pkgutil

from metrics.base import LandmarkMetric


def discover() -> dict[str, type[LandmarkMetric]]:
    """Find every metric in this package.

    Returns:
        Metric name (the file stem) to class, in alphabetical order.

    Raises:
        TypeError: If a file defines no `LandmarkMetric` or more than one.
        ImportError: If a file cannot be imported.
    """
    names = sorted(file.name for file in pkgutil.iter_modules(__path__) if not file.ispkg and file.name != "base")
    return {name: _only_metric(name) for name in names}


def _only_metric(name: str) -> type[LandmarkMetric]:
    module = importlib.import_module(f"{__name__}.{name}")
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    defined = [cls for cls in classes if issubclass(cls, LandmarkMetric) and cls.__module__ == module.__name__]
    if len(defined) != 1:
        raise TypeError(f"{module.__file__} must define exactly one LandmarkMetric, but defines {len(defined)}.")
    return defined[0]
