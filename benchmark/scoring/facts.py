"""What leaderboards say about datasets, protocols and methods, written beside the scores so that they need no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import methods
from benchmark.cell import Cell
from benchmark.lookup import all_variants, changed_hparams, effective_hparams
from benchmark.store import FACTS, RunRecord, write_atomically
from datamodules import DatasetRegistry
from datamodules.base import LandmarkDataModule


def write_facts(
    store: Path, runs: Iterable[RunRecord], datasets: DatasetRegistry, plugins: Sequence[Path | str] = ()
) -> Path:
    """Describe the datasets, protocols and methods that the runs name.

    Args:
        store: The run store's folder.
        runs: Its runs, of any status.
        datasets: Every dataset by name.
        plugins: Files with methods from outside the repository.

    Returns:
        The written `facts.json`: `datasets` by name, each with its `protocols`, the name of the `default` one and
        the `readers` behind each truth, and `methods` by variant, each with its paper, its own hyper-parameters
        and, in `changed`, those that runs set differently from the paper: `dataset/protocol/configuration` -> name ->
        value; `tuning` is the number of runs without predictions of test films. A dataset or variant that is not found
        any more is left out.
    """
    cells = [run.cell for run in runs]
    facts = {
        "datasets": {
            name: _dataset(datasets[name]) for name in sorted({cell.dataset for cell in cells} & datasets.keys())
        },
        "methods": _methods(cells, plugins),
        "tuning": sum(cell.tunes for cell in cells),
    }
    path = store / FACTS
    write_atomically(path, lambda file: file.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n"))
    return path


def _dataset(data: type[LandmarkDataModule]) -> dict[str, Any]:
    return {
        "title": data.title,
        "landmarks": len(data.schema),
        "patient_rule": data.patient_rule,
        "groups": [[group, list(members)] for group, members in data.schema.groups.items()],
        "structure": data.schema.structure,
        "official_size": data.official_size,
        "edges": [list(edge) for edge in data.schema.edges],
        "protocols": {protocol.name: asdict(protocol) for protocol in data.protocols},
        "default": data.protocols[0].name,
        "readers": dict(data.readers),
    }


def _methods(cells: Sequence[Cell], plugins: Sequence[Path | str]) -> dict[str, Any]:
    known = methods.discover(plugins)
    variants = {name: variant for name, variant in all_variants(known).items() if name in {c.variant for c in cells}}
    facts: dict[str, Any] = {
        name: {
            "method": variant.method,
            "paper": asdict(variant.method_class.paper),
            "hparams": dict(effective_hparams(variant, {})),
            "changed": {},
        }
        for name, variant in variants.items()
    }
    rows = {(cell.variant, "/".join((cell.dataset, cell.protocol, cell.config))): cell for cell in cells}
    for (name, row), cell in rows.items():
        if name in variants:
            facts[name]["changed"][row] = changed_hparams(variants[name], cell)
    return facts
