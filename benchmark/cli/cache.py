"""The commands around the cache of resized films."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal
from rich.table import Table

from benchmark.cli.console import console, print_json

if TYPE_CHECKING:
    from datamodules.components.images.cache_folder import CacheFile


def show(*, folder: Path | None = None, json: bool = False) -> int:
    """Show what the cache of resized films holds of each dataset, and how large it may become.

    Args:
        folder: Of the cache, if not `data/cache`.
        json: Print JSON.
    """
    from benchmark.dataset_folders import CACHE
    from datamodules.components.images.cache_folder import LIMIT_VARIABLE, cache_files, size_limit

    folder = folder or CACHE
    datasets: dict[str, list[CacheFile]] = defaultdict(list)
    for file in cache_files(folder):
        datasets[file.dataset].append(file)
    rows = {name: (len(files), sum(file.size for file in files)) for name, files in sorted(datasets.items())}
    total, limit = sum(size for _, size in rows.values()), size_limit()
    if json:
        listed = {name: {"files": count, "bytes": size} for name, (count, size) in rows.items()}
        return print_json({"folder": str(folder), "bytes": total, "limit": limit, "datasets": listed})
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("dataset", "files", "size", "last used"):
        table.add_column(title, justify="left" if title == "dataset" else "right")
    for name, (count, size) in rows.items():
        last = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(file.used for file in datasets[name])))
        table.add_row(name or "(none)", str(count), decimal(size), last)
    console.print(table)
    console.print(f"{folder}: {decimal(total)} of {decimal(limit)} ({LIMIT_VARIABLE})", highlight=False)
    return 0


def clear(*, folder: Path | None = None, dataset: str = "") -> int:
    """Remove resized films from the cache; they are made again when they are needed.

    Args:
        folder: Of the cache, if not `data/cache`.
        dataset: Only those of this dataset.
    """
    from benchmark.dataset_folders import CACHE
    from datamodules.components.images import cache_folder

    folder = folder or CACHE
    known = sorted({file.dataset for file in cache_folder.cache_files(folder)})
    if dataset and dataset not in known:
        raise ValueError(f"{folder} holds nothing of {dataset}; it has {', '.join(known) or 'no file'}.")
    count, size = cache_folder.clear(folder, dataset)
    console.print(f"{count} files removed, {decimal(size)}", highlight=False)
    return 0
