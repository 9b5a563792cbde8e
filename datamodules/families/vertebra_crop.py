"""What the two sets of single-vertebra crops share: five points, one table, parts by patient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from datamodules.base import Case, DataError, Inventory, LandmarkDataModule, LandmarkSchema, Protocol
from datamodules.components.badges import ORACLE_CROP
from datamodules.components.images.image_io import film_sizes
from datamodules.components.labels.point_table import TABLE, PointRow, outside, read_point_table
from datamodules.components.protocols import Split, grouped_folds, hold_out

CROP_SCHEMA = LandmarkSchema(
    names=("TL", "TR", "BL", "BR", "SP"),
    flips=(("TL", "TR"), ("BL", "BR")),
    edges=(("TL", "TR"), ("TR", "BR"), ("BR", "BL"), ("BL", "TL")),
    normalizer=("TL", "BR"),
)
"""Four corners of the body, image-left first, and the spinous process."""
FOLDS = tuple(f"fold{i}" for i in range(1, 6))
_COLUMNS = ("image", "patient", "level", "spacing-x", "spacing-y")


def crop_protocol(levels: tuple[str, ...], source: str) -> tuple[Protocol, ...]:
    """Return the protocols of a set of crops, with the badge that says what a crop tells a method."""
    text = f"Crops of {levels[0]} to {levels[-1]}, whole patients at a time, "
    badge = (ORACLE_CROP,)
    return (
        Protocol("patients", f"{text}in the shares of {source}.", unit="mm", caveats=badge),
        Protocol("5-fold", f"{text}in five folds.", FOLDS, unit="mm", caveats=badge),
    )


def crop_layout(levels: tuple[str, ...]) -> str:
    """Return the folder tree of a set of crops."""
    return f"""
images/<crop>                            (png, jpg, bmp, tif or mha), one vertebra each
landmarks.csv                            one line per crop under a header:
    image,patient,level,spacing-x,spacing-y,TL-x,TL-y,TR-x,TR-y,BL-x,BL-y,BR-x,BR-y,SP-x,SP-y
    level is {levels[0]} to {levels[-1]}; spacing is mm per pixel of the crop; points are pixels of the crop
"""


class VertebraCrops(LandmarkDataModule):
    """Crops of single vertebrae, in millimetres.

    A subclass states `levels` and the shares of its patients that validate and test. Crops were cut round the true
    landmarks, which tells a method where to look: every row of these sets carries the badge "oracle crop".
    """

    licence = "the paper's films are private; yours stay where they are."
    obtain = "The crops of Upadhyay et al. 2020 cannot be had: bring your own in this layout, or write phantoms."
    schema = CROP_SCHEMA
    phantom_films = 200
    radii = (1.5, 2.0, 3.0, 4.0)
    patient_rule = "The table names the patient of each crop; a crop without one counts as a patient of its own."
    levels: ClassVar[tuple[str, ...]]
    """The vertebrae, top to bottom."""
    shares: ClassVar[tuple[float, float]]
    """Of the crops that validate and that test."""

    def scan(self) -> Inventory:
        """Read the table and the headers of its crops."""
        films = {name: self.root / "images" / row.facts["image"] for name, row in self._rows.items()}
        found = film_sizes(self.root, films)
        cases, oddities = {}, []
        for name, size in found.sizes.items():
            row = self._rows[name]
            patient, view = row.facts["patient"] or name, row.facts["level"]
            cases[name] = Case(name, films[name], row.points, size, self._spacing(row), patient, view)
            oddities += [f"{name}: {text}" for text in outside(row.points, self.schema.names, size)]
        return Inventory(cases, found.missing, tuple(oddities), unreadable=found.unreadable)

    def splits(self) -> tuple[Split, ...]:
        """Draw test and validation patients, or folds, once for everybody."""
        patients = {name: row.facts["patient"] or name for name, row in self._rows.items()}
        validate, test = self.shares
        parts = [hold_out(sorted(patients), patients, test)]
        if self.protocol.name == "5-fold":
            parts = grouped_folds(sorted(patients), patients, len(FOLDS))
        if not parts[0][1]:
            raise DataError(f"{self.root} holds crops of one patient only; a split needs two or more.")
        splits = []
        for name, (rest, tested) in zip(self.protocol.splits, parts, strict=True):
            train, val = hold_out(rest, patients, validate / (1 - test))
            splits.append(Split(name, train, val, {"test": tested}))
        return tuple(splits)

    @cached_property
    def _rows(self) -> Mapping[str, PointRow]:
        """The table's line of every crop, by the crop's stem."""
        path = self.root / TABLE
        if not path.is_file():
            raise self.foreign_folder(f"{TABLE} is not there")
        rows: dict[str, PointRow] = {}
        for row in read_point_table(path, _COLUMNS, self.schema.names):
            name, level = Path(row.facts["image"]).stem, row.facts["level"]
            if level not in self.levels:
                known = f"one of {', '.join(self.levels)}"
                raise DataError(f"{path}, line {row.line} names the level {level!r}; a level here is {known}.")
            if not name or name in rows:
                raise DataError(f"{path}, line {row.line} names no crop of its own ({row.facts['image']!r}); name one.")
            rows[name] = row
        return rows

    def _spacing(self, row: PointRow) -> tuple[float, float]:
        """Return millimetres per pixel in (x, y), which every crop of these sets must have."""
        texts = [row.facts["spacing-x"], row.facts["spacing-y"]]
        try:
            x, y = map(float, texts)
        except ValueError:
            x = y = math.nan
        if not (0 < x < math.inf and 0 < y < math.inf):
            raise DataError(
                f"{self.root / 'landmarks.csv'}, line {row.line} gives the spacing {', '.join(texts)}; it must be two "
                f"numbers of millimetres per pixel above 0."
            )
        return x, y
