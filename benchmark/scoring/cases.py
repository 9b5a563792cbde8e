"""Stored predictions as the `Cases` that the metrics take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.predictions import VALIDATION, Predictions, read_calibration, read_predictions
from metrics.base import Cases
from metrics.conformal import LEVELS, conformal_quantiles, nonconformity
from metrics.temperature import temperatures


class CaseSet(NamedTuple):
    """The stored predictions of one named test set.

    Attributes:
        names: Case ids, in order.
        cases: Predictions and truth, in the same order.
    """

    names: tuple[str, ...]
    cases: Cases


class Calibrated(NamedTuple):
    """What a run's validation cases say of its regions and covariances.

    Attributes:
        quantiles: Size of each landmark's conformal region at each level.
        temperature: Factor of each landmark's covariance.
    """

    quantiles: Float[Tensor, "landmark level"]
    temperature: Float[Tensor, " landmark"]

    @classmethod
    def on(cls, cases: Cases) -> Calibrated:
        """Fit both on validation cases."""
        return cls(conformal_quantiles(nonconformity(cases)), temperatures(cases))


def read_case_sets(path: Path, landmarks: Sequence[str]) -> dict[str, CaseSet]:
    """Read a file of predictions, with what the `validation.parquet` beside it says of regions and covariances.

    The validation cases themselves are not calibrated: they would be judged on what they were fitted to.

    Args:
        path: The file.
        landmarks: The dataset's, in order.

    Returns:
        Test set name to its cases in the order of their ids, float64.

    Raises:
        ValueError: A case lacks a landmark or has one twice.
    """
    test_sets, validation = read_predictions(path, landmarks), path.with_name(VALIDATION)
    fitted = None
    if validation.is_file() and path.name != VALIDATION:
        fitted = Calibrated.on(to_cases(read_calibration(validation, landmarks)))
    return {name: CaseSet(test_set.cases, to_cases(test_set, fitted)) for name, test_set in test_sets.items()}


def pool(parts: Iterable[CaseSet]) -> CaseSet:
    """Put the cases of several folds one behind the other."""
    names, cases = zip(*parts, strict=True)
    return CaseSet(sum(names, ()), Cases(*(torch.cat(tensors) for tensors in zip(*cases, strict=True))))


def to_cases(stored: Predictions, calibrated: Calibrated | None = None) -> Cases:
    """Convert a test set.

    Args:
        stored: The stored predictions.
        calibrated: On the run's validation cases, for all cases alike; unknown if None.
    """
    if calibrated is None:
        unknown = torch.full((len(stored.landmarks), len(LEVELS)), torch.nan, dtype=torch.float64)
        calibrated = Calibrated(unknown, unknown[:, 0])
    quantiles, temperature = (values.expand(len(stored.cases), *values.shape) for values in calibrated)
    arrays = (stored.points, stored.truth, stored.visible, stored.spacing, stored.size, stored.covariance)
    return Cases(*(*map(torch.tensor, arrays), quantiles, torch.tensor(stored.centres), temperature))
