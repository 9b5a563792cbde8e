"""Runs that start from another run's weights: which weights are meant, and a copy of them named by their content.

A cell's `init_from` may name a checkpoint, the folder of a run, or a dataset: then it is the store's finished run of
the same method there, with the same hyper-parameters and seed. Before anything runs, the weights are copied into the
store, and `init_from` becomes the name of the copy, which ends in a hash of names, shapes and values. So the run's key
covers what it started from, and the run can be resumed after its source is gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from benchmark.cell import Cell
from benchmark.store import RUN, RunRecord, RunStore, write_atomically
from methods.base import Method
from methods.components.initial_weights import read_weights

INIT_FROM: Final = "init_from"
"""The hyper-parameter of methods that can start from another run (`Method.init_from`)."""
WEIGHTS: Final = "weights"
"""Folder of the copies in a store."""
_DIGITS: Final = 16


def with_initial_weights(cells: Sequence[Cell], root: Path) -> list[Cell]:
    """Return the cells with the content of their initial weights in their keys; the weights are copied into the store.

    Args:
        cells: As a matrix names them.
        root: The store.

    Raises:
        ValueError: A cell's `init_from` names no checkpoint, no finished run, or several runs.
    """
    return [_with_content(cell, root) if dict(cell.hparams).get(INIT_FROM) else cell for cell in cells]


def initial_weights(cell: Cell, method: Method) -> str:
    """Return what a cell's method starts from, as its record names it: another run's weights, or its `weights`."""
    return str(dict(cell.hparams).get(INIT_FROM) or method.weights)


def weights_file(root: Path, name: str) -> Path:
    """Return where a store has the copy of this name."""
    return root / WEIGHTS / f"{name}.ckpt"


def _with_content(cell: Cell, root: Path) -> Cell:
    given = str(dict(cell.hparams)[INIT_FROM])
    if weights_file(root, given).is_file():  # as `run.json` has it
        return cell
    path = Path(given)
    if (path / RUN).is_file():
        name = _kept(RunRecord.read(path / RUN), root)
    elif path.is_file():
        name = _copied(path, path.stem, root)
    else:
        name = _kept(_run_on(given, cell, root), root)
    return replace(cell, hparams=tuple((key, name if key == INIT_FROM else value) for key, value in cell.hparams))


def _run_on(dataset: str, cell: Cell, root: Path) -> RunRecord:
    """Find the run of a cell's method and hyper-parameters on another dataset."""
    wanted = f"{cell.method} on {dataset} with seed {cell.seed} and the hyper-parameters of {cell}"
    own = _others(cell)
    found = [
        run
        for run in RunStore(root).runs()
        if run.status == "done"
        and (run.cell.dataset, run.cell.method, run.cell.seed) == (dataset, cell.method, cell.seed)
        and _others(run.cell) == own
    ]
    found = [run for run in found if (run.cell.protocol, run.cell.split) == (cell.protocol, cell.split)] or found
    if not found:
        raise ValueError(
            f"{INIT_FROM} is {dataset!r}, which is no checkpoint and no run's folder, and {root} has no finished run "
            f"of {wanted}; run that first."
        )
    if len(found) > 1:
        folders = ", ".join(str(run.folder) for run in found)
        raise ValueError(f"{root} has several runs of {wanted}: {folders}; give the folder of one as {INIT_FROM}.")
    return found[0]


def _others(cell: Cell) -> dict[str, object]:
    return {key: value for key, value in cell.hparams if key != INIT_FROM}


def _kept(run: RunRecord, root: Path) -> str:
    """Copy the weights that a run's record names."""
    if run.status != "done" or not run.checkpoint.get("file"):
        raise ValueError(f"{INIT_FROM} names {run.folder}, which is no finished run with weights; run it first.")
    return _copied(run.weights_file, run.cell.dataset, root)


def _copied(checkpoint: Path, origin: str, root: Path) -> str:
    """Copy a checkpoint's weights, without anything else, and return the copy's name."""
    weights = read_weights(checkpoint)
    name = f"{origin}-{content_hash(weights)}"
    target = weights_file(root, name)
    if not target.is_file():
        write_atomically(target, partial(torch.save, {"state_dict": weights}))
    return name


def content_hash(weights: dict[str, Tensor]) -> str:
    """Return a hash of names, shapes and values, whatever the file that holds them.

    Example:
        >>> content_hash({"a": torch.ones(2)}) == content_hash({"a": torch.ones(2)})
        True
        >>> content_hash({"a": torch.ones(2)}) == content_hash({"b": torch.ones(2)})
        False
    """
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:_DIGITS]
