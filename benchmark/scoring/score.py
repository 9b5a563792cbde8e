"""Scores from stored predictions: per case beside each run, and pooled with intervals for the leaderboards.

One evaluator for all methods, in original pixels. A group is what one leaderboard row shows: the runs of one variant
with one configuration (hyper-parameters and budget) under one protocol on the same films. Within a group

* the cases of all folds are pooled, then a metric is reduced once: a fold is no unit of its own. Where folds test the
  same cases, each fold's answer to a case counts, and a case is drawn with all of its answers;
* several seeds are averaged: the value is the mean of the seeds' values, `sd_seeds` their sample standard deviation;
* `low` and `high` are the 95 % percentile bootstrap interval: patients, where it is known whose films they are, else
  cases are drawn with replacement, the same draw for every seed, metric and column, and the seeds' values averaged
  within each draw, see `benchmark.scoring.resampling`;
* seeds that lack a fold the others have are left out: the largest set of folds that any seed has counts, with every
  seed that has all of it. `folds_done` of `folds_expected` tells an incomplete group;
* named test sets are scored one by one and never averaged;
* every score is also given on the test cases that no known leak touches, see `benchmark.scoring.leak_free`.

Validation films are scored in the same way, into files of their own, to choose settings without a look at a test film.
A film that validates in several folds has a prediction of each; the bootstrap then draws it with all of them.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from joblib import Parallel, cpu_count, delayed, parallel_config
from torch import Tensor

import metrics
from benchmark import predictions
from benchmark.cell import Cell, On
from benchmark.predictions import PREDICTIONS, SCORED, VALIDATION, VALIDATION_SET, ScoredFilms
from benchmark.scoring import leak_free
from benchmark.scoring.cases import CaseSet, pool, read_case_sets
from benchmark.scoring.facts import write_facts
from benchmark.scoring.resampling import interval, patients_of, units_of
from benchmark.store import CARDS, RunRecord, RunStore, write_atomically
from datamodules import DatasetRegistry
from datamodules.base import LandmarkDataModule
from metrics.base import Anatomy, Cases, LandmarkMetric

FIRST = ("radial_error", "sdr")
"""The metrics that open a leaderboard; the first column of the first ranks it. The others follow by name, last those
that not every run has."""
COLUMNS = (
    *("dataset", "protocol", "content", "test_set", "variant", "method", "config", "budget", "seeds", "folds"),
    *("folds_done", "folds_expected", "cases", "metric", "column", "title", "unit", "higher_is_better"),
    *("value", "low", "high", "sd_seeds", *leak_free.COLUMNS, "reason"),
)

GROUPS_PER_WORKER = 8
"""A process that scores takes some seconds to start, in which a few rows are scored."""
COUNTS = ("folds_done", "folds_expected", "cases", "cases_leak_free")

logger = logging.getLogger(__name__)

Row = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """The finished runs of one leaderboard row.

    Args:
        runs: All of one dataset, protocol, content, variant and configuration.
        films: Those that are scored.
    """

    runs: tuple[RunRecord, ...]
    films: ScoredFilms = SCORED["test"]

    @property
    def comparable(self) -> dict[int, dict[str, RunRecord]]:
        """Seed -> fold -> run, for the largest set of folds that a seed has and the seeds that have all of it."""
        seeds: dict[int, dict[str, RunRecord]] = {}
        for run in sorted(self.runs, key=lambda run: run.finished):
            seeds.setdefault(run.cell.seed, {})[run.cell.split] = run
        most = max((seeds[seed] for seed in sorted(seeds)), key=len)
        complete = {seed: folds for seed, folds in sorted(seeds.items()) if folds.keys() >= most.keys()}
        return {seed: {fold: folds[fold] for fold in sorted(most)} for seed, folds in complete.items()}


def score(store: Path | str, plugins: Sequence[Path | str] = (), on: On = "test") -> Path:
    """Score every finished run below `store`; what has not changed since the last time is taken from there.

    A group that cannot be scored gets one row that says why, and the others go on.

    Args:
        store: The run store's folder.
        plugins: Files with methods from outside the repository, whose papers the leaderboards then name.
        on: The films that are scored.

    Returns:
        The written `scores.csv`, or its like for validation films; `facts.json`, what leaderboards say about datasets
        and methods, lies beside it.

    Raises:
        FileNotFoundError: There is no run below `store`, or none with predictions of such films.
        ValueError: A `run.json` is damaged.
    """
    root = Path(store)
    datasets, runs = DatasetRegistry(descriptions=root / CARDS), RunStore(root).runs()
    if not runs:
        raise FileNotFoundError(f"{root} holds no run; `osteomark run --store {root}` makes some.")
    films = SCORED[on]
    found = group_runs(runs, films)
    if not found and all(run.status == "done" for run in runs):
        raise FileNotFoundError(f"{root} holds no run with {_lacking(films)}.")
    cache = root / f".{Path(films.table).stem}.json"
    known, keys = _read_cache(cache), {_content_key(group, datasets): group for group in found}
    scored = _score_groups(root, {key: group for key, group in keys.items() if key not in known})
    groups = {key: scored[key] if key in scored else known[key] for key in keys}
    rows = [row for group in groups.values() for row in group]
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(COUNTS, "Int64"))
    path = root / films.table
    write_atomically(path, lambda file: frame.to_csv(file, index=False, float_format="%.8g", lineterminator="\n"))
    write_atomically(cache, lambda file: file.write_text(json.dumps(groups)))
    write_facts(root, runs, datasets, plugins)
    return path


def score_run(folder: Path | str, datasets: DatasetRegistry, on: On = "test") -> dict[str, float]:
    """Score one run from its stored predictions, without intervals.

    Args:
        folder: The run's folder in the store, which names dataset and protocol, with its predictions.
        datasets: Every dataset by name.
        on: The films that are scored.

    Returns:
        `test_set/column` to value, as W&B's summary shows them.

    Raises:
        ValueError: The predictions are not complete, or their dataset is unknown.
    """
    path = Path(folder).absolute() / SCORED[on].predictions
    _, _, _, protocol, dataset = (parent.name for parent in path.parents[:5])
    anatomy = anatomy_of(datasets.find(dataset), protocol)
    values = {}
    for test_set, (_, cases) in read_case_sets(path, anatomy.names).items():
        for metric in _scorable(applicable(anatomy), cases).values():
            for column, value in metric.reduce(metric.terms(cases)).items():
                values[f"{test_set}/{column}"] = value.item()
    return values


def group_runs(runs: Iterable[RunRecord], films: ScoredFilms = SCORED["test"]) -> list[Group]:
    """Sort the finished runs that have predictions of some films into leaderboard rows, in a fixed order."""
    groups: dict[tuple[str, ...], list[RunRecord]] = {}
    for run in runs:
        if films.has(run):
            cell = run.cell
            key = (cell.dataset, cell.protocol, run.content, cell.variant, cell.config)
            groups.setdefault(key, []).append(run)
    return [Group(tuple(groups[key]), films) for key in sorted(groups)]


def anatomy_of(data: type[LandmarkDataModule], protocol: str) -> Anatomy:
    """Return what the metrics have to know of a dataset under a protocol.

    Raises:
        ValueError: The protocol is unknown.
    """
    schema = data.schema
    unit = data.find_protocol(protocol).unit
    return Anatomy(schema.names, schema.group_index, schema.normalizer_index, tuple(data.radii), unit)


def applicable(anatomy: Anatomy) -> dict[str, LandmarkMetric]:
    """Return the metrics that a dataset can have, in the order of display."""
    found = metrics.discover()

    def place(name: str) -> tuple[bool, bool, int, str]:
        needs = found[name].requires
        return "validation" in needs, "covariance" in needs, FIRST.index(name) if name in FIRST else len(FIRST), name

    order = sorted(found, key=place)
    return {name: found[name](anatomy) for name in order if not found[name].unsupported(anatomy)}


def _lacking(films: ScoredFilms) -> str:
    """Say what no run has and what to do."""
    if films.on == "test":
        return "predictions of test films, since all of them tune; `osteomark leaderboard --on validation` ranks them"
    return "predictions of validation films; no split of it has such films"


def _score_groups(root: Path, groups: Mapping[str, Group]) -> dict[str, list[Row]]:
    """Score groups on all cores that this process may use, a few of them without other processes."""
    workers = min(cpu_count(), len(groups) // GROUPS_PER_WORKER) or 1
    with parallel_config(backend="loky", inner_max_num_threads=1) if workers > 1 else nullcontext():
        results = Parallel(n_jobs=workers)(delayed(_rows_or_reason)(group, root) for group in groups.values())
    for group, (_, error) in zip(groups.values(), results, strict=True):
        if error:
            logger.warning("%s could not be scored: %s", group.runs[0].folder, error)
    return {key: rows for key, (rows, _) in zip(groups, results, strict=True)}


def _rows_or_reason(group: Group, root: Path) -> tuple[list[Row], str]:
    """Return a group's rows, and why there are no scores in them if that is so."""
    datasets = DatasetRegistry(descriptions=root / CARDS)
    try:
        return _rows(group, datasets), ""
    except (ValueError, KeyError, OSError) as error:
        reason = {"reason": str(error)}
        return [_identity(group, datasets) | {"test_set": name} | reason for name in _test_sets(group)], str(error)


