"""Landmarks of films without labels, by one trained network or several together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from lightning import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from benchmark.trained.films import UNKNOWN, Film, FilmStream, Spacing
from benchmark.trained.model import Model
from benchmark.training.model_file import film_scale, region_shapes
from benchmark.training.trainer import make_trainer, quiet
from datamodules.components.samples import Batch, collate
from datamodules.components.schema import LandmarkSchema
from datamodules.components.transforms import InputSpec
from methods.base import Prediction

Raw = tuple[Float[np.ndarray, "landmark 2"], Float[np.ndarray, "landmark 2 2"]]


class FilmAnswer(NamedTuple):
    """What a network says of a film, in pixels of the film.

    Attributes:
        points: (x, y).
        covariance: Of each point, in square pixels, calibrated where films validated; NaN where none is stated.
        radius: Of a circle with the area of each point's conformal region, in pixels; NaN where nothing was calibrated.
    """

    points: Float[np.ndarray, "landmark 2"]
    covariance: Float[np.ndarray, "landmark 2 2"]
    radius: Float[np.ndarray, " landmark"]


class FilmLandmarks(NamedTuple):
    """The landmarks of a film.

    Attributes:
        film: The film.
        answer: Its landmarks, in pixels of the film turned as its EXIF orientation says.
    """

    film: Film
    answer: FilmAnswer


@dataclass(frozen=True)
class Predicted:
    """What came of all films.

    Args:
        schema: Of the landmarks.
        films: Those that could be read, in order.
        problems: One sentence per film that could not be read.
        level: Guaranteed coverage of the conformal regions.
    """

    schema: LandmarkSchema
    films: tuple[FilmLandmarks, ...]
    problems: Mapping[Path, str]
    level: float


def predict_films(
    models: Sequence[Model],
    paths: Sequence[Path],
    *,
    spacing: Spacing = UNKNOWN,
    flip: bool = False,
    exif: bool = True,
    batch_size: int | None = None,
    level: float = 0.9,
    advance: Callable[[int], object] = lambda films: None,
) -> Predicted:
    """Predict the landmarks of films.

    Args:
        models: One network, or several that are averaged, each with the weight of its certainty.
        paths: The films.
        spacing: Millimetres per pixel in (x, y) of films that do not say it.
        flip: Show each network the mirrored film, too, and average.
        exif: Turn films as their EXIF orientation says, as every viewer does; points are in the turned film.
        batch_size: Films at a time; each network's own in training if None.
        level: Guaranteed coverage of the conformal regions.
        advance: Told after every batch how many films it had.

    Raises:
        ValueError: The networks predict different landmarks, a film must not be mirrored, a network needs to be told
            where to look, or `level` is none that was calibrated.
    """
    _check(models, flip=flip, level=level)
    streams = []
    answers: list[dict[Path, FilmAnswer]] = []
    for model, mirrored in product(models, (False, True) if flip else (False,)):
        stream = FilmStream(paths, model.method.input_spec, len(model.facts.schema), spacing, mirrored, exif)
        raw = _run(model, stream, batch_size or model.method.batch_size, advance)
        answers.append(dict(_answers(model, stream, raw, level)))
        streams.append(stream)
    films = streams[0].films
    together = {path: [part[path] for part in answers] for path in films}
    found = tuple(FilmLandmarks(films[path], combine(parts)) for path, parts in together.items())
    return Predicted(models[0].facts.schema, found, streams[0].problems, level)


def combine(answers: Sequence[FilmAnswer]) -> FilmAnswer:
    """Average answers to one film, point by point.

    Where all state a covariance, each weighs as much as it is certain: the mean is (sum C_i^-1)^-1 sum C_i^-1 p_i.
    Networks that saw the same films err together, so that the covariance is that of their mixture, the mean of theirs
    and the spread of their points, and not the smaller one of independent answers. No conformal region holds for it.

    Args:
        answers: To the same film; a single one is returned as it is.
    """
    if len(answers) == 1:
        return answers[0]
    points = np.stack([answer.points for answer in answers])
    covariance = np.stack([answer.covariance for answer in answers])
    stated = np.isfinite(covariance).all(axis=(0, -1, -2))
    certainty = np.broadcast_to(np.eye(2), covariance.shape).copy()
    certainty[:, stated] = np.linalg.inv(covariance[:, stated])
    weighted = (certainty @ points[..., None]).sum(axis=0)
    mean = np.linalg.solve(certainty.sum(axis=0), weighted)[..., 0]
    apart = points - mean
    spread = (apart[..., :, None] * apart[..., None, :]).mean(axis=0)
    return FilmAnswer(mean, covariance.mean(axis=0) + spread, np.full(len(mean), np.nan))


def _check(models: Sequence[Model], *, flip: bool, level: float) -> None:
    first, *others = models
    for model in others:
        if model.facts.schema != first.facts.schema:
            raise ValueError(f"{model.name} predicts other landmarks than {first.name}; average runs of one dataset.")
    for model in models:
        if model.method.input_spec.is_oracle:
            raise ValueError(
                f"{model.name} is told where the true landmarks are, so that it cannot read a film without labels; "
                f"use a variant that finds them."
            )
        if level not in model.facts.levels:
            known = ", ".join(f"{value:g}" for value in model.facts.levels)
            raise ValueError(f"{model.name} has conformal regions of levels {known}, not {level:g}.")
    if flip and not first.facts.schema.flips:
        raise ValueError(
            f"the landmarks of {first.facts.dataset} have no left and right that would trade places, so that its films "
            f"must not be mirrored; leave out --flip."
        )


class _Gatherer(Callback):
    """Keeps the predictions of each batch and says how many films it had."""

    def __init__(self, advance: Callable[[int], object]) -> None:
        self.answers: list[Raw] = []
        self.advance = advance

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: tuple[Batch, Prediction],
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep a batch."""
        prediction = outputs[1]
        points = prediction.points.double().cpu().numpy()
        stated = prediction.covariance
        covariance = np.full((*points.shape, 2), np.nan) if stated is None else stated.double().cpu().numpy()
        self.answers += zip(points, covariance, strict=True)
        self.advance(len(batch.case))


