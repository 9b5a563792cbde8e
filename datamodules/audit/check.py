"""A plain account of a dataset folder: what is there, what is missing or odd, and what can be run with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.base import DataError, Inventory, LandmarkDataModule

SHOWN = 10


@dataclass(frozen=True)
class Report:
    """What `check` found.

    Attributes:
        text: The account, for a terminal.
        usable: Whether at least one split of one protocol can be trained and tested.
        absent: Every file that is missing or cannot be decoded.
    """

    text: str
    usable: bool
    absent: tuple[str, ...]

    def __str__(self) -> str:
        """Return the account."""
        return self.text


def check(dataset: type[LandmarkDataModule], root: Path | str) -> Report:
    """Read every label and decode every film of `root`, and say in plain words what can be done with it.

    Nothing that is wrong with the folder raises: it is part of the account.
    """
    inventories: list[Inventory] = []
    protocols: list[str] = []
    usable = False
    for protocol in dataset.protocols:
        data = dataset(root, protocol.name, allow_missing=True)
        caveats = f" [{'; '.join(protocol.caveats)}]" if protocol.caveats else ""
        protocols.append(f"  {protocol.name}: {protocol.description}{caveats}")
        try:
            inventories.append(data.inventory)
            states = dict(_split_states(data))
        except DataError as error:
            reason = str(error).partition(f" {dataset.obtain}")[0]
            protocols.append(f"    cannot be run: {reason}")
            continue
        usable = usable or any(can_run for can_run, _ in states.values())
        protocols += [f"    {name}{words}" for name, (_, words) in states.items()]
    head = [f"{dataset.title}", f"Folder: {dataset(root).folder}"]
    head += [f"How to get it: {dataset.obtain}", f"Licence: {dataset.licence}"]
    head.append(f"Landmarks: {len(dataset.schema)}; SDR radii: {', '.join(f'{radius:g}' for radius in dataset.radii)}")
    body = [*_contents(inventories), "\nProtocols (the first is the default):", *protocols]
    layout = [] if usable else [f"\nExpected layout:\n{dataset.layout.strip()}"]
    absent = _union(files for found in inventories for files in (found.missing, found.unreadable))
    return Report("\n".join([*head, *body, *layout]), usable, tuple(absent))


def _contents(inventories: Sequence[Inventory]) -> Iterator[str]:
    """Describe the folder: what any of the protocols finds."""
    cases = {name for inventory in inventories for name in inventory.cases}
    yield f"Cases with both film and labels: {len(cases)}"
    yield from _section("Missing files", _union(inventory.missing for inventory in inventories))
    yield from _section("Unreadable films", _union(inventory.unreadable for inventory in inventories))
    oddities = _union(inventory.oddities for inventory in inventories)
    yield from _section("Odd labels, kept as they are", oddities, len(oddities))
    yield from _section("Notes", _union(inventory.notes for inventory in inventories))


def _split_states(data: LandmarkDataModule) -> Iterator[tuple[str, tuple[bool, str]]]:
    """Yield each split's name with whether it can be run, and with how many of its published cases."""
    present = data.inventory.cases
    for split in data.published:
        parts = {"train": split.train, "val": split.val, **split.tests}
        counts = {part: (sum(case in present for case in cases), len(cases)) for part, cases in parts.items()}
        tested = any(counts[test][0] for test in split.tests)
        can_run = bool(counts["train"][0]) and tested
        complete = all(there == published for there, published in counts.values())
        words = ", ".join(
            f"{part} {there}" + ("" if there == published else f" of {published}")
            for part, (there, published) in counts.items()
        )
        verdict = "cannot be run" if not can_run else "complete" if complete else "runs with --allow-missing"
        yield ("" if len(data.protocol.splits) == 1 else f"{split.name}: "), (can_run, f"{verdict} ({words})")


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
