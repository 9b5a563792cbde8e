"""Landmarks of films without labels, by one trained network or several together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from lightning import LightningModule
from torch import nn
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


class NetworkAnswers(NamedTuple):
    """What several networks say of films.

    Attributes:
        films: Those that could be read, in order, by their path.
        problems: One sentence per film that could not be read.
        answers: Of each network, a film's answers in the order of its views.
    """

    films: Mapping[Path, Film]
    problems: Mapping[Path, str]
    answers: tuple[Mapping[Path, list[FilmAnswer]], ...]


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
        batch_size: Films at a time; the smallest of the networks' own in training if None.
        level: Guaranteed coverage of the conformal regions.
        advance: Told after every batch how many films it had.

    Raises:
        ValueError: The networks predict different landmarks, a film must not be mirrored, a network needs to be told
            where to look, or `level` is none that was calibrated.
    """
    _check_together(models, flip=flip)
    found = answer_films(
        models, paths, spacing=spacing, flip=flip, exif=exif, batch_size=batch_size, level=level, advance=advance
    )
    landmarks = (
        FilmLandmarks(film, combine([answer for answers in found.answers for answer in answers[path]]))
        for path, film in found.films.items()
    )
    return Predicted(models[0].facts.schema, tuple(landmarks), found.problems, level)


def answer_films(
    models: Sequence[Model],
    paths: Sequence[Path],
    *,
    spacing: Spacing = UNKNOWN,
    flip: bool = False,
    exif: bool = True,
    batch_size: int | None = None,
    level: float = 0.9,
    advance: Callable[[int], object] = lambda films: None,
) -> NetworkAnswers:
    """Let each network answer films; a film is decoded once for all networks with the same input and arithmetic.

    Args:
        models: The networks, which may predict different landmarks.
        paths: The films.
        spacing: Millimetres per pixel in (x, y) of films that do not say it.
        flip: Show each network the mirrored film, too.
        exif: Turn films as their EXIF orientation says.
        batch_size: Films at a time; the smallest of the networks' own in training if None.
        level: Guaranteed coverage of the conformal regions.
        advance: Told after every batch how many films it had, each counted for every network and view.

    Raises:
        ValueError: A network needs to be told where to look, or `level` is none that was calibrated.
    """
    _check_each(models, level)
    alike: dict[tuple[object, ...], list[int]] = {}
    for place, model in enumerate(models):
        key = model.method.input_spec.key, model.facts.precision, len(model.facts.schema)
        alike.setdefault(key, []).append(place)
    answers: dict[int, dict[Path, list[FilmAnswer]]] = {}
    views = (False, True) if flip else (False,)
    for places in alike.values():
        first = models[places[0]]
        stream = FilmStream(paths, first.method.input_spec, len(first.facts.schema), spacing, views, exif)
        raw = _run([models[place] for place in places], stream, batch_size, advance)
        for place, of_model in zip(places, raw, strict=True):
            answers[place] = dict(_answers(models[place], stream, of_model, level))
    return NetworkAnswers(stream.films, stream.problems, tuple(answers[place] for place in range(len(models))))


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


def _check_each(models: Sequence[Model], level: float) -> None:
    for model in models:
        if model.method.input_spec.is_oracle:
            raise ValueError(
                f"{model.name} is told where the true landmarks are, so that it cannot read a film without labels; "
                f"use a variant that finds them."
            )
        if level not in model.facts.levels:
            known = ", ".join(f"{value:g}" for value in model.facts.levels)
            raise ValueError(f"{model.name} has conformal regions of levels {known}, not {level:g}.")


def _check_together(models: Sequence[Model], *, flip: bool) -> None:
    first, *others = models
    for model in others:
        if model.facts.schema != first.facts.schema:
            raise ValueError(f"{model.name} predicts other landmarks than {first.name}; average runs of one dataset.")
    if flip and not first.facts.schema.flips:
        raise ValueError(
            f"the landmarks of {first.facts.dataset} have no left and right that would trade places, so that its films "
            f"must not be mirrored; leave out --flip."
        )


class _Networks(LightningModule):
    """Networks that see the same batches; keeps what each of them answers."""

    def __init__(self, models: Sequence[Model], advance: Callable[[int], object]) -> None:
        super().__init__()
        self.methods = nn.ModuleList(model.method for model in models)
        self.answers: list[list[Raw]] = [[] for _ in models]
        self.advance = advance

    def predict_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep a batch's answers, in pixels of the films."""
        for method, answers in zip(self.methods, self.answers, strict=True):
            prediction: Prediction = method.predict_step(batch, batch_idx)[1]  # type: ignore[operator]
            points = prediction.points.double().cpu().numpy()
            stated = prediction.covariance
            covariance = np.full((*points.shape, 2), np.nan) if stated is None else stated.double().cpu().numpy()
            answers += zip(points, covariance, strict=True)
            self.advance(len(batch.case))


def _run(
    models: Sequence[Model], stream: FilmStream, batch_size: int | None, advance: Callable[[int], object]
) -> list[dict[Path, list[Raw]]]:
    """Return each network's points and covariances of every film's views, in the order of its landmarks."""
    networks = _Networks(models, advance)
    with quiet():
        trainer = make_trainer(Path.cwd(), models[0].facts.precision, [])
        size = batch_size or min(model.method.batch_size for model in models)
        trainer.predict(networks, dataloaders=DataLoader(stream, size, collate_fn=collate), return_predictions=False)
    views = len(stream.mirrored)
    return [
        {path: answers[views * place : views * (place + 1)] for place, path in enumerate(stream.served)}
        for answers in networks.answers
    ]


def _answers(
    model: Model, stream: FilmStream, raw: Mapping[Path, list[Raw]], level: float
) -> Iterator[tuple[Path, list[FilmAnswer]]]:
    """Give points of mirrored films their own names back, calibrate covariances and add conformal radii."""
    exchanged = list(model.facts.schema.flip_index)
    quantile = np.array([row[model.facts.levels.index(level)] for row in model.facts.quantiles])
    factor = np.array(model.facts.temperature or np.ones(len(model.facts.schema)))[:, None, None]
    for path, views in raw.items():
        answers = []
        for mirrored, (points, covariance) in zip(stream.mirrored, views, strict=True):
            if not np.isfinite(points).all():
                raise ValueError(
                    f"{model.name} answers {path} with points that are not finite; its training has diverged."
                )
            radius = np.full(len(points), np.nan)
            if quantile.size:
                radius = _radius(quantile, covariance, stream.films[path].size, model.method.input_spec)
            order = exchanged if mirrored else slice(None)
            answers.append(FilmAnswer(points[order], (factor * covariance)[order], radius[order]))
        yield path, answers


def _radius(
    quantile: Float[np.ndarray, " landmark"],
    covariance: Float[np.ndarray, "landmark 2 2"],
    size: tuple[int, int],
    spec: InputSpec,
) -> Float[np.ndarray, " landmark"]:
    """Return the radius of a circle with the area of each point's region; infinite where no film calibrated it."""
    (shape,) = region_shapes(covariance[None], np.array([film_scale(size, spec)]))
    return np.asarray(quantile * np.linalg.det(shape).clip(min=0) ** 0.25)
