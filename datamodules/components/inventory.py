"""What a dataset folder holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from datamodules.components.errors import DataError
from datamodules.components.images.statistics import FilmStatistics, odd_films, reading_notes
from datamodules.components.samples import Case

ALL_FILMS = "all films"
"""Stands in an oddity where the name of a case would."""


@dataclass(frozen=True)
class Inventory:
    """What a dataset folder holds.

    Attributes:
        cases: Every case that has both film and labels, by name.
        missing: Files that should be there and are not, relative to the root.
        oddities: One sentence per odd label or film that was kept; it begins with the case's name, or
            `ALL_FILMS`, and a colon.
        notes: What the adapter did that a user should know (rescaled labels, say).
        unreadable: One sentence per film that is there and cannot be decoded, naming it.
        statistics: The numbers of every decoded film, by case.
    """

    cases: Mapping[str, Case]
    missing: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    statistics: Mapping[str, FilmStatistics] = field(default_factory=dict)

    @property
    def odd_cases(self) -> tuple[str, ...]:
        """The cases that an oddity names."""
        if any(text.startswith(f"{ALL_FILMS}: ") for text in self.oddities):
            return tuple(self.cases)
        return tuple(name for name in self.cases if any(text.startswith(f"{name}: ") for text in self.oddities))


def decode_all(inventory: Inventory, statistics: Callable[[Case], FilmStatistics]) -> Inventory:
    """Decode every film of an inventory: those that cannot be are listed, those that show nothing are odd.

    Args:
        inventory: As an adapter scanned it.
        statistics: Decodes a case's film; a DataError says why it cannot be.
    """
    with ThreadPoolExecutor() as pool:
        results = pool.map(lambda case: _read(case, statistics), inventory.cases.values())
        read = dict(zip(inventory.cases, results, strict=True))
    found = {name: item for name, item in read.items() if isinstance(item, FilmStatistics)}
    return replace(
        inventory,
        cases={name: inventory.cases[name] for name in found},
        unreadable=(*inventory.unreadable, *(item for item in read.values() if isinstance(item, str))),
        oddities=(*inventory.oddities, *_unlabelled(inventory.cases), *odd_films(found)),
        notes=(*inventory.notes, *reading_notes(found)),
        statistics=found,
    )


def _read(case: Case, statistics: Callable[[Case], FilmStatistics]) -> FilmStatistics | str:
    try:
        return statistics(case)
    except DataError as error:
        return str(error)


def _unlabelled(cases: Mapping[str, Case]) -> Iterator[str]:
    for name, case in cases.items():
        if not case.visible.any():
            yield f"{name}: no landmark is labelled, so that the film neither trains nor validates."
