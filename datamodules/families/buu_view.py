"""One view of BUU-LSPINE: what its lateral and its AP films have in common (Klinwichit et al. 2023)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar, NamedTuple

from datamodules.base import Case, Inventory, LandmarkDataModule, Protocol
from datamodules.components.images.image_io import FILM_SUFFIXES, film_sizes, find_film
from datamodules.components.labels.end_plates import EndPlates, end_plate_oddities, read_end_plates
from datamodules.components.protocols import Split, drawn_splits

OLDEST = 110
_NAME = re.compile(r"(?P<number>\d+)-(?P<sex>[FM])-(?P<age>\d{3})Y(?P<view>[01])")


class BUUName(NamedTuple):
    """What the name of a film says: `NNNN-S-AAAY1` is patient NNNN, sex S, AAA years old, lateral (0: AP)."""

    patient: str
    sex: str
    age: int
    view: int


def parse_name(stem: str) -> BUUName | None:
    """Read a film's name; None where it does not follow the pattern.

    Example:
        >>> parse_name("0001-F-037Y1")
        BUUName(patient='0001', sex='F', age=37, view=1)
    """
    match = _NAME.fullmatch(stem)
    return BUUName(match["number"], match["sex"], int(match["age"]), int(match["view"])) if match else None


class BUUView(LandmarkDataModule):
    """Films and labels of one view; a subclass names the folder and the landmarks.

    Film stems name the cases, the number at their start the patient. The films come without spacing: pixels only. The
    SDR radii are pixels of the original film, whose lumbar vertebrae are about 240 px wide.
    """

    folder: ClassVar[str]
    """Where the view's films and labels are."""
    digit: ClassVar[int]
    """The last figure of its films' names."""
    view: ClassVar[str]

    licence = "CC BY (Klinwichit et al., Applied Sciences 2023)."
    obtain = "Ask for BUU-LSPINE at https://services.informatics.buu.ac.th/spine/ and unpack its folders AP and LA."
    protocols = (
        Protocol("80-20", "A fifth of the patients test, drawn once for everybody; no split is published."),
        Protocol("5-fold", "Five folds that keep patients whole.", splits=tuple(f"fold{i}" for i in range(1, 6))),
    )
    radii = (10.0, 20.0, 30.0, 40.0)
    patient_rule = "The number at the start of a film's name is its patient's."
    folders: ClassVar[tuple[str, ...]] = ("buu", "BUU-LSPINE", "buu-lspine", "BUU-LSPINE_400")
    phantom_films = 48

    def scan(self) -> Inventory:
        """Read every label and the header of every film of the view."""
        films = {stem: find_film(self.root / self.folder, stem) for stem in self.stems}
        found = film_sizes(self.root, films)
        cases, oddities, bare, ill = {}, [], [], []
        for stem, size in found.sizes.items():
            file = self.root / self.folder / f"{stem}.csv"
            if not file.is_file():
                bare.append(str(file.relative_to(self.root)))
                continue
            label = read_end_plates(file, len(self.schema))
            cases[stem] = Case(stem, films[stem], label.points, size, patient=_patient(stem), view=self.view)
            oddities += [f"{stem}: {text}" for text in self._oddities(stem, label, size)]
            ill += [] if label.is_healthy else [stem]
        return Inventory(cases, (*found.missing, *bare), tuple(oddities), _notes(list(cases), ill), found.unreadable)

    def splits(self) -> tuple[Split, ...]:
        """Split the patients by a fixed seed; the validation films are a tenth of the training patients."""
        return drawn_splits(self.protocol, self.stems, self.patients)

    @classmethod
    def patient_of(cls, case: str) -> str:
        """Return the number at the start of a film's name."""
        return _patient(case)

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """The view's films by name: whatever has a film or a label here.

        Raises:
            DataError: There is none.
        """
        files = (self.root / self.folder).glob("*.*")
        stems = sorted({file.stem for file in files if file.suffix.lower() in (*FILM_SUFFIXES, ".csv")})
        if not stems:
            raise self.foreign_folder(f"{self.folder} holds no film or label")
        return tuple(stems)

    @cached_property
    def patients(self) -> Mapping[str, str]:
        """Each film's patient."""
        return {stem: _patient(stem) for stem in self.stems}

    def _oddities(self, stem: str, label: EndPlates, size: tuple[int, int]) -> list[str]:
        """Describe a name or a label that a sound film does not have."""
        found = list(end_plate_oddities(label.points, size, self.schema))
        name = parse_name(stem)
        if name is None or name.view != self.digit:
            found.append(f"its name does not read NNNN-S-AAAY{self.digit} (patient, sex, age).")
        elif not 0 < name.age <= OLDEST:
            found.append(f"an age of {name.age} years.")
        return found


def _patient(stem: str) -> str:
    return stem.split("-")[0]


def _notes(stems: Sequence[str], ill: Sequence[str]) -> tuple[str, ...]:
    """Describe the patients, and the films whose labels mark a level."""
    names = [name for name in map(parse_name, stems) if name]
    notes = []
    if names:
        women = len({name.patient for name in names if name.sex == "F"})
        men = len({name.patient for name in names if name.sex == "M"})
        ages = sorted(name.age for name in names)
        notes.append(f"{women} women and {men} men, {ages[0]} to {ages[-1]} years old by the films' names.")
    if ill:
        notes.append(f"{len(ill)} films have a level labelled other than 0, {ill[0]} first.")
    return tuple(notes)