def _test_sets(group: Group) -> Iterable[str]:
    return (VALIDATION_SET,) if group.films.on == "validation" else group.runs[0].test_sets or ("",)


def _rows(group: Group, datasets: DatasetRegistry) -> list[Row]:
    cell = group.runs[0].cell
    data = datasets.find(cell.dataset)
    anatomy = anatomy_of(data, cell.protocol)
    found = applicable(anatomy)
    pooled: dict[str, list[CaseSet]] = {}
    for folds in group.comparable.values():
        tables = [read_case_sets(run.folder / group.films.predictions, anatomy.names) for run in folds.values()]
        for run, table in zip(folds.values(), tables, strict=True):
            _write_case_scores(run, group.films, data, table, found)
        for name in sorted({name for table in tables for name in table}):
            pooled.setdefault(name, []).append(pool(table[name] for table in tables if name in table))
    rows = [
        row for name, seeds in pooled.items() for row in _test_set_rows(group, data, found, seeds, {"test_set": name})
    ]
    missing = {name: metric.unsupported(anatomy) for name, metric in metrics.discover().items() if name not in found}
    rows += [{"test_set": t, "metric": m, "reason": reason} for t in pooled for m, reason in missing.items()]
    identity = _identity(group, datasets)
    return [identity | row for row in rows]


