"""The command `osteomark data readers`: how far a dataset's readers are from each other."""

from __future__ import annotations

from pathlib import Path


def readers(
    name: str,
    *,
    root: Path,
    store: Path = Path("runs"),
    protocols: list[str] = [],  # noqa: B006  # never changed
) -> int:
    """Store what a dataset's readers marked as runs, so that leaderboards show how far they are from each other.

    Args:
        name: Of a dataset that publishes several readers.
        root: Its folder, or the folder that holds it.
        store: Folder of the runs.
        protocols: Only under these protocols; under all whose truth is not the reader's own if none is given.
    """
    import datamodules
    from benchmark import dataset_folders as data
    from benchmark.lookup import choose
    from benchmark.reader_runs import write_readers

    known = datamodules.discover()
    name = choose(name, known, "dataset")
    folder = data.find(name, known[name], root)
    for record in write_readers(name, known[name], folder, store, protocols, cache=data.CACHE):
        print(record.folder)
    print(f"next: osteomark leaderboard --store {store}")
    return 0
