"""Bootstrap intervals of scores: whole patients are drawn where it is known whose films they are, else films.

Films of one patient resemble each other, so that drawing them one by one makes an interval too narrow. The score itself
stays the metric over all cases; only what is drawn changes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.predictions import read_patients
from benchmark.scoring.bootstrap import ENDS, RESAMPLES, resample
from datamodules.base import LandmarkDataModule
from metrics.base import LandmarkMetric


def interval(
    metric: LandmarkMetric,
    terms: Float[Tensor, "seed case term"],
    patients: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> dict[str, tuple[float, float]]:
    """Give the percentile bootstrap interval of each column's mean over seeds.

    Args:
        metric: Whose `reduce` summarises the terms.
        terms: The metric's terms of the same cases for each seed.
        patients: Of each case; every case is a patient of its own if empty.
        resamples: Number of draws, with replacement, of as many patients as there are, each with all of its cases.

    Returns:
        Column to (low, high); NaN where there is only one patient.
    """
    low, high = ends(resampled_values(metric, terms, patients, resamples)).tolist()
    return dict(zip(metric.columns(), zip(low, high, strict=True), strict=True))


def ends(resampled: Float[np.ndarray, "*column resample"]) -> Float[np.ndarray, "ends ..."]:
    """Give the low and the high end of the 95 % interval; resamples without a value do not count."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns without any value
        return np.asarray(np.nanquantile(resampled, ENDS, axis=-1))


def resampled_values(
    metric: LandmarkMetric,
    terms: Float[Tensor, "seed case term"],
    patients: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> Float[np.ndarray, "column resample"]:
    """Give each column's mean over seeds in every draw, see `interval`; NaN where there is only one patient."""
    columns = list(metric.columns())
    counts = _counts(tuple(patients) or tuple(map(str, range(terms.shape[1]))), resamples)
    if counts is None:
        return np.full((len(columns), resamples), np.nan)
    reduced = metric.reduce(terms, counts)
    return torch.stack([reduced[column].double().mean(0) for column in columns]).numpy()


@lru_cache(maxsize=8)
def _counts(patients: tuple[str, ...], resamples: int) -> Float[Tensor, "draw case"] | None:
    """Tell how often each draw has each case, for all metrics of a test set; None where there is only one patient.

    Args:
        patients: Of each case.
        resamples: Number of draws of as many patients as there are, each with all of its cases.
    """
    place = {patient: place for place, patient in enumerate(dict.fromkeys(patients))}
    if len(place) < 2:
        return None
    drawn = torch.from_numpy(resample(lambda draw: draw.T.astype(np.float64), len(place), resamples)).T.long()
    counts = torch.zeros(drawn.shape, dtype=torch.float64).scatter_add_(1, drawn, torch.ones(drawn.shape).double())
    return counts[:, [place[patient] for patient in patients]]


def patients_of(data: type[LandmarkDataModule], files: Sequence[Path], cases: Sequence[str]) -> tuple[str, ...]:
    """Tell the patient of each case.

    Args:
        data: The dataset, which may know the patient from a case's name.
        files: The `predictions.parquet` of the cases, whose metadata may say it.
        cases: Names of cases.

    Returns:
        One text per case, the same for films of one patient; nothing where the patient of some case is not known.
    """
    told = {case: data.patient_of(case) for case in cases}
    if not all(told.values()):
        told = {case: first for file in files for case, first in read_patients(file).items()}
    return tuple(told[case] for case in cases) if all(case in told for case in cases) else ()


def units_of(data: type[LandmarkDataModule], files: Sequence[Path], cases: Sequence[str]) -> tuple[str, ...]:
    """Tell what is drawn with each case: its patient, or the case itself, of which several folds may have an answer.

    Args:
        data: The dataset.
        files: As for `patients_of`.
        cases: Names of cases; one may occur several times.
    """
    return patients_of(data, files, cases) or tuple(cases)
