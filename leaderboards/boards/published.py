"""Reads published leaderboards back into boards, without a run store.

| file | holds |
|---|---|
| `<dataset>-<protocol>.json` | the boards of a page, by `schema.json` |
| `cases/<dataset>-<protocol>.csv` | a line per film: whose it is, and the ranking score of every row |
| `facts.json` | what is known of datasets, protocols and methods |
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pandas as pd

from benchmark.store import FACTS
from datamodules.components.badges import PHANTOM, PRIVATE
from leaderboards.boards.badges import budget_text
from leaderboards.boards.board import Board, Row, RowCost, Score, ScoreColumn, known_facts
from leaderboards.boards.case_scores import CaseScore, compare_rows
from leaderboards.boards.read import protocol_facts, reported_rows
from leaderboards.boards.reported import load_reported

CASES: Final = "cases"
"""Folder of the scores of single films."""
CASE_KEY: Final = ("test_set", "case", "patient")


def read_published(folder: Path | str) -> list[Board]:
    """Read every board of a folder of published leaderboards, in a fixed order.

    Args:
        folder: The folder.

    Raises:
        FileNotFoundError: It holds no published leaderboards.
    """
    root = Path(folder)
    if not (root / FACTS).is_file():
        raise FileNotFoundError(f"{root / FACTS} is not there; `osteomark leaderboard --publish` writes such a folder.")
    facts = json.loads((root / FACTS).read_text(encoding="utf-8"))
    pages = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(root.glob("*.json")) if path.name != FACTS]
    return [board for page in pages if "boards" in page for board in _boards(page, facts, root)]


def read_case_scores(path: Path) -> dict[str, dict[str, dict[str, CaseScore]]]:
    """Read the scores of single films.

    Args:
        path: The CSV file; nothing is known where there is none.

    Returns:
        Test set to `Row.key` to case to score.
    """
    if not path.is_file():
        return {}
    frame = pd.read_csv(path, dtype=dict.fromkeys(CASE_KEY, "str"), keep_default_na=False, na_values=None)
    rows = [name for name in frame.columns if name not in CASE_KEY]
    found: dict[str, dict[str, dict[str, CaseScore]]] = {}
    for name in rows:
        values = pd.to_numeric(frame[name], errors="coerce")
        for test_set, case, patient, value in zip(*(frame[key] for key in CASE_KEY), values, strict=True):
            found.setdefault(test_set, {}).setdefault(name, {})[case] = CaseScore(float(value), patient)
    return found


def _boards(page: Mapping[str, Any], facts: Mapping[str, Any], root: Path) -> list[Board]:
    dataset, protocol = page["dataset"], page["protocol"]
    known = facts["datasets"].get(dataset, {})
    scores = read_case_scores(root / CASES / f"{dataset}-{protocol}.csv")
    here = {**protocol_facts(known, protocol), **{key: page[key] for key in ("description", "truth", "unit", "leaks")}}
    boards = []
    for content in page["boards"]:
        rows = tuple(_row(entry, facts["methods"]) for entry in content["rows"] if entry["status"] != "reported")
        badges = {badge for row in rows for badge in (*row.badges, *page["caveats"])}
        board = Board(
            **{"dataset": dataset, "protocol": protocol, "title": page["title"], "facts": here},
            **{key: content[key] for key in ("test_set", "content", "absent")},
            columns=tuple(ScoreColumn(**column) for column in content["columns"]),
            rows=rows,
            patient_rule=known.get("patient_rule", ""),
            phantom=PHANTOM in badges,
            private=PRIVATE in badges,
        )
        comparison = compare_rows(board, scores.get(board.test_set, {}))
        board = replace(board, facts=known_facts(board), comparison=comparison)
        boards.append(replace(board, rows=(*rows, *reported_rows(board, load_reported()))))
    return boards


def _row(entry: Mapping[str, Any], methods: Mapping[str, Any]) -> Row:
    size, epochs = entry["input_size"], entry["epochs"]
    measured = entry["status"] != "human"
    cost = RowCost(
        weights=entry["weights"] or "",
        input_size="x".join(map(str, size)) if size else "",
        epochs=() if epochs is None else (int(epochs),),
        **{key: entry[key] for key in ("train_seconds", "latency_ms", "flops")},
        devices=(entry["device"],) if entry["device"] else (),
        precision=entry["precision"] or "",
        commit=entry["commit"] or "",
    )
    variant = entry["variant"]
    return Row(
        entry["status"],
        variant,
        entry["method"],
        budget_text(entry["budget"], cost) if measured else entry["budget"],
        scores={name: _score(score) for name, score in entry["scores"].items()},
        reported={name: score["reported"] for name, score in entry["scores"].items() if score["reported"] is not None},
        method=methods.get(variant, {}).get("method", variant) if measured else "",
        config=entry.get("config", ""),
        cost=cost,
        seeds=tuple(map(str, entry["seeds"])),
        cases=entry["cases"] or 0,
        paper=entry["paper"]["citation"],
        url=entry["paper"]["url"],
        folds=tuple(entry["folds"]),
        badges=tuple(entry["badges"]),
        notes=tuple(entry["notes"]),
        settings=tuple(entry["settings"]),
        **{key: entry[key] for key in ("cases_leak_free", "parameters", "rank")},
    )


def _score(entry: Mapping[str, Any]) -> Score:
    clean = entry["leak_free"]
    known = {key: entry[key] for key in ("value", "low", "high", "sd_seeds")}
    known |= {f"{key}_leak_free": clean[key] for key in ("value", "low", "high")}
    numbers: dict[str, Any] = {key: math.nan if value is None else float(value) for key, value in known.items()}
    return Score(**numbers)
