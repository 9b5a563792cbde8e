"""Reads what W&B wrote offline without W&B's own reader: LevelDB's log format with a protobuf record in each entry."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

HEADER, BLOCK, ENTRY = 7, 32768, 7
FULL, FIRST, LAST = 1, 2, 4


@dataclass
class OfflineRun:
    """One offline folder.

    Args:
        folder: The folder.
        run: The run as it was started.
        history: The logged rows by step, in their order.
        summary: The last value of each entry.
        metrics: What was said of single curves: name -> the summaries that are kept.
        artifacts: Names and types of the files that were kept.
        exit_code: None where the run was not closed.
    """

    folder: Path
    run: Any = None
    history: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    artifacts: list[tuple[str, str]] = field(default_factory=list)
    exit_code: int | None = None

    @property
    def steps(self) -> list[int]:
        return [step for step, _ in self.history]

    @property
    def config(self) -> dict[str, Any]:
        return {item.key: json.loads(item.value_json) for item in self.run.config.update}


def offline_runs(store: Path, count: int) -> list[OfflineRun]:
    """Read so many closed runs, oldest first, once W&B's service process has written them."""
    for _ in range(1200):
        found = [
            _read(path) for path in sorted(store.glob("wandb/offline-run-*/*.wandb"), key=lambda p: p.stat().st_mtime)
        ]
        if len(found) == count and all(run.exit_code is not None for run in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{store} has {len(found)} runs with the exit codes {[run.exit_code for run in found]}")


def _read(path: Path) -> OfflineRun:
    found = OfflineRun(path.parent)
    for data in _entries(path.read_bytes()):
        record = Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        content = getattr(record, kind) if kind else None
        if kind == "run":
            found.run = content
        elif kind == "history":
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in content.item}
            found.history.append((content.step.num, row))
        elif kind == "summary":
            found.summary |= {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in content.update}
        elif kind == "metric":
            found.metrics[content.name or content.glob_name] = content.summary
        elif kind == "artifact":
            found.artifacts.append((content.name, content.type))
        elif kind == "exit":
            found.exit_code = content.exit_code
    return found


def _entries(data: bytes) -> Iterator[bytes]:
    place, parts = HEADER, b""
    while place + ENTRY <= len(data):
        left = BLOCK - place % BLOCK
        if left < ENTRY:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        parts = (b"" if kind in (FULL, FIRST) else parts) + data[place + ENTRY : place + ENTRY + length]
        if kind in (FULL, LAST):
            yield parts
        place += ENTRY + length
