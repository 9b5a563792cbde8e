"""Missing, unreadable and contradictory files: named, and left out only when asked."""

from collections.abc import Callable
from pathlib import Path

import pytest

from datamodules import discover
from datamodules.audit.check import check
from datamodules.base import DataError, LandmarkDataModule

DATASETS = discover()
Fresh = Callable[[str], Path]


def some_case(dataset: type[LandmarkDataModule], root: Path) -> tuple[str, Path]:
    """Return the name and the film of a training case."""
    data = dataset(root)
    name = data.split.train[0]
    return name, data.inventory.cases[name].film


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_film_is_named_and_left_out_only_when_asked(fresh: Fresh, name: str) -> None:
    root = fresh(name)
    case, film = some_case(DATASETS[name], root)
    film.unlink()
    with pytest.raises(DataError, match=rf"lacks a file .*{film.stem}"):
        _ = DATASETS[name](root).inventory
    data = DATASETS[name](root, allow_missing=True)
    assert case not in {*data.inventory.cases, *data.split.train}
    assert film.stem in data.inventory.missing[0]


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize("kept", [0.0, 0.6])
def test_an_unreadable_film_is_named_and_left_out_only_when_asked(fresh: Fresh, name: str, kept: float) -> None:
    root = fresh(name)
    case, film = some_case(DATASETS[name], root)
    film.write_bytes(film.read_bytes()[: int(kept * film.stat().st_size)])
    with pytest.raises(DataError, match=film.name) as error:
        _ = DATASETS[name](root).inventory
    assert "--allow-missing" in str(error.value)
    data = DATASETS[name](root, allow_missing=True)
    assert case not in {*data.inventory.cases, *data.split.train}
    assert film.name in data.inventory.unreadable[0]


@pytest.mark.parametrize("name", DATASETS)
def test_check_lists_what_is_missing_and_unreadable_and_what_still_runs(fresh: Fresh, name: str) -> None:
    root = fresh(name)
    data = DATASETS[name](root)
    gone, broken = (data.inventory.cases[case].film for case in data.split.train[:2])
    gone.unlink()
    broken.write_bytes(b"no film")
    report = check(DATASETS[name], root)
    assert report.usable
    assert len(report.absent) == 2
    assert "Missing files (1)" in report.text
    assert "Unreadable films and labels (1)" in report.text
    assert gone.stem in report.text
    assert broken.name in report.text
    assert "runs with --allow-missing" in report.text


@pytest.mark.parametrize("name", DATASETS)
def test_check_calls_a_whole_folder_complete(tiny_roots: dict[str, Path], name: str) -> None:
    report = check(DATASETS[name], tiny_roots[name])
    assert report.usable
    assert not report.absent
    assert report.text.count("complete (") == sum(len(p.splits) for p in DATASETS[name].protocols)
    assert "Missing" not in str(report)


@pytest.mark.parametrize("name", DATASETS)
def test_check_of_an_empty_folder_says_what_belongs_there_and_that_it_is_unusable(tmp_path: Path, name: str) -> None:
    report = check(DATASETS[name], tmp_path)
    assert not report.usable
    dataset = DATASETS[name]
    assert all(part in report.text for part in (dataset.obtain, dataset.licence, dataset.layout.strip()))