def _run(model: Model, stream: FilmStream, batch_size: int, advance: Callable[[int], object]) -> dict[Path, Raw]:
    """Return points and covariances of every film, in the order of the network's landmarks."""
    gatherer = _Gatherer(advance)
    with quiet():
        trainer = make_trainer(Path.cwd(), model.facts.precision, [gatherer])
        loader = DataLoader(stream, batch_size, collate_fn=collate)
        trainer.predict(model.method, dataloaders=loader, return_predictions=False)
    return dict(zip(stream.served, gatherer.answers, strict=True))


def _answers(
    model: Model, stream: FilmStream, raw: Mapping[Path, Raw], level: float
) -> Iterator[tuple[Path, FilmAnswer]]:
    """Give points of mirrored films their own names back, calibrate covariances and add conformal radii."""
    order = list(model.facts.schema.flip_index) if stream.mirrored else slice(None)
    quantile = np.array([row[model.facts.levels.index(level)] for row in model.facts.quantiles])
    factor = np.array(model.facts.temperature or np.ones(len(model.facts.schema)))[:, None, None]
    for path, (points, covariance) in raw.items():
        if not np.isfinite(points).all():
            raise ValueError(f"{model.name} answers {path} with points that are not finite; its training has diverged.")
        radius = np.full(len(points), np.nan)
        if quantile.size:
            radius = _radius(quantile, covariance, stream.films[path].size, model.method.input_spec)
        yield path, FilmAnswer(points[order], (factor * covariance)[order], radius[order])


def _radius(
    quantile: Float[np.ndarray, " landmark"],
    covariance: Float[np.ndarray, "landmark 2 2"],
    size: tuple[int, int],
    spec: InputSpec,
) -> Float[np.ndarray, " landmark"]:
    """Return the radius of a circle with the area of each point's region; infinite where no film calibrated it."""
    (shape,) = region_shapes(covariance[None], np.array([film_scale(size, spec)]))
    return np.asarray(quantile * np.linalg.det(shape).clip(min=0) ** 0.25)
