"""The run store: a folder tree with one self-contained folder per run, every file written atomically."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import pandas as pd

from benchmark.cell import HASH_LENGTH, Cell, Job

RUN = "run.json"
SCORES = "scores.parquet"
SCORE_TABLE = "scores.csv"
"""The scores of all runs, in the root."""
FACTS = "facts.json"
"""What leaderboards say about datasets and methods, in the root."""
STRESS = "stress.csv"
"""The scores on corrupted films, in the root."""
EXTERNAL = "external.csv"
"""The scores on other datasets than the one that was trained on, in the root."""
HISTORY = "history.csv"
LOG = "log.txt"
PROGRESS = "progress.json"
"""Where a running cell stands and who runs it; it is gone when the cell has ended."""
CHECKPOINTS = "checkpoints"
"""Folder of a run with its weights."""
PLANS = "plans"
"""Folder with the lists of cells of the matrices that were run."""
RUN_DEPTH = 5
"""Levels of a run's folder below the root: dataset, protocol, split, variant, seed."""
_LEFTOVER = re.compile(r"^\..+\.[0-9a-f]{32}$")
CARDS = "cards"
"""Folder of what scores need to know of datasets that cards describe."""


class DamagedRecordError(ValueError):
    """A `run.json` that is not whole, as a full disk or a crash of the machine may leave it."""


class FileSum(NamedTuple):
    """What a finished run's file has to be.

    Attributes:
        size: In bytes.
        sha256: Of the content, in hexadecimal.
    """

    size: int
    sha256: str


@dataclass(frozen=True)
class RunRecord:
    """What `run.json` says about one run.

    Args:
        status: `unsupported` runs are finished too, `failed` ones are tried again.
        cell: The run's key.
        fingerprint: Of the data it trained and was tested on.
        content: Of the films and labels alone, whatever the split; scores of different contents are never mixed.
        started: UTC, ISO 8601.
        finished: UTC, ISO 8601.
        content: A hash of the dataset's content, whatever the split: phantoms and real films never share a table.
        reason: Why the method cannot run on this dataset, or the last line of the traceback.
        traceback: Of a failed run.
        versions: Python and the libraries that can change a number.
        commit: Of the checkout, with `-dirty` where files differ from it; empty without git.
        device: The accelerator's or processor's name.
        precision: The arithmetic that was used, `auto` resolved.
        seconds: Of `prepare`, `fit` and `predict`; a resumed fit counts its earlier attempts.
        peak_memory_mb: On the accelerator, otherwise of the process.
        parameters: `trainable`, and `keras` as Keras counts.
        flops: Of one image (2 x multiply-accumulate).
        latency_ms: Of one image, median after warm-up.
        input_size: (height, width) of the network's input.
        epochs: Trained, over all stages.
        checkpoint: `rule`, the chosen `epoch` (0-based within the last stage; None where there was no choice), `file`.
        test_sets: Name -> number of cases; empty where the cell tunes, since no test film is predicted then.
        badges: What a reader must know beside the numbers: leaks, oracle crops.
        weights: The pre-trained weights the run started from.
        micro_batch: Films at a time since memory ran out; None where it did not.
        files: Results of the run by their path in its folder; empty in records of older versions.
        human: The predictions are what a person marked: shown beside methods, never ranked, tested or published.
        folder: Where the run lies; not part of the file.
    """

    status: Literal["done", "unsupported", "failed"]
    cell: Cell
    fingerprint: str
    started: str
    finished: str
    content: str = ""
    reason: str = ""
    traceback: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    commit: str = ""
    device: str = ""
    precision: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    parameters: dict[str, int] = field(default_factory=dict)
    flops: int | None = None
    latency_ms: float | None = None
    input_size: tuple[int, int] | None = None
    epochs: int = 0
    checkpoint: dict[str, Any] = field(default_factory=dict)
    test_sets: dict[str, int] = field(default_factory=dict)
    badges: tuple[str, ...] = ()
    weights: str = "none"
    micro_batch: int | None = None
    files: dict[str, FileSum] = field(default_factory=dict)
    human: bool = False
    folder: Path = Path()

    @classmethod
    def failed(cls, job: Job, started: str, reason: str = "") -> RunRecord:
        """Return the record of a job that fails now.

        Args:
            job: The cell and the fingerprint of its data.
            started: When it began.
            reason: Why it failed, in a sentence.
        """
        return cls("failed", job.cell, job.fingerprint, started, utc_now(), reason=reason)

    @property
    def weights_file(self) -> Path:
        """The checkpoint that predicted a trained run's films, whether or not it is still there."""
        return self.folder / CHECKPOINTS / str(self.checkpoint.get("file"))

    @property
    def finished_well(self) -> bool:
        """Whether there is nothing left to run."""
        return self.status != "failed"

    def as_json(self) -> dict[str, Any]:
        """Return the record as it is written."""
        content = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "folder"}
        return content | {"cell": self.cell.as_json()}

    def damage(self) -> str:
        """Say in a sentence which file of the run is damaged; empty if none is.

        Weights and curves may be deleted to save space. Weights are compared by size only, since they are large.
        """
        for name, (size, sha256) in self.files.items():
            path = self.folder / name
            if not path.is_file():
                if path.suffix == ".parquet":
                    return f"{path} is missing."
            elif path.stat().st_size != size or (path.suffix != ".ckpt" and _sha256(path) != sha256):
                return f"{path} is not what was written."
        return ""

    @classmethod
    def read(cls, path: Path) -> RunRecord:
        """Read a `run.json`.

        Raises:
            DamagedRecordError: The file is not whole.
            ValueError: The file is not one that this version wrote.
        """
        try:
            content = json.loads(path.read_text())
        except ValueError as error:  # of JSON or of UTF-8
            raise DamagedRecordError(f"{path} is damaged ({error}); `osteomark run` runs that cell again.") from error
        try:
            content["files"] = {name: FileSum(*pair) for name, pair in content.get("files", {}).items()}
            content["cell"] = Cell.from_json(content["cell"])
            content["badges"] = tuple(content["badges"])
            content["input_size"] = content["input_size"] and tuple(content["input_size"])
            return cls(**content, folder=path.parent)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a run record ({error}); delete its folder to run it again.") from error


