"""The folder of the film cache: bounded, shared, and healed after damage or deletion."""

import multiprocessing
import os
import time
from pathlib import Path

import numpy as np
import pytest

from datamodules.components.images import cache_folder
from datamodules.components.images.cache_folder import CacheFolder, cache_files, clear, shrink, size_limit

SHAPE = (40, 50)


def film(value: int) -> np.ndarray:
    return np.full(SHAPE, value, dtype=np.uint8)


def key(place: int) -> str:
    return f"{place:032x}"


def filled(root: Path, dataset: str = "hand", count: int = 5) -> CacheFolder:
    folder = CacheFolder(root, dataset)
    for place in range(count):
        folder.write_array(key(place), film(place))
    for age, file in enumerate(sorted(file.path for file in cache_files(root))):
        os.utime(file, (1000 + age, 1000 + age))
    return folder


def test_an_array_is_mapped_and_its_use_is_recorded(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    found = folder.read_array(key(3), SHAPE)
    assert found is not None and isinstance(found.base, np.memmap) and not found.flags.writeable
    assert np.array_equal(found, film(3))
    used = {file.path.stem: file.used for file in cache_files(tmp_path)}
    assert used.pop(key(3)) > time.time() - 60 and max(used.values()) < 2000


@pytest.mark.parametrize("place", [-1, -100, 200])
def test_a_single_changed_byte_is_found(tmp_path: Path, place: int) -> None:
    filled(tmp_path)
    (path,) = tmp_path.rglob(f"{key(3)}.npy")
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    folder = CacheFolder(tmp_path, "hand")
    assert folder.read_array(key(3), SHAPE) is None
    folder.write_array(key(3), film(3))
    found = folder.read_array(key(3), SHAPE)
    assert found is not None and np.array_equal(found, film(3))


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    folder = filled(tmp_path)
    size = next(cache_files(tmp_path)).size
    assert folder.read_array(key(0), SHAPE) is not None
    assert shrink(tmp_path, 5 * size) == (0, 0)
    assert shrink(tmp_path, 4 * size) == (2, 2 * size)  # a tenth of the limit is left free
    assert {file.path.stem for file in cache_files(tmp_path)} == {key(0), key(3), key(4)}
    assert folder.read_array(key(1), SHAPE) is None


def test_a_process_keeps_the_limit_while_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEOMARK_CACHE_LIMIT", "0.05 MB")
    folder = CacheFolder(tmp_path, "hand")
    for place in range(100):
        folder.write_array(key(place), film(place))
        assert sum(file.size for file in cache_files(tmp_path)) <= 50_000 + 50_000 / 100 + 2200
    assert folder.read_array(key(99), SHAPE) is not None and folder.read_array(key(0), SHAPE) is None


def test_a_mapped_array_outlives_its_file(tmp_path: Path) -> None:
    found = filled(tmp_path).read_array(key(2), SHAPE)
    assert clear(tmp_path)[0] == 5
    assert found is not None and np.array_equal(found, film(2))


def test_one_dataset_is_cleared_and_strange_files_stay(tmp_path: Path) -> None:
    filled(tmp_path, "hand"), filled(tmp_path, "aasce", count=2)
    strange = [tmp_path / "notes.txt", tmp_path / "hand" / "00" / "notes.npy", tmp_path / "hand" / "00" / "new.part"]
    for path in strange:
        path.write_text("mine")
    assert clear(tmp_path, "hand")[0] == 5
    assert {file.dataset for file in cache_files(tmp_path)} == {"aasce"}
    assert clear(tmp_path)[0] == 2 and all(path.is_file() for path in strange)


def test_what_a_killed_process_left_goes_after_a_day(tmp_path: Path) -> None:
    filled(tmp_path, count=1)
    left = tmp_path / "hand" / "00" / "tmp1.part"
    left.write_bytes(bytes(9))
    os.utime(left, (1, 1))
    shrink(tmp_path, 2140)
    assert not left.exists()


def hold(root: Path, locked: "multiprocessing.synchronize.Event", done: "multiprocessing.synchronize.Event") -> None:
    with cache_folder.FileLock(root / cache_folder.LOCK):
        locked.set()
        done.wait(60)


def test_one_process_removes_at_a_time(tmp_path: Path) -> None:
    filled(tmp_path)
    processes = multiprocessing.get_context("fork")
    locked, done = processes.Event(), processes.Event()
    other = processes.Process(target=hold, args=(tmp_path, locked, done))
    other.start()
    assert locked.wait(60)
    assert shrink(tmp_path, 1) == (0, 0)
    done.set()
    other.join()
    assert shrink(tmp_path, 1)[0] == 5


@pytest.mark.parametrize(("text", "size"), [("", 50 * 10**9), ("2GB", 2 * 10**9), ("1.5 MB", 1_500_000), ("0", 0)])
def test_a_limit_is_a_size_with_a_unit(text: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEOMARK_CACHE_LIMIT", text)
    assert size_limit() == size


def test_a_limit_that_is_no_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEOMARK_CACHE_LIMIT", "50")
    with pytest.raises(ValueError, match=r"OSTEOMARK_CACHE_LIMIT=50 is no size; write 500 MB"):
        CacheFolder(tmp_path, "hand")


def test_nothing_is_kept_where_the_limit_is_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEOMARK_CACHE_LIMIT", "0")
    filled(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
