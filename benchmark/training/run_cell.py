"""One cell from seed to raw result: the same few steps, in the same order, for every method."""

from __future__ import annotations

import json
import logging
import shutil
import time
import traceback
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning import Trainer, seed_everything
from lightning.fabric.utilities.apply_func import move_data_to_device

import methods
from benchmark.cell import Cell, Context, Job
from benchmark.initial_weights import initial_weights, weights_file
from benchmark.predictions import CALIBRATING, PREDICTIONS, VALIDATION, VALIDATION_SET, calibrating_cases
from benchmark.store import CHECKPOINTS, HISTORY, RunRecord, RunStore, checksums, utc_now
from benchmark.tracking.results import films_of, tell_results
from benchmark.tracking.tracker import Identity, Tracker, is_wanted
from benchmark.training import measure
from benchmark.training.arithmetic import KeepPrecision, kept_precision, lay_out, resolve_precision
from benchmark.training.callbacks import Collector, EpochSeed, FiniteLoss, History, Pulse, checkpoints
from benchmark.training.checkpoint_files import (
    BEST_FILE,
    LAST_FILE,
    OUT_OF_MEMORY,
    drop_damaged,
    drop_stages,
    first_stage,
    is_begun,
    stage_file,
)
from benchmark.training.distributed import Rank, other_ranks, require_devices
from benchmark.training.memory import is_out_of_memory, within_memory
from benchmark.training.model_file import ModelFacts, write_model
from benchmark.training.progress import Progress, Report
from benchmark.training.trainer import make_trainer, quiet
from datamodules.base import LandmarkDataModule
from datamodules.components.badges import ORACLE_CROP, PHANTOM
from datamodules.components.samples import collate
from methods.base import MONITOR, Batch, Method, Stage

RECORDING = "recording"
"""Reported before a result is written: a cell that is another run's by now ends there."""
BEST = f"lowest {MONITOR} of the last stage's epochs"
LAST = "last epoch"
UNVALIDATED = "last epoch (nothing validates)"
UNTRAINED = "none (no training by gradients)"
FEW_FILMS = 4
"""At most so many are in the batch on which the precision `auto` is measured."""

logger = logging.getLogger(__name__)


def run_cell(cell: Cell, context: Context, report: Report = lambda progress: None) -> RunRecord:
    """Train, predict and measure one cell, and leave the result in the store.

    A fit that was interrupted goes on after its last complete epoch and ends as if it had not been. An error of the
    method is recorded with its traceback, not raised; the next attempt starts anew, since the code will have changed.

    Args:
        cell: The run's key.
        context: Where the data is and where the result goes.
        report: Told what happens.

    Returns:
        The record that `run.json` holds.

    Raises:
        DataError: The data cannot be read; there is no place in the store for a run without data.
    """
    started = utc_now()
    seed_everything(cell.seed, workers=True, verbose=False)  # before anything is constructed
    report(Progress("reading data"))
    data = context.datamodule(cell)
    record = replace(
        RunRecord.failed(Job(cell, data.fingerprint), started),
        content=data.content,
        versions=measure.versions(),
        commit=measure.commit(),
        device=measure.device_name(),
    )
    try:
        with quiet():
            record = _run(record, data, context, report)
    except Exception as error:  # whatever a plugin raises belongs into its record
        told = data.redact(traceback.format_exc())
        logger.error("%s failed\n%s", cell, told)
        checkpoints = RunStore(context.store).path(cell, record.fingerprint) / CHECKPOINTS
        retried = cell.budget.micro_batch if (checkpoints / OUT_OF_MEMORY).is_file() else None
        record = replace(record, reason=data.redact(_sentence(error)), traceback=told, micro_batch=retried)
        report(Progress(RECORDING))
        if not isinstance(error, OSError) and not is_out_of_memory(error):  # not the machine's fault
            shutil.rmtree(checkpoints, ignore_errors=True)
    report(Progress(RECORDING))
    store = RunStore(context.store)
    record = store.write(replace(record, finished=utc_now()))
    if record.finished_well:  # until then a fit could go on from them
        drop_stages(record.folder / CHECKPOINTS)
    return record


def _run(record: RunRecord, data: LandmarkDataModule, context: Context, report: Report) -> RunRecord:
    cell = record.cell
    method_class = methods.discover(context.plugins)[cell.method]
    if reason := method_class.unsupported(data.schema):
        return replace(record, status="unsupported", reason=reason)
    folder = RunStore(context.store).path(cell, record.fingerprint).resolve()
    checkpoints = folder / CHECKPOINTS
    identity = Identity.of(cell, record.fingerprint, private=data.private)
    tracked = is_wanted(context.tracking, private=data.private)
    with Tracker(context.store, identity, resume=is_begun(checkpoints)) if tracked else nullcontext() as tracker:

        def attempt(micro_batch: int | None) -> RunRecord:
            seed_everything(cell.seed, workers=True, verbose=False)  # before the method is constructed
            run = Run(replace(record, micro_batch=micro_batch), method_class, data, context, folder, report)
            if tracker is not None:
                run.history.tell = tracker.log
            return run.finish()

        finished = within_memory(attempt, cell.budget.micro_batch, checkpoints)
        if tracker is not None:
            tell_results(tracker, finished, folder, context.datasets, films_of(data), artifacts=context.artifacts)
    return finished


