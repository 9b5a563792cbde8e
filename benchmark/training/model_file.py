"""What a checkpoint says of itself, so that it predicts films without its run, its store or its dataset.

The file is an ordinary Lightning checkpoint with one entry more, `osteomark`: plain numbers, texts and lists, which
`torch.load(..., weights_only=True)` reads. It holds no film, no label and no path; landmarks of a private set are
numbers unless their owner asks for names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float

from benchmark.cell import freeze
from benchmark.predictions import VALIDATION, Predictions, read_calibration
from benchmark.scoring.cases import to_cases
from benchmark.store import RunRecord, write_atomically
from datamodules.base import LandmarkDataModule, LandmarkSchema
from datamodules.components.transforms import Box, InputSpec, to_image_affine
from methods.base import Method
from metrics.conformal import LEVELS, conformal_quantiles, nonconformity
from metrics.temperature import temperatures

ENTRY: Final = "osteomark"
FORMAT: Final = 1
FIRST_VERSION: Final = 1
"""Of every method, when checkpoints did not state it yet."""


@dataclass(frozen=True)
class ModelFacts:
    """What is needed to use a trained network, and what its user must know of it.

    Args:
        method: The method's name.
        variant: The variant's name.
        version: The method's `version` when it was trained.
        hparams: Every hyper-parameter.
        schema: Of the landmarks that it predicts.
        dataset: Which it was trained on.
        protocol: Whose training films.
        split: Of the protocol.
        seed: Of the run.
        fingerprint: Of films, labels and split.
        title: The dataset's full name.
        licence: Under which terms the training films were to be had.
        private: Whether the dataset is private.
        precision: The arithmetic that it was trained and tested with.
        input_size: (height, width) of its input in pixels.
        fit: How a film is fitted into it.
        quantiles: For each landmark the size of the conformal region at each level, see `region_quantiles`; empty where
            nothing validated.
        levels: Guaranteed coverages of these regions.
        temperature: Factor of each landmark's covariance that these films ask for; empty where there is none.
        calibration_films: How many films both were fitted on.
        format: Of this entry.
    """

    method: str
    variant: str
    version: int
    hparams: Mapping[str, Any]
    schema: LandmarkSchema
    dataset: str
    protocol: str
    split: str
    seed: int
    fingerprint: str
    title: str
    licence: str
    private: bool
    precision: str
    input_size: tuple[int, int]
    fit: str
    quantiles: tuple[tuple[float, ...], ...] = ()
    levels: tuple[float, ...] = LEVELS
    temperature: tuple[float, ...] = ()
    calibration_films: int = 0
    format: int = FORMAT

    @classmethod
    def of(cls, record: RunRecord, dataset: type[LandmarkDataModule], version: int, spec: InputSpec) -> ModelFacts:
        """Return the facts of a run.

        Args:
            record: Of the run; its folder has the predictions of the films that validated, if any did.
            dataset: Which it was trained on.
            version: The method's.
            spec: What the method reads.
        """
        cell, validation = record.cell, record.folder / VALIDATION
        stored = read_calibration(validation, dataset.schema.names) if validation.is_file() else None
        return cls(
            method=cell.method,
            variant=cell.variant,
            version=version,
            hparams=dict(cell.hparams),
            schema=dataset.schema,
            dataset=cell.dataset,
            protocol=cell.protocol,
            split=cell.split,
            seed=cell.seed,
            fingerprint=record.fingerprint,
            title=dataset.title,
            licence=dataset.licence,
            private=dataset.private,
            precision=record.precision,
            input_size=spec.size,
            fit=spec.fit,
            quantiles=region_quantiles(stored, spec) if stored else (),
            temperature=fitted_temperature(stored) if stored else (),
            calibration_films=len(stored.cases) if stored else 0,
        )

    def without_names(self) -> ModelFacts:
        """Return the same with numbers for the landmarks' and the groups' names."""
        return replace(self, schema=numbered(self.schema))

    def with_names(self, schema: LandmarkSchema) -> ModelFacts:
        """Return the same with the names of a schema of the same shape.

        Raises:
            ValueError: The schema is another one.
        """
        if numbered(schema) != numbered(self.schema):
            raise ValueError(
                f"these {len(schema)} landmarks are not the {len(self.schema)} that {self.variant} was trained on, or "
                f"they are grouped otherwise; give the card that it was trained with."
            )
        return replace(self, schema=schema)

    def as_entry(self) -> dict[str, Any]:
        """Return it as the checkpoint holds it: dictionaries, lists, texts and numbers."""
        return dict(_plain(asdict(self)))

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any], path: Path) -> ModelFacts:
        """Return what `as_entry` wrote.

        Raises:
            ValueError: It is of a later version of Osteomark, or damaged.
        """
        if entry.get("format") != FORMAT:
            raise ValueError(
                f"{path} has checkpoint format {entry.get('format')}, and this Osteomark reads {FORMAT}; use the "
                f"version that trained it."
            )
        try:
            content = {name: freeze(value) for name, value in entry.items()}
            schema = {name: freeze(value) for name, value in entry["schema"].items()}
            schema["groups"] = {name: tuple(members) for name, members in entry["schema"]["groups"].items()}
            hparams = {name: freeze(value) for name, value in entry["hparams"].items()}
            return cls(**{**content, "schema": LandmarkSchema(**schema), "hparams": hparams})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} does not say how to use it ({error}); train the run again.") from error


def region_quantiles(stored: Predictions, spec: InputSpec) -> tuple[tuple[float, ...], ...]:
    """Return the conformal quantile of each landmark and level.

    The region of a point is the ellipse of its covariance or, where a method states none, a circle of one pixel of the
    network's input, scaled by the quantile; so that it carries over to films of another resolution.

    Args:
        stored: A run's predictions of the validation films that calibrate.
        spec: What the method reads.
    """
    scale = np.array([film_scale((int(height), int(width)), spec) for height, width in stored.size])
    shaped = stored._replace(covariance=region_shapes(stored.covariance, scale))
    quantiles = conformal_quantiles(nonconformity(to_cases(shaped)))
    return tuple(map(tuple, quantiles.tolist()))


def fitted_temperature(stored: Predictions) -> tuple[float, ...]:
    """Return each landmark's factor of the covariance; nothing for a method that states none."""
    fitted = temperatures(to_cases(stored))
    return () if fitted.isnan().all() else tuple(fitted.tolist())


