"""Recomputes what a pack claims, with the evaluator that scores every run, and refuses what does not follow.

The truth comes from the dataset itself or from a trusted store's run on the same films, never from the pack. What then
can be known: that these predictions, for exactly the protocol's test cases, give these scores; that the configuration,
budget, seed and data in `run.json` are those its hashes were made of; that parameters, badges and epochs are what such
a run has. What cannot be known is in `UNPROVEN`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import methods
from benchmark import dataset_folders as data
from benchmark.initial_weights import initial_weights
from benchmark.lookup import Variant, changed_hparams, choose
from benchmark.packs import pack as packs
from benchmark.packs.pack import Pack
from benchmark.packs.submit import DIRTY, nested_scores
from benchmark.predictions import (
    ANSWER,
    CALIBRATING,
    CENTRE,
    CROP,
    KEY,
    LABELS,
    PREDICTIONS,
    SCORED,
    VALIDATION,
    calibrating_cases,
    case_rows,
    read_patients,
    read_table,
)
from benchmark.scoring.score import score_run
from benchmark.store import CARDS, RunStore
from datamodules import DatasetRegistry
from datamodules.base import LandmarkDataModule
from datamodules.components.badges import ORACLE_CROP, PHANTOM
from methods.base import Method

STORED = {packs.PREDICTIONS: PREDICTIONS, packs.VALIDATION: VALIDATION}
"""A pack's table -> the run's file that it was made of."""
TOLERANCE = 1e-6
"""Relative difference of two machines' arithmetic that is none."""
UNPROVEN = (
    "Not proven, and not provable from a pack: that the predictions came from the training that run.json describes, "
    "and its curves, times and memory. To know, train that commit with that configuration and seed, and compare."
)


class Truth(NamedTuple):
    """Labels that do not come from the pack.

    Attributes:
        source: Where they come from.
        phantom: Whether the films were drawn.
        tables: Name of a pack's table to the labels of its cases, by test set, case and landmark.
        patients: Validation case to the first film of its patient; empty where patients are unknown.
    """

    source: Path
    phantom: bool
    tables: Mapping[str, pd.DataFrame]
    patients: Mapping[str, str]


class Verdict(NamedTuple):
    """What was found of a pack that is not refused.

    Attributes:
        run: The run's key.
        scores: Recomputed: test set to column to value.
        claimed: How many of them the pack claims.
        cases: Test set to its number of cases.
        source: Where the truth was read.
        remarks: What a reader should know.
    """

    run: str
    scores: Mapping[str, Mapping[str, float | None]]
    claimed: int
    cases: Mapping[str, int]
    source: Path
    remarks: tuple[str, ...]


class RefusedError(ValueError):
    """A pack's content does not follow from its predictions, its configuration and the dataset."""


def verify(
    path: Path | str,
    root: Path | None = None,
    store: Path | None = None,
    plugins: Sequence[Path | str] = (),
    cards: Sequence[Path | str] = (),
) -> Verdict:
    """Recompute every score of a pack and check whatever else can be.

    Args:
        path: The pack.
        root: Folder with the datasets' folders, to read the truth from; a dataset that a card describes needs none.
        store: A run store that is trusted, to read the truth from instead: of a run on the same films.
        plugins: Files with methods from outside the repository.
        cards: Files of cards, where one describes the dataset.

    Returns:
        What was found.

    Raises:
        ValueError: The pack is refused, or there is no truth to verify it against; the message says why.
        FileNotFoundError: There is no such pack.
    """
    pack = packs.read_pack(Path(path))
    datasets = DatasetRegistry(cards, None if store is None else store / CARDS)
    try:
        dataset, method = _known(pack, datasets, plugins)
        _check_key(pack)
        truth = _truth_of_data(pack, dataset, root) if store is None else _truth_of_store(pack, store)
        tables = {name: _matched(pack, name, truth) for name in STORED if name in pack.files}
        _check_labels(pack, truth)
        _check_facts(pack, dataset, method, truth)
        scores = _recomputed(pack, tables, datasets, truth.patients)
        _check_scores(pack, scores)
    except RefusedError as error:
        raise ValueError(f"{path} is refused: {error}") from error
    claimed = sum(len(columns) for columns in pack.manifest["scores"].values())
    return Verdict(
        pack.manifest["run"], scores, claimed, pack.record.test_sets, truth.source, tuple(_remarks(pack, method))
    )


