"""A folder read as its card says: every film with its labels, table, patient and spacing."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from datamodules.components.cards.card import Card, SplitRule
from datamodules.components.cards.embedded import shows
from datamodules.components.cards.film_index import FilmIndex, visible_files
from datamodules.components.cards.formats import Labels, Source, parse_labels
from datamodules.components.cards.formats.common import ImageLabels, attempt, number
from datamodules.components.cards.formats.tables import IMAGE, CsvRow, column, read_table
from datamodules.components.cards.splits import SplitMember
from datamodules.components.cards.values import nearest
from datamodules.components.errors import DataError
from datamodules.components.images.dicom import dicom_spacing, dicom_text

UNKNOWN = (math.nan, math.nan)
SHIFTS = {"zero": 0.0, "corner": -0.5, "one": -1.0}
PLACEHOLDERS = ((0.0, 0.0), (-1.0, -1.0))
"""What labelling tools write for a landmark that is not there; they count as missing."""
FULL_SCALE = {"fraction": 1.0, "percent": 100.0}
"""The coordinate of a film's far edge, in units that are no pixels."""
NAME_CURES = {
    "wide-csv": "correct the card's `case` or `images`",
    "long-csv": "correct the card's `case` or `images`",
    "coco": "correct the card's `images` or the file_name of the entries",
    "labelme": "correct the card's `images`, or call each label file as its film",
    "cvat": "correct the card's `images` or the name of the images in CVAT",
    "text": "correct the card's `images`, or call each label file as its film",
}


class Record(NamedTuple):
    """What the label files say of one film.

    Attributes:
        name: The case's own name.
        film: The film; None where it is not there.
        readings: Its labels, by each reader in the card's order; one where the card knows no readers.
        columns: All that tables say of it.
        rejected: Another film that the label file names, whose labels these are not.
    """

    name: str
    film: Path | None
    readings: tuple[Labels, ...]
    columns: Mapping[str, str]
    rejected: str = ""

    @property
    def location(self) -> str:
        """File and line or entry of the labels."""
        return self.readings[0].entry.location

    @property
    def labels(self) -> set[str]:
        """What the label files call the points of this film."""
        return {label for reading in self.readings for label in reading.points}

    @property
    def labelled_size(self) -> tuple[int, int] | None:
        """(height, width) of the image that the labels were made on, where the file says so."""
        return self.readings[0].entry.size

    def value(self, name: str, what: str) -> str:
        """Return the value of a column; empty for a film that no table has.

        Raises:
            DataError: There is no such column.
        """
        return column(CsvRow(self.location, self.columns), name, what) if self.columns else ""


class _Contents(NamedTuple):
    """What the label files of a folder hold: records, flaws, and the number of films that not all readers labelled."""

    records: list[Record]
    flaws: list[str]
    partly_read: int


