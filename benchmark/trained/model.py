"""A trained network, ready to predict, from a run's folder or from a checkpoint alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmark.lookup import discover_methods
from benchmark.store import CARDS, RUN, RunRecord, write_atomically
from benchmark.training.arithmetic import lay_out
from benchmark.training.model_file import ENTRY, FIRST_VERSION, ModelFacts, check_version, read_model
from datamodules import DatasetRegistry
from datamodules.components.schema import LandmarkSchema
from methods.base import Method


class Model(NamedTuple):
    """A trained network.

    Attributes:
        name: What messages call it: the variant and its file or folder.
        method: With its weights.
        facts: What it is.
    """

    name: str
    method: Method
    facts: ModelFacts


def load_model(path: Path, plugins: Sequence[Path] = (), names: LandmarkSchema | None = None) -> Model:
    """Return the network of a run's folder, its `run.json` or a checkpoint.

    Args:
        path: Of any of the three.
        plugins: Files with methods from outside the package.
        names: Its landmarks, for a checkpoint of a private set, which knows their numbers only.

    Raises:
        FileNotFoundError: There is no such file or folder.
        ValueError: The run is not done, its method is not there or has changed, or a file is damaged.
    """
    file, record = _checkpoint(path)
    state, facts = read_model(file)
    known, name = discover_methods(plugins), _method_name(file, facts, record)
    if name not in known:
        raise ValueError(f"{file} is of the method {name!r}, which is not here; give its file with --plugin.")
    method_class = known[name]
    check_version(name, facts, method_class, file)
    if facts is None:
        assert record is not None, "its method's name would not be known"
        facts = _facts_of(record, method_class)
    if names is not None:
        facts = facts.with_names(names)
    method = method_class(facts.schema, **dict(facts.hparams))
    try:
        method.load_state_dict(state)
    except RuntimeError as error:  # its message lists every key
        raise ValueError(f"{file} does not fit the method {facts.method} that is here; train it again.") from error
    lay_out(method)
    return Model(f"{facts.variant} ({path})", method.eval(), facts)


def record_of(path: Path) -> RunRecord | None:
    """Return the record of the run that a path lies in; None for a checkpoint that was copied out of its run.

    Args:
        path: A run's folder, its `run.json` or its checkpoint.
    """
    places = (path / RUN, path, path.parent.parent / RUN)
    found = next((place for place in places if place.name == RUN and place.is_file()), None)
    return None if found is None else RunRecord.read(found)


def write_checkpoint(model: Model, path: Path) -> Path:
    """Write a network as a self-contained checkpoint, with the names that the model has."""
    content = {"state_dict": model.method.state_dict(), ENTRY: model.facts.as_entry()}
    write_atomically(path, lambda file: torch.save(content, file))
    return path


def _checkpoint(path: Path) -> tuple[Path, RunRecord | None]:
    """Return the file with the weights and, where there is one, the record of its run."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there; give a run's folder in a store, or a checkpoint.")
    record = record_of(path)
    if path.is_file() and path.name != RUN:
        return path, record
    if record is None:
        raise ValueError(f"{path} is no run: it holds no {RUN}; give the folder seed<k>-<hash> of a finished run.")
    if record.status != "done" or not record.checkpoint:
        raise ValueError(f"the run {record.folder} is {record.status}, not done; run its matrix again first.")
    if not record.weights_file.is_file():
        raise FileNotFoundError(f"{record.weights_file} is not there; run the cell again with --force.")
    return record.weights_file, record


def _method_name(file: Path, facts: ModelFacts | None, record: RunRecord | None) -> str:
    if facts is not None:
        return facts.method
    if record is None:
        raise ValueError(f"{file} is older than self-contained checkpoints; give its run's folder instead.")
    return record.cell.method


def _facts_of(record: RunRecord, method_class: type[Method]) -> ModelFacts:
    """Return the facts of a run whose checkpoint is older than these facts."""
    dataset = DatasetRegistry(descriptions=record.folder.parents[4] / CARDS).find(record.cell.dataset)
    method = method_class(dataset.schema, **dict(record.cell.hparams))
    return ModelFacts.of(record, dataset, FIRST_VERSION, method.input_spec)