def _test_set_rows(
    group: Group,
    data: type[LandmarkDataModule],
    found: Mapping[str, LandmarkMetric],
    seeds: Sequence[CaseSet],
    common: Row,
) -> list[Row]:
    """Score one test set of all seeds; the seeds' cases must be the same."""
    if len({test_set.names for test_set in seeds}) > 1:
        raise ValueError(f"the seeds were tested on different cases of {common['test_set']}; run them again.")
    names, tests = seeds[0].names, group.films.on == "test"
    kept = (leak_free.leak_free_cases(data, group.runs[0].cell.protocol, names) if tests else None) or ()
    units = units_of(data, [run.folder / group.films.predictions for run in group.runs], names)
    count, count_kept = len({*names}), len({names[place] for place in kept})
    rows = []
    for name, metric in _scorable(found, *(test_set.cases for test_set in seeds)).items():
        terms = torch.stack([metric.terms(test_set.cases) for test_set in seeds])
        values = _values(metric, terms, units)
        clean = _leak_free(metric, terms, units, kept, values)
        for column, description in metric.columns().items():
            described = {"metric": name, "column": column, "cases": count, **description._asdict()}
            kept_scores = leak_free.described(clean[column], count_kept) if clean else {}
            rows.append(common | described | values[column] | kept_scores)
    unit = next(iter(found.values())).anatomy.unit
    return sorted(rows, key=lambda row: row["unit"] in {"px", "mm"} - {unit})  # the protocol's unit goes first


def _scorable(found: Mapping[str, LandmarkMetric], *cases: Cases) -> dict[str, LandmarkMetric]:
    """Leave out the metrics for which a run lacks something: a covariance, or predictions of its validation cases."""
    return {name: metric for name, metric in found.items() if not any(map(metric.lacks, cases))}


def _values(metric: LandmarkMetric, terms: Float[Tensor, "seed case term"], units: Sequence[str]) -> dict[str, Row]:
    """Each column's value over the given cases, with its interval."""
    limits, reduced = interval(metric, terms, units), metric.reduce(terms)
    return {column: _value(reduced[column].double(), limits[column]) for column in limits}


