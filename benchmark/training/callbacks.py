"""What the benchmark hangs on Lightning's Trainer: curves, seeds that survive a resume, and collected predictions."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from benchmark.cell import Cell
from benchmark.scoring.resampling import PATIENTS
from benchmark.store import PREDICTIONS, write_atomically
from benchmark.training.progress import Progress, Report
from datamodules.base import LandmarkDataModule
from methods.base import MONITOR, Batch, Prediction

COVARIANCE = {"cov_xx": (0, 0), "cov_xy": (0, 1), "cov_yy": (1, 1)}


class History(Callback):
    """Keeps one row per epoch, writes them all after each, and reports them.

    The rows travel in the checkpoint, so that after a resume `history.csv` has every epoch once, and the time that
    earlier attempts trained counts.

    Args:
        path: The CSV file.
        epochs: Planned, over all stages.
        report: Told after every epoch.
    """

    def __init__(self, path: Path, epochs: int, report: Report) -> None:
        self.path, self.epochs, self.report = path, epochs, report
        self.rows: list[dict[str, float]] = []
        self._before, self._start, self._told = 0.0, 0.0, 0.0

    @property
    def seconds(self) -> float:
        """Spent in training so far."""
        return self.rows[-1]["seconds"] if self.rows else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of an earlier attempt."""
        self.rows = state_dict["rows"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._before, self._start = self.seconds, time.perf_counter()
        self.report(Progress("training", len(self.rows), self.epochs))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: Batch, batch_idx: int
    ) -> None:
        """Report the part of the epoch that is done, once a second."""
        now = time.perf_counter()
        if now - self._told > 1:
            self._told = now
            share = (batch_idx + 1) / max(1, trainer.num_training_batches)
            self.report(Progress("training", len(self.rows) + share, self.epochs))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's row; an epoch that a resume ends a second time replaces its own."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {
            "stage": float(getattr(pl_module, "stage", 0)),
            "epoch": float(trainer.current_epoch),
            "train/loss": metrics.get("train/loss", float("nan")),
            MONITOR: metrics.get(MONITOR, float("nan")),
            "lr": float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else float("nan"),
            "seconds": self._before + time.perf_counter() - self._start,
        }
        self.rows.append(row)
        write_atomically(self.path, lambda path: pd.DataFrame(self.rows).to_csv(path, index=False))
        self.report(Progress("training", len(self.rows), self.epochs, row["train/loss"], row[MONITOR]))


class EpochSeed(Callback):
    """Seeds every epoch from the cell's seed, the stage and the epoch: a resumed run draws what it would have drawn.

    Args:
        seed: The cell's.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._first = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Seed the first epoch: a schedule that asks for the number of steps opens its loader before any later hook."""
        self._seed(pl_module, self._first)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Seed the epoch that a resume starts with, for the same reason here."""
        self._first = checkpoint["epoch"] + 1
        self._seed(pl_module, self._first)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed every later epoch: here Lightning opens the loader after this hook."""
        if trainer.current_epoch != self._first:
            self._seed(pl_module, trainer.current_epoch)

    def _seed(self, method: LightningModule, epoch: int) -> None:
        text = f"{self.seed} {getattr(method, 'stage', 0)} {epoch}"
        seed_everything(zlib.crc32(text.encode()), workers=True, verbose=False)


def checkpoints(folder: Path, stage: int, *, choose: bool) -> list[ModelCheckpoint]:
    """Return the callbacks that keep a stage's last epoch and, to `choose` from, its best one's weights."""
    last = ModelCheckpoint(
        folder, f"stage{stage}", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
    )
    best = ModelCheckpoint(
        folder, "best", monitor=MONITOR, save_top_k=1, enable_version_counter=False, save_weights_only=True
    )
    return [best, last] if choose else [last]


class Collector(Callback):
    """Keeps what `predict` answers, with the truth from the inventory, and writes it as the raw result.

    Args:
        data: The datamodule that is predicted.
        sets: Name -> cases of what each loader serves; the split's test sets if None.
    """

    def __init__(self, data: LandmarkDataModule, sets: Mapping[str, Sequence[str]] | None = None) -> None:
        self.data = data
        self.sets = data.split.tests if sets is None else sets
        self.frames: list[pd.DataFrame] = []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: tuple[Batch, Prediction],
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep one row per case and landmark."""
        _, prediction = outputs
        points = prediction.points.double().cpu().numpy()
        spread = prediction.covariance
        covariance = np.full((*points.shape, 2), np.nan) if spread is None else spread.double().cpu().numpy()
        for name, point, cov in zip(batch.case, points, covariance, strict=True):
            self.frames.append(case_rows(self.data, tuple(self.sets)[dataloader_idx], name, point, cov))

    def write(self, folder: Path, cell: Cell, file: str = PREDICTIONS, **more: str) -> None:
        """Write a parquet file of that name, the cell's key in its metadata and what `more` says.

        Raises:
            RuntimeError: The method did not answer a case with finite points.
        """
        table = pd.concat(self.frames, ignore_index=True)
        _refuse_gaps(table, self.sets)
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        key = {name: str(getattr(cell, name)) for name in ("dataset", "protocol", "split", "variant", "seed")}
        key[PATIENTS] = json.dumps(self.data.first_films(case for cases in self.sets.values() for case in cases))
        arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **key, **more})
        write_atomically(folder / file, lambda path: pq.write_table(arrow, path, compression="zstd"))


def case_rows(
    data: LandmarkDataModule,
    test_set: str,
    name: str,
    points: Float[np.ndarray, "landmark 2"],
    covariance: Float[np.ndarray, "landmark 2 2"] | None = None,
) -> pd.DataFrame:
    """Return one case's rows of a `predictions.parquet`: the answer beside the truth of the inventory.

    Args:
        data: The case's datamodule.
        test_set: Name of the set it is predicted for.
        name: The case.
        points: The answer, in original pixels.
        covariance: Of each point; unknown if None.
    """
    case = data.inventory.cases[name]
    spread = np.full((*points.shape, 2), np.nan) if covariance is None else covariance
    columns: dict[str, Any] = {
        "test_set": test_set,
        "case": name,
        "landmark": list(data.schema.names),
        "x": points[:, 0],
        "y": points[:, 1],
        "true_x": case.points[:, 0].astype(np.float64),
        "true_y": case.points[:, 1].astype(np.float64),
        "visible": case.visible,
        "spacing_x": float(case.spacing[0]),
        "spacing_y": float(case.spacing[1]),
        "height": case.size[0],
        "width": case.size[1],
    }
    columns |= {column: spread[:, i, j] for column, (i, j) in COVARIANCE.items()}
    return pd.DataFrame(columns)


def _refuse_gaps(table: pd.DataFrame, sets: Mapping[str, Sequence[str]]) -> None:
    missing = {case for cases in sets.values() for case in cases} - set(table["case"])
    shown = table[table["visible"]]
    broken = shown.loc[~np.isfinite(shown[["x", "y"]].to_numpy()).all(axis=1), "case"]
    if missing or len(broken):
        raise RuntimeError(
            f"{len(missing)} cases have no prediction and {broken.nunique()} have points that are not finite, "
            f"{next(iter(sorted(missing) or broken))} for one; the training has probably diverged."
        )
