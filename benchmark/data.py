"""Where the datasets of a matrix lie: folders under a data root, or phantoms written on the spot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from datamodules.base import PHANTOM_MARK, DataError, LandmarkDataModule

DATA = Path("data")
PHANTOMS = DATA / "phantom"
CACHE = DATA / "cache"

Datasets = Mapping[str, type[LandmarkDataModule]]


def locate(name: str, kind: type[LandmarkDataModule], root: Path) -> Path:
    """Return the folder of a dataset below `root`, under any of the names by which it is commonly found, or its own.

    Raises:
        DataError: There is none.
    """
    if kind.home is not None:
        return kind.home
    folders = dict.fromkeys((name, *kind.folders))
    for folder in folders:
        if (root / folder).is_dir():
            return root / folder
    raise DataError(f"{root} has no folder {' or '.join(folders)} for {kind.title}. {kind.obtain}")


def write_phantom(name: str, kind: type[LandmarkDataModule], root: Path, scale: int = 1) -> Path:
    """Write a dataset's phantom to a folder of `root`, complete or not at all; one that is there stays.

    Args:
        name: The folder's name.
        kind: The dataset.
        root: Where the folder goes.
        scale: How many times the usual number of films to draw.
    """
    folder = root / name
    if not folder.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        temporary = root / f".{name}.{os.getpid()}"
        try:
            kind.write_phantom(temporary, scale=scale)
            (temporary / PHANTOM_MARK).write_text("These films were drawn by Osteomark; they show no patient.\n")
            os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder
