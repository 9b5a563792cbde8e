"""Private data: a dataset described by one YAML card, without Python.

`dataset_of` makes a dataset class of a card. The class of this module, found as `private`, is that of an example card
whose films are drawn: `osteomark data phantom private --root DIR` writes it with its card, to start a card from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from datamodules.base import Case, DataError, Inventory, LandmarkDataModule, LandmarkSchema, Protocol
from datamodules.components.badges import PRIVATE
from datamodules.components.cards.card import MEAN, RADII_MM, RADII_PX, Card, SplitRule
from datamodules.components.cards.label_checks import case_oddities, refuse_other_units, set_oddities
from datamodules.components.cards.privacy import PrivateFilms, Pseudonyms, numbered, redact, salt_of, withheld
from datamodules.components.cards.records import CardFolder, Record
from datamodules.components.cards.splits import split_members, split_names
from datamodules.components.images.cache import FilmCache
from datamodules.components.images.image_io import film_size
from datamodules.components.images.statistics import FilmStatistics
from datamodules.components.inventory import ALL_FILMS
from datamodules.components.protocols import Split

READERS_APART = 0.1
"""Of the film's longer side: readers who are further apart hardly mean the same landmark."""
_EXAMPLE = Card.load(Path(__file__).parent / "phantom" / "private.yaml")
_FACTS = ("title", "licence", "obtain", "layout", "schema", "protocols", "radii", "patient_rule")


def facts_of(card: Card) -> dict[str, Any]:
    """Return the class attributes of a card's dataset, all of which may be shown."""
    hidden = card.private
    schema = numbered(card.schema) if hidden and not card.show_names else card.schema
    return {
        "title": card.name if hidden else card.title or card.name,
        "licence": "private." if hidden else card.licence,
        "obtain": "It is described by a private card." if hidden else card.obtain,
        "layout": "As its card says." if hidden else _layout(card),
        "schema": schema,
        "protocols": tuple(_protocols(card)),
        "readers": _readers(card),
        "radii": tuple(sorted(card.radii)) or (RADII_MM if card.spacing else RADII_PX),
        "patient_rule": _patient_rule(card),
        "private": hidden,
        "home": card.folder,
        "facts_key": str(schema),
    }


def dataset_of(card: Card) -> type[Private]:
    """Return the dataset of a card."""
    return type(f"{Private.__name__}[{card.name}]", (Private,), {"card": card, **facts_of(card)})