def _leak_free(
    metric: LandmarkMetric,
    terms: Float[Tensor, "seed case term"],
    units: Sequence[str],
    kept: Sequence[int],
    values: dict[str, Row],
) -> dict[str, Row]:
    """Each column's value over the cases without a leak; nothing where they are not known or there is none."""
    if 0 < len(kept) < terms.shape[1]:
        return _values(metric, terms[:, list(kept)], [units[case] for case in kept])
    return values if kept else {}


def _value(seeds: Float[Tensor, " seed"], limits: tuple[float, float]) -> Row:
    """The mean over seeds, its interval, and the spread where there are several."""
    return {
        "value": seeds.mean().item(),
        "low": limits[0],
        "high": limits[1],
        "sd_seeds": seeds.std().item() if len(seeds) > 1 else float("nan"),
        "reason": "" if seeds.isfinite().all() else "no case has what this metric needs",
    }


def _identity(group: Group, datasets: DatasetRegistry) -> Row:
    """The columns that all rows of a group share."""
    run, seeds = group.runs[0], group.comparable
    cell, folds = run.cell, next(iter(seeds.values()))
    return {
        **{key: getattr(cell, key) for key in ("dataset", "protocol", "variant", "method", "config")},
        "content": run.content,
        "budget": cell.budget.label,
        "seeds": " ".join(map(str, seeds)),
        "folds": " ".join(folds),
        "folds_done": len(folds),
        "folds_expected": len(_expected_folds(cell, datasets)) or None,
    }


def _expected_folds(cell: Cell, datasets: DatasetRegistry) -> tuple[str, ...]:
    """The protocol's splits; none where the dataset or the protocol is unknown here."""
    try:
        return datasets.find(cell.dataset).find_protocol(cell.protocol).splits
    except ValueError:
        return ()


def _write_case_scores(
    run: RunRecord,
    films: ScoredFilms,
    data: type[LandmarkDataModule],
    test_sets: Mapping[str, CaseSet],
    found: Mapping[str, LandmarkMetric],
) -> None:
    """Write each column's value on every single case, and its patient where known, beside the predictions."""
    parts = []
    for test_set, (names, cases) in test_sets.items():
        patients = patients_of(data, [run.folder / films.predictions], names) or [None] * len(names)
        reduced = [metric.reduce(metric.terms(cases)[:, None]) for metric in _scorable(found, cases).values()]
        values = {column: value.double().numpy() for columns in reduced for column, value in columns.items()}
        part = {
            "test_set": test_set,
            "case": np.tile(np.array(names, dtype=object), len(values)),
            "column": np.repeat(np.array(list(values), dtype=object), len(names)),
            "value": np.concatenate(list(values.values())),
            "patient": np.tile(np.array(patients, dtype=object), len(values)),
        }
        parts.append(pd.DataFrame(part))
    frame = pd.concat(parts, ignore_index=True)
    frame = frame.astype({"patient": "str"})
    write_atomically(run.folder / films.scores, lambda path: frame.to_parquet(path, index=False))


def _content_key(group: Group, datasets: DatasetRegistry) -> str:
    """Hash what a group's scores depend on: its runs' files, the code that scores and the dataset's facts."""
    digest = hashlib.sha256(f"{_sources()}{group.films}{group.runs[0].cell.budget.label}".encode())
    for run in group.runs:
        files = [file for name in (PREDICTIONS, VALIDATION) if (file := run.folder / name).is_file()]
        stamps = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        digest.update(f"{replace(run, folder=Path())}{stamps}".encode())
    cell = group.runs[0].cell
    if expected := _expected_folds(cell, datasets):
        data = datasets[cell.dataset]
        leaks = f"{data.find_protocol(cell.protocol).leaks}{data.repeats}{data.patient_rule}"
        digest.update(f"{anatomy_of(data, cell.protocol)}{expected}{leaks}".encode())
    return digest.hexdigest()[:16]


@cache
def _sources() -> str:
    folders = (Path(__file__).parent, Path(metrics.__file__).parent)
    files = [Path(predictions.__file__), *(file for folder in folders for file in sorted(folder.rglob("*.py")))]
    return "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


def _read_cache(path: Path) -> dict[str, list[Row]]:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}  # nothing was scored yet, or the file was cut off: score everything
