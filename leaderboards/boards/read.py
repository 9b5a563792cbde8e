"""Reads a scored run store into boards: `scores.csv`, `facts.json`, every `run.json` and its `scores.parquet`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from benchmark.cell import Cell, On
from benchmark.predictions import SCORED, ScoredFilms
from benchmark.store import FACTS, RunRecord, RunStore
from datamodules.components.badges import PHANTOM, PRIVATE
from leaderboards.boards.badges import budget_text, gap_notes, memory_badges, reader_note, run_badges
from leaderboards.boards.board import (
    BETTER,
    Board,
    Row,
    RowCost,
    Score,
    ScoreColumn,
    Status,
    known_facts,
    mark_against_floor,
    rank_rows,
)
from leaderboards.boards.case_scores import CaseScores
from leaderboards.boards.reported import PARAMETERS, Reported, load_reported, own_numbers

VALIDATION_CAVEAT = "validation films, on which checkpoints and settings are chosen"
NUMBERS = (
    *("folds_done", "folds_expected", "cases", "value", "low", "high", "sd_seeds"),
    *("cases_leak_free", "value_leak_free", "low_leak_free", "high_leak_free"),
)


def read_boards(store: Path | str, reported: Sequence[Reported] | None = None, on: On = "test") -> list[Board]:
    """Assemble every leaderboard of a scored run store, in a fixed order.

    Args:
        store: The run store's folder.
        reported: The papers' numbers, which are of test films; those of `reported.yaml` by default.
        on: The films on which runs are ranked. Runs that tune are on no board of test films.

    Returns:
        One board per dataset, protocol, films and test set. Where no run was scored there is one without columns,
        which shows why.

    Raises:
        FileNotFoundError: The store was not scored yet.
        ValueError: A `run.json` is damaged.
    """
    root, films = Path(store), SCORED[on]
    printed = load_reported() if reported is None else reported
    for name in (films.table, FACTS):
        if not (root / name).is_file():
            command = f"osteomark score --store {root}" + ("" if on == "test" else f" --on {on}")
            raise FileNotFoundError(f"{root / name} is not there; run `{command}` first.")
    facts = json.loads((root / FACTS).read_text(encoding="utf-8"))
    reader = _BoardAssembler(facts, printed if on == "test" else (), films, CaseScores(films.scores))
    runs = [run for run in RunStore(root).runs() if films.has(run) or (run.status != "done" and _wants(run, on))]
    scores = read_table(root / films.table, NUMBERS)
    pages: dict[tuple[str, str, str], list[RunRecord]] = {}
    for run in sorted(runs, key=_run_order):
        pages.setdefault((run.cell.dataset, run.cell.protocol, run.content), []).append(run)
    return [board for page, group in sorted(pages.items()) for board in reader.page(page, group, scores)]


@dataclass(frozen=True)
class _BoardAssembler:
    """What is the same for all boards.

    Args:
        facts: The content of `facts.json`.
        reported: The papers' numbers.
        films: The films on which runs are ranked.
        case_scores: What the rows did on single films.
    """

    facts: Mapping[str, Any]
    reported: Sequence[Reported]
    films: ScoredFilms
    case_scores: CaseScores

    def page(self, key: tuple[str, str, str], runs: Sequence[RunRecord], scores: pd.DataFrame) -> list[Board]:
        """The boards of one dataset, protocol and content."""
        dataset, protocol, content = key
        here = scores[(scores[["dataset", "protocol", "content"]] == list(key)).all(axis=1)]
        known = self.facts["datasets"].get(dataset, {})
        facts = protocol_facts(known, protocol)
        test_sets = sorted(set(here["test_set"]) - {""}) or [""]
        rule = known.get("patient_rule", "")
        badges = {badge for run in runs for badge in (*run.badges, *facts.get("caveats", ()))}
        if self.films.on == "validation":
            facts = {**facts, "leaks": "", "caveats": (VALIDATION_CAVEAT,)}
        common = Board(
            *(dataset, protocol, content, ""),
            title=known.get("title", dataset),
            facts=facts,
            patient_rule=rule,
            phantom=PHANTOM in badges,
            private=PRIVATE in badges,
            on=self.films.on,
        )
        boards = [replace(common, test_set=name) for name in test_sets]
        return [self._filled(board, runs, here[here["test_set"].isin([board.test_set, ""])]) for board in boards]

    def _filled(self, board: Board, runs: Sequence[RunRecord], scores: pd.DataFrame) -> Board:
        columns = _columns(scores)
        groups: dict[tuple[str, str], list[RunRecord]] = {}
        for run in runs:
            groups.setdefault((run.cell.variant, run.cell.config), []).append(run)
        groups = _without_repeats(groups)
        labels = _labels(groups)
        of_row = {key: part for key, part in scores.groupby(["variant", "config"])}
        rows = [self._row(board, runs, labels[key], of_row.get(key)) for key, runs in groups.items()]
        ranked = mark_against_floor(rank_rows(rows, columns), columns)
        board = replace(board, columns=columns, rows=tuple(ranked), absent=_absent(scores))
        board = replace(board, facts=known_facts(board))
        board = replace(board, comparison=self.case_scores.compare(board))
        return replace(board, rows=(*ranked, *reported_rows(board, self.reported)))

    def _row(self, board: Board, runs: Sequence[RunRecord], label: str, scores: pd.DataFrame | None) -> Row:
        first = next((run for run in runs if run.status == "done"), runs[0])
        variant = first.cell.variant
        method = self.facts["methods"].get(variant, {})
        paper = method.get("paper", {})
        key = (board.dataset, board.protocol, board.test_set)
        printed = {} if board.phantom else own_numbers(self.reported, variant, key)
        cost = RowCost.of_runs(runs)
        row = Row(
            _status(runs),
            variant,
            label,
            budget_text(first.cell.budget.label, cost),
            reported=printed,
            method="" if first.human else first.cell.method,
            config=first.cell.config,
            cost=cost,
            runs=tuple(runs),
            paper=" ".join(str(part) for part in (paper.get("authors"), paper.get("year")) if part),
            url=paper.get("url", ""),
            badges=(
                *run_badges(first, paper, self._caveats(board), self._beside(variant, key, printed)),
                *memory_badges(runs),
            ),
            notes=_trouble(runs) if not first.human else _about_reader(first.cell, board),
            parameters=first.parameters.get("trainable"),
            settings=_settings(first.cell, method.get("changed", {})),
        )
        return row if scores is None else _scored(row, scores)

    def _caveats(self, board: Board) -> Sequence[str]:
        """The protocol's caveats, which no row repeats; they are of test films."""
        protocols = self.facts["datasets"].get(board.dataset, {}).get("protocols", {})
        return tuple(protocols.get(board.protocol, {}).get("caveats", ()))

    def _beside(self, variant: str, key: tuple[str, str, str], printed: Mapping[str, float]) -> tuple[str, ...] | None:
        """The badges of the papers' rows beside which a variant stands; None where it stands alone."""
        rows = [row for row in self.reported if row.variant == variant and row[:3] == key]
        return tuple(dict.fromkeys(badge for row in rows for badge in row.badges)) if printed else None


