"""Human rows: what one reader marked, stored as if a method had predicted it, so that the same evaluator scores it.

Such a run is marked (`RunRecord.human`): leaderboards show it without a rank, tests leave it out, and its predictions
are labels, which are never published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmark.cell import Budget, Cell
from benchmark.predictions import PREDICTIONS, case_rows, write_predictions
from benchmark.store import RunRecord, RunStore, utc_now
from datamodules.base import Case, DataError, LandmarkDataModule, Protocol
from datamodules.components.badges import PHANTOM
from datamodules.components.images.cache import FilmCache

METHOD = "reader"
BUDGET = Budget("human")


def write_readers(
    name: str,
    dataset_class: type[LandmarkDataModule],
    root: Path,
    store: Path | str,
    protocols: Sequence[str] = (),
    cache: Path | None = None,
    *,
    allow_missing: bool = False,
) -> list[RunRecord]:
    """Write one run per reader, protocol and split.

    A reader is compared under every protocol whose truth is made of readers, unless that truth is the reader's own.

    Args:
        name: Of the dataset.
        dataset_class: Of the dataset; its `readers` say who marked which truth.
        root: Its folder.
        store: The run store's folder.
        protocols: Names of protocols; all if there is none.
        cache: Folder for decoded films.
        allow_missing: Go on without the cases whose files are missing or unreadable.

    Returns:
        The records, in the protocols' order.

    Raises:
        ValueError: The dataset does not publish its readers apart, or a protocol is unknown.
        DataError: The folder is not complete, or a reader did not mark a point that the truth has.
    """
    if not dataset_class.readers:
        raise ValueError(f"{name} publishes no reader apart from the truth, so there is nothing to compare.")
    chosen = [dataset_class.find_protocol(protocol) for protocol in protocols] or dataset_class.protocols
    films = FilmCache(cache, name)

    def opened(protocol: str, split: str = "") -> LandmarkDataModule:
        data = dataset_class(root, protocol, split, allow_missing=allow_missing)
        data.films = films
        return data

    own = reader_cases(dataset_class, opened)
    return [
        _write(name, opened(protocol=protocol.name, split=split), reader, own[reader], RunStore(store))
        for protocol in chosen
        for reader in _compared(dataset_class, protocol)
        for split in protocol.splits
    ]


def reader_cases(
    dataset_class: type[LandmarkDataModule], opened: Callable[..., LandmarkDataModule]
) -> dict[str, Mapping[str, Case]]:
    """Return each reader's own cases; nothing where a dataset does not publish its readers apart.

    Args:
        dataset_class: Of the dataset; its `readers` say who marked which truth.
        opened: Opens it under the `protocol` of that name.
    """
    return {reader: opened(protocol=_own(dataset_class, reader)).inventory.cases for reader in _readers(dataset_class)}


def _readers(dataset_class: type[LandmarkDataModule]) -> list[str]:
    return list(dict.fromkeys(reader for behind in dataset_class.readers.values() for reader in behind))


def _compared(dataset_class: type[LandmarkDataModule], protocol: Protocol) -> Iterator[str]:
    """Name the readers whose marks differ from a protocol's truth."""
    behind = dataset_class.readers.get(protocol.truth, ())
    return (reader for reader in _readers(dataset_class) if behind and behind != (reader,))


def _own(dataset_class: type[LandmarkDataModule], reader: str) -> str:
    """Return a protocol whose truth is a reader's own marks, through which the dataset reads them."""
    return next(p.name for p in dataset_class.protocols if dataset_class.readers.get(p.truth) == (reader,))


def _write(name: str, data: LandmarkDataModule, reader: str, marked: Mapping[str, Case], store: RunStore) -> RunRecord:
    """Write one run: the reader's points of the split's test cases beside the protocol's truth."""
    hparams = (("reader", reader),)
    cell = Cell(name, data.protocol.name, data.split_name, METHOD, f"{METHOD}-{reader}", 0, hparams, BUDGET)
    rows, tests, known = [], data.split.tests, data.inventory.cases
    for test_set, cases in tests.items():
        for case in cases:
            _refuse_gaps(data, reader, case, marked)
            rows.append(case_rows(test_set, known[case], data.schema.names, marked[case].points))
    patients = data.first_films(case for cases in tests.values() for case in cases)
    write_predictions(store.path(cell, data.fingerprint) / PREDICTIONS, cell, rows, tests, patients)
    now = utc_now()
    record = RunRecord("done", cell, data.fingerprint, now, now, data.content, weights="", human=True)
    sets = {test_set: len(cases) for test_set, cases in tests.items()}
    badges = (*data.protocol.caveats, *((PHANTOM,) if data.is_phantom else ()))
    return store.write(replace(record, test_sets=sets, badges=badges))


def _refuse_gaps(data: LandmarkDataModule, reader: str, case: str, marked: Mapping[str, Case]) -> None:
    there = case in marked and np.isfinite(marked[case].points).all(axis=1)
    if not np.all(there | ~data.inventory.cases[case].visible):
        raise DataError(f"{data.folder}: the {reader} reader did not mark all of {case}; complete the labels.")
