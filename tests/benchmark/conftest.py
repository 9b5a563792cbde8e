"""A phantom dataset, plug-in methods and a context to run cells of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

import methods
from benchmark.cell import Budget, Cell, Context
from benchmark.lookup import effective_hparams, find_variant
from datamodules.phantom.hand.films import write_hand

PLUGINS = tuple(sorted((Path(__file__).parent / "plugins").glob("*.py")))


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small phantom of the hand dataset."""
    root = tmp_path_factory.mktemp("phantoms")
    write_hand(root / "hand", films=24)
    return root


@pytest.fixture
def context(phantoms: Path, tmp_path: Path) -> Context:
    """A fresh store."""
    return Context(tmp_path / "runs", {"hand": phantoms / "hand"}, plugins=PLUGINS)


@pytest.fixture(scope="session")
def make_cell() -> Callable[..., Cell]:
    """Build a cell of a variant on the hand phantom."""

    def make(
        variant: str, seed: int = 0, split: str = "fold1", budget: Budget | None = None, **hparams: object
    ) -> Cell:
        found = find_variant(variant, methods.discover(PLUGINS))
        effective = effective_hparams(found, hparams)
        return Cell("hand", "3-fold", split, found.method, variant, seed, effective, budget or Budget("test"))

    return make