def _wants(run: RunRecord, on: On) -> bool:
    """Tell whether a run that did not finish would stand on such boards."""
    return on == "validation" or not run.cell.tunes


def _run_order(run: RunRecord) -> tuple[Any, ...]:
    cell = run.cell
    return (cell.dataset, cell.protocol, cell.variant, cell.config, cell.seed, cell.split, run.fingerprint)


def read_table(path: Path, numbers: Sequence[str]) -> pd.DataFrame:
    """Read a CSV file with every text as text: a configuration may look like a number.

    Args:
        path: The file.
        numbers: The columns of numbers, in which an empty field is NaN.
    """
    header = pd.read_csv(path, nrows=0).columns
    text = [column for column in header if column not in numbers]
    blank = {column: [""] for column in numbers}
    return pd.read_csv(path, dtype=dict.fromkeys(text, "str"), keep_default_na=False, na_values=blank)


def _columns(scores: pd.DataFrame) -> tuple[ScoreColumn, ...]:
    described = scores.loc[scores["column"] != "", ["column", "title", "unit", "higher_is_better", "metric"]]
    rows = described.drop_duplicates("column").itertuples(index=False, name=None)
    return tuple(
        ScoreColumn(name, title, unit, BETTER.get(higher), metric) for name, title, unit, higher, metric in rows
    )


def _absent(scores: pd.DataFrame) -> dict[str, str]:
    rows = scores[(scores["column"] == "") & (scores["metric"] != "")]
    return dict(zip(rows["metric"], rows["reason"], strict=True))


def _without_repeats(groups: Mapping[tuple[str, str], list[RunRecord]]) -> dict[tuple[str, str], list[RunRecord]]:
    """Keep one row of those that differ in the budget alone and were trained by no epoch: they are one result."""
    kept: dict[Any, tuple[str, str]] = {}
    for key, runs in groups.items():
        trained = any(run.status != "done" or run.epochs or run.human for run in runs)
        result = key if trained else (key[0], repr(runs[0].cell.hparams))
        if result not in kept or len(runs) > len(groups[kept[result]]):
            kept[result] = key
    return {key: runs for key, runs in groups.items() if key in kept.values()}