class CardFolder:
    """The films and labels of a folder.

    Args:
        card: Says what is what.
        root: The folder.
        reader: Whose labels are the truth; the mean of all readers if empty.
    """

    def __init__(self, card: Card, root: Path, reader: str = "") -> None:
        self.card, self.root = card, root
        readers = list(card.annotations.readers)
        self.truth = [readers.index(reader)] if reader else range(max(len(readers), 1))

    @cached_property
    def images(self) -> FilmIndex:
        """The film files.

        Raises:
            LookupError: There is none.
        """
        images = FilmIndex(self.root, self.card.images)
        if not images.paths:
            raise LookupError(f"no image matches {self.card.images}")
        return images

    @property
    def partly_read_films(self) -> int:
        """How many films only some of the readers labelled; they are not used."""
        return self._contents.partly_read

    @property
    def renamed_films(self) -> int:
        """How many films were found although the label files spell their names otherwise."""
        return sum(
            record.film is not None
            and not any(self.images.find(name, record.location) for name in (entry.image, entry.other_image))
            for record in self.records
            for entry in [record.readings[0].entry]
        )

    @property
    def records(self) -> list[Record]:
        """Every film that the label files name, in the order of its name.

        Raises:
            DataError: No label is about a film that is there, or no label has a name that the card gives.
            LookupError: There are no films or no labels.
        """
        return self._contents.records

    @property
    def flaws(self) -> list[str]:
        """One sentence per label file or entry that cannot be used, with file, line or entry, and value."""
        return self._contents.flaws

    @property
    def wanted(self) -> tuple[str, ...]:
        """The labels that the card names: the landmarks', then a ruler's."""
        return tuple(dict.fromkeys((*self.card.labels, *(self.card.spacing.between if self.card.spacing else ()))))

    @cached_property
    def own_patients(self) -> dict[str, str]:
        """The patient of every film by the film's name; empty where the card's rule does not fit.

        Raises:
            DataError: The rule fits no film, or gives all films one patient.
        """
        patients = {record.name: self._patient(record) for record in self.records}
        rule, known = self.card.patient, set(patients.values()) - {""}
        if rule and not known and any(record.film for record in self.records):
            example = next(str(r.film.relative_to(self.root)) for r in self.records if r.film)
            raise DataError(f"the card's patient ({rule.said}) fits no film, {example} for one; correct the rule.")
        return patients

    @property
    def patients(self) -> dict[str, str]:
        """The patient of every film, by the film's name; the film itself where none is known."""
        return {name: patient or name for name, patient in self.own_patients.items()}

    def points(self, record: Record, size: tuple[int, int]) -> Float[np.ndarray, "landmark 2"]:
        """Return the landmarks in original pixels, pixel centres at integers; NaN where missing.

        Of several readers' points the mean; it is missing where one of them marked none.

        Args:
            record: Of the film.
            size: Its (height, width).
        """
        return np.asarray(np.mean([self._points(record.readings[index], size) for index in self.truth], axis=0))

    def disagreement(self, record: Record, size: tuple[int, int]) -> Float[np.ndarray, " landmark"]:
        """Return the pixels between the two readers who are furthest apart; NaN where fewer than two marked a point."""
        points = np.stack([self._points(reading, size) for reading in record.readings])
        return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=-1).max(axis=(0, 1)))

    def placeholders(self, record: Record) -> list[int]:
        """Return the positions of landmarks whose point stands for a missing one."""
        readings = [record.readings[index] for index in self.truth]
        return sorted({index for reading in readings for index in self._placeholders(reading)})

    def _placeholders(self, labels: Labels) -> list[int]:
        points = [labels.points.get(label) for label in self.card.labels]
        return [index for index, point in enumerate(points) if point in PLACEHOLDERS]

    def _points(self, labels: Labels, size: tuple[int, int]) -> Float[np.ndarray, "landmark 2"]:
        points = np.array([labels.points.get(label, UNKNOWN) for label in self.card.labels], np.float64)
        points[self._placeholders(labels)] = np.nan
        spec = self.card.annotations
        if spec.unit in FULL_SCALE:
            points = points * size[::-1] / FULL_SCALE[spec.unit]
        return points + SHIFTS[spec.origin]

    def spacing(self, record: Record) -> tuple[float, float]:
        """Return millimetres per pixel in (x, y); NaN where the card's way gives none.

        Raises:
            DataError: A column is not there or holds no number.
        """
        spacing = self.card.spacing
        if spacing is None or record.film is None:
            return UNKNOWN
        if spacing.dicom:
            return dicom_spacing(record.film, spacing.dicom)
        values = spacing.mm_per_pixel
        if spacing.column:
            decimal = self.card.annotations.decimal
            values = tuple(number(record.value(name, "spacing"), record.location, decimal) for name in spacing.column)
        if spacing.between and spacing.mm:
            readings = [record.readings[index].points for index in self.truth]
            ends = np.array([[points.get(label, UNKNOWN) for label in spacing.between] for points in readings])
            pixels = float(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1).mean())
            values = (spacing.mm / pixels if pixels else math.nan,)
        return (values[0], values[-1]) if all(value > 0 for value in values) else UNKNOWN

    def members(self, rule: SplitRule) -> list[SplitMember]:
        """Return the films as a rule splits them.

        Raises:
            DataError: A column of the rule is not there, its pattern fits no film, or all films are of one patient.
        """
        members = [
            SplitMember(
                record.name,
                self.patients[record.name],
                self._part(record, rule),
                record.value(rule.stratify, "stratify") if rule.stratify else "",
                record.location,
            )
            for record in self.records
        ]
        if rule.pattern and not any(member.part for member in members):
            raise DataError(f"the card's split (pattern {rule.pattern!r}) fits no film or label file; correct it.")
        if not rule.is_published:
            self._refuse_one_patient(members)
        return members

    def texts(self) -> Iterator[str]:
        """Yield every text of the folder that an error could hold."""
        folder = self.root.resolve()
        yield from (str(self.root), str(folder), folder.name, str(self.card.file), self.card.title, self.card.salt)
        yield from self.patients.values()
        for record in self.records:
            yield from (record.name, record.rejected, *record.columns.values(), *record.labels)
            for reading in record.readings:
                yield from (reading.entry.image, reading.entry.location)
            if record.film:
                yield from (str(record.film), str(record.film.relative_to(self.root)), record.film.name)

    @cached_property
    def _contents(self) -> _Contents:
        spec = self.card.annotations
        by_reader, flaws = [], []
        for patterns in spec.readers.values() or [spec.path]:
            records, own_flaws = self._read(patterns)
            by_reader.append(records)
            flaws += own_flaws
        names = set(by_reader[0]).intersection(*by_reader)
        merged = [
            by_reader[0][name]._replace(
                readings=tuple(reading for records in by_reader for reading in records[name].readings),
                rejected=next((records[name].rejected for records in by_reader if records[name].rejected), ""),
            )
            for name in sorted(names)
        ]
        if merged:
            self._refuse_unknown_films(merged)
            self._refuse_unknown_names(merged)
        return _Contents(merged, flaws, len(set().union(*by_reader)) - len(names))

    def _read(self, patterns: Sequence[str]) -> tuple[dict[str, Record], list[str]]:
        """Return the records of some label files by name, and what is wrong with the files."""
        spec = self.card.annotations
        paths = sorted({path for pattern in patterns for path in visible_files(self.root, pattern)})
        labels, flaws = parse_labels(Source(self.root, paths, spec, self.wanted, len(self.card.labels)))
        if not labels and not flaws:
            raise LookupError(f"{', '.join(patterns)} holds no labels")
        claims: dict[str, list[Record]] = {}
        repeated = Counter(_file_name(image_labels.entry.image) for image_labels in labels)
        for image_labels in labels:
            record = attempt(self._record, image_labels, repeated)
            if isinstance(record, DataError):
                flaws.append(str(record))
            else:
                claims.setdefault(record.name, []).append(record)
        for name, (record, *others) in claims.items():
            cure = "remove one of them, or list two readers' files under the annotations' `readers`"
            flaws += [f"{other.location} is about {name}, as {record.location} is; {cure}." for other in others]
        return {name: records[0] for name, records in claims.items() if len(records) == 1}, flaws

    def _record(self, labels: Labels, repeated: Mapping[str, int]) -> Record:
        """Return a film's record; one that is missing has its folder in its name where others are called like it."""
        entry = labels.entry
        film, rejected = self._film(entry)
        absent = _file_name(entry.image)
        name = self.images.name(film) if film else entry.image if repeated[absent] > 1 else absent
        return Record(name, film, (labels,), {**self._table.get(name, {}), **entry.columns}, rejected)

    def _film(self, entry: ImageLabels) -> tuple[Path | None, str]:
        """Return the film of a label file's entry, and the name of another one that it names wrongly.

        A label file called like a film is about that film, unless the image that it holds shows the other one.
        """
        film, other = (self.images.find(name, entry.location) for name in (entry.image, entry.other_image))
        if film is None and other is None:
            return self.images.nearly(entry.image) or self.images.nearly(entry.other_image), ""
        if film is None or other is None or film == other:
            return film or other, ""
        shown = shows(entry.embedded(), film, other) if entry.embedded else None
        return (other, entry.image) if shown == other else (film, entry.other_image)

    @cached_property
    def _table(self) -> dict[str, Mapping[str, str]]:
        """The columns of the card's extra table, by the film's name.

        Raises:
            DataError: A line is flawed.
        """
        table = self.card.table
        rows: dict[str, Mapping[str, str]] = {}
        for row in read_table(self.root / table.path, table.delimiter) if table else ():
            if isinstance(row, DataError):
                raise row
            image = column(row, table.case if table else "", IMAGE)
            film = self.images.find(image, row.location) or self.images.nearly(image)
            rows[self.images.name(film) if film else _file_name(image)] = row.values
        return rows

    def _patient(self, record: Record) -> str:
        rule = self.card.patient
        if rule is None or (record.film is None and not rule.column):
            return ""
        if rule.column:
            return record.value(rule.column, "the patient")
        assert record.film is not None, "decided above"
        if rule.dicom:
            return dicom_text(record.film, rule.dicom)
        match = re.search(rule.pattern, record.film.relative_to(self.root).as_posix())
        return match[1] or "" if match else ""

    def _part(self, record: Record, rule: SplitRule) -> str:
        """Return the part of a published split that a film is in; empty where the rule draws the parts."""
        if rule.column:
            return record.value(rule.column, "split")
        path = record.film.relative_to(self.root).as_posix() if record.film else record.readings[0].entry.image
        texts = (path, record.location.removeprefix(str(self.root))) if rule.pattern else ()
        return next((match[1] or "" for match in (re.search(rule.pattern, text) for text in texts) if match), "")

    def _refuse_one_patient(self, members: list[SplitMember]) -> None:
        if self.card.patient and len(members) > 1 and len({member.patient for member in members}) == 1:
            raise DataError(
                f"all {len(members)} films are of one patient by the card's patient ({self.card.patient.said}), so "
                f"they cannot be split; correct the rule, or remove it if every film is a patient of its own."
            )

    def _refuse_unknown_films(self, records: list[Record]) -> None:
        """Refuse labels none of which is about a film that is there."""
        if any(record.film for record in records):
            return
        example, image = self.images.paths[0].relative_to(self.root), records[0].readings[0].entry.image
        raise DataError(
            f"{records[0].location} names the image {image!r}, which is not there, nor is any of the other "
            f"{len(records) - 1}; those that are have names like {example}: "
            f"{NAME_CURES[self.card.annotations.format]}."
        )

    def _refuse_unknown_names(self, records: list[Record]) -> None:
        """Refuse names of the card that no label file has."""
        known = {label for record in records for label in record.labels}
        if absent := [label for label in self.wanted if label not in known]:
            more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
            raise DataError(
                f"the card names {absent[0]!r}{more}, which no label in {', '.join(self.card.annotations.patterns)} is "
                f"called; {nearest(absent[0], sorted(known - set(self.wanted)) or sorted(known))}"
            )


def _file_name(image: str) -> str:
    return image.replace("\\", "/").rpartition("/")[2]
