import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.cell import Cell, Job
from benchmark.store import DamagedRecordError, RunRecord, RunStore, checksums, write_atomically


@pytest.fixture
def record(make_cell: Callable[..., Cell]) -> RunRecord:
    return RunRecord("done", make_cell("posenet"), "print", "2026-01-01", "2026-01-02", badges=("leak",), flops=7)


def test_a_record_is_read_as_it_was_written(record: RunRecord, tmp_path: Path) -> None:
    written = RunStore(tmp_path).write(record)
    assert RunStore(tmp_path).runs() == [written]
    assert written.folder == tmp_path / record.cell.path("print")
    assert written.folder.relative_to(tmp_path).parts[:4] == ("hand", "3-fold", "fold1", "posenet")


def test_run_json_names_the_cell_for_readers_without_this_code(record: RunRecord, tmp_path: Path) -> None:
    content = json.loads((RunStore(tmp_path).write(record).folder / "run.json").read_text())
    assert content["cell"]["variant"] == "posenet"
    assert content["cell"]["hparams"]["lr"] == dict(record.cell.hparams)["lr"]
    assert content["cell"]["config"] == record.cell.config
    assert "folder" not in content


@pytest.mark.parametrize(("status", "done"), [("done", True), ("unsupported", True), ("failed", False)])
def test_only_failed_and_absent_runs_are_open(record: RunRecord, tmp_path: Path, status: str, done: bool) -> None:
    store = RunStore(tmp_path)
    assert not store.is_done(record.cell, "print")
    store.write(RunRecord(status, record.cell, "print", "", ""))  # type: ignore[arg-type]
    assert store.is_done(record.cell, "print") is done
    assert not store.is_done(record.cell, "other data")


@pytest.mark.parametrize("text", ["[]", '{"status": "done"}'])
def test_a_record_of_another_kind_is_named_with_the_cure(record: RunRecord, tmp_path: Path, text: str) -> None:
    path = RunStore(tmp_path).write(record).folder / "run.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"{path} is not a run record .*delete its folder"):
        RunStore(tmp_path).runs()


@pytest.mark.parametrize("content", [b"", b"{", b'{"status": "\xff"}'])
def test_a_damaged_record_is_named_and_its_cell_is_open_again(
    record: RunRecord, tmp_path: Path, content: bytes
) -> None:
    store = RunStore(tmp_path)
    path = store.write(record).folder / "run.json"
    path.write_bytes(content)
    with pytest.raises(DamagedRecordError, match=rf"{path} is damaged .*`osteomark run` runs that cell again"):
        store.runs()
    assert not store.is_done(record.cell, record.fingerprint)


@pytest.mark.parametrize(
    ("name", "content", "open_again"),
    [
        ("history.csv", b"epo", True),
        ("history.csv", None, False),
        ("predictions.parquet", b"other bytes", True),
        ("predictions.parquet", None, True),
        ("checkpoints/best.ckpt", b"weig", True),
        ("checkpoints/best.ckpt", None, False),
    ],
)
def test_a_cell_with_a_damaged_file_is_open_again(
    record: RunRecord, tmp_path: Path, name: str, content: bytes | None, open_again: bool
) -> None:
    store = RunStore(tmp_path)
    job = Job(record.cell, record.fingerprint)
    folder = store.path(*job)
    (folder / "checkpoints").mkdir(parents=True)
    for file in ("history.csv", "predictions.parquet", "checkpoints/best.ckpt"):
        (folder / file).write_bytes(b"other text!")
    sums = checksums(folder, ["history.csv", "predictions.parquet", "checkpoints/best.ckpt", "validation.parquet"])
    written = store.write(replace(record, status="done", files=sums))
    assert store.ended(job) == written
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert (store.ended(job) is None) is open_again
    assert (name in store.damage(job)) is open_again


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError

    with pytest.raises(OSError):
        write_atomically(path, fail)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "old")]


def test_writers_with_one_process_id_on_two_machines_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "file"

    def write_while_another_does(temporary: Path) -> None:
        write_atomically(path, lambda other: other.write_text("theirs"))
        temporary.write_text("ours")
        write_atomically(path, lambda other: other.write_text("theirs again"))
        assert temporary.read_text() == "ours"

    write_atomically(path, write_while_another_does)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("file", "ours")]


def test_scores_that_are_not_there_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="osteomark score"):
        RunStore(tmp_path).scores()