def _known(
    pack: Pack, datasets: DatasetRegistry, plugins: Sequence[Path | str]
) -> tuple[type[LandmarkDataModule], type[Method]]:
    """Find the pack's dataset and method here, so that none of its names is trusted as a path."""
    cell = pack.record.cell
    dataset, known = datasets[choose(cell.dataset, datasets, "dataset")], methods.discover(plugins)
    method = known[choose(cell.method, known, "method")]
    if dataset.private or pack.record.human:
        raise RefusedError("it is of private data or of a person's marks, which are never passed on.")
    protocol = dataset.find_protocol(cell.protocol)
    _expect("split", f"one of {', '.join(protocol.splits)}", cell.split, cell.split in protocol.splits)
    variants = f"one of {', '.join(method.variants)}"
    _expect(f"variant of {cell.method}", variants, cell.variant, cell.variant in method.variants)
    return dataset, method


def _check_key(pack: Pack) -> None:
    """Compare the hashes of the configuration and of the run's key with what they were made of."""
    cell = pack.record.cell
    _expect("configuration's hash, of hyper-parameters and budget,", cell.config, pack.config)
    _expect(
        "run, named by the hash of seed, hyper-parameters, budget and data,",
        cell.path(pack.record.fingerprint).as_posix(),
        pack.manifest["run"],
    )


def _truth_of_data(pack: Pack, dataset: type[LandmarkDataModule], root: Path | None) -> Truth:
    """Read the labels of the split's test and validation cases from the dataset's own folder."""
    cell = pack.record.cell
    if root is None and dataset.home is None:
        raise ValueError(
            f"where is {cell.dataset}? The truth does not come from the pack: give --data-root, the folder with the "
            f"datasets' folders, or --store, a run store of your own with a run on the same films."
        )
    folder = data.locate(cell.dataset, dataset, root or Path())
    found = dataset(folder, cell.protocol, cell.split, allow_missing=True)
    _expect(f"films and labels, by the hash of those in {folder},", found.content, pack.record.content)
    _expect("split, by the hash of its case lists,", found.fingerprint, pack.record.fingerprint)
    sets = {packs.PREDICTIONS: found.split.tests, packs.VALIDATION: {"validation": found.split.val}}
    tables = {name: _labels(found, cases) for name, cases in sets.items()}
    return Truth(folder, found.is_phantom, tables, found.first_films(found.split.val))