def region_shapes(
    covariance: Float[np.ndarray, "film landmark 2 2"], scale: Float[np.ndarray, " film"]
) -> Float[np.ndarray, "film landmark 2 2"]:
    """Return covariances in square pixels of the films, circles of a network's pixel where they are NaN."""
    circles = np.square(scale)[:, None, None, None] * np.eye(2)
    known = np.isfinite(covariance).all(axis=(-1, -2), keepdims=True)
    return np.where(known, covariance, circles)


def film_scale(size: tuple[int, int], spec: InputSpec) -> float:
    """Return how many pixels of a film of (height, width) a pixel of the network's input is wide, in the mean.

    Example:
        >>> film_scale((400, 100), InputSpec((100, 100)))
        2.0
    """
    height, width = size
    affine = to_image_affine(Box(0, 0, width, height), spec)
    return float(np.sqrt(affine[0, 0] * affine[1, 1]))


def numbered(schema: LandmarkSchema) -> LandmarkSchema:
    """Return a schema whose landmarks and groups are called by their numbers, from 1.

    Example:
        >>> numbered(LandmarkSchema(("left", "right"), flips=(("left", "right"),))).flips
        (('1', '2'),)
    """
    number = {name: str(place) for place, name in enumerate(schema.names, 1)}
    return LandmarkSchema(
        tuple(number.values()),
        {str(place): tuple(number[m] for m in members) for place, members in enumerate(schema.groups.values(), 1)},
        tuple((number[a], number[b]) for a, b in schema.flips),
        tuple((number[a], number[b]) for a, b in schema.edges),
        schema.normalizer and (number[schema.normalizer[0]], number[schema.normalizer[1]]),
    )


def write_model(source: Path, target: Path, facts: ModelFacts) -> Path:
    """Write a self-contained checkpoint: the weights of `source`, without optimiser states, and the facts.

    Args:
        source: A Lightning checkpoint.
        target: The file to write; it may be the same.
        facts: What the checkpoint says of itself.
    """
    stored = torch.load(source, map_location="cpu", weights_only=True)
    kept = {name: stored[name] for name in ("state_dict", "epoch", "global_step", "stage") if name in stored}
    kept["pytorch-lightning_version"] = stored["pytorch-lightning_version"]
    write_atomically(target, lambda path: torch.save({**kept, ENTRY: facts.as_entry()}, path))
    return target


def read_model(path: Path) -> tuple[dict[str, Any], ModelFacts | None]:
    """Read a checkpoint.

    Returns:
        The network's state, and what the file says of itself; None in a file of an older version.

    Raises:
        ValueError: The file is damaged or no checkpoint.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        state = dict(stored["state_dict"])
    except OSError:
        raise
    except Exception as error:  # torch raises all kinds on damaged files and on what is no checkpoint
        raise ValueError(f"{path} is no checkpoint that can be read; give a run's folder or its .ckpt file.") from error
    return state, ModelFacts.from_entry(stored[ENTRY], path) if ENTRY in stored else None


def check_version(name: str, facts: ModelFacts | None, method: type[Method], path: Path) -> None:
    """Refuse a checkpoint of another version of its method, whose weights may fit all the same.

    Args:
        name: Of the method.
        facts: What the checkpoint says of itself; None in a file of before there were versions.
        method: What goes by that name here.
        path: The checkpoint.

    Raises:
        ValueError: The method has changed since it was trained.
    """
    trained = FIRST_VERSION if facts is None else facts.version
    if method.version != trained:
        raise ValueError(
            f"{path} was trained by version {trained} of {name}, and version {method.version} is here, which would "
            f"answer otherwise; train it again, or use the Osteomark that trained it."
        )


def _plain(value: Any) -> Any:  # noqa: ANN401  # whatever a dataclass holds
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
