"""A trained run tested on another dataset with the same landmarks: what it answers there is kept beside the run.

No file of the run itself is touched, and nothing here reaches the ordinary boards: the films are another site's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from benchmark.predictions import case_rows, write_predictions
from benchmark.scoring.readers import reader_cases
from benchmark.store import RunRecord
from benchmark.trained.model import Model
from benchmark.trained.predict import FilmAnswer, answer_films
from datamodules.base import Case, DataError, LandmarkDataModule, LandmarkSchema

FOLDER: Final = "external"
"""Folder of a run with one file per other dataset."""
ABOUT: Final = "external"
"""The entry of a file's metadata with what is known of the other dataset, as JSON."""
AWAY: Final = "away"
"""The name of the one test set of such a file: all films of the other dataset."""


class LandmarkPair(NamedTuple):
    """A landmark under both names."""

    home: str
    away: str


class Site(NamedTuple):
    """What is known of the other dataset.

    Attributes:
        dataset: Its name.
        title: Its full name.
        protocol: Whose truth counts.
        content: A hash of its films and labels.
        unit: `mm` where spacings are known, else `px`.
        radii: Of the success detection rate, in that unit.
        badges: What must be known beside its numbers.
        private: Whether it is private.
        readers: Two readers to the mean distance of their marks in `unit`; empty where it has no readers.
        pairs: The landmarks that were compared.
        left_out: Landmarks that the run predicts and that were not compared.
    """

    dataset: str
    title: str
    protocol: str
    content: str
    unit: str
    radii: tuple[float, ...]
    badges: tuple[str, ...]
    private: bool
    readers: Mapping[str, float]
    pairs: tuple[LandmarkPair, ...]
    left_out: tuple[str, ...]

    @property
    def file(self) -> str:
        """The name of a run's file."""
        names = hashlib.sha256(json.dumps(self.pairs).encode()).hexdigest()[:6]
        return f"{self.dataset}-{self.protocol}-{self.content}-{names}.parquet"


def match(
    home: LandmarkSchema, away: LandmarkSchema, renamed: Mapping[str, str], only: Sequence[str] = ()
) -> tuple[LandmarkPair, ...]:
    """Pair the landmarks of two datasets by name.

    Args:
        home: Of the dataset that was trained on.
        away: Of the other one.
        renamed: Name at home to name away, where they differ.
        only: Names at home to compare; all that both have if empty.

    Raises:
        ValueError: A given name is in neither, or no landmark is in both.
    """
    for place, names, known in (("home", [*renamed, *only], home.names), ("away", renamed.values(), away.names)):
        for name in names:
            if name not in known:
                raise ValueError(f"there is no landmark {name!r} {place}; there are {', '.join(known)}.")
    called = {name: renamed.get(name, name) for name in only or home.names}
    pairs = tuple(LandmarkPair(name, other) for name, other in called.items() if other in away.names)
    if absent := [name for name in only if called[name] not in away.names]:
        raise ValueError(f"the other dataset has no landmark {absent[0]!r}; say what it is called there with --rename.")
    if not pairs:
        raise ValueError(
            f"no landmark has the same name in both: {', '.join(home.names[:5])} ... at home, "
            f"{', '.join(away.names[:5])} ... away; pair them with --rename home=away."
        )
    return pairs


def site_of(name: str, data: LandmarkDataModule, home: LandmarkSchema, pairs: Sequence[LandmarkPair]) -> Site:
    """Describe the other dataset.

    Args:
        name: Its name.
        data: The dataset under a protocol.
        home: The landmarks of the dataset that was trained on.
        pairs: The landmarks to compare.
    """
    compared = {pair.home for pair in pairs}
    return Site(
        dataset=name,
        title=data.title,
        protocol=data.protocol.name,
        content=data.content,
        unit=data.protocol.unit,
        radii=tuple(data.radii),
        badges=tuple(data.protocol.caveats),
        private=data.private,
        readers=_reader_distances(data, [pair.away for pair in pairs]),
        pairs=tuple(pairs),
        left_out=tuple(landmark for landmark in home.names if landmark not in compared),
    )


class Tested(NamedTuple):
    """A run that is tested at another site.

    Attributes:
        run: The run.
        model: Its network.
        site: What is known of the other dataset.
    """

    run: RunRecord
    model: Model
    site: Site


def test_away(
    tested: Sequence[Tested], data: LandmarkDataModule, advance: Callable[[int], object] = lambda films: None
) -> list[Path]:
    """Predict all films of another dataset and keep the answers beside the runs, with that dataset's labels.

    Args:
        tested: The runs; a film is decoded once for all networks with the same input.
        data: The other dataset.
        advance: Told after every batch how many films it had, each counted for every run.

    Returns:
        The written files: the pairs' landmarks under their names at home, in pixels of the other dataset's films.

    Raises:
        DataError: A film cannot be read.
        ValueError: The network needs the truth to look for it, or answers with no number.
    """
    cases = data.inventory.cases
    # stored covariances are the networks' own
    models = [each.model._replace(facts=replace(each.model.facts, temperature=())) for each in tested]
    answers: list[dict[Path, FilmAnswer]] = [{} for _ in tested]
    for exif in (False, True):
        films = [case.film for case in cases.values() if case.exif is exif]
        found = answer_films(models, films, exif=exif, advance=advance)
        for problem in found.problems.values():
            raise DataError(problem)
        for known, given in zip(answers, found.answers, strict=True):
            known |= {path: answer for path, (answer,) in given.items()}
    return [_write(each, data, known) for each, known in zip(tested, answers, strict=True)]


def _write(tested: Tested, data: LandmarkDataModule, answers: Mapping[Path, FilmAnswer]) -> Path:
    """Write a run's answers beside it."""
    (run, model, site), cases = tested, data.inventory.cases
    own = list(model.facts.schema.index(pair.home for pair in site.pairs))
    theirs = list(data.schema.index(pair.away for pair in site.pairs))
    names = [pair.home for pair in site.pairs]
    rows = []
    for case in cases.values():
        answer = answers[case.film]
        rows.append(
            case_rows(
                AWAY, case._replace(points=case.points[theirs]), names, answer.points[own], answer.covariance[own]
            )
        )
    path = run.folder / FOLDER / site.file
    about = json.dumps(site._asdict() | {"pairs": [list(pair) for pair in site.pairs]})
    write_predictions(path, run.cell, rows, {AWAY: list(cases)}, data.first_films(cases), **{ABOUT: about})
    return path


def _reader_distances(data: LandmarkDataModule, names: Sequence[str]) -> dict[str, float]:
    """Return the mean distance of each two readers over the films and landmarks that both marked."""
    opened = partial(type(data), data.root, allow_missing=data.allow_missing)
    read = reader_cases(type(data), lambda protocol: _shared_films(opened(protocol=protocol), data))
    columns = list(data.schema.index(names))
    found = {}
    for (one, first), (other, second) in combinations(read.items(), 2):
        apart = [
            _apart(first[case], second[case], columns, data.protocol.unit) for case in first.keys() & second.keys()
        ]
        if apart:
            found[f"{one} and {other}"] = float(np.nanmean(np.concatenate(apart)))
    return found


def _shared_films(opened: LandmarkDataModule, data: LandmarkDataModule) -> LandmarkDataModule:
    opened.films = data.films  # decoded once for all readers
    return opened


def _apart(one: Case, other: Case, columns: list[int], unit: str) -> np.ndarray:
    scale = np.array(one.spacing) if unit == "mm" else 1.0
    return np.asarray(np.linalg.norm((one.points[columns] - other.points[columns]) * scale, axis=1))
