"""A folder read as its card says: every image with its labels, table, patient and spacing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from datamodules.components.cards.card import Card, Rule
from datamodules.components.cards.formats import READERS, Labels, Source
from datamodules.components.cards.formats.common import Line, column, number, read_table
from datamodules.components.cards.images import Images
from datamodules.components.cards.splits import Member
from datamodules.components.errors import DataError
from datamodules.components.images.dicom import dicom_spacing, dicom_text

UNKNOWN = (math.nan, math.nan)
SHIFTS = {"zero": 0.0, "corner": -0.5, "one": -1.0}


class Record(NamedTuple):
    """What the annotation files say of one image.

    Attributes:
        name: The case's own name.
        film: The image; None where it is not there.
        labels: Its labels.
        columns: All that tables say of it.
    """

    name: str
    film: Path | None
    labels: Labels
    columns: Mapping[str, str]

    def value(self, name: str, what: str) -> str:
        """Return the value of a column; empty for an image that no table has.

        Raises:
            DataError: There is no such column.
        """
        return column(Line(self.labels.place, self.columns), name, what) if self.columns else ""


class CardFolder:
    """The images and labels of a folder.

    Args:
        card: Says what is what.
        root: The folder.
    """

    def __init__(self, card: Card, root: Path) -> None:
        self.card, self.root = card, root

    @cached_property
    def images(self) -> Images:
        """The image files.

        Raises:
            LookupError: There is none.
        """
        images = Images(self.root, self.card.images)
        if not images.paths:
            raise LookupError(f"no image matches {self.card.images}")
        return images

    @cached_property
    def records(self) -> list[Record]:
        """Every image that the annotation files name, in the order of its name.

        Raises:
            DataError: A file is not there or broken, or two entries are about one image.
            LookupError: There are no images or no labels.
        """
        records: dict[str, Record] = {}
        for labels in self._labels:
            film = self.images.find(labels.image, labels.place)
            name = self._name(labels.image, film)
            if name in records:
                raise DataError(
                    f"{labels.place} is about {name}, as {records[name].labels.place} is; remove one of them."
                )
            records[name] = Record(name, film, labels, {**self._table.get(name, {}), **labels.columns})
        found = [records[name] for name in sorted(records)]
        if not any(record.film for record in found):
            first, example = found[0].labels, self.images.paths[0].relative_to(self.root)
            raise DataError(
                f"{first.place} names the image {first.image!r}, which is not there, nor is any of the other "
                f"{len(found) - 1}; those that are have names like {example}: correct the card's `case` or `images`."
            )
        return found

    @property
    def wanted(self) -> tuple[str, ...]:
        """The labels that the card names: the landmarks', then a ruler's."""
        return tuple(dict.fromkeys((*self.card.labels, *(self.card.spacing.between if self.card.spacing else ()))))

    @cached_property
    def patients(self) -> dict[str, str]:
        """The patient of every image, by the image's name; the image itself where none is known."""
        return {record.name: self._patient(record) or record.name for record in self.records}

    def points(self, record: Record) -> Float[np.ndarray, "landmark 2"]:
        """Return the landmarks in original pixels, pixel centres at integers; NaN where missing."""
        shift = SHIFTS[self.card.annotations.origin]
        return np.array([record.labels.points.get(label, UNKNOWN) for label in self.card.labels], np.float64) + shift

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
            place, decimal = record.labels.place, self.card.annotations.decimal
            values = tuple(number(record.value(name, "spacing"), place, decimal) for name in spacing.column)
        if spacing.between and spacing.mm:
            first, second = (np.array(record.labels.points.get(label, UNKNOWN)) for label in spacing.between)
            pixels = float(np.linalg.norm(first - second))
            values = (spacing.mm / pixels if pixels else math.nan,)
        return (values[0], values[-1]) if all(value > 0 for value in values) else UNKNOWN

    def members(self, rule: Rule) -> list[Member]:
        """Return the images as a rule splits them.

        Raises:
            DataError: A column of the rule is not there.
        """
        return [
            Member(
                record.name,
                self.patients[record.name],
                record.value(rule.column, "split") if rule.column else "",
                record.value(rule.stratify, "stratify") if rule.stratify else "",
                record.labels.place,
            )
            for record in self.records
        ]

    def texts(self) -> Iterator[str]:
        """Yield every text of the folder that an error could hold."""
        folder = self.root.resolve()
        yield from (str(self.root), str(folder), folder.name, str(self.card.file), self.card.title, self.card.salt)
        yield from self.patients.values()
        for record in self.records:
            yield from (record.name, record.labels.image, record.labels.place)
            yield from (*record.columns.values(), *record.labels.points)
            if record.film:
                yield from (str(record.film), str(record.film.relative_to(self.root)), record.film.name)

    @cached_property
    def _labels(self) -> list[Labels]:
        spec = self.card.annotations
        paths = sorted(path for path in self.root.glob(spec.path) if path.is_file())
        found = READERS[spec.format](Source(self.root, paths, spec, self.wanted, len(self.card.labels)))
        if not found:
            raise LookupError(f"{spec.path} holds no labels")
        return found

    @cached_property
    def _table(self) -> dict[str, Mapping[str, str]]:
        """The columns of the card's extra table, by the image's name."""
        table = self.card.table
        if table is None:
            return {}
        found: dict[str, Mapping[str, str]] = {}
        for line in read_table(self.root / table.path, table.delimiter):
            image = column(line, table.case, "the image")
            found[self._name(image, self.images.find(image, line.place))] = line.values
        return found

    def _name(self, image: str, film: Path | None) -> str:
        return self.images.name(film) if film else image.replace("\\", "/").rpartition("/")[2]

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
