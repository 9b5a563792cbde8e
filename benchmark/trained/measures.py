"""What a reader would measure on films by their landmarks: Cobb angles, lumbar angles, cephalometric measures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from benchmark.scoring.score import applicable
from benchmark.trained.predict import Predicted
from datamodules.components.schema import LandmarkSchema
from metrics.base import Anatomy, Cases, Measurement
from metrics.conformal import LEVELS


class MeasureTable(NamedTuple):
    """Measures of films.

    Attributes:
        units: Name of each measure to its unit: `deg`, `mm`, `%`, or empty for a ratio.
        films: For each film the values of the measures, in their order; NaN where it lacks what one needs.
    """

    units: dict[str, str]
    films: tuple[tuple[float, ...], ...]


def measures(predicted: Predicted) -> MeasureTable:
    """Measure every film as far as its landmarks allow.

    The names of the landmarks and their groups decide which measures there are.
    """
    anatomy = _anatomy(predicted.schema)
    found: dict[str, Measurement] = {}
    if predicted.films:
        cases = _cases(predicted)
        for metric in applicable(anatomy).values():
            found |= metric.measure(cases)
    columns = [measurement.values.tolist() for measurement in found.values()]
    rows: Sequence[tuple[float, ...]] = list(zip(*columns, strict=True)) or [()] * len(predicted.films)
    return MeasureTable({name: measurement.unit for name, measurement in found.items()}, tuple(rows))


def _anatomy(schema: LandmarkSchema) -> Anatomy:
    """Return it with millimetres: each measure tells by itself which films lack them."""
    return Anatomy(schema.names, schema.group_index, schema.normalizer_index, unit="mm")


def _cases(predicted: Predicted) -> Cases:
    points = torch.tensor(np.stack([item.answer.points for item in predicted.films]))
    films, landmarks = points.shape[:2]
    unknown = torch.full((films, landmarks, 2), torch.nan, dtype=points.dtype)
    return Cases(
        points,
        unknown,
        torch.zeros(films, landmarks, dtype=torch.bool),
        torch.tensor([item.film.spacing for item in predicted.films], dtype=points.dtype),
        torch.tensor([item.film.size for item in predicted.films], dtype=points.dtype),
        torch.tensor(np.stack([item.answer.covariance for item in predicted.films])),
        torch.full((films, landmarks, len(LEVELS)), torch.nan),
        unknown,
        unknown[..., 0],
    )
