"""Datasets of landmark films: one module per dataset, found by name.

`discover()` scans this package; a module holds exactly one `LandmarkDataModule`. There is no list to edit.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from datamodules.base import LandmarkDataModule


def discover() -> dict[str, type[LandmarkDataModule]]:
    """Return every dataset of this package: file name -> class.

    Raises:
        TypeError: A module does not hold exactly one concrete `LandmarkDataModule` of its own.
    """
    names = (module.name for module in pkgutil.iter_modules(__path__) if not module.ispkg and module.name != "base")
    return {name: _only_dataset(name) for name in sorted(names)}


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
