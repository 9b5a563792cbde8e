"""Lists of methods, datasets and metrics, without importing them where their sources have not changed.

Importing the plugins takes seconds, so what a list says is kept in the user's cache folder beside a hash of everything
that it depends on: all files of the plugin packages and the versions of Python and of the libraries below them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from platformdirs import user_cache_path

from benchmark.store import write_atomically

PACKAGES: Final = ("methods", "metrics", "datamodules")
LIBRARIES: Final = ("lightning", "timm", "torch")

What = Literal["methods", "datasets", "metrics"]
Entries = list[dict[str, Any]]


def list_plugins(what: What, plugins: Sequence[Path] = (), cards: Sequence[str] = ()) -> Entries:
    """Return what there is to choose from.

    Args:
        what: Which list.
        plugins: Python files with methods.
        cards: Files of cards, whose datasets are listed, too.

    Raises:
        ValueError: A plugin file or a card is wrong.
    """
    if plugins or cards or entry_points(group="osteomark.methods"):  # files outside the packages are not in the hash
        return _imported(what, plugins, cards)
    path, key = user_cache_path("osteomark") / f"{what}.json", _key()
    with suppress(OSError, ValueError, KeyError, TypeError):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["key"] == key:
            return list(stored["entries"])
    entries = _imported(what)
    with suppress(OSError):  # a cache folder that cannot be written only costs time
        write_atomically(path, lambda file: file.write_text(json.dumps({"key": key, "entries": entries})))
    return entries


def _imported(what: What, plugins: Sequence[Path] = (), cards: Sequence[str] = ()) -> Entries:
    """Import the plugins and return what is said of each."""
    import metrics
    from benchmark.lookup import discover_methods
    from datamodules import DatasetRegistry

    datasets = DatasetRegistry(cards) if what == "datasets" or cards else {}
    if what == "methods":
        return [
            {
                "name": name,
                "variants": list(method.variants),
                "paper": method.paper.title,
                "year": method.paper.year or "",
            }
            for name, method in discover_methods(plugins).items()
        ]
    if what == "datasets":
        return [
            {
                "name": name,
                "landmarks": len(dataset.schema),
                "protocols": [protocol.name for protocol in dataset.protocols],
                "title": dataset.title,
            }
            for name, dataset in datasets.items()
        ]
    return [
        {"name": name, "requires": sorted(metric.requires), "title": metric.title}
        for name, metric in metrics.discover().items()
    ]


def _key() -> str:
    """Hash what the lists depend on."""
    digest = hashlib.sha256(repr((sys.version, [version(name) for name in LIBRARIES])).encode())
    digest.update(Path(__file__).read_bytes())
    for package in PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(path for path in Path(folder).rglob("*") if path.suffix != ".pyc" and path.is_file()):
                digest.update(f"{package}/{path.relative_to(folder)} {path.stat().st_size}\0".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()
