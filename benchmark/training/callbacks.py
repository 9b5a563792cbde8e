"""What hangs on Lightning's Trainer: curves, guards, seeds that survive a resume, and collected predictions."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from benchmark.cell import Cell
from benchmark.predictions import PREDICTIONS, case_rows, write_predictions
from benchmark.store import write_atomically
from benchmark.training import measure
from benchmark.training.progress import Progress, Report
from datamodules.base import LandmarkDataModule
from methods.base import MONITOR, Batch, Prediction

GPU_BATCHES: Final = 20
"""Losses that are kept on a GPU before they are looked at, since each look waits for the GPU."""


class History(Callback):
    """Keeps one row per epoch, writes them all after each, and reports them.

    The rows travel in the checkpoint, so that after a resume `history.csv` has every epoch once, and the time that
    earlier attempts trained counts.

    Args:
        path: The CSV file.
        epochs: Planned, over all stages.
        report: Told after every epoch.

    Attributes:
        tell: Told every new row with the number of epochs done, over all stages.
    """

    def __init__(self, path: Path, epochs: int, report: Report) -> None:
        self.path, self.epochs, self.report = path, epochs, report
        self.tell: Callable[[int, Mapping[str, float]], object] = lambda epochs, row: None
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
            self.report(Progress("training", len(self.rows) + share, self.epochs, memory=measure.gpu_memory_mb()))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's row; an epoch that a resume ends a second time replaces its own."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}  # all ranks take part
        row = {
            "stage": float(getattr(pl_module, "stage", 0)),
            "epoch": float(trainer.current_epoch),
            "train/loss": metrics.get("train/loss", float("nan")),
            MONITOR: metrics.get(MONITOR, float("nan")),
            "lr": float(trainer.optimizers[0].param_groups[0]["lr"]) if trainer.optimizers else float("nan"),
            "seconds": self._before + time.perf_counter() - self._start,
        }
        self.rows.append(row)
        if not trainer.is_global_zero:
            return
        self.report(Progress("training", len(self.rows), self.epochs, row["train/loss"], row[MONITOR]))
        self.write()
        self.tell(len(self.rows), row)

    def write(self) -> None:
        """Write the rows, if there are any."""
        if self.rows:
            write_atomically(self.path, lambda path: pd.DataFrame(self.rows).to_csv(path, index=False))


class Pulse(Callback):
    """Reports once a second that validation or prediction goes on.

    Args:
        report: Told so.
        epochs: Planned, over all stages.
    """

    def __init__(self, report: Report, epochs: int) -> None:
        self.report, self.epochs = report, epochs
        self._told = 0.0

    def on_validation_batch_end(self, *arguments: object, **named: object) -> None:
        """Report."""
        self._tell("training")

    def on_predict_batch_end(self, *arguments: object, **named: object) -> None:
        """Report."""
        self._tell("predicting")

    def _tell(self, step: str) -> None:
        if time.perf_counter() - self._told > 1:
            self._told = time.perf_counter()
            self.report(Progress(step, 0, self.epochs))


class NonFiniteLossError(FloatingPointError):
    """A training loss is NaN or infinite."""


class FiniteLoss(Callback):
    """Stops a fit whose loss is no number, before a checkpoint is made of the weights that came of it.

    Args:
        private: Whether the error leaves out which films the batch had.
    """

    def __init__(self, *, private: bool) -> None:
        self.private = private
        self._seen: list[tuple[int, Tensor, list[str]]] = []

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Keep the loss, and look at those that are kept once there are enough."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if not isinstance(loss, Tensor):
            return
        self._seen.append((batch_idx, loss.detach(), list(batch.case)))
        if loss.device.type == "cpu" or len(self._seen) >= GPU_BATCHES:
            self._look(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look before the epoch's weights can become the best."""
        self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look before the epoch's weights become its checkpoint."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        seen, self._seen = self._seen, []
        if not seen:
            return
        losses = torch.stack([loss.float() for _, loss, _ in seen]).cpu()
        for (number, _, cases), loss in zip(seen, losses.tolist(), strict=True):
            if loss - loss != 0:  # NaN, or infinite
                films = "its films are not named, since the set is private" if self.private else ", ".join(cases)
                place = f"batch {number} of epoch {trainer.current_epoch}"
                raise NonFiniteLossError(f"the training loss is {loss} at {place}: {films}.")


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
    """Keeps what `predict` answers, beside the labels of the inventory, and writes it as the raw result.

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
        test_set, landmarks = tuple(self.sets)[dataloader_idx], self.data.schema.names
        arrays = ([None] * len(batch.case) if v is None else v.double().cpu().numpy() for v in prediction)
        for name, *answer in zip(batch.case, *arrays, strict=True):
            self.frames.append(case_rows(test_set, self.data.inventory.cases[name], landmarks, *answer))

    def write(self, folder: Path, cell: Cell, file: str = PREDICTIONS, **more: str) -> None:
        """Write a parquet file of that name, the cell's key in its metadata and what `more` says.

        Raises:
            RuntimeError: The method did not answer a case with finite points.
        """
        patients = self.data.first_films(case for cases in self.sets.values() for case in cases)
        write_predictions(folder / file, cell, self.frames, self.sets, patients, **more)
