"""Scores what runs answered at other sites beside what they answered at home, by the same metrics, into `external.csv`.

Only the landmarks count that both datasets have, at home, too. The growth of the error is the score away divided by the
score at home; its 95 % interval comes from 1,000 bootstrap resamples of both sites' patients, drawn independently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.predictions import PREDICTIONS, read_entry
from benchmark.scoring.cases import CaseSet, pool, read_case_sets
from benchmark.scoring.resampling import ends, resampled_values, units_of
from benchmark.scoring.score import FIRST, Group, applicable, group_runs
from benchmark.store import CARDS, EXTERNAL, RunRecord, RunStore, write_atomically
from benchmark.trained.external import ABOUT, AWAY, FOLDER, LandmarkPair, Site
from datamodules import DatasetRegistry
from datamodules.base import LandmarkDataModule
from metrics.base import Anatomy, Cases, LandmarkMetric

COLUMNS = (
    *("home_dataset", "home_protocol", "home_content", "away_dataset", "away_protocol", "away_content", "away_title"),
    *("landmarks", "left_out", "readers", "badges", "variant", "method", "config", "budget", "seeds", "folds"),
    *("test_set", "cases", "column", "title", "unit", "higher_is_better", "value", "low", "high"),
    *("growth", "growth_low", "growth_high"),
)

Row = dict[str, Any]


class Draws(NamedTuple):
    """A column's value and its value in every resample."""

    value: float
    resampled: Float[np.ndarray, " resample"]


