"""Run folders as the benchmark leaves them, for the tests of what reads them."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

import datamodules
from benchmark.cell import Budget, Cell
from benchmark.predictions import COVARIANCE, PREDICTIONS
from benchmark.store import RunRecord, RunStore
from datamodules.base import Inventory, LandmarkDataModule, LandmarkSchema, Protocol
from datamodules.components.protocols import Split

NAMES = ("sella", "nasion", "menton")
REDUCED = Budget("reduced", epochs=2)


class Skull(LandmarkDataModule):
    """A dataset of three landmarks in millimetres, with three folds under one protocol and one under the other."""

    title = "Three points of a skull"
    licence = obtain = layout = ""
    schema = LandmarkSchema(NAMES, normalizer=("sella", "nasion"))
    protocols = (
        Protocol("3-fold", "Three folds.", ("fold1", "fold2", "fold3"), unit="mm", caveats=("leaked pairs",)),
        Protocol("official", "Train and test.", unit="mm", truth="mean of two readers"),
    )
    radii: ClassVar = (2.0, 4.0)

    def scan(self) -> Inventory:
        return Inventory({})

    def splits(self) -> tuple[Split, ...]:
        return ()

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        raise NotImplementedError


@pytest.fixture
def skull(monkeypatch: pytest.MonkeyPatch) -> type[Skull]:
    """The one dataset that is discovered."""
    monkeypatch.setattr(datamodules, "discover", lambda: {"skull": Skull})
    return Skull


def predictions(errors: np.ndarray, test_set: str = "test", first: int = 0) -> pd.DataFrame:
    """Predictions that are off by `errors` (case, landmark) pixels to the right, on films of 0.5 mm/px."""
    cases, landmarks = errors.shape
    true = np.random.default_rng(first).uniform(20, 80, (cases, landmarks, 2))
    frame = pd.DataFrame(
        {
            "test_set": test_set,
            "case": np.repeat([f"case{first + i:03d}" for i in range(cases)], landmarks),
            "landmark": np.tile(NAMES, cases),
            "x": (true[..., 0] + errors).ravel(),
            "y": true[..., 1].ravel(),
            "true_x": true[..., 0].ravel(),
            "true_y": true[..., 1].ravel(),
            "visible": True,
        }
    )
    unknown = dict.fromkeys(COVARIANCE, np.nan)
    return frame.assign(spacing_x=0.5, spacing_y=0.5, height=100, width=100, **unknown)


def write_run(
    store: Path,
    frame: pd.DataFrame | None,
    variant: str = "mean_shape",
    protocol: str = "official",
    split: str = "main",
    seed: int = 0,
    budget: Budget = REDUCED,
    hparams: tuple[tuple[str, object], ...] = (),
    dataset: str = "skull",
    **changes: object,
) -> RunRecord:
    """Write one run's folder; without a frame it failed."""
    cell = Cell(dataset, protocol, split, variant.split("-")[0], variant, seed, hparams, budget)
    defaults = {
        "status": "failed" if frame is None else "done",
        "fingerprint": f"data-{split}",
        "content": "films",
        "started": "2020-01-01T00:00:00",
        "finished": "2020-01-01T00:01:00",
        "test_sets": {} if frame is None else {"test": frame["case"].nunique()},
        "parameters": {"trainable": 1_234_567, "keras": 1_240_000},
        "seconds": {"prepare": 1.0, "fit": 59.0, "predict": 2.0},
        "flops": 2_500_000_000,
        "latency_ms": 3.25,
        "input_size": (256, 128),
        "epochs": 2,
        "device": "one processor",
    }
    runs = RunStore(store)
    record = RunRecord(cell=cell, **(defaults | changes))  # type: ignore[arg-type]
    if frame is not None:
        folder = runs.path(cell, record.fingerprint)
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / PREDICTIONS, index=False)
    return runs.write(record)