class Run:
    """One run of a method that supports the data.

    Args:
        record: What is known before the run.
        method_class: The method's class.
        data: The datamodule.
        context: With which other ranks train the same cell.
        folder: The run's folder.
        report: Told what happens.
    """

    def __init__(
        self,
        record: RunRecord,
        method_class: type[Method],
        data: LandmarkDataModule,
        context: Context,
        folder: Path,
        report: Report,
    ) -> None:
        self.record, self.data, self.context = record, data, context
        self.folder, self.report = folder, report
        self.cell, self.budget = record.cell, record.cell.budget
        self.rank = Rank(0, 1)
        self.checkpoints = folder / CHECKPOINTS
        self.method = method_class(data.schema, **dict(self.cell.hparams))
        self.method.micro_batch = record.micro_batch
        if self.method.init_from:
            self.method.init_from = str(weights_file(folder.parents[4], self.method.init_from))
        data.configure(self.method.input_spec, self.method.batch_size, self.budget.workers, self.budget.train_cases)
        self.stages = [Stage(s.name, self.budget.epochs or s.epochs) for s in self.method.stages]
        epochs = sum(stage.epochs for stage in self.stages)
        self.history = History(folder / HISTORY, epochs, report)
        lay_out(self.method)

    def finish(self) -> RunRecord:
        """Do everything and return the complete record."""
        measure.reset_peak_memory()
        for path in drop_damaged(self.checkpoints, len(self.stages), choose=self._chooses):
            logger.warning("%s is damaged, or of no use without the best weights; that stage is trained again", path)
        seconds = {"prepare": self.prepare()}
        if self.stages:
            require_devices(self.budget, self.method.batch_size, len(self.data.split.val) - len(self.calibrating))
            with other_ranks(self.budget.devices, train_as, self.record, self.context, self.folder) as rank:
                self.train(rank)
        seconds["fit"] = self.history.seconds
        self.history.write()
        checkpoint = self._choose()
        self.report(Progress("predicting", self.history.epochs, self.history.epochs))
        start = time.perf_counter()
        trainer = self._predict_validation() if self.cell.tunes else self._predict_tests()
        seconds["predict"] = time.perf_counter() - start
        self._keep(trainer, checkpoint["file"])
        if self.data.split.val and not self.cell.tunes:
            self._predict_validation()
        self._describe(checkpoint["file"])
        return replace(
            self.record,
            status="done",
            seconds={name: round(value, 3) for name, value in seconds.items()},
            epochs=len(self.history.rows),
            checkpoint=checkpoint,
            files=checksums(self.folder, (PREDICTIONS, VALIDATION, HISTORY, f"{CHECKPOINTS}/{checkpoint['file']}")),
            **self._facts(),
            **self._measure(trainer),
        )

    def prepare(self) -> float:
        """Let the method see its training cases, where it wants to; the films are read once, into the cache.

        Then it is decided in which precision the method trains, unless an earlier attempt has begun to.
        """
        start = time.perf_counter()
        if type(self.method).prepare is not Method.prepare:
            self.report(Progress("preparing", 0, self.history.epochs))
            self.method.prepare(self.data.train_samples())
        seconds, stages = time.perf_counter() - start, len(self.stages)
        kept = kept_precision(stage_file(self.checkpoints, first_stage(self.checkpoints, stages)))
        self.precision = kept or resolve_precision(self.cell, self.method, self._few_films, self.context.store)
        return seconds

    def _few_films(self) -> Batch:
        names = self.data.split.train[: self.budget.train_cases]
        return collate([self.data.sample(name) for name in names[: min(FEW_FILMS, self.method.batch_size)]])

    def train(self, rank: Rank) -> None:
        """Train what is left of the stages, as one of the processes that do."""
        self.rank = rank
        self.data.serve(*rank)
        self.data.hold_back(self.calibrating)
        for index in range(first_stage(self.checkpoints, len(self.stages)), len(self.stages)):
            self._fit(index)
        self.data.serve()

    @property
    def calibrating(self) -> tuple[str, ...]:
        """The validation cases that do not choose the checkpoint."""
        val = self.data.split.val
        return calibrating_cases(val, self.data.first_films(val)) if self.budget.calibrate else ()

    @property
    def _chooses(self) -> bool:
        """Whether the last stage's best weights are kept, or its last."""
        return bool(self.data.split.val) and self.method.checkpoint == "best"

    def _fit(self, index: int) -> None:
        self.method.stage = index
        choose = index == len(self.stages) - 1 and self._chooses
        savers = checkpoints(self.checkpoints, index, choose=choose)
        guards = [FiniteLoss(private=self.data.private), Pulse(self.report, self.history.epochs)]
        callbacks = [*guards, self.history, EpochSeed(self.cell.seed), KeepPrecision(self.precision), *savers]
        epochs, sync = self.stages[index].epochs, self.budget.sync_batchnorm
        trainer = make_trainer(self.folder, self.precision, callbacks, epochs, self.rank, sync_batchnorm=sync)
        last = stage_file(self.checkpoints, index)
        trainer.fit(self.method, datamodule=self.data, ckpt_path=last if last.is_file() else None, weights_only=True)

    def _choose(self) -> dict[str, Any]:
        """Load the weights that the rule chooses; it is the same for all methods but those that say otherwise."""
        best = self.checkpoints / BEST_FILE
        if not best.is_file():
            last = LAST if self.data.split.val else UNVALIDATED
            return {"rule": last if self.stages else UNTRAINED, "epoch": None, "file": LAST_FILE}
        stored = torch.load(best, map_location="cpu", weights_only=True)
        self.method.load_state_dict(stored["state_dict"])
        return {"rule": BEST, "epoch": stored["epoch"], "file": best.name}

    def _keep(self, trainer: Trainer, name: str) -> None:
        """Keep the chosen weights."""
        if name == LAST_FILE:
            trainer.save_checkpoint(self.checkpoints / name, weights_only=True)

    def _predict_tests(self) -> Trainer:
        collector = Collector(self.data)
        trainer = make_trainer(self.folder, self.precision, [Pulse(self.report, self.history.epochs), collector])
        trainer.predict(self.method, datamodule=self.data, return_predictions=False)
        self.report(Progress(RECORDING, self.history.epochs, self.history.epochs))
        collector.write(self.folder, self.cell)
        return trainer

    def _predict_validation(self) -> Trainer:
        """Predict the cases that validate: tuning looks at them, and conformal regions are fitted on them."""
        collector = Collector(self.data, {VALIDATION_SET: self.data.split.val})
        trainer = make_trainer(self.folder, self.precision, [Pulse(self.report, self.history.epochs), collector])
        loader = self.data.case_dataloader(self.data.split.val)
        trainer.predict(self.method, dataloaders=loader, return_predictions=False)
        self.report(Progress(RECORDING, self.history.epochs, self.history.epochs))
        more = {CALIBRATING: json.dumps(self.calibrating)} if self.budget.calibrate else {}
        collector.write(self.folder, self.cell, VALIDATION, **more)
        return trainer

    def _describe(self, name: str) -> None:
        """Let the checkpoint say what it is, so that it can be used alone."""
        path, record = self.checkpoints / name, replace(self.record, precision=self.precision, folder=self.folder)
        facts = ModelFacts.of(record, type(self.data), self.method.version, self.method.input_spec)
        write_model(path, path, facts.without_names() if self.data.private else facts)

    def _facts(self) -> dict[str, Any]:
        spec, protocol = self.method.input_spec, self.data.protocol
        tests = {} if self.cell.tunes else self.data.split.tests
        return {
            "precision": self.precision,
            "parameters": self.method.parameter_counts(),
            "input_size": tuple(spec.size),
            "test_sets": {name: len(cases) for name, cases in tests.items()},
            "badges": (
                *protocol.caveats,
                *((PHANTOM,) if self.data.is_phantom else ()),
                *((ORACLE_CROP,) if spec.is_oracle else ()),
            ),
            "weights": initial_weights(self.cell, self.method),
        }

    def _measure(self, trainer: Trainer) -> dict[str, Any]:
        """Measure one image on the device that trained, which Lightning has left by now."""
        memory = measure.peak_memory_mb()
        device = trainer.strategy.root_device
        self.method.to(device)
        cases = [*self.data.split.val, *(case for cases in self.data.split.tests.values() for case in cases)]
        batch = move_data_to_device(collate([self.data.sample(cases[0])]), device)
        precision = trainer.precision_plugin.predict_step_context
        return {
            "peak_memory_mb": round(memory, 1),
            "flops": measure.count_flops(self.method, batch),
            "latency_ms": round(measure.latency_ms(self.method, batch, precision), 3),
        }


def train_as(rank: Rank, record: RunRecord, context: Context, folder: Path) -> None:
    """Train a cell as one of the processes that rank 0 starts for it; nothing is written.

    Args:
        rank: Of this process.
        record: What rank 0 knew before the run.
        context: Where the data is.
        folder: The run's folder.
    """
    cell = record.cell
    seed_everything(cell.seed, workers=True, verbose=False)  # before anything is constructed, as for rank 0
    method_class = methods.discover(context.plugins)[cell.method]
    with quiet():
        run = Run(record, method_class, context.datamodule(cell), context, folder, lambda progress: None)
        run.prepare()
        run.train(rank)


def _sentence(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
