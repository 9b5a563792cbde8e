"""Stored predictions as the `Cases` that the metrics take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.predictions import VALIDATION, Predictions, read_predictions
from metrics.base import Cases
from metrics.conformal import LEVELS, conformal_quantiles, nonconformity


class CaseSet(NamedTuple):
    """The stored predictions of one named test set.

    Attributes:
        names: Case ids, in order.
        cases: Predictions and truth, in the same order.
    """

    names: tuple[str, ...]
    cases: Cases


def read_case_sets(path: Path, landmarks: Sequence[str]) -> dict[str, CaseSet]:
    """Read a file of predictions, with what conformal regions need from the `validation.parquet` beside it.

    The validation cases themselves have no such regions: they would be judged on what they were fitted to.

    Args:
        path: The file.
        landmarks: The dataset's, in order.

    Returns:
        Test set name to its cases in the order of their ids, float64.

    Raises:
        ValueError: A case lacks a landmark or has one twice.
    """
    test_sets, validation = read_predictions(path, landmarks), path.with_name(VALIDATION)
    quantiles = None
    if validation.is_file() and path.name != VALIDATION:
        (calibration,) = read_predictions(validation, landmarks).values()
        quantiles = conformal_quantiles(nonconformity(to_cases(calibration)))
    return {name: CaseSet(test_set.cases, to_cases(test_set, quantiles)) for name, test_set in test_sets.items()}


def pool(parts: Iterable[CaseSet]) -> CaseSet:
    """Put the cases of several folds one behind the other."""
    names, cases = zip(*parts, strict=True)
    return CaseSet(sum(names, ()), Cases(*(torch.cat(tensors) for tensors in zip(*cases, strict=True))))


def to_cases(stored: Predictions, quantiles: Float[Tensor, "landmark level"] | None = None) -> Cases:
    """Convert a test set.

    Args:
        stored: The stored predictions.
        quantiles: Of the run's conformal regions, which all cases share; unknown if None.
    """
    if quantiles is None:
        quantiles = torch.full((len(stored.landmarks), len(LEVELS)), torch.nan, dtype=torch.float64)
    shared = quantiles.expand(len(stored.cases), -1, -1)
    arrays = (stored.points, stored.truth, stored.visible, stored.spacing, stored.size, stored.covariance)
    return Cases(*(*map(torch.tensor, arrays), shared, torch.tensor(stored.centres)))