def _labels(found: LandmarkDataModule, sets: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    unknown = np.full((len(found.schema), 2), np.nan)
    known, names = found.inventory.cases, found.schema.names
    rows = [case_rows(test_set, known[case], names, unknown) for test_set, cases in sets.items() for case in cases]
    return _by_key(pd.concat(rows) if rows else pd.DataFrame(columns=[*KEY, *LABELS]))


def _truth_of_store(pack: Pack, store: Path) -> Truth:
    """Read the labels from a run of the same split on the same films."""
    record = pack.record
    key = (record.cell.dataset, record.cell.protocol, record.cell.split)
    runs = [run for run in RunStore(store).runs() if SCORED["test"].has(run) and not run.human]
    here = [run for run in runs if (run.cell.dataset, run.cell.protocol, run.cell.split) == key]
    if not here:
        raise ValueError(f"{store} holds no finished run of {'/'.join(key)} to read the truth from; give --data-root.")
    same = [run for run in here if (run.content, run.fingerprint) == (record.content, record.fingerprint)]
    if not same:
        raise RefusedError(
            f"its films, labels or case lists, by their hashes, should be {here[0].content} and {here[0].fingerprint} "
            f"as in {store}, not {record.content} and {record.fingerprint}."
        )
    run = next((run for run in same if (run.folder / VALIDATION).is_file()), same[0])
    stored = {name: run.folder / file for name, file in STORED.items() if (run.folder / file).is_file()}
    tables = {name: _by_key(read_table(path)) for name, path in stored.items()}
    patients = read_patients(stored[packs.VALIDATION]) if packs.VALIDATION in stored else {}
    return Truth(run.folder, PHANTOM in run.badges, tables, patients)


def _by_key(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index(list(KEY))[list(LABELS)].sort_index()


def _matched(pack: Pack, name: str, truth: Truth) -> pd.DataFrame:
    """Put the labels beside a pack's points, which must be of the protocol's cases and landmarks, no more, no fewer."""
    points = packs.read_table(name, pack.files[name], ANSWER, optional=(*CENTRE, *CROP))
    if name not in truth.tables:
        raise ValueError(f"{truth.source} has no labels of the cases that validate; give --data-root instead.")
    labels = truth.tables[name]
    absent, strange = labels.index.difference(points.index), points.index.difference(labels.index)
    for what, rows in (("lacks", absent), ("has", strange)):
        if len(rows):
            test_set, case, landmark = rows[0]
            counts = f"should answer {len(labels)} points of the protocol and answers {len(points)}"
            raise RefusedError(f"{name} {counts}; it {what} {landmark} of case {case} of {test_set}.")
    return labels.join(points)


def _check_labels(pack: Pack, truth: Truth) -> None:
    """Compare the labels in a pack, which nothing is computed from, with the dataset's."""
    _expect(packs.TRUTH, _word(pack.manifest["truth"]), _word(packs.TRUTH in pack.files))
    if packs.TRUTH not in pack.files:
        return
    claimed = packs.read_table(packs.TRUTH, pack.files[packs.TRUTH], LABELS)
    known = pd.concat([truth.tables[name] for name in STORED if name in pack.files]).astype("float64").sort_index()
    if not claimed.index.equals(known.index):
        raise RefusedError(f"{packs.TRUTH} should label the {len(known)} points of the predictions and labels others.")
    same = np.isclose(claimed, known, rtol=0, atol=0, equal_nan=True)
    if not same.all():
        row, column = np.argwhere(~same)[0]
        test_set, case, landmark = known.index[row]
        what = f"{LABELS[column]} of {landmark} of case {case} of {test_set} in {packs.TRUTH}"
        _expect(what, known.iloc[row, column], claimed.iloc[row, column])


def _check_facts(pack: Pack, dataset: type[LandmarkDataModule], method: type[Method], truth: Truth) -> None:
    """Compare what `run.json` says of the run with what follows from configuration and data."""
    record, cell = pack.record, pack.record.cell
    tested = truth.tables[packs.PREDICTIONS].reset_index()[["test_set", "case"]].drop_duplicates()
    cases = tested["test_set"].value_counts().to_dict()
    _expect("test sets", dict(sorted(cases.items())), dict(sorted(record.test_sets.items())))
    built = _built(pack, dataset, method)
    spec, weights = built.input_spec, initial_weights(cell, built)
    _expect("parameters", built.parameter_counts(), record.parameters)
    _expect("input size", tuple(spec.size), record.input_size)
    _expect("pre-trained weights", weights, record.weights)
    allowed = cell.budget.micro_batch
    _expect("micro-batch", allowed, record.micro_batch, record.micro_batch in (None, allowed))
    marks = {PHANTOM: truth.phantom, ORACLE_CROP: spec.is_oracle}
    caveats = dataset.find_protocol(cell.protocol).caveats
    badges = dict.fromkeys((*caveats, *(mark for mark, there in marks.items() if there)))
    _expect(
        "badges", ", ".join(badges) or "none", ", ".join(record.badges) or "none", badges.keys() == {*record.badges}
    )
    epochs = sum(cell.budget.epochs or stage.epochs for stage in built.stages)
    _expect("epochs, by its budget,", epochs, record.epochs)
    _expect(f"epochs in {packs.HISTORY}", record.epochs, _rows(pack.files.get(packs.HISTORY, b"")))


def _built(pack: Pack, dataset: type[LandmarkDataModule], method: type[Method]) -> Method:
    """Construct the method without memory for its weights, whatever size a stranger wants it to have."""
    hparams = dict(pack.record.cell.hparams)
    for name, value in hparams.items():
        if isinstance(value, str) and {":", "/", "\\"} & {*value}:  # to timm, `hf-hub:name` is an address to load from
            raise RefusedError(f"its hyper-parameter {name} should be a plain name, not {value!r}.")
    try:
        with torch.device("meta"):
            return method(dataset.schema, **hparams | ({"weights": "none"} if "weights" in hparams else {}))
    except Exception as error:  # whatever a constructor makes of strange values
        name = pack.record.cell.variant
        raise RefusedError(
            f"{name} cannot be built here with its hyper-parameters ({type(error).__name__}: {error})."
        ) from error


def _rows(content: bytes) -> int:
    return len(pd.read_csv(BytesIO(content))) if content else 0


def _recomputed(
    pack: Pack, tables: Mapping[str, pd.DataFrame], datasets: DatasetRegistry, patients: Mapping[str, str]
) -> dict[str, dict[str, float | None]]:
    """Score the pack as a stored run."""
    with TemporaryDirectory() as store:
        folder = Path(store) / pack.record.cell.path(pack.record.fingerprint)
        folder.mkdir(parents=True)
        for name, table in tables.items():
            arrow = pa.Table.from_pandas(table.reset_index(), preserve_index=False)
            if name == packs.VALIDATION and pack.record.cell.budget.calibrate:
                kept = calibrating_cases(list(table.index.unique("case")), patients)
                arrow = arrow.replace_schema_metadata({**arrow.schema.metadata, CALIBRATING: json.dumps(kept)})
            pq.write_table(arrow, folder / STORED[name])
        try:
            return nested_scores(score_run(folder, datasets))
        except ValueError as error:
            raise RefusedError(str(error).removeprefix(f"{folder / PREDICTIONS}: ")) from error


def _check_scores(pack: Pack, scores: Mapping[str, Mapping[str, float | None]]) -> None:
    claims = pack.manifest["scores"]
    _expect("claimed test sets", ", ".join(sorted(scores)), ", ".join(sorted(claims)))
    wrong = [
        (test_set, column, scores[test_set].get(column), value)
        for test_set, columns in claims.items()
        for column, value in columns.items()
        if column not in scores[test_set] or not _equal(scores[test_set][column], value)
    ]
    if wrong:
        test_set, column, found, value = wrong[0]
        more = f"; {len(wrong) - 1} more of its scores are wrong" if len(wrong) > 1 else ""
        raise RefusedError(
            f"{column} on {test_set} should be {_word(found)} by its predictions, not {_word(value)}{more}."
        )


def _equal(found: float | None, claimed: float | None) -> bool:
    if found is None or claimed is None:
        return found is claimed
    return math.isclose(found, claimed, rel_tol=TOLERANCE, abs_tol=1e-12)


def _expect(what: str, expected: object, found: object, same: bool | None = None) -> None:
    if not (expected == found if same is None else same):
        raise RefusedError(f"its {what} should be {_word(expected)}, not {_word(found)}.")


def _word(value: object) -> str:
    names = {None: "absent", True: "there", False: "absent"}
    if value is None or isinstance(value, bool):
        return names[value]
    return f"{value:.8g}" if isinstance(value, float) else str(value)[:300]


def _remarks(pack: Pack, method: type[Method]) -> list[str]:
    record, cell = pack.record, pack.record.cell
    commit = record.commit or "unknown"
    remarks = [f"Code: commit {commit}{', with changes that no commit holds' * commit.endswith(DIRTY)}."]
    variant = Variant(cell.method, cell.variant, method, method.variants[cell.variant])
    changed = [f"{name}={value}" for name, value in changed_hparams(variant, cell).items()]
    remarks += [f"Set differently from {cell.variant}'s own: {', '.join(changed)}."] if changed else []
    if packs.VALIDATION not in pack.files:
        remarks.append("No predictions of validation cases, so no conformal regions.")
    if pack.manifest["checkpoint"]:
        remarks.append(f"The weights, not in the pack, have the SHA-256 {pack.manifest['checkpoint']}.")
    return remarks
