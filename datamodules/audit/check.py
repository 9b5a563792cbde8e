"""A plain account of a dataset folder: what is there, what is missing or odd, and what can be run with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from datamodules.base import Case, DataError, Inventory, LandmarkDataModule

SHOWN = 10
MOST = 0.5
"""Share of the films from which on odd ones are most."""


@dataclass(frozen=True)
class FolderReport:
    """What `check` found.

    Attributes:
        text: The account, for a terminal.
        facts: Every number and sentence of it, for machines.
        usable: Whether at least one split of one protocol can be trained and tested.
        mostly_odd: Whether more than half of the films are odd, or their labels.
        absent: Every file that is missing or cannot be decoded.
    """

    text: str
    facts: Mapping[str, Any]
    usable: bool
    mostly_odd: bool
    absent: tuple[str, ...]

    def __str__(self) -> str:
        """Return the account."""
        return self.text

    @property
    def sound(self) -> bool:
        """Whether all is there, can be run and is not odd for the most part."""
        return self.usable and not self.mostly_odd and not self.absent


def check(dataset: type[LandmarkDataModule], root: Path | str) -> FolderReport:
    """Read every label and decode every film of `root`, and say in plain words what can be done with it.

    Nothing that is wrong with the folder raises: it is part of the account.
    """
    inventories: list[Inventory] = []
    protocols: list[str] = []
    verdicts: dict[str, Any] = {}
    for protocol in dataset.protocols:
        data = dataset(root, protocol.name, allow_missing=True)
        caveats = f" [{'; '.join(protocol.caveats)}]" if protocol.caveats else ""
        protocols.append(f"  {protocol.name}: {protocol.description}{caveats}")
        try:
            inventories.append(data.scanned)
            states = verdicts[protocol.name] = dict(_split_states(data))
        except DataError as error:
            reason = str(error).partition(f" {dataset.obtain}")[0]
            protocols.append(f"    cannot be run: {reason}")
            verdicts[protocol.name] = reason
            continue
        protocols += [line for name, state in states.items() for line in _lines(name, state, len(states))]
    usable = any(state["runs"] for states in verdicts.values() if isinstance(states, dict) for state in states.values())
    head = [f"{dataset.title}", f"Folder: {dataset(root).folder}"]
    head += [f"How to get it: {dataset.obtain}", f"Licence: {dataset.licence}"]
    head.append(f"Landmarks: {len(dataset.schema)}; SDR radii: {', '.join(f'{radius:g}' for radius in dataset.radii)}")
    body = [*_contents(inventories, dataset), "\nProtocols (the first is the default):", *protocols]
    layout = [] if usable else [f"\nExpected layout:\n{dataset.layout.strip()}"]
    facts = _facts(inventories, dataset) | {"usable": usable, "protocols": verdicts}
    absent = tuple((*facts["missing"], *facts["unreadable"]))
    return FolderReport("\n".join([*head, *body, *layout]), facts, usable, any(map(_mostly_odd, inventories)), absent)


def concerns(data: LandmarkDataModule, name: str = "") -> Iterator[str]:
    """Yield what a split lacks for a training that means something, a sentence each.

    Args:
        data: The dataset.
        name: Of one of its splits; the chosen one if empty.
    """
    published = next(split for split in data.published if split.name == (name or data.split_name))
    (train, val, _), cases = data.present(published), data.inventory.cases
    if len(train) == 1:
        yield "only one film trains: methods that normalise over a batch need two or more."
    elif data.patient_rule and len({cases[case].patient for case in train}) == 1:
        yield "all films that train show one patient."
    if not val:
        drawn = f" (drawn for it: {len(published.val)})" if published.val else ""
        yield f"no film with a landmark validates{drawn}: the last epoch is kept instead of the best."


def _mostly_odd(inventory: Inventory) -> bool:
    return len(inventory.odd_cases) > MOST * len(inventory.cases)


def _contents(inventories: Sequence[Inventory], dataset: type[LandmarkDataModule]) -> Iterator[str]:
    """Describe the folder: what any of the protocols finds."""
    cases = _cases(inventories)
    yield f"Cases with both film and labels: {len(cases)}"
    patients = len({case.patient for case in cases.values()})
    yield f"Patients: {patients if dataset.patient_rule else 'not known, every film counts as one'}"
    yield from _section("Missing files", _union(inventory.missing for inventory in inventories))
    yield from _section("Unreadable films and labels", _union(inventory.unreadable for inventory in inventories))
    oddities = _union(inventory.oddities for inventory in inventories)
    yield from _section("Odd films and labels, kept as they are", oddities, len(oddities))
    yield from _section("Notes", _union(inventory.notes for inventory in inventories))


def _facts(inventories: Sequence[Inventory], dataset: type[LandmarkDataModule]) -> dict[str, Any]:
    """Return what `_contents` says as numbers and sentences, and the numbers of every film."""
    cases = _cases(inventories)
    statistics = {name: numbers for found in inventories for name, numbers in found.statistics.items()}
    return {
        "cases": len(cases),
        "patients": len({case.patient for case in cases.values()}) if dataset.patient_rule else None,
        "odd_cases": _union(inventory.odd_cases for inventory in inventories),
        **{
            name: _union(getattr(inventory, name) for inventory in inventories)
            for name in ("missing", "unreadable", "oddities", "notes")
        },
        "films": {
            name: {
                **{"height": case.size[0], "width": case.size[1], "landmarks": int(case.visible.sum())},
                "spacing": [value if value == value else None for value in case.spacing],  # NaN is no JSON
                **{"patient": case.patient, **statistics[name].facts},
            }
            for name, case in cases.items()
        },
    }


def _cases(inventories: Sequence[Inventory]) -> dict[str, Case]:
    return {name: case for inventory in inventories for name, case in inventory.cases.items()}


def _split_states(data: LandmarkDataModule) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each split's name with whether it can be run, and with how many of its published cases."""
    cases, odd_cases = data.inventory.cases, data.inventory.odd_cases
    odd = _mostly_odd(data.inventory)
    for published in data.published:
        train, val, tests = data.present(published)
        counts = {"train": (len(train), len(published.train)), "val": (len(val), len(published.val))}
        counts |= {name: (len(tests.get(name, ())), len(wanted)) for name, wanted in published.tests.items()}
        runs = bool(train and tests)
        complete = all(case in cases for case in chain(published.train, published.val, *published.tests.values()))
        whole = f"most films are odd: {len(odd_cases)} of {len(cases)}" if odd else "complete"
        verdict = "cannot be run" if not runs else whole if complete or odd else "runs with --allow-missing"
        yield (
            published.name,
            {"runs": runs, "verdict": verdict, "films": counts, "concerns": list(concerns(data, published.name))},
        )


def _lines(name: str, state: Mapping[str, Any], splits: int) -> Iterator[str]:
    """Yield a split's verdict and concerns for a terminal."""
    words = ", ".join(
        f"{part} {there}" + ("" if there == published else f" of {published}")
        for part, (there, published) in state["films"].items()
    )
    yield f"    {'' if splits == 1 else f'{name}: '}{state['verdict']} ({words})"
    yield from (f"      {concern}" for concern in state["concerns"])


def _union(groups: Iterable[Sequence[str]]) -> list[str]:
    return list(dict.fromkeys(item for group in groups for item in group))


def _section(title: str, items: Sequence[str], shown: int = SHOWN) -> Iterator[str]:
    """Yield a heading with a count and the first items, one a line; nothing without items."""
    if not items:
        return
    yield f"\n{title} ({len(items)}):"
    yield from (f"  {item}" for item in items[:shown])
    if len(items) > shown:
        yield f"  ... and {len(items) - shown} more"
