"""Scores stored predictions of corrupted films, by the same metrics as everything else, into `stress.csv`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from benchmark.predictions import PREDICTIONS, read_cases
from benchmark.scoring.cases import CaseSet, pool, read_case_sets
from benchmark.scoring.resampling import interval, units_of
from benchmark.scoring.score import FIRST, Group, anatomy_of, applicable, group_runs
from benchmark.store import CARDS, STRESS, RunStore, write_atomically
from benchmark.stress.predict import Part, Plan, stored_parts
from datamodules import DatasetRegistry
from datamodules.base import LandmarkDataModule
from metrics.base import Cases, LandmarkMetric

COLUMNS = (
    *("dataset", "protocol", "content", "test_set", "variant", "config", "corruption", "severity", "column"),
    *("value", "low", "high", "cases", "level", "title", "unit", "higher_is_better", "method", "budget", "seeds"),
    "badges",
)

Row = dict[str, Any]
CaseNames = dict[str, set[str]]


class Stressed(NamedTuple):
    """The runs of one leaderboard row, with what all of them have.

    Attributes:
        group: The runs.
        files: Part to the files of each seed's folds.
        cases: Test set to the cases that every file of a fold has, whatever the part and seed.
    """

    group: Group
    files: Mapping[Part, Sequence[Sequence[Path]]]
    cases: CaseNames


def score_stress(store: Path | str) -> Path:
    """Score what `stress_run` predicted, for all runs below `store`.

    Scores of one test set are over the cases that every method and corruption has, so that they can be compared; the
    intervals are those of the ordinary scores.

    Args:
        store: The run store's folder.

    Returns:
        The written `stress.csv`: one row per method, corruption, severity and column. The clean films are the
        corruption `clean` of severity 0, of the same cases.
    """
    root = Path(store)
    datasets = DatasetRegistry(descriptions=root / CARDS)
    boards: dict[tuple[str, str, str], list[Stressed]] = {}
    for group in group_runs(RunStore(root).runs()):
        run = group.runs[0]
        if (found := _stressed(group)) is not None:
            boards.setdefault((run.cell.dataset, run.cell.protocol, run.content), []).append(found)
    rows = [row for _, board in sorted(boards.items()) for row in _board_rows(board, datasets)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    path = root / STRESS
    write_atomically(path, lambda file: frame.to_csv(file, index=False, float_format="%.8g", lineterminator="\n"))
    return path


def _stressed(group: Group) -> Stressed | None:
    """Find the parts that all seeds and folds of a group have; None where there is none."""
    seeds = [list(folds.values()) for folds in group.comparable.values()]
    stored = [[dict(stored_parts(run)) for run in runs] for runs in seeds]
    shared = set.intersection(*(set(files) for runs in stored for files in runs))
    parts = {part: [[files[part] for files in runs] for runs in stored] for part in Plan.of().parts if part in shared}
    if not parts:
        return None
    named = [_union(_intersection(map(_names, files.values())) for files in runs) for runs in stored]
    return Stressed(group, parts, _intersection(named))


def _names(path: Path) -> CaseNames:
    return {name: set(cases) for name, cases in read_cases(path).items()}


def _intersection(parts: Iterable[CaseNames]) -> CaseNames:
    first, *others = parts
    return {name: cases.intersection(*(other.get(name, set()) for other in others)) for name, cases in first.items()}


def _union(parts: Iterable[CaseNames]) -> CaseNames:
    joined: CaseNames = {}
    for part in parts:
        for name, cases in part.items():
            joined.setdefault(name, set()).update(cases)
    return joined


def _board_rows(board: Sequence[Stressed], datasets: DatasetRegistry) -> list[Row]:
    """Score one dataset, protocol and content on the cases that all of its methods have."""
    common = _intersection(stressed.cases for stressed in board)
    cell = board[0].group.runs[0].cell
    data = datasets.find(cell.dataset)
    anatomy = anatomy_of(data, cell.protocol)
    scoring = {name: metric for name, metric in applicable(anatomy).items() if name in FIRST}
    rows = []
    for stressed in board:
        for part, seeds in stressed.files.items():
            tables = [[read_case_sets(path, anatomy.names) for path in folds] for folds in seeds]
            for test_set in sorted(name for name, cases in common.items() if cases):
                pooled = [_pooled(folds, test_set, common[test_set]) for folds in tables]
                head = _identity(stressed.group) | {"test_set": test_set, "corruption": part.name}
                head |= {"severity": part.severity, "level": part.level, "cases": len(common[test_set])}
                units = _units(stressed.group, data, pooled[0].names)
                rows += [head | row for row in _scores(scoring, pooled, units, anatomy.unit)]
    return rows


def _pooled(folds: Sequence[Mapping[str, CaseSet]], test_set: str, cases: set[str]) -> CaseSet:
    """Put the folds' cases together and keep those that are wanted."""
    names, stacked = pool(fold[test_set] for fold in folds if test_set in fold)
    kept = [index for index, name in enumerate(names) if name in cases]
    return CaseSet(tuple(names[index] for index in kept), Cases(*(tensor[kept] for tensor in stacked)))


def _units(group: Group, data: type[LandmarkDataModule], cases: Sequence[str]) -> tuple[str, ...]:
    files = [run.folder / PREDICTIONS for folds in group.comparable.values() for run in folds.values()]
    return units_of(data, files, cases)


def _scores(
    scoring: Mapping[str, LandmarkMetric], seeds: Sequence[CaseSet], units: Sequence[str], unit: str
) -> list[Row]:
    """Score one part of one test set."""
    rows = []
    for metric in scoring.values():
        terms = torch.stack([metric.terms(seed.cases) for seed in seeds])
        reduced, limits = metric.reduce(terms), interval(metric, terms, units)
        for column, description in metric.columns().items():
            low, high = limits[column]
            value = reduced[column].double().mean().item()
            rows.append({"column": column, "value": value, "low": low, "high": high, **description._asdict()})
    return sorted(rows, key=lambda row: row["unit"] in {"px", "mm"} - {unit})  # the protocol's unit goes first


def _identity(group: Group) -> Row:
    run = group.runs[0]
    return {
        **{key: getattr(run.cell, key) for key in ("dataset", "protocol", "variant", "method", "config")},
        "content": run.content,
        "budget": run.cell.budget.label,
        "seeds": " ".join(map(str, group.comparable)),
        "badges": "; ".join(run.badges),
    }
