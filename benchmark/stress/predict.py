"""Predicts a trained run's test films once more, corrupted, and keeps the answers beside the run in `stress/`.

They are raw results like `predictions.parquet`, in pixels of the film as it is stored: where a corruption moves points,
the predictions are moved back. No file of the run itself is touched, and nothing here reaches the ordinary scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from lightning import seed_everything

import methods
from benchmark.cell import Context
from benchmark.lookup import choose
from benchmark.predictions import KEY, POINT, PREDICTIONS, read_cases, read_table
from benchmark.store import RunRecord
from benchmark.training.arithmetic import FLOAT32, lay_out
from benchmark.training.callbacks import Collector
from benchmark.training.model_file import check_version, read_model
from benchmark.training.trainer import make_trainer, quiet
from datamodules.base import LandmarkDataModule
from datamodules.components.images.corruptions import CORRUPTIONS, SEVERITIES, VERSION, corruption
from methods.base import Method

STRESS = "stress"
"""Folder of a run with one file per corruption and severity."""
CLEAN = "clean"
"""The name of what no corruption touched, at severity 0."""
TOLERANCE = 1.0
"""Pixels by which a checkpoint's answer to a clean film may differ from the stored one, in the median."""

Cases = Mapping[str, Sequence[str]]


class Part(NamedTuple):
    """A corruption at a severity."""

    name: str
    severity: int

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.name}-{self.severity}.parquet"

    @property
    def key(self) -> str:
        """A text that changes whenever its films do."""
        return f"{self.name} {self.level} {VERSION}"

    @property
    def level(self) -> str:
        """What the severity means."""
        return "as they are" if self.name == CLEAN else CORRUPTIONS[self.name].describe(self.severity)


@dataclass(frozen=True)
class Plan:
    """What to predict.

    Args:
        parts: Corruptions and severities.
        cases: So many of each test set; None means all.
    """

    parts: tuple[Part, ...]
    cases: int | None = None

    @classmethod
    def of(cls, corruptions: Sequence[str] = (), severities: Sequence[int] = (), cases: int | None = None) -> Plan:
        """Return the plan for the named corruptions and severities, empty for all, with the clean films first.

        Raises:
            ValueError: A name or number is not known.
        """
        names = [choose(name, CORRUPTIONS, "corruption") for name in corruptions] or list(CORRUPTIONS)
        if unknown := [severity for severity in severities if severity not in SEVERITIES]:
            raise ValueError(f"severities are 1 to {len(SEVERITIES)}, not {unknown[0]}.")
        if cases is not None and cases < 1:
            raise ValueError(f"--cases is {cases}; give at least 1.")
        parts = [Part(name, severity) for name in names for severity in sorted(severities or SEVERITIES)]
        return cls((Part(CLEAN, 0), *dict.fromkeys(parts)), cases)

    def choose(self, tests: Cases) -> dict[str, list[str]]:
        """Return each test set's cases: more of them only add to fewer, and all methods get the same."""
        return {name: sorted(sorted(cases, key=_shuffled)[: self.cases]) for name, cases in tests.items()}


class Outcome(NamedTuple):
    """What came of a run.

    Attributes:
        predicted: Number of parts that were predicted, in whole or for more cases.
        kept: Number of parts that were complete before.
        problems: One sentence each.
        failed: Whether one of them kept something from being predicted.
    """

    predicted: int
    kept: int
    problems: tuple[str, ...] = ()
    failed: bool = False


def stress_run(run: RunRecord, plan: Plan, context: Context) -> Outcome:
    """Predict what is missing of a plan; an error is reported, not raised.

    Args:
        run: A finished run with its checkpoint.
        plan: What to predict.
        context: Where the films are.
    """
    tests = _test_cases(run, plan)
    missing = {part: lacking for part in plan.parts if (lacking := _lacking(run, part, tests))}
    done = 0
    if not missing:
        return Outcome(done, len(plan.parts))
    problems: list[str] = []
    failed = False
    data: LandmarkDataModule | None = None
    try:
        with quiet():
            data = context.datamodule(run.cell)
            method = load_method(run, data, context)
            for part, sets in missing.items():
                _predict(run, method, data, part, sets)
                done += 1
    except Exception as error:  # whatever a plugin raises concerns this run alone
        failed = True
        problems.append(_sentence(error, data, private=context.dataset(run.cell).private))
    return Outcome(done, len(plan.parts) - len(missing), (*problems, *_differences(run)), failed)


