"""Datasets of landmark films: one module per dataset, found by name.

`discover()` scans this package; a module holds exactly one `LandmarkDataModule`. There is no list to edit. A dataset
that is described by a card, a YAML file, is there too once `add_card` has read it; `recall_cards` brings back what a
run store remembers of cards, so that their runs can be scored wherever the store lies.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

from datamodules.base import DataError, LandmarkDataModule

_CARDS: dict[str, tuple[Path, type[LandmarkDataModule]]] = {}
_RECALLED: dict[str, type[LandmarkDataModule]] = {}


def discover() -> dict[str, type[LandmarkDataModule]]:
    """Return every dataset of this package, file name -> class, then those of cards.

    Raises:
        TypeError: A module does not hold exactly one concrete `LandmarkDataModule` of its own.
    """
    names = (module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg and module.name != "base")
    own = {name: _only_dataset(name) for name in sorted(names)}
    return {**own, **_RECALLED, **{name: kind for name, (_, kind) in _CARDS.items()}}


def is_card(name: str) -> bool:
    """Tell whether a dataset is named by a card's file.

    Example:
        >>> is_card("cards/chest.yaml"), is_card("hand")
        (True, False)
    """
    return Path(name).suffix in (".yaml", ".yml")


def add_card(path: Path | str) -> str:
    """Read a card, let `discover` know its dataset, and return the dataset's name.

    Raises:
        DataError: There is no such card, something in it is wrong, or another dataset has its name.
    """
    from datamodules.components.cards.card import Card
    from datamodules.private import dataset_of

    card = Card.load(Path(path))
    known = _CARDS.get(card.name)
    if (known and known[0] != card.file) or (not known and card.name in discover().keys() - _RECALLED.keys()):
        raise DataError(f"the card {card.file.name} is called {card.name}, as another dataset is; change its `name`.")
    _CARDS[card.name] = card.file, dataset_of(card)
    return card.name


def card_files() -> tuple[Path, ...]:
    """Return the files of all cards that were added."""
    return tuple(path for path, _ in _CARDS.values())


def recall_cards(folder: Path) -> None:
    """Let `discover` know the cards' datasets that `datamodules.private.remember` left in a folder."""
    from datamodules.private import recall

    _RECALLED.update({path.stem: recall(path) for path in sorted(folder.glob("*.json"))})


def _only_dataset(name: str) -> type[LandmarkDataModule]:
    module = importlib.import_module(f"{__name__}.{name}")
    found = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, LandmarkDataModule) and member.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__file__} must define exactly one LandmarkDataModule, but defines {len(found)}.")
    return found[0]
