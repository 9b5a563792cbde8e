"""Landmark methods: one module per paper, found by name.

`discover()` scans this package, the entry points `osteomark.methods` and any file given by path. A class that states
its `variants` is a method; a module holds at least one. There is no list to edit.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from itertools import chain
from pathlib import Path
from types import ModuleType

from methods.base import Method


def discover(plugins: Sequence[Path | str] = ()) -> dict[str, type[Method]]:
    """Return every method: name (that of its first variant) -> class.

    Raises:
        TypeError: A module defines no method.
        ValueError: Two modules claim one variant name, or a plugin file is not there or cannot be imported.
    """
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
        if not module.ispkg and module.name != "base"
    ]
    modules += [importlib.import_module(entry.module) for entry in entry_points(group="osteomark.methods")]
    modules += [_load_file(Path(path)) for path in plugins]
    found: dict[str, type[Method]] = {}
    owners: dict[str, str] = {}
    for method in chain.from_iterable(map(_methods_of, modules)):
        for variant in method.variants:
            if variant in owners:
                raise ValueError(f"{method.__module__} and {owners[variant]} both define the variant {variant!r}.")
            owners[variant] = method.__module__
        found[next(iter(method.variants))] = method
    return dict(sorted(found.items()))


def methods_of_file(path: Path) -> list[type[Method]]:
    """Return the methods that a file defines, wherever it lies.

    Raises:
        TypeError: It defines none.
        ValueError: It is not there or cannot be imported.
    """
    return _methods_of(_load_file(path))


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ValueError(f"there is no plugin file {path}; --plugin takes the path of a Python file.")
    name = f"osteomark_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file; --plugin takes a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a file from outside raises
        del sys.modules[name]
        place = f"{path}{_line_of(error, path)}"
        raise ValueError(f"{place} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def _line_of(error: Exception, path: Path) -> str:
    """Name the line of a file at which an import failed, `:12`; nothing where it was not in the file."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == path.absolute()]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    return f":{line}" if line else ""


def _methods_of(module: ModuleType) -> list[type[Method]]:
    """Return the methods that a module defines, not those it imports."""
    found = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Method) and member.__module__ == module.__name__ and "variants" in vars(member)
    ]
    if not found:
        raise TypeError(f"{module.__file__} must define a Method with `variants`, but defines none.")
    return found