def _labels(groups: Mapping[tuple[str, str], Sequence[RunRecord]]) -> dict[tuple[str, str], str]:
    """Name each row by its variant, and by the hyper-parameters in which it differs from its variant's other rows."""
    labels = {}
    for key, runs in groups.items():
        siblings = [dict(others[0].cell.hparams) for other, others in groups.items() if other[0] == key[0]]
        mine = dict(runs[0].cell.hparams)
        differing = [name for name in mine if any(mine[name] != other.get(name) for other in siblings)]
        details = ", ".join(f"{name}={mine[name]}" for name in differing)
        labels[key] = f"{key[0]} ({details})" if details else key[0]
    return labels


def _settings(cell: Cell, changed: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Name what a run set differently from its method, as its paper trains on the dataset."""
    own = changed.get("/".join((cell.dataset, cell.protocol, cell.config)), {})
    return tuple(f"{name}={value}" for name, value in own.items())


def protocol_facts(dataset: Mapping[str, Any], protocol: str) -> Mapping[str, Any]:
    """What is known of a protocol, with the truth that the dataset's default protocol has and its readers."""
    protocols = dataset.get("protocols", {})
    usual = protocols.get(dataset.get("default"), {}).get("truth", "")
    return {**protocols.get(protocol, {}), "usual_truth": usual, "readers": dataset.get("readers", {})}


def _about_reader(cell: Cell, board: Board) -> tuple[str, ...]:
    readers, truth = board.facts.get("readers", {}), board.facts.get("truth", "")
    return (reader_note(str(dict(cell.hparams).get("reader", "")), truth, readers),) if truth in readers else ()


def _status(runs: Sequence[RunRecord]) -> Status:
    if any(run.human for run in runs):
        return "human"
    statuses = {run.status for run in runs}
    return next(status for status in ("done", "failed", "unsupported") if status in statuses)


def _trouble(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Say which runs did not finish and why; one sentence where all have the same reason."""
    broken = [run for run in runs if run.status != "done"]
    reasons = list(dict.fromkeys(f"{run.status}: {run.reason or 'no reason was recorded'}" for run in broken))
    if len(reasons) == 1 and len(broken) == len(runs):
        return tuple(reasons)
    return tuple(
        f"{run.cell.split}, seed {run.cell.seed} {run.status}: {run.reason or 'no reason was recorded'}"
        for run in broken
    )


def _scored(row: Row, scores: pd.DataFrame) -> Row:
    """Fill in the numbers of a row, or why there are none."""
    entries: list[dict[Any, Any]] = scores[scores["column"] != ""].to_dict("records")
    if not entries:
        return replace(row, status="unscored", notes=(*row.notes, f"could not be scored: {scores.iloc[0]['reason']}"))
    values = {entry["column"]: Score(*(entry[name] for name in Score._fields)) for entry in entries}
    first = entries[0]
    folds = tuple(first["folds"].split())
    lacking = len(folds) < first["folds_expected"]
    note = (f"{len(folds)} of {first['folds_expected']:.0f} folds ({', '.join(folds)})",) if lacking else ()
    seeds, cases = tuple(first["seeds"].split()), int(first["cases"])
    clean = None if math.isnan(first["cases_leak_free"]) else int(first["cases_leak_free"])
    row = replace(row, scores=values, seeds=seeds, folds=folds, cases=cases, notes=(*row.notes, *note))
    return replace(row, cases_leak_free=clean)


def reported_rows(board: Board, reported: Sequence[Reported]) -> tuple[Row, ...]:
    """Return what papers print for a board; nothing where the films are drawn, since papers tested on real ones.

    Args:
        board: With its measured rows.
        reported: All of the papers' rows.
    """
    if board.phantom:
        return ()
    place = (board.dataset, board.protocol, board.test_set)
    return tuple(_reported_row(row, board) for row in reported if row[:3] == place)


def _reported_row(row: Reported, board: Board) -> Row:
    """Turn a paper's row into one of the board, marked where it is no better than the trivial method measured here."""
    floor = board.floor
    weak = [
        f"its {column.title} is not better than {floor.label}'s here"
        for column in board.columns
        if floor and column.name in row.values and not column.beats(row.values[column.name], floor.value(column.name))
    ]
    return Row(
        "reported",
        row.variant,
        row.method,
        "paper",
        scores={column: Score(value) for column, value in row.values.items() if column != PARAMETERS},
        paper=f"{row.paper}, {row.table if ' ' in row.table else f'Table {row.table}'}",
        url=row.url,
        badges=(*row.badges, *weak),
        notes=tuple(filter(None, (row.note, *gap_notes(row, board)))),
        parameters=row.values.get(PARAMETERS),
    )