def write_description(dataset_class: type[LandmarkDataModule], path: Path) -> None:
    """Write what scores and leaderboards need to know of a dataset, nothing that is private."""
    facts = {name: getattr(dataset_class, name) for name in _FACTS}
    facts |= {"schema": asdict(dataset_class.schema), "private": dataset_class.private}
    facts |= {"protocols": [asdict(protocol) for protocol in dataset_class.protocols]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n")


def read_description(path: Path) -> type[LandmarkDataModule]:
    """Return a dataset that `write_description` wrote: its runs can be scored, its films are not known."""
    facts = json.loads(path.read_text())
    schema, protocols = facts.pop("schema"), facts.pop("protocols")
    schema["groups"] = {name: tuple(members) for name, members in schema["groups"].items()}
    schema |= {key: tuple(map(tuple, schema[key])) for key in ("flips", "edges")}
    schema |= {"names": tuple(schema["names"]), "normalizer": schema["normalizer"] and tuple(schema["normalizer"])}
    facts["radii"], facts["schema"] = tuple(facts["radii"]), LandmarkSchema(**schema)
    facts["protocols"] = tuple(
        Protocol(**protocol | {key: tuple(protocol[key]) for key in ("splits", "caveats")}) for protocol in protocols
    )
    return type(f"{Private.__name__}[{path.stem}]", (Private,), facts)


def _protocols(card: Card) -> Iterator[Protocol]:
    """Yield a protocol per rule, and where several readers labelled the films, one per rule and reader, too."""
    unit = "mm" if card.spacing else "px"
    caveats = (PRIVATE,) if card.private else ()
    for name, rule in card.rules.items():
        for truth in _readers(card) or ("card",):
            own = name if truth in (MEAN, "card") else f"{name}-{truth}"
            words = "" if truth == "card" else f" Truth: the mean of {len(card.annotations.readers)} readers."
            words = words if truth in (MEAN, "card") else f" Truth: {truth}."
            yield Protocol(own, _description(rule, card) + words, split_names(rule), unit, truth, caveats)  # type: ignore[arg-type]


def _readers(card: Card) -> dict[str, tuple[str, ...]]:
    """Return truth -> the readers behind it; readers of a private set have numbers for names."""
    readers = card.annotations.readers
    shown = [f"reader{i}" if card.private and not card.show_names else name for i, name in enumerate(readers, 1)]
    return {MEAN: tuple(shown), **{name: (name,) for name in shown}} if shown else {}


def _layout(card: Card) -> str:
    return "\n".join((card.images, *card.annotations.patterns))


def _patient_rule(card: Card) -> str:
    return "The card says which films show one patient." if card.patient else ""


def _description(rule: SplitRule, card: Card) -> str:
    patients = "whole patients at a time" if card.patient else "every film a patient of its own"
    stratified = ", stratified" if rule.stratify else ""
    if rule.is_published:
        return "The split that the labels name." if rule.column else "The split that the files' paths name."
    if rule.folds:
        return f"{rule.folds} folds{stratified}, {patients}."
    shares = " / ".join(f"{share:g}" for share in rule.ratio)
    return f"Training, validation and test as {shares}{stratified}, {patients}."


class Private(LandmarkDataModule):
    """A dataset of a card; the card's text says what its films, labels, spacing, patients and splits are.

    A private one shows nothing but numbers: cases and patients have salted hashes for names, landmarks are numbered,
    and errors say which case they are about but not why.
    """

    card: ClassVar[Card] = _EXAMPLE
    title = _EXAMPLE.title
    licence = _EXAMPLE.licence
    obtain = _EXAMPLE.obtain
    layout = _layout(_EXAMPLE)
    schema = _EXAMPLE.schema
    protocols = tuple(_protocols(_EXAMPLE))
    radii = _EXAMPLE.radii
    patient_rule = _patient_rule(_EXAMPLE)
    phantom_films = 24

    @property
    def films(self) -> FilmCache:
        """The cache of decoded films; that of a private set tells no paths."""
        return self._films

    @films.setter
    def films(self, films: FilmCache) -> None:
        """Use another cache."""
        self._films = PrivateFilms(films, self._shown_film) if self.private else films

    @property
    def folder(self) -> str:
        """The folder, or the name of a private set."""
        return self.card.name if self.private else str(self.root)

    def redact(self, text: str) -> str:
        """Take out of a text whatever is known of a private set's files, patients and tables."""
        if not self.private:
            return text
        with withheld(f"{self.card.name} cannot be read"):
            return redact(text, self.described.texts())

    def scan(self) -> Inventory:
        """Read the annotation files and the headers of the images that they name."""
        if not self.private:
            return self._scan()
        with withheld(f"{self.card.name} is not as its card says"):
            return self._scan()

    def splits(self) -> tuple[Split, ...]:
        """Split by the protocol's rule all cases with labels, whether their film is there or not."""
        if not self.private:
            return self._split()
        with withheld(f"{self.card.name} cannot be split as its card says"):
            return self._split()

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write 24 films as DICOM with their table and card."""
        from datamodules.phantom.card_formats import write_private

        write_private(root, films=cls.phantom_films * scale, seed=seed)

    def own_names(self) -> dict[str, str]:
        """Return each case's name as it is shown to the film's path in the folder: for the owner's eyes."""
        return {self.shown(r.name): str(r.film.relative_to(self.root)) for r in self._records() if r.film}

    def shown(self, name: str, kind: str = "case") -> str:
        """Return the name of a case or patient as it may be shown."""
        return self._pseudonyms(kind, name) if self.private else name

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to loader processes with the card: the class itself is made on the spot and cannot."""
        return _revive, (self.card,), self.__dict__

    def _scan(self) -> Inventory:
        cases: dict[str, Case] = {}
        missing, oddities, unreadable = [], [], self._flaws()
        exif = self.card.annotations.follows_exif
        for record in self._records():
            name = self.shown(record.name)
            if record.film is None:
                missing.append(name)
                continue
            try:
                size = film_size(record.film, exif=exif)
            except DataError as error:
                unreadable.append(f"the film of {name} cannot be read." if self.private else str(error))
                continue
            patient = self.shown(self.described.patients[record.name], "patient")
            points, spacing = self.described.points(record, size), self.described.spacing(record)
            cases[name] = Case(name, record.film, points, size, spacing, patient, exif=exif)
            oddities += [f"{name}: {text}" for text in self._oddities(cases[name], record)]
        if self.card.annotations.unit is None:
            refuse_other_units(cases.values())
        oddities += [f"{name or ALL_FILMS}: {text}" for name, text in set_oddities(list(cases.values()), self.schema)]
        notes = tuple(self._notes(list(cases.values())))
        return Inventory(dict(sorted(cases.items())), tuple(missing), tuple(oddities), notes, tuple(unreadable))

    def _flaws(self) -> list[str]:
        """Return a sentence for each label file or entry that cannot be used."""
        self._records()
        flaws = self.described.flaws
        if flaws and self.private:
            return [
                f"{len(flaws)} label files or entries of {self.card.name} cannot be used; `osteomark data check CARD "
                f"--reveal` names them, and --allow-missing goes on without them."
            ]
        return list(flaws)

    def _records(self) -> list[Record]:
        try:
            return self.described.records
        except LookupError as error:
            raise self.foreign_folder(str(error)) from error

    def _split(self) -> tuple[Split, ...]:
        self._records()
        rules, name = self.card.rules, self.protocol.name
        rule = rules.get(name) or rules[name.removesuffix(f"-{self.protocol.truth}")]
        return tuple(self._renamed(split) for split in split_members(rule, self.described.members(rule)))

    def _renamed(self, split: Split) -> Split:
        tests = {test: tuple(map(self.shown, cases)) for test, cases in split.tests.items()}
        return Split(split.name, tuple(map(self.shown, split.train)), tuple(map(self.shown, split.val)), tests)

    def _oddities(self, case: Case, record: Record) -> Iterator[str]:
        """Describe what is odd about one film's labels."""
        yield from case_oddities(case, self.schema, record.labelled_size)
        for index in self.described.placeholders(record):
            yield f"{self.schema.names[index]} at (0, 0) or (-1, -1) is a placeholder and counts as missing."
        apart = self.described.disagreement(record, case.size)
        for name, pixels in zip(self.schema.names, apart.tolist(), strict=True):
            if pixels > READERS_APART * max(case.size):
                yield f"the readers put {name} {pixels:.0f} px apart."
        if record.rejected:
            other = "another film" if self.private else repr(record.rejected)
            yield f"its label file names {other}, too, which was not followed: it contradicts the rest of the file."

    def _notes(self, cases: list[Case]) -> Iterator[str]:
        records = self.described.records
        unlabelled = len(self.described.images.paths) - sum(record.film is not None for record in records)
        unknown = sum(not np.isfinite(case.spacing).all() for case in cases)
        absent = sum(int((~case.visible).sum()) for case in cases)
        strangers = {label for record in records for label in record.labels} - set(self.described.wanted)
        if unlabelled:
            yield f"Images without labels, not used: {unlabelled}."
        if unknown and self.card.spacing:
            yield f"Films whose spacing is unknown, scored in pixels only: {unknown}."
        if absent:
            yield f"Landmarks that the labels lack: {absent}."
        if strangers:
            names = str(len(strangers)) if self.private else ", ".join(sorted(strangers))
            yield f"Labels that the card does not name, not used: {names}."
        if renamed := self.described.renamed_films:
            yield f"Films whose names the labels spell otherwise (in case, as a URL, with a tool's prefix): {renamed}."
        if self.described.partly_read_films:
            yield f"Films that not all readers labelled, not used: {self.described.partly_read_films}."
        yield from self._patient_notes()

    def _patient_notes(self) -> Iterator[str]:
        """Say how many patients there are, and how many films the card's rule does not fit."""
        patients = self.described.own_patients.values()
        if self.card.patient is None:
            yield "The card does not say which films show one patient: every film counts as a patient."
            return
        unknown = sum(not patient for patient in patients)
        if unknown:
            yield f"Films that the card's patient does not fit, each a patient of its own: {unknown}."

    @cached_property
    def described(self) -> CardFolder:
        """The folder as the card describes it."""
        behind = self.readers.get(self.protocol.truth, ())
        own = dict(zip(self.readers.get(MEAN, ()), self.card.annotations.readers, strict=True))
        return CardFolder(self.card, self.root, own[behind[0]] if len(behind) == 1 else "")

    @cached_property
    def _pseudonyms(self) -> Pseudonyms:
        return Pseudonyms(salt_of(self.card))

    def _statistics(self, case: Case) -> FilmStatistics:
        try:
            return super()._statistics(case)
        except DataError as error:
            raise (DataError(f"the film of {case.name} cannot be read.") if self.private else error) from None

    def _shown_film(self, path: Path) -> str:
        return self.shown(self.described.images.name(path))


def _revive(card: Card) -> Private:
    dataset_class = dataset_of(card)
    return dataset_class.__new__(dataset_class)
