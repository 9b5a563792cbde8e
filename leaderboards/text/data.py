"""Writes boards as data: JSON that follows `schema.json`, which is published beside it, and CSV."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from leaderboards.boards.badges import board_badges
from leaderboards.boards.board import Board, Row, Score, ScoreColumn
from leaderboards.boards.statistics import ALPHA, RowPair
from leaderboards.pages.board_page import SCHEMA
from leaderboards.text.files import DIGITS, csv_text

VERSION: Final = "1.1"
"""Of the schema: the second number grows with additions, the first with changes that break a reader."""


def schema_text() -> str:
    """Return the published schema."""
    return (Path(__file__).parent / SCHEMA).read_text(encoding="utf-8")


def page_json(boards: Sequence[Board]) -> str:
    """Write one dataset and protocol.

    Args:
        boards: All of its boards.

    Returns:
        JSON by `schema.json`; an unknown number is null.
    """
    first, facts = boards[0], boards[0].facts
    content = {
        "$schema": SCHEMA,
        "schema_version": VERSION,
        "dataset": first.dataset,
        "protocol": first.protocol,
        "title": first.title,
        **{key: facts.get(key, "") for key in ("description", "truth", "unit", "leaks")},
        **{key: list(facts.get(key, ())) for key in ("caveats", "splits")},
        "boards": [_board(board) for board in boards],
    }
    return json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def board_csv(boards: Sequence[Board]) -> str:
    """Write one line per row of the boards of a page."""
    return csv_text(pd.concat([_frame(board).astype(object) for board in boards], ignore_index=True))


def column_csv(boards: Sequence[Board]) -> str:
    """Write what the score columns of the boards' CSV files mean."""
    columns = {column.name: column for board in boards for column in board.columns}
    return csv_text(pd.DataFrame(columns.values(), columns=list(ScoreColumn._fields)))


def comparison_csv(boards: Sequence[Board]) -> str:
    """Write one line per pair of rows of every board."""
    records = [_comparison(board, pair) for board in boards if board.comparison for pair in board.comparison.pairs]
    return csv_text(pd.DataFrame(records, columns=list(_COMPARISON_FIELDS)))


def _frame(board: Board) -> pd.DataFrame:
    return pd.DataFrame([_record(board, row) for row in board.rows])


def _board(board: Board) -> dict[str, Any]:
    return {
        "test_set": board.test_set,
        "content": board.content,
        "ranked_by": board.columns[0].name if board.columns else None,
        "badges": board_badges(board),
        "columns": [column._asdict() for column in board.columns],
        "absent": dict(sorted(board.absent.items())),
        "rows": [_row(board, row) for row in board.rows],
    }


def _row(board: Board, row: Row) -> dict[str, Any]:
    tied = board.tied_with(row)
    return {
        "status": row.status,
        "rank": row.rank,
        "rank_leak_free": board.leak_free_ranks.get(row.key),
        "tied_with": None if tied is None else [other.label for other in tied],
        **{"method": row.label, "variant": row.variant, "config": row.config, "budget": row.budget},
        "paper": {"citation": row.paper, "url": row.url},
        "seeds": [int(seed) for seed in row.seeds],
        "folds": row.folds,
        "cases": row.cases or None,
        **{key: getattr(row, key) for key in ("cases_leak_free", "badges", "notes", "settings", "parameters")},
        **_cost(row),
        "scores": {c.name: _score(row, c, row.scores[c.name]) for c in board.columns if c.name in row.scores},
    }


def _cost(row: Row) -> dict[str, Any]:
    cost = row.cost
    size = cost.input_size.split(",")[0]
    return {
        "weights": cost.weights or None,
        **{key: getattr(cost, key) for key in ("flops", "latency_ms", "train_seconds")},
        "epochs": next(iter(cost.epochs), None),
        "input_size": [int(side) for side in size.split("x")] if size else None,
        **{"device": next(iter(cost.devices), None), "precision": cost.precision or None},
        "commit": cost.commit or None,
    }


def _score(row: Row, column: ScoreColumn, score: Score) -> dict[str, Any]:
    return {
        **{key: getattr(score, key) for key in ("value", "low", "high", "sd_seeds")},
        "leak_free": {key: getattr(score, f"{key}_leak_free") for key in ("value", "low", "high")},
        "reported": row.reported.get(column.name),
        "gap": row.gap(column.name),
    }


def _plain(value: Any) -> Any:  # noqa: ANN401  # anything that JSON has
    """Turn tuples into lists, round numbers and write unknown ones as null."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def _record(board: Board, row: Row) -> dict[str, Any]:
    scores: dict[str, Any] = {}
    for column in board.columns:
        score = row.score(column.name)
        scores[column.name] = score.value
        scores |= {f"{column.name}_{part}": getattr(score, part) for part in ("low", "high", "sd_seeds")}
        scores[f"{column.name}_leak_free"] = score.value_leak_free
        scores[f"{column.name}_paper"] = row.reported.get(column.name)
        scores[f"{column.name}_gap"] = row.gap(column.name)
    cost = row.cost
    return {
        **{key: getattr(board, key) for key in ("dataset", "protocol", "content", "test_set")},
        **{"rank": board.rank_text(row), "tied_with": board.tied_text(row), "status": row.status},
        **{"method": row.label, "variant": row.variant},
        **{"paper": row.paper, "url": row.url, "budget": row.budget, "weights": cost.weights},
        **{"seeds": " ".join(row.seeds), "folds": " ".join(row.folds)},
        "folds_expected": None if row.status == "reported" else board.folds_expected,
        **{"cases": row.cases or None, "cases_leak_free": row.cases_leak_free},
        **scores,
        **{"parameters": row.parameters, "flops": cost.flops, "latency_ms": cost.latency_ms},
        **{"train_seconds": cost.train_seconds, "epochs": next(iter(cost.epochs), None)},
        "input_size": cost.input_size,
        "settings": ", ".join(row.settings),
        **{"device": next(iter(cost.devices), None), "precision": cost.precision, "commit": cost.commit},
        **{"badges": "; ".join(row.badges), "notes": "; ".join(row.notes)},
    }


_COMPARISON_FIELDS: Final = (
    *("dataset", "protocol", "content", "test_set", "column", "unit"),
    *("first", "first_budget", "first_rank", "second", "second_budget", "second_rank", "cases", "patients"),
    *("mean", "mean_low", "mean_high", "median", "median_low", "median_high"),
    *("first_better", "second_better", "p", "p_holm", "tied"),
)


def _comparison(board: Board, pair: RowPair) -> dict[str, Any]:
    compared, column = board.comparison, board.columns[0]
    assert compared is not None
    first, second = board.compared[pair.first], board.compared[pair.second]
    values = (
        *(board.dataset, board.protocol, board.content, board.test_set, column.name, column.unit),
        *(first.label, first.budget, first.rank, second.label, second.budget, second.rank),
        *(compared.cases, None if board.private else compared.patients, *pair.mean, *pair.median),
        *(pair.better, pair.worse, pair.p, pair.p_holm, pair.p_holm >= ALPHA if compared.tested else None),
    )
    return dict(zip(_COMPARISON_FIELDS, values, strict=True))
