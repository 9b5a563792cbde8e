"""Datasets of landmark films: one module per dataset, found by name.

`discover()` scans this package; a module holds exactly one `LandmarkDataModule`. There is no list to edit. A
`DatasetRegistry` holds these, those that cards, YAML files, describe, and those whose descriptions a run store keeps so
that their runs can be scored wherever the store lies. Importing this package imports no dataset.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datamodules.base import LandmarkDataModule


def discover() -> dict[str, type[LandmarkDataModule]]:
    """Return every dataset of this package, file name -> class.

    Raises:
        TypeError: A module does not hold exactly one concrete `LandmarkDataModule` of its own.
    """
    names = (module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg and module.name != "base")
    return {name: _only_dataset(name) for name in sorted(names)}


class DatasetRegistry(Mapping[str, "type[LandmarkDataModule]"]):
    """Every dataset by its name. Between processes it travels as the files that it was made of.

    Args:
        cards: Files of cards.
        descriptions: A folder of what `datamodules.private.write_description` wrote; it may be absent.

    Raises:
        DataError: As of `add_card`.
    """

    def __init__(self, cards: Iterable[Path | str] = (), descriptions: Path | None = None) -> None:
        self._descriptions = descriptions
        self._own = discover()
        self._described: dict[str, type[LandmarkDataModule]] = {}
        self._cards: dict[str, tuple[Path, type[LandmarkDataModule]]] = {}
        if descriptions is not None and descriptions.is_dir():
            from datamodules.private import read_description

            self._described = {path.stem: read_description(path) for path in sorted(descriptions.glob("*.json"))}
        for path in cards:
            self.add_card(path)

    def __getitem__(self, name: str) -> type[LandmarkDataModule]:
        """Return a dataset's class."""
        return self._classes[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names: the package's own first, then those of descriptions and cards."""
        return iter(self._classes)

    def __len__(self) -> int:
        """Return the number of datasets."""
        return len(self._classes)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the classes of cards behind, which are made on the spot and cannot travel."""
        return type(self), (tuple(path for path, _ in self._cards.values()), self._descriptions)

    @property
    def _classes(self) -> dict[str, type[LandmarkDataModule]]:
        return self._own | self._described | {name: dataset_class for name, (_, dataset_class) in self._cards.items()}

    def find(self, name: str) -> type[LandmarkDataModule]:
        """Return the class of a stored run's dataset.

        Raises:
            ValueError: There is none of this name.
        """
        if name not in self:
            raise ValueError(f"the dataset {name!r} of a stored run is not among {', '.join(self)}.")
        return self[name]

    def add_card(self, path: Path | str) -> str:
        """Read a card, add its dataset, and return the dataset's name.

        Raises:
            DataError: There is no such card, something in it is wrong, or another dataset has its name.
        """
        from datamodules.base import DataError
        from datamodules.components.cards.card import Card
        from datamodules.private import dataset_of

        card = Card.load(Path(path))
        known = self._cards.get(card.name)
        if (known and known[0] != card.file) or (not known and card.name in self._own):
            raise DataError(
                f"the card {card.file.name} is called {card.name}, as another dataset is; change its `name`."
            )
        self._cards[card.name] = card.file, dataset_of(card)
        return card.name

    def name_of(self, given: str) -> str:
        """Return the name of a dataset that is given by its name or by its card's file, which is read."""
        return self.add_card(given) if is_card(given) else given


def is_card(name: str) -> bool:
    """Tell whether a dataset is named by a card's file.

    Example:
        >>> is_card("cards/chest.yaml"), is_card("hand")
        (True, False)
    """
    return Path(name).suffix in (".yaml", ".yml")


def _only_dataset(name: str) -> type[LandmarkDataModule]:
    from datamodules.base import LandmarkDataModule

    module = importlib.import_module(f"{__name__}.{name}")
    found = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, LandmarkDataModule) and member.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__file__} must define exactly one LandmarkDataModule, but defines {len(found)}.")
    return found[0]
