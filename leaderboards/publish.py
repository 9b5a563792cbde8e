"""What may be published of a run store beside its tables: answers and scores of films, without the films' labels.

Whoever has a dataset can recompute every score from the points; whoever has not learns no label. Private data are left
out: where a good method puts its points is nearly the label. What people marked is left out, too: it is the label. The
scores of single films are means over all their landmarks, and the errors of landmarks means over all films.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.predictions import POINT, PREDICTIONS, PUBLISHED, SCORED, SIZE, read_table
from benchmark.store import FACTS, STRESS, RunRecord, RunStore, write_atomically
from leaderboards.boards.board import Board, Row
from leaderboards.boards.case_scores import CaseScore, CaseScores
from leaderboards.boards.published import CASE_KEY, CASES
from leaderboards.site.published_rows import POINTS
from leaderboards.site.run_predictions import RunPredictions
from leaderboards.site.summaries import SUMMARIES, RowSummary, summarise, summary_json
from leaderboards.text.files import csv_text, write_files
from leaderboards.text.model_cards import model_cards

FRAME: Final = "frame"
"""The entry of a file's metadata that says which pixels its points are in."""
OWN_FRAME: Final = "pixels of each film as it was read"


def publish(store: Path | str, boards: Sequence[Board], out: Path | str) -> list[Path]:
    """Write what a site needs that is built without the store and without a film.

    Args:
        store: A scored run store.
        boards: All of its boards.
        out: The folder of the tables.

    Returns:
        The written files.
    """
    root, folder = Path(store), Path(out)
    facts = json.loads((root / FACTS).read_text(encoding="utf-8"))
    shown = [board for board in boards if not board.private and board.columns]
    pages = {board.page: [other for other in shown if other.page == board.page] for board in shown}
    scores, answers = CaseScores(), RunPredictions()
    files = {f"{CASES}/{page}.csv": case_csv(_case_scores(group, scores)) for page, group in pages.items()}
    files |= {f"{SUMMARIES}/{page}.json": summary_json(_summaries(group, answers)) for page, group in pages.items()}
    keys = {(board.dataset, board.protocol, board.content) for board in shown}
    public = {name: known for name, known in facts["datasets"].items() if name in {key[0] for key in keys}}
    files |= model_cards(shown, facts["methods"])
    files[FACTS] = json.dumps({**facts, "datasets": public}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if (root / STRESS).is_file():
        files[STRESS] = _public_rows(root / STRESS, keys)
    written = write_files(files, folder)
    runs = [run for run in RunStore(root).runs() if (run.cell.dataset, run.cell.protocol, run.content) in keys]
    tested = [run for run in runs if SCORED["test"].has(run) and not run.human]
    return [*written, *(publish_points(run, folder, facts) for run in tested)]


def case_csv(scores: Mapping[str, Mapping[str, Mapping[str, CaseScore]]]) -> str:
    """Write the scores of single films, a line per film and a column per row.

    Args:
        scores: Test set to `Row.key` to case to score.
    """
    lines: dict[tuple[str, str, str], dict[str, float]] = {}
    for test_set, rows in scores.items():
        for key, cases in rows.items():
            for case, score in cases.items():
                lines.setdefault((test_set, case, score.patient), {})[key] = score.value
    frame = pd.DataFrame([dict(zip(CASE_KEY, key, strict=True)) | values for key, values in sorted(lines.items())])
    return csv_text(frame)


def write_points(points: pd.DataFrame, path: Path, frame: str) -> Path:
    """Write published points in single precision.

    Args:
        points: The columns `PUBLISHED`.
        path: The parquet file.
        frame: Which pixels they are in.
    """
    table = pa.Table.from_pandas(points[list(PUBLISHED)].astype(dict.fromkeys(POINT, "float32")), preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), FRAME: frame})
    write_atomically(path, lambda file: pq.write_table(table, file, compression="zstd"))
    return path


def official_frame(size: Sequence[int]) -> str:
    """Say in words that points are in the pixels of the films that a dataset's labels refer to.

    Example:
        >>> official_frame((2400, 1935))
        "pixels of the dataset's official films, 1935 x 2400 (width x height)"
    """
    return f"pixels of the dataset's official films, {size[1]} x {size[0]} (width x height)"


def _public_rows(path: Path, keys: Collection[tuple[str, str, str]]) -> str:
    """Return the lines of a CSV file that are of published boards, as they are written."""
    table = pd.read_csv(path, dtype="str", keep_default_na=False)
    shown = [key in keys for key in table[["dataset", "protocol", "content"]].itertuples(index=False, name=None)]
    return table[shown].to_csv(index=False, lineterminator="\n")


def _case_scores(boards: Sequence[Board], scores: CaseScores) -> dict[str, dict[str, dict[str, CaseScore]]]:
    return {
        board.test_set: {
            row.key: known
            for row in board.ranked
            if (known := scores.of_row(row, board.test_set, board.columns[0].name))
        }
        for board in boards
    }


def _summaries(boards: Sequence[Board], answers: RunPredictions) -> dict[str, dict[str, RowSummary]]:
    found = {board.test_set: row_summaries(board, board.ranked, answers) for board in boards}
    return {test_set: summaries for test_set, summaries in found.items() if summaries}


def row_summaries(board: Board, rows: Sequence[Row], answers: RunPredictions) -> dict[str, RowSummary]:
    """Sum up the errors of rows.

    Args:
        board: Their board.
        rows: Those that are wanted.
        answers: Reads their runs.

    Returns:
        `Row.key` to its summary, where its runs are there.
    """
    found: dict[str, RowSummary] = {}
    for row in rows:
        predicted = answers.row(row, board.test_set)
        summary = predicted and summarise(predicted, board.facts.get("unit", "px"), answers.history(row))
        if summary is not None:
            found[row.key] = summary
    return found


def publish_points(run: RunRecord, folder: Path, facts: Mapping[str, Any]) -> Path:
    """Write the points of a run.

    Args:
        run: The run.
        folder: Of published leaderboards.
        facts: What is known of the datasets.
    """
    cell, size = run.cell, facts["datasets"].get(run.cell.dataset, {}).get("official_size")
    path = folder / POINTS / cell.dataset / cell.protocol / cell.split / f"{cell.variant}-{run.folder.name}.parquet"
    table, frame = read_table(run.folder / PREDICTIONS, (*PUBLISHED, *SIZE)), OWN_FRAME
    if size:
        scale = np.array(size[::-1]) / table[list(SIZE)[::-1]].to_numpy(np.float64)
        table[list(POINT)] = (table[list(POINT)].to_numpy(np.float64) + 0.5) * scale - 0.5
        frame = official_frame(size)
    return write_points(table, path, frame)
