"""Where the datasets of a matrix lie: folders under a data root, or phantoms written on the spot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from datamodules.base import PHANTOM_MARK, DataError, LandmarkDataModule

DATA = Path("data")
PHANTOMS = DATA / "phantom"
CACHE = DATA / "cache"

Datasets = Mapping[str, type[LandmarkDataModule]]


def locate(name: str, dataset_class: type[LandmarkDataModule], root: Path) -> Path:
    """Return the folder of a dataset below `root`, under any of the names by which it is commonly found, or its own.

    Raises:
        DataError: There is none.
    """
    if dataset_class.home is not None:
        return dataset_class.home
    folders = dict.fromkeys((name, *dataset_class.folders))
    for folder in folders:
        if (root / folder).is_dir():
            return root / folder
    raise DataError(f"{root} has no folder {' or '.join(folders)} for {dataset_class.title}. {dataset_class.obtain}")


def find(name: str, dataset_class: type[LandmarkDataModule], root: Path | None) -> Path:
    """Return the folder that somebody means by `root`: the dataset's own, or the one that holds it.

    Args:
        name: Of the dataset.
        dataset_class: The dataset; that of a card knows its folder.
        root: What was given; None where nothing was.

    Raises:
        ValueError: Nothing was given and the dataset does not know its folder.
    """
    if root is None and dataset_class.home is None:
        raise ValueError(f"where is {name}? Give its folder with --root.")
    try:
        return root if root and dataset_class.home else locate(name, dataset_class, root or Path())
    except DataError:
        return root or Path()


def films(name: str, dataset_class: type[LandmarkDataModule], data_root: Path | None) -> Path:
    """Return the folder of a dataset's films: below `data_root`, or its phantom, written where it lacks, without one.

    Raises:
        DataError: The data root does not hold the dataset.
    """
    if data_root is None and dataset_class.home is None:
        return write_phantom(name, dataset_class, PHANTOMS)
    return locate(name, dataset_class, data_root or Path())


def write_phantom(name: str, dataset_class: type[LandmarkDataModule], root: Path, scale: int = 1) -> Path:
    """Write a dataset's phantom to a folder of `root`, complete or not at all; one that is there stays.

    Args:
        name: The folder's name.
        dataset_class: The dataset.
        root: Where the folder goes.
        scale: How many times the usual number of films to draw.
    """
    folder = root / name
    if not folder.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        temporary = root / f".{name}.{uuid4().hex}"  # processes of other machines may have the same id
        try:
            dataset_class.write_phantom(temporary, scale=scale)
            (temporary / PHANTOM_MARK).write_text("These films were drawn by Osteomark; they show no patient.\n")
            try:
                os.replace(temporary, folder)
            except OSError:
                if not folder.is_dir():  # another process was first, with the same films
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder
