"""`osteomark cache`: what the cache of films holds, and clearing it."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmark.cli.main import main
from datamodules.components.images.cache_folder import CacheFolder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    for dataset, count in (("hand", 3), ("aasce", 1)):
        folder = CacheFolder(tmp_path, dataset)
        for place in range(count):
            folder.write_array(f"{place:032x}", np.zeros((100, 100), np.uint8))
    return tmp_path


def test_files_and_size_of_each_dataset_are_shown(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--folder", str(cache)]) == 0
    lines = capsys.readouterr().out.split("\n")
    rows = {line.split()[0]: line.split()[1:4] for line in lines[1:3]}
    assert rows == {"aasce": ["1", "10.1", "kB"], "hand": ["3", "30.4", "kB"]}
    assert "40.5 kB of 50.0 GB (OSTEOMARK_CACHE_LIMIT)" in " ".join(lines)


def test_the_listing_as_json(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--folder", str(cache), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["datasets"]["hand"]["files"] == 3 and listed["limit"] == 50 * 10**9
    assert listed["bytes"] == sum(path.stat().st_size for path in cache.rglob("*.npy"))


def test_a_dataset_is_cleared_and_then_all(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", "--folder", str(cache), "--dataset", "hand"]) == 0
    assert "3 files removed, 30.4 kB" in capsys.readouterr().out
    assert len(list(cache.rglob("*.npy"))) == 1
    assert main(["cache", "clear", "--folder", str(cache)]) == 0
    assert not list(cache.rglob("*.npy"))


def test_an_unknown_dataset_is_named_with_those_that_are_there(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "clear", "--folder", str(cache), "--dataset", "hands"]) == 2
    assert "holds nothing of hands; it has aasce, hand." in capsys.readouterr().err


def test_a_cache_that_is_not_there_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--folder", str(tmp_path / "none")]) == 0
    assert "0 bytes of 50.0 GB" in " ".join(capsys.readouterr().out.split())