def load_method(run: RunRecord, data: LandmarkDataModule, context: Context) -> Method:
    """Return a run's method with the weights that were chosen, and have `data` serve what it wants.

    Raises:
        ValueError: The films are not those of the run, or its checkpoint is not there or of another network.
    """
    if data.fingerprint != run.fingerprint:
        raise ValueError(f"{data.folder} does not hold the films, labels and split of this run; give its own data.")
    path = run.weights_file
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}; run the cell again with --force.")
    seed_everything(run.cell.seed, workers=True, verbose=False)
    state, facts = read_model(path)
    method_class = methods.discover(context.plugins)[run.cell.method]
    check_version(run.cell.method, facts, method_class, path)
    method = method_class(data.schema, **dict(run.cell.hparams))
    try:
        method.load_state_dict(state)
    except RuntimeError as error:  # its message lists every key
        text = f"{path} was saved by another version of {run.cell.method}; run the cell again with --force."
        raise ValueError(text) from error
    data.configure(method.input_spec, method.batch_size, run.cell.budget.workers)
    lay_out(method)
    return method


def stored_parts(run: RunRecord) -> Iterator[tuple[Part, Path]]:
    """Yield the parts that a run has, of its present checkpoint and today's corruptions."""
    for part in Plan.of().parts:
        path = run.folder / STRESS / part.file
        if path.is_file() and _is_current(path, run, part):
            yield part, path


def _shuffled(case: str) -> str:
    return hashlib.sha256(case.encode()).hexdigest()


def _test_cases(run: RunRecord, plan: Plan) -> dict[str, list[str]]:
    return plan.choose(read_cases(run.folder / PREDICTIONS))


def _lacking(run: RunRecord, part: Part, tests: Cases) -> dict[str, list[str]]:
    """Return the test sets' cases that a part's file does not have yet."""
    path = run.folder / STRESS / part.file
    there = read_cases(path) if path.is_file() and _is_current(path, run, part) else {}
    lacking = {name: [case for case in cases if case not in there.get(name, ())] for name, cases in tests.items()}
    return {name: cases for name, cases in lacking.items() if cases}


def _is_current(path: Path, run: RunRecord, part: Part) -> bool:
    """Tell whether a file comes from today's corruption and the run's present weights; removed ones cannot be new."""
    metadata = pq.read_schema(path).metadata
    weights = _digest(run.weights_file)
    same = metadata.get(b"corruption") == part.key.encode()
    return same and (not weights or metadata.get(b"checkpoint") == weights.encode())


def _digest(path: Path) -> str:
    """A hash of a checkpoint; empty where there is none."""
    if not path.is_file():
        return ""
    state = path.stat()
    return _digest_of(path, state.st_mtime_ns, state.st_size)


@cache
def _digest_of(path: Path, modified: int, size: int) -> str:
    """Large files are read once per process and change."""
    del modified, size
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _predict(run: RunRecord, method: Method, data: LandmarkDataModule, part: Part, sets: Cases) -> None:
    """Predict cases of a part and write them, with those that its file already has."""
    data.change = None if part.name == CLEAN else partial(corruption, name=part.name, severity=part.severity)
    collector = Collector(data, sets)
    trainer = make_trainer(run.folder, _precision(run), [collector])
    loaders = [data.case_dataloader(cases) for cases in sets.values()]
    trainer.predict(method, dataloaders=loaders, return_predictions=False)
    path = run.folder / STRESS / part.file
    if path.is_file() and _is_current(path, run, part):
        collector.frames.insert(0, read_table(path))
    collector.write(path.parent, run.cell, path.name, checkpoint=_digest(run.weights_file), corruption=part.key)


def _precision(run: RunRecord) -> str:
    return run.precision or FLOAT32  # the oldest records do not say it


def _differences(run: RunRecord) -> Iterator[str]:
    """Say so where the checkpoint does not answer clean films as it did when the run was tested."""
    path = run.folder / STRESS / Part(CLEAN, 0).file
    if not path.is_file():
        return
    files = (path, run.folder / PREDICTIONS)
    now, then = (read_table(file, (*KEY, *POINT)).set_index(list(KEY)) for file in files)
    moved = np.linalg.norm((now - then.loc[now.index]).to_numpy(), axis=1)
    if (median := float(np.nanmedian(moved))) > TOLERANCE:
        yield f"its checkpoint answers clean films otherwise than its predictions say: {median:.1f} px in the median."


def _sentence(error: Exception, data: LandmarkDataModule | None, *, private: bool) -> str:
    """Put an error into a sentence that may be shown."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if not private:
        return text
    return f"{type(error).__name__} in a private set." if data is None else data.redact(text)