class RunStore:
    """The runs below one folder.

    Args:
        root: The folder; it need not exist yet.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def path(self, cell: Cell, fingerprint: str) -> Path:
        """Return the folder of a cell's run."""
        return self.root / cell.path(fingerprint)

    def is_done(self, cell: Cell, fingerprint: str) -> bool:
        """Tell whether a cell needs no run: its record says done or unsupported."""
        return self.ended(Job(cell, fingerprint)) is not None

    def ended(self, job: Job, since: str = "") -> RunRecord | None:
        """Return the record of a job that needs no run, or that failed in another run; None also where it is damaged.

        Args:
            job: The cell and the fingerprint of its data.
            since: UTC, ISO 8601: a failure after it counts as an end; none does if not given.
        """
        path = self.path(*job) / RUN
        if not path.is_file() or self.damage(job):
            return None
        record = RunRecord.read(path)
        return record if record.finished_well or (since and record.finished > since) else None

    def damage(self, job: Job) -> str:
        """Say in a sentence what is damaged in the folder of a job; empty if nothing is, or nothing is there."""
        path = self.path(*job) / RUN
        try:
            return RunRecord.read(path).damage() if path.is_file() else ""
        except DamagedRecordError:
            return f"{path} is damaged."

    def write(self, record: RunRecord) -> RunRecord:
        """Write a record, the last file of a run, and return it with its folder."""
        record = replace(record, folder=self.path(record.cell, record.fingerprint))
        text = json.dumps(record.as_json(), indent=1, allow_nan=False, default=str)
        write_atomically(record.folder / RUN, lambda path: path.write_text(text + "\n"))
        return record

    def runs(self, *, whole: bool = False) -> list[RunRecord]:
        """Return every run's record, whatever its status, in the order of the paths.

        Args:
            whole: Leave out records that are damaged.

        Raises:
            DamagedRecordError: A record is damaged.
        """
        records = []
        for path in (folder / RUN for folder in self.folders()):
            if path.is_file():
                try:
                    records.append(RunRecord.read(path))
                except DamagedRecordError:
                    if not whole:
                        raise
        return records

    def folders(self) -> list[Path]:
        """Return the folder of every run that has begun, in the order of the paths."""
        if not self.root.is_dir():
            return []
        return [
            Path(path)
            for path in _folders_below(str(self.root), RUN_DEPTH)
            if path.rsplit("/", 1)[-1].startswith("seed")
        ]

    def plan(self, jobs: Sequence[Job]) -> None:
        """Leave the list of a matrix' cells, so that who looks into the store knows which are waiting."""
        cells = {cell.path(fingerprint).as_posix(): cell.config for cell, fingerprint in jobs}
        text = json.dumps(cells, indent=0) + "\n"
        name = hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
        write_atomically(self.root / PLANS / f"{name}.json", lambda path: path.write_text(text))

    def planned(self) -> dict[str, str]:
        """Return the cells of all matrices that were run here: folder, relative to the root -> `Cell.config`."""
        plans = [json.loads(path.read_text()) for path in sorted((self.root / PLANS).glob("*.json"))]
        return {folder: config for plan in plans for folder, config in plan.items()}

    def scores(self) -> pd.DataFrame:
        """Return the scores of all runs as `osteomark score` left them.

        Raises:
            FileNotFoundError: Nothing was scored yet.
        """
        path = self.root / SCORE_TABLE
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there; run `osteomark score --store {self.root}` first.")
        return pd.read_csv(path)


def _folders_below(folder: str, depth: int) -> Iterator[str]:
    """Yield the folders so many levels down, sorted; much faster than globbing, on network disks above all."""
    if not depth:
        yield folder
        return
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for name in names:
        yield from _folders_below(f"{folder}/{name}", depth - 1)


def utc_now() -> str:
    """Return the time as records hold it: UTC, ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def checksums(folder: Path, names: Iterable[str]) -> dict[str, FileSum]:
    """Return what those of the files are that a folder has."""
    paths = {name: folder / name for name in names}
    return {name: FileSum(path.stat().st_size, _sha256(path)) for name, path in paths.items() if path.is_file()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left in a folder and in those below it."""
    for path in folder.rglob(".*.*"):
        if _LEFTOVER.search(path.name):
            path.unlink(missing_ok=True)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary neighbour of `path`, then put it in place; the folder is made where it lacks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")  # processes of other machines may have the same id
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
