"""What leaderboards say about datasets, protocols and methods, written beside the scores so that they need no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import methods
from benchmark.lookup import Variant, effective_hparams
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
        the `readers` behind each truth, and `methods` by variant, each with its
        paper and its own hyper-parameters. A dataset or variant that is not found any more is left out.
    """
    cells = [run.cell for run in runs]
    facts = {
        "datasets": {
            name: _dataset(datasets[name]) for name in sorted({cell.dataset for cell in cells} & datasets.keys())
        },
        "methods": _methods({cell.variant for cell in cells}, plugins),
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
        "protocols": {protocol.name: asdict(protocol) for protocol in data.protocols},
        "default": data.protocols[0].name,
        "readers": dict(data.readers),
    }


def _methods(variants: set[str], plugins: Sequence[Path | str]) -> dict[str, Any]:
    found = methods.discover(plugins).items()
    return {
        variant: {
            "method": name,
            "paper": asdict(method.paper),
            "hparams": dict(effective_hparams(Variant(name, variant, method, hparams), {})),
        }
        for name, method in found
        for variant, hparams in method.variants.items()
        if variant in variants
    }
