"""Reads stored predictions into what the metrics take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from benchmark.store import VALIDATION
from metrics.base import Cases
from metrics.conformal import LEVELS, conformal_quantiles, nonconformity

COVARIANCE = ("cov_xx", "cov_xy", "cov_xy", "cov_yy")


class CaseSet(NamedTuple):
    """The stored predictions of one named test set.

    Attributes:
        names: Case ids, in order.
        cases: Predictions and truth, in the same order.
    """

    names: tuple[str, ...]
    cases: Cases


def read_predictions(path: Path, names: Sequence[str]) -> dict[str, CaseSet]:
    """Read a `predictions.parquet`, with what conformal regions need from the `validation.parquet` beside it.

    Args:
        path: The file.
        names: The dataset's landmarks, in order.

    Returns:
        Test set name to its cases in the order of their ids, float64.

    Raises:
        ValueError: A case lacks a landmark or has one twice.
    """
    test_sets = _read(path, names)
    validation = path.with_name(VALIDATION)
    if not validation.is_file():
        return test_sets
    (calibration,) = _read(validation, names).values()
    quantiles = conformal_quantiles(nonconformity(calibration.cases))
    return {
        name: CaseSet(test_set.names, _with_quantiles(test_set.cases, quantiles))
        for name, test_set in test_sets.items()
    }


def _with_quantiles(cases: Cases, quantiles: Tensor) -> Cases:
    return cases._replace(quantiles=quantiles.expand(len(cases.points), -1, -1))


def _read(path: Path, names: Sequence[str]) -> dict[str, CaseSet]:
    frame = pd.read_parquet(path)
    frame = frame.assign(**{column: np.nan for column in COVARIANCE if column not in frame})
    numeric = pd.api.types.is_integer_dtype(frame["landmark"])
    frame["landmark"] = frame["landmark"] if numeric else frame["landmark"].map({n: i for i, n in enumerate(names)})
    frame = frame.sort_values(["test_set", "case", "landmark"], kind="stable")
    return {str(name): _test_set(path, part, len(names)) for name, part in frame.groupby("test_set", sort=True)}


def pool(parts: Iterable[CaseSet]) -> CaseSet:
    """Put the cases of several folds one behind the other."""
    names, cases = zip(*parts, strict=True)
    return CaseSet(sum(names, ()), Cases(*(torch.cat(tensors) for tensors in zip(*cases, strict=True))))


def _test_set(path: Path, frame: pd.DataFrame, landmarks: int) -> CaseSet:
    names = tuple(map(str, frame["case"].unique()))
    expected = np.tile(np.arange(landmarks), len(names))
    if not np.array_equal(frame["landmark"].to_numpy(np.float64), expected):
        counts = frame.groupby("case")["landmark"].nunique()
        raise ValueError(
            f"{path}: case {counts.idxmin()} has {counts.min()} of {landmarks} landmarks; delete the run and repeat it."
        )

    def stacked(*columns: str) -> Tensor:
        values = frame[list(columns)].to_numpy(np.float64)
        return torch.from_numpy(values.reshape(len(names), landmarks, len(columns)).copy())

    points, target, visible = stacked("x", "y"), stacked("true_x", "true_y"), stacked("visible")[..., 0].bool()
    spacing, size = (stacked(*pair)[:, 0] for pair in (("spacing_x", "spacing_y"), ("height", "width")))
    covariance = stacked(*COVARIANCE).reshape(*visible.shape, 2, 2)
    quantiles = torch.full((*visible.shape, len(LEVELS)), torch.nan, dtype=points.dtype)
    return CaseSet(names, Cases(points, target, visible, spacing, size, covariance, quantiles))
