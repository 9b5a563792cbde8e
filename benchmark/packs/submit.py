"""Turns a finished run into a pack that someone else can verify."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd

from benchmark.packs import pack as packs
from benchmark.predictions import ANSWER, LABELS, PREDICTIONS, VALIDATION, read_table
from benchmark.scoring.score import score_run
from benchmark.store import CARDS, HISTORY, RUN, RunRecord
from datamodules import DatasetRegistry
from datamodules.components.badges import PRIVATE

DIRTY = "-dirty"


def pack_run(folder: Path | str, *, with_truth: bool = False, allow_dirty: bool = False) -> bytes:
    """Pack a run: its predictions, configuration, curves and the scores it claims.

    Args:
        folder: The run's folder in its store.
        with_truth: Add labels, spacing and film sizes; for sets whose owner allows to pass them on.
        allow_dirty: Pack a run whose code no commit holds, too.

    Returns:
        The zip file's bytes, the same every time.

    Raises:
        ValueError: The run is unfinished, private, incomplete, not as it was stored, or of no commit.
        FileNotFoundError: A file of the run is missing.
    """
    folder = Path(folder).absolute()
    if not (folder / RUN).is_file():
        raise FileNotFoundError(f"{folder} holds no {RUN}; give the folder of one run, as `runs/.../seed0-1a2b3c4d`.")
    record = RunRecord.read(folder / RUN)
    datasets = DatasetRegistry(descriptions=folder.parents[4] / CARDS)
    _refuse_unfit(record, folder, datasets)
    if not allow_dirty and (not record.commit or record.commit.endswith(DIRTY)):
        raise ValueError(
            f"{folder} ran on code that no commit holds ({record.commit or 'no git'}), so nobody can repeat it; "
            f"commit and run it again, or pass --allow-dirty, which the pack will show."
        )
    tables = {name: read_table(path) for name, path in _tables(folder).items()}
    files = {RUN: (folder / RUN).read_bytes()}
    files |= {name: packs.write_table(table, ANSWER) for name, table in tables.items()}
    if (folder / HISTORY).is_file():
        files[packs.HISTORY] = (folder / HISTORY).read_bytes()
    elif record.epochs:
        raise FileNotFoundError(f"{folder} trained {record.epochs} epochs but lacks {HISTORY}; run it again.")
    if with_truth:
        files[packs.TRUTH] = packs.write_table(pd.concat(tables.values(), ignore_index=True), LABELS)
    manifest = {
        "run": record.cell.path(record.fingerprint).as_posix(),
        "truth": with_truth,
        "scores": nested_scores(score_run(folder, datasets)),
        "checkpoint": packs.sha256(record.weights_file.read_bytes()) if record.weights_file.is_file() else None,
    }
    return packs.pack_bytes(manifest, files)


def nested_scores(scores: dict[str, float]) -> dict[str, dict[str, float | None]]:
    """Sort `test_set/column` to value by test set; a score that does not exist is None.

    Example:
        >>> nested_scores({"test1/mre_px": 1.5, "test1/rho": float("nan")})
        {'test1': {'mre_px': 1.5, 'rho': None}}
    """
    nested: dict[str, dict[str, float | None]] = {}
    for name, value in scores.items():
        test_set, column = name.rsplit("/", 1)
        nested.setdefault(test_set, {})[column] = value if math.isfinite(value) else None
    return nested


def _refuse_unfit(record: RunRecord, folder: Path, datasets: DatasetRegistry) -> None:
    cell = record.cell
    if record.status != "done":
        raise ValueError(
            f"{folder} is not finished: it is {record.status} ({record.reason or 'no reason was stored'})."
        )
    if not folder.as_posix().endswith(f"/{cell.path(record.fingerprint).as_posix()}"):
        raise ValueError(
            f"{folder}: {RUN} is of {cell.path(record.fingerprint)}, so it was changed or moved; run the cell again."
        )
    stated = json.loads((folder / RUN).read_text())["cell"].get("config")
    if stated != cell.config:
        raise ValueError(f"{folder}: {RUN} states the configuration {stated}, but it is {cell.config}; run it again.")
    if cell.dataset not in datasets:
        raise ValueError(f"{folder} is of {cell.dataset}, which is no dataset here, so it may be private.")
    if datasets[cell.dataset].private or PRIVATE in record.badges:
        raise ValueError(f"{folder} is of private data, and where a good method puts its points is nearly the label.")
    if record.cell.tunes:
        raise ValueError(f"{folder} is of a matrix that tunes: it has no predictions of test films to hand in.")
    if record.human:
        raise ValueError(f"{folder} holds what a person marked, and a reader's points are labels.")


def _tables(folder: Path) -> dict[str, Path]:
    """Name in the pack -> stored file."""
    if not (folder / PREDICTIONS).is_file():
        raise FileNotFoundError(f"{folder} lacks {PREDICTIONS}; run it again.")
    found = {packs.PREDICTIONS: folder / PREDICTIONS, packs.VALIDATION: folder / VALIDATION}
    return {name: path for name, path in found.items() if path.is_file()}
