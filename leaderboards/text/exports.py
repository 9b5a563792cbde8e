"""Writes a page as data: JSON that follows `schema.json`, which is published beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from leaderboards.boards.badges import board_badges, gap
from leaderboards.boards.board import Board, Column, Row, Score
from leaderboards.text.caveats import leak_free_ranks

SCHEMA: Final = "schema.json"
"""The JSON Schema of a page, beside this module and beside every page."""
VERSION: Final = "1.0"
"""Of the schema: the second number grows with additions, the first with changes that break a reader."""
DIGITS: Final = 8
"""Significant digits, as in the CSV files."""


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


def _board(board: Board) -> dict[str, Any]:
    ranks = leak_free_ranks(board)
    return {
        "test_set": board.test_set,
        "content": board.content,
        "ranked_by": board.columns[0].name if board.columns else None,
        "badges": board_badges(board),
        "columns": [column._asdict() for column in board.columns],
        "absent": dict(sorted(board.absent.items())),
        "rows": [_row(board, row, ranks) for row in board.rows],
    }


def _row(board: Board, row: Row, ranks: Mapping[str, int]) -> dict[str, Any]:
    tied = board.tied_with(row)
    return {
        "status": row.status,
        "rank": row.rank,
        "rank_leak_free": ranks.get(row.key),
        "tied_with": None if tied is None else [other.label for other in tied],
        "method": row.label,
        "variant": row.variant,
        "budget": row.budget,
        "paper": {"citation": row.paper, "url": row.url},
        "seeds": [int(seed) for seed in row.seeds],
        "folds": row.folds,
        "cases": row.cases or None,
        "cases_leak_free": row.cases_leak_free,
        "badges": row.badges,
        "notes": row.notes,
        "settings": row.settings,
        "parameters": row.parameters,
        **_cost(row),
        "scores": {c.name: _score(row, c, row.scores[c.name]) for c in board.columns if c.name in row.scores},
    }


def _cost(row: Row) -> dict[str, Any]:
    run = next((run for run in row.done if not run.human), None)
    costs = {
        "weights": run and run.weights,
        "flops": next((run.flops for run in row.done if run.flops is not None), None),
        "latency_ms": row.latency_ms,
        "train_seconds": row.train_seconds,
        "epochs": run and run.epochs,
        "input_size": run and run.input_size,
    }
    return costs | {key: (run and getattr(run, key)) or None for key in ("device", "precision", "commit")}


def _score(row: Row, column: Column, score: Score) -> dict[str, Any]:
    return {
        **{key: getattr(score, key) for key in ("value", "low", "high", "sd_seeds")},
        "leak_free": {key: getattr(score, f"{key}_leak_free") for key in ("value", "low", "high")},
        "reported": row.reported.get(column.name),
        "gap": gap(row, column),
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
