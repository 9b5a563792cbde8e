"""A store of many finished cells that nobody trained: real methods, datasets and protocols, drawn predictions."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import datamodules
import methods
from benchmark.cell import Budget, Cell
from benchmark.lookup import effective_hparams, find_variant
from benchmark.predictions import ANSWER, KEY, LABELS, PATIENTS, POINT, PREDICTIONS, TRUTH, VALIDATION, VISIBLE
from benchmark.store import HISTORY, LOG, RunRecord, RunStore
from datamodules.base import LandmarkDataModule

PROTOCOL = "5-fold"
DATASETS = tuple(name for name, data in datamodules.discover().items() if PROTOCOL in [p.name for p in data.protocols])
VARIANTS = tuple(methods.discover())
FILMS = 120
"""Test films of a fold: AASCE has 609 films."""
SEEDS = 5
EPOCHS = 100
SIZE = (1000, 500)


def write_store(root: Path, seeds: int = SEEDS) -> int:
    """Write 20 methods x 6 datasets x 5 folds x `seeds` runs, without checkpoints, and return their number."""
    history = _history()
    store, count = RunStore(root), 0
    for name in DATASETS:
        data = datamodules.discover()[name]
        for place, split in enumerate(data.find_protocol(PROTOCOL).splits):
            films = {file: _Films(data, place, file) for file in (PREDICTIONS, VALIDATION)}
            for cell in _cells(name, split, seeds):
                record = store.write(_record(cell))
                for file, drawn in films.items():
                    drawn.write(record.folder / file, cell, error=3 + 2 * VARIANTS.index(cell.variant))
                (record.folder / HISTORY).write_text(history)
                (record.folder / LOG).write_text("a line of what a library printed\n" * 60)
                count += 1
    return count


def _cells(dataset: str, split: str, seeds: int) -> Iterator[Cell]:
    known, budget = methods.discover(), Budget("reduced", epochs=EPOCHS)
    for variant, seed in product(VARIANTS, range(seeds)):
        found = find_variant(variant, known)
        hparams = effective_hparams(found, {})
        yield Cell(dataset, PROTOCOL, split, found.method, variant, seed, hparams, budget)


def _record(cell: Cell) -> RunRecord:
    return RunRecord(
        "done",
        cell,
        fingerprint=f"{cell.dataset}-{cell.split}",
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T01:00:00+00:00",
        content=f"films-{cell.dataset}",
        versions={"python": "3.11", "torch": "2.13", "lightning": "2.6", "timm": "1.0", "numpy": "2.4"},
        device="one GPU",
        precision="32-true",
        seconds={"prepare": 1.0, "fit": 3600.0, "predict": 5.0},
        peak_memory_mb=4000.0,
        parameters={"trainable": 20_000_000, "keras": 20_100_000},
        flops=600_000_000,
        latency_ms=5.0,
        input_size=(256, 128),
        epochs=EPOCHS,
        checkpoint={"rule": "lowest", "epoch": 80, "file": "best.ckpt"},
        test_sets={"test": FILMS},
    )


def _history() -> str:
    file = io.StringIO()
    epochs = np.arange(EPOCHS)
    columns = {
        "stage": 0.0,
        "epoch": epochs,
        "train/loss": 1 / (1 + epochs),
        "val/radial_error": 9.87 + 1 / (1 + epochs),
    }
    pd.DataFrame({**columns, "lr": 1e-3, "seconds": 36.0 * epochs}).to_csv(file, index=False)
    return file.getvalue()


class _Films:
    """The films of a fold with their labels.

    Args:
        data: The dataset.
        fold: Its number.
        file: `predictions.parquet` or `validation.parquet`.
    """

    def __init__(self, data: type[LandmarkDataModule], fold: int, file: str) -> None:
        self.names = data.schema.names
        self.random = np.random.default_rng(fold)
        count, test_set = (FILMS, "test") if file == PREDICTIONS else (FILMS // 2, "validation")
        first = 2 * FILMS * fold + (0 if file == PREDICTIONS else FILMS)
        cases = [f"{first + film:04d}-17-Feb-2017-{first + film}" for film in range(count)]
        self.patients = {case: case for case in cases}
        self.truth = self.random.uniform(50, 450, (count * len(self.names), 2))
        self.table = pd.DataFrame({"test_set": test_set, "case": np.repeat(cases, len(self.names))})
        self.table = self.table.assign(landmark=list(self.names) * count, **dict.fromkeys((*ANSWER, *LABELS), np.nan))
        self.table[list(TRUTH)] = self.truth
        self.table[["spacing_x", "spacing_y"]] = 0.3
        self.table = self.table.assign(height=SIZE[0], width=SIZE[1], **{VISIBLE: True})
        self.table = self.table[[*KEY, *POINT, *LABELS, *ANSWER[2:]]]

    def write(self, path: Path, cell: Cell, error: float) -> None:
        """Write predictions that are off by about `error` pixels."""
        self.table[list(POINT)] = self.truth + self.random.normal(0, error, self.truth.shape)
        arrow = pa.Table.from_pandas(self.table, preserve_index=False)
        named = {name: str(getattr(cell, name)) for name in ("dataset", "protocol", "split", "variant", "seed")}
        arrow = arrow.replace_schema_metadata({**arrow.schema.metadata, **named, PATIENTS: json.dumps(self.patients)})
        pq.write_table(arrow, path, compression="zstd")
