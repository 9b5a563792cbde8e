"""One view of BUU-LSPINE: what its lateral and its AP films have in common (Klinwichit et al. 2023)."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from datamodules.base import Case, DataError, Inventory, LandmarkDataModule, Protocol
from datamodules.components.images.image_io import FILM_SUFFIXES, film_sizes, find_film
from datamodules.components.labels.end_plates import EndPlates, end_plate_oddities, read_end_plates
from datamodules.components.labels.parsing import read_lines
from datamodules.components.protocols import Split, drawn_splits

OLDEST = 110
SPACINGS = "pixel_spacing_BUU_LSPINE_V2.csv"
"""Of version 2: tab separated columns `filename` and `pixel_spacing`, in millimetres."""
DATA_FOLDERS = ("", "data", "csv_info", "csv")
"""Where version 2 and its authors' scripts keep their files, below the root."""
PARTS = {"train": "train", "val": "eval", "test": "test"}
"""Part of the split -> its folder, as the authors' script for version 2 makes them."""
V2_SPLIT = "v2-split"
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

    Film stems name the cases, the number at their start the patient. The films carry no spacing; where version 2's
    table of pixel spacings is there, errors are given in millimetres, too. The SDR radii are pixels of the original
    film, whose lumbar vertebrae are about 240 px wide.
    """

    view_folder: ClassVar[str]
    """Where the view's films and labels are."""
    digit: ClassVar[int]
    """The last figure of its films' names."""
    view: ClassVar[str]

    licence = "article CC BY (Klinwichit et al., Applied Sciences 2023), data under its own terms: read them."
    obtain = "Ask for BUU-LSPINE at https://services.informatics.buu.ac.th/spine/ and unpack its folders AP and LA."
    protocols = (
        Protocol("80-20", "A fifth of the patients test, drawn once for everybody."),
        Protocol("5-fold", "Five folds that keep patients whole.", splits=tuple(f"fold{i}" for i in range(1, 6))),
        Protocol(V2_SPLIT, "The parts that the authors' script for version 2 copied the films to."),
    )
    radii = (10.0, 20.0, 30.0, 40.0)
    patient_rule = "The number at the start of a film's name is its patient's."
    folders: ClassVar[tuple[str, ...]] = ("buu", "BUU-LSPINE", "buu-lspine", "BUU-LSPINE_400")
    phantom_films = 48

    def scan(self) -> Inventory:
        """Read every label and the header of every film of the view."""
        films = {stem: find_film(self.films_folder, stem) for stem in self.stems}
        found = film_sizes(self.root, films)
        cases, oddities, bare, ill = {}, [], [], []
        for stem, size in found.sizes.items():
            file = self.films_folder / f"{stem}.csv"
            if not file.is_file():
                bare.append(str(file.relative_to(self.root)))
                continue
            label = read_end_plates(file, len(self.schema))
            spacing = self._spacing(stem)
            cases[stem] = Case(stem, films[stem], label.points, size, spacing, _patient(stem), self.view)
            oddities += [f"{stem}: {text}" for text in self._oddities(stem, label, size)]
            ill += [] if label.is_healthy else [stem]
        return Inventory(cases, (*found.missing, *bare), tuple(oddities), _notes(list(cases), ill), found.unreadable)

    def splits(self) -> tuple[Split, ...]:
        """Split the patients by a fixed seed, a tenth of the training patients validating, or as version 2 does."""
        if self.protocol.name == V2_SPLIT:
            return (self._v2_split(),)
        return drawn_splits(self.protocol, self.stems, self.patients)

    @classmethod
    def patient_of(cls, case: str) -> str:
        """Return the number at the start of a film's name."""
        return _patient(case)

    @cached_property
    def films_folder(self) -> Path:
        """The view's folder: below the root, or below `data` as in version 2's archive."""
        folders = [self.root / above / self.view_folder for above in DATA_FOLDERS]
        return next((folder for folder in folders if folder.is_dir()), folders[0])

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """The view's films by name: whatever has a film or a label here.

        Raises:
            DataError: There is none.
        """
        files = self.films_folder.glob("*.*")
        stems = sorted({file.stem for file in files if file.suffix.lower() in (*FILM_SUFFIXES, ".csv")})
        if not stems:
            raise self.foreign_folder(f"{self.view_folder} holds no film or label")
        return tuple(stems)

    @cached_property
    def patients(self) -> Mapping[str, str]:
        """Each film's patient."""
        return {stem: _patient(stem) for stem in self.stems}

    def _v2_split(self) -> Split:
        """Return the split of the authors' script, which only its folders tell: it shuffles in the disk's order.

        Raises:
            DataError: The folders are not there.
        """
        top = f"BUU_LSPINE_V2_{self.view_folder}"
        folders = [self.root / above / top for above in DATA_FOLDERS]
        folder = next((folder for folder in folders if folder.is_dir()), None)
        if folder is None:
            raise DataError(f"{self.root} has no folder {top} with train, eval and test; run version 2's split script.")
        parts = {
            part: tuple(sorted(path.stem for path in (folder / name / "images").glob("*.*")))
            for part, name in PARTS.items()
        }
        return Split("main", parts["train"], parts["val"], {"test": parts["test"]})

    @cached_property
    def _spacings(self) -> Mapping[str, float]:
        """Millimetres per pixel by the film's name, where version 2's table is there.

        Raises:
            DataError: A line is not a name and a number above 0.
        """
        path = next((p for p in (self.root / above / SPACINGS for above in DATA_FOLDERS) if p.is_file()), None)
        spacings: dict[str, float] = {}
        for line, row in enumerate(csv.DictReader(read_lines(path), delimiter="\t") if path else (), 2):
            try:
                name, spacing = row["filename"], float(row["pixel_spacing"])
            except (KeyError, TypeError, ValueError):
                name, spacing = "", math.nan
            if not (name and 0 < spacing < math.inf):
                raise DataError(f"{path}, line {line} is no tab separated `filename` and `pixel_spacing`; correct it.")
            spacings[name.rpartition(".")[0] or name] = spacing
        return spacings

    def _spacing(self, stem: str) -> tuple[float, float]:
        """Return a film's spacing; the table calls films by their name, or by their name without the view's figure."""
        spacing = self._spacings.get(stem, self._spacings.get(stem[:-1], math.nan))
        return spacing, spacing

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
