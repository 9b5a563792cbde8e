"""Where the datasets of a matrix lie: folders under a data root, or phantoms written on the spot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from datamodules.base import PHANTOM_MARK, DataError, LandmarkDataModule

DATA = Path("data")
PHANTOMS = DATA / "phantom"
CACHE = DATA / "cache"

Datasets = Mapping[str, type[LandmarkDataModule]]


def locate(name: str, kind: type[LandmarkDataModule], root: Path) -> Path:
    """Return the folder of a dataset below `root`, under any of the names by which it is commonly found.

    Raises:
        DataError: There is none.
    """
    folders = dict.fromkeys((name, *kind.folders))
    for folder in folders:
        if (root / folder).is_dir():
            return root / folder
    raise DataError(f"{root} has no folder {' or '.join(folders)} for {kind.title}. {kind.obtain}")


def write_phantom(name: str, kind: type[LandmarkDataModule], root: Path) -> Path:
    """Write a dataset's phantom to a folder of `root`, complete or not at all; one that is there stays."""
    folder = root / name
    if not folder.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        temporary = root / f".{name}.{os.getpid()}"
        try:
            kind.write_phantom(temporary)
            (temporary / PHANTOM_MARK).write_text("These films were drawn by Osteomark; they show no patient.\n")
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def describe_folder(kind: type[LandmarkDataModule], root: Path) -> tuple[list[str], bool]:
    """Say in plain words what a folder holds of a dataset.

    Args:
        kind: The dataset.
        root: Its folder.

    Returns:
        Lines for a reader, and whether the dataset is complete.

    Raises:
        DataError: The folder is not this dataset, or a label file is broken.
    """
    data = kind(root, allow_missing=True)
    found = data.inventory
    absent = (*found.missing, *found.unreadable)
    lines = [
        f"{kind.title} in {root}",
        f"Licence: {kind.licence}",
        f"Landmarks: {len(kind.schema)}; SDR radii: {', '.join(f'{radius:g}' for radius in kind.radii)}.",
        f"There are {len(found.cases)} cases with film and labels.",
        *_section(f"{len(absent)} files are missing or unreadable", absent),
        *([f"How to get it: {kind.obtain}"] if absent else ["Nothing is missing."]),
        *_section("Notes", found.notes),
        *_section(f"{len(found.oddities)} odd labels, all kept", found.oddities),
        *_section("Protocols (the first is the default)", _protocols(kind, root)),
    ]
    return lines, not absent


def _section(title: str, items: Iterable[str]) -> list[str]:
    rows = [f"  {item}" for item in items]
    return [f"{title}:", *rows] if rows else []


def _protocols(kind: type[LandmarkDataModule], root: Path) -> list[str]:
    """Return a line per protocol with the sizes of its first split, in the cases that are there."""
    lines = []
    for protocol in kind.protocols:
        try:
            split = kind(root, protocol.name, allow_missing=True).split
        except DataError as error:
            lines.append(f"{protocol.name}: cannot be run, {error}")
            continue
        tests = ", ".join(f"{name} {len(cases)}" for name, cases in split.tests.items())
        folds = f"{len(protocol.splits)} splits, the first: " if len(protocol.splits) > 1 else ""
        caveats = f" [{'; '.join(protocol.caveats)}]" if protocol.caveats else ""
        sizes = f"{folds}train {len(split.train)}, val {len(split.val)}, {tests}"
        lines.append(f"{protocol.name}: {protocol.description} ({sizes}){caveats}")
    return lines
