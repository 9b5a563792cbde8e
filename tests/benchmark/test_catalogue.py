"""The lists of plugins are read from an index as long as no source has changed, and never say what is not so."""

import json
import shutil
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

import metrics
from benchmark import catalogue

PLUGIN = Path(__file__).parent / "plugins" / "steady.py"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the metrics, which stands for all packages, and an empty cache folder."""
    folder = tmp_path / "metrics"
    shutil.copytree(Path(metrics.__file__).parent, folder)
    spec = ModuleSpec("metrics", None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    monkeypatch.setattr(catalogue, "find_spec", lambda name: spec)
    monkeypatch.setattr(catalogue, "user_cache_path", lambda name: tmp_path / "cache" / name)
    return folder


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was listed by importing the plugins."""
    imported: list[str] = []
    original: Callable[..., catalogue.Entries] = catalogue._imported

    def count(what: catalogue.What, *arguments: object) -> catalogue.Entries:
        imported.append(what)
        return original(what, *arguments)

    monkeypatch.setattr(catalogue, "_imported", count)
    return imported


def test_a_second_list_imports_nothing_and_says_the_same(package: Path, imports: list[str]) -> None:
    first = catalogue.list_plugins("metrics")
    assert {entry["name"] for entry in first} == set(metrics.discover())
    assert catalogue.list_plugins("metrics") == first
    assert imports == ["metrics"]


@pytest.mark.parametrize("name", ["sdr.py", "new.py", "facts.yaml"])
def test_a_changed_or_new_file_is_imported_again(name: str, package: Path, imports: list[str]) -> None:
    catalogue.list_plugins("metrics")
    with (package / name).open("a") as file:
        file.write("\n")
    catalogue.list_plugins("metrics")
    catalogue.list_plugins("metrics")
    assert imports == ["metrics"] * 2


def test_a_removed_or_renamed_file_and_a_damaged_index_are_noticed(package: Path, imports: list[str]) -> None:
    right = catalogue.list_plugins("metrics")
    (package / "sdr.py").rename(package / "success.py")
    assert catalogue.list_plugins("metrics") == right
    (package / "success.py").unlink()
    assert catalogue.list_plugins("metrics") == right
    (index,) = package.parent.rglob("metrics.json")
    for damage in ("[]", "{", json.dumps({"key": 1})):
        index.write_text(damage)
        assert catalogue.list_plugins("metrics") == right
    assert len(imports) == 6


def test_plugins_of_ones_own_are_never_taken_from_the_index(package: Path, imports: list[str]) -> None:
    for _ in range(2):
        names = {entry["name"] for entry in catalogue.list_plugins("methods", plugins=[PLUGIN])}
        assert "steady" in names
    assert "steady" not in {entry["name"] for entry in catalogue.list_plugins("methods")}
    assert imports == ["methods"] * 3