def score_external(store: Path | str) -> Path:
    """Score what `test_away` predicted, for all runs below `store`.

    Args:
        store: The run store's folder.

    Returns:
        The written `external.csv`: for each method and column a row per test set at home and one for the other site,
        whose test set is `away` and whose growth is that against each of the home test sets, in rows of their names.
    """
    root = Path(store)
    datasets = DatasetRegistry(descriptions=root / CARDS)
    rows = [row for group in group_runs(RunStore(root).runs()) for row in _group_rows(group, datasets)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    path = root / EXTERNAL
    write_atomically(path, lambda file: frame.to_csv(file, index=False, float_format="%.8g", lineterminator="\n"))
    return path


def read_site(path: Path) -> Site:
    """Return what a file of answers says of the site."""
    about = read_entry(path, ABOUT)
    lists = {name: tuple(about[name]) for name in ("radii", "badges", "left_out")}
    return Site(**{**about, **lists, "pairs": tuple(LandmarkPair(*pair) for pair in about["pairs"])})


def _group_rows(group: Group, datasets: DatasetRegistry) -> Iterator[Row]:
    seeds = group.comparable
    runs = [run for folds in seeds.values() for run in folds.values()]
    files = [{path.name for path in (run.folder / FOLDER).glob("*.parquet")} for run in runs]
    for name in sorted(set.intersection(*files)):
        yield from _site_rows(group, runs, name, datasets)


def _site_rows(group: Group, runs: Sequence[RunRecord], name: str, datasets: DatasetRegistry) -> Iterator[Row]:
    """Score one row of a leaderboard at home and at one other site."""
    cell, data = group.runs[0].cell, datasets.find(group.runs[0].cell.dataset)
    site, seeds = read_site(runs[0].folder / FOLDER / name), group.comparable
    names = tuple(pair.home for pair in site.pairs)
    unit: Literal["mm", "px"] = "mm" if site.unit == data.find_protocol(cell.protocol).unit == "mm" else "px"
    radii = site.radii if unit == site.unit else ()
    scoring = [m for key, m in applicable(Anatomy(names, {}, radii=radii, unit=unit)).items() if key in FIRST]
    away = [read_case_sets(run.folder / FOLDER / name, names)[AWAY] for run in runs]
    home = _home(seeds.values(), data, names)
    head = _identity(group, site)
    rows: list[Row] = []
    for metric in scoring:
        there = _draws(metric, away, units_of(data, [runs[0].folder / FOLDER / name], away[0].names))
        for test_set, cases in home.items():
            files = [run.folder / PREDICTIONS for run in runs]
            here = _draws(metric, cases, units_of(data, files, cases[0].names))
            for column, row in _described(metric):
                values = _row(here[column]) | _growth(there[column], here[column], comparable=row["unit"] != "px")
                rows.append(head | {"test_set": test_set, "cases": len({*cases[0].names})} | row | values)
        for column, row in _described(metric):
            rows.append(head | {"test_set": AWAY, "cases": len(away[0].names)} | row | _row(there[column]))
    yield from sorted(rows, key=lambda row: row["unit"] in {"px", "mm"} - {unit})  # the shared unit goes first


def _home(
    folds: Iterable[Mapping[str, RunRecord]], data: type[LandmarkDataModule], names: Sequence[str]
) -> dict[str, list[CaseSet]]:
    """Return each home test set's cases for every seed, their shared landmarks only."""
    pooled: dict[str, list[CaseSet]] = {}
    columns = list(data.schema.index(names))
    for runs in folds:
        tables = [read_case_sets(run.folder / PREDICTIONS, data.schema.names) for run in runs.values()]
        for test_set in sorted({name for table in tables for name in table}):
            cases = pool(table[test_set] for table in tables if test_set in table)
            pooled.setdefault(test_set, []).append(cases._replace(cases=_some(cases.cases, columns)))
    return pooled


def _some(cases: Cases, columns: list[int]) -> Cases:
    """Return cases with some of their landmarks."""
    of_films = ("spacing", "size")
    return Cases(*(v if name in of_films else v[:, columns] for name, v in cases._asdict().items()))


def _draws(metric: LandmarkMetric, seeds: Sequence[CaseSet], units: Sequence[str]) -> dict[str, Draws]:
    terms: Tensor = torch.stack([metric.terms(cases.cases) for cases in seeds])
    values = metric.reduce(terms)
    resampled = resampled_values(metric, terms, units)
    return {
        column: Draws(values[column].double().mean().item(), resampled[place])
        for place, column in enumerate(metric.columns())
    }


def _described(metric: LandmarkMetric) -> Iterator[tuple[str, Row]]:
    for column, description in metric.columns().items():
        yield column, {"column": column, **description._asdict()}


def _row(draws: Draws) -> Row:
    low, high = ends(draws.resampled).tolist()
    return {"value": draws.value, "low": low, "high": high}


def _growth(away: Draws, home: Draws, *, comparable: bool) -> Row:
    """Return how many times larger a score is away; pixels of different sites cannot be compared."""
    if not comparable or not home.value:
        return {"growth": float("nan"), "growth_low": float("nan"), "growth_high": float("nan")}
    # The draws of both sites begin with the same random numbers; turned round, they are not paired.
    low, high = ends(away.resampled / home.resampled[::-1]).tolist()
    return {"growth": away.value / home.value, "growth_low": low, "growth_high": high}


def _identity(group: Group, site: Site) -> Row:
    """The columns that all rows of a method at a site share."""
    run, seeds = group.runs[0], group.comparable
    cell, folds = run.cell, next(iter(seeds.values()))
    return {
        **{f"home_{name}": value for name, value in _place(cell.dataset, cell.protocol, run.content).items()},
        **{f"away_{name}": value for name, value in _place(site.dataset, site.protocol, site.content).items()},
        **{key: getattr(cell, key) for key in ("variant", "method", "config")},
        "away_title": site.title,
        "landmarks": len(site.pairs),
        "left_out": ", ".join(site.left_out),
        "readers": "; ".join(f"{two}: {distance:.4g} {site.unit}" for two, distance in site.readers.items()),
        "badges": "; ".join(dict.fromkeys((*run.badges, *site.badges))),
        "budget": cell.budget.label,
        "seeds": " ".join(map(str, seeds)),
        "folds": " ".join(folds),
    }


def _place(dataset: str, protocol: str, content: str) -> dict[str, str]:
    return {"dataset": dataset, "protocol": protocol, "content": content}
