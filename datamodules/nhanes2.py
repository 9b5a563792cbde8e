"""NHANES II: lateral lumbar films of a survey of 1976-80, scanned at 146 dpi, with 22 landmarks in BUU-LSPINE's format.

The National Library of Medicine serves each film as jpg, as 8-bit tif and as `nh2`, 12 bits raw. Its own coordinates
cover a few hundred films only; An et al. (2022) labelled theirs anew and published no points. So the points are a csv
of one's own per film, 11 lines `x1,y1,x2,y2` like BUU-LSPINE's, in pixels of the full film of 2048 x 2487.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from datamodules.base import Case, Inventory, LandmarkDataModule, Protocol
from datamodules.components.images.image_io import film_sizes
from datamodules.components.images.nh2 import LUMBAR as FRAME
from datamodules.components.labels.end_plates import end_plate_oddities, end_plate_schema, read_end_plates
from datamodules.components.protocols import Split, drawn_splits

SPACING = 0.174
"""Millimetres per pixel of the full film: 146 dots per inch."""
FORMATS = (("nh2", ".nh2"), ("fullres", ".nh2"), ("tif8", ".tif"), ("jpg", ".jpg"))
"""Folder and suffix of each format, the deepest first; where a film is there in several, the first is read."""
POINTS = "points"


class NHANES2(LandmarkDataModule):
    """The lateral lumbar films of NHANES II, in millimetres.

    Film stems name the cases and the patients, of whom each has one lumbar film. Copies of another size than
    2048 x 2487 are read too: labels and spacing are scaled to the film. The SDR radii begin with the 1.5 mm and 2 mm of
    BayeRegX.
    """

    title = "NHANES II (lateral lumbar spine)"
    licence = "films: free for research from the U.S. National Library of Medicine; points: whoever labelled them."
    obtain = (
        "Download lumbar films from https://www.nlm.nih.gov/databases/download/nhanes.html, and label them: no points "
        "of L1 to S1 are published."
    )
    layout = """
nh2/<film>.nh2      12 bits in 16-bit words, 2048 x 2487 (folder nh2 or fullres), or
tif8/<film>.tif     8 bits, or
jpg/<film>.jpg
points/<film>.csv   11 lines x1,y1,x2,y2: L1 upper, L1 lower, ... L5 lower, S1 upper end plate, left end first
"""
    schema = end_plate_schema(sacrum=True)
    protocols = (
        Protocol("80-20", "A fifth of the films test, drawn once for everybody; no split is published.", unit="mm"),
        Protocol("5-fold", "Five folds of all films.", splits=tuple(f"fold{i}" for i in range(1, 6)), unit="mm"),
    )
    radii = (1.5, 2.0, 3.0, 4.0)
    patient_rule = "Every film is of another patient, whose number is its name."
    folders: ClassVar[tuple[str, ...]] = ("nhanes2", "nhanes_ii", "nhanes")
    phantom_films = 24

    def scan(self) -> Inventory:
        """Read every csv of points and the headers of their films."""
        films = {stem: self._film(stem) for stem in self.stems}
        found = film_sizes(self.root, films)
        cases, oddities = {}, []
        for stem, size in found.sizes.items():
            points = self._points(stem)
            oddities += [f"{stem}: {text}" for text in end_plate_oddities(points, FRAME, self.schema)]
            scale = np.array([size[1] / FRAME[1], size[0] / FRAME[0]])
            spacing = (SPACING / float(scale[0]), SPACING / float(scale[1]))
            cases[stem] = Case(stem, films[stem], (points + 0.5) * scale - 0.5, size, spacing, stem, "lateral")
        notes = tuple(self._notes(list(cases.values())))
        return Inventory(cases, found.missing, tuple(oddities), notes, found.unreadable)

    def splits(self) -> tuple[Split, ...]:
        """Split the labelled films by a fixed seed; the validation films are a tenth of the training films."""
        return drawn_splits(self.protocol, self.stems, self.patients)

    @classmethod
    def patient_of(cls, case: str) -> str:
        """Return the film's name, which is its patient's number."""
        return case

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write 24 films: 4 of nh2 at full size, 4 of tif8 and 16 jpg at a quarter of it."""
        from datamodules.phantom.lumbar.files import write_nhanes2

        write_nhanes2(root, nh2=4, tif8=4, jpg=cls.phantom_films * scale - 8, seed=seed, height=FRAME[0] // 4)

    @cached_property
    def stems(self) -> tuple[str, ...]:
        """The films that have points.

        Raises:
            DataError: There is none.
        """
        stems = tuple(sorted(path.stem for path in (self.root / POINTS).glob("*.csv")))
        if not stems:
            raise self.foreign_folder(f"{POINTS} holds no csv")
        return stems

    @property
    def patients(self) -> Mapping[str, str]:
        """Each film's patient: itself."""
        return {stem: stem for stem in self.stems}

    def _film(self, stem: str) -> Path:
        """Return the deepest film of `stem`; the jpg where there is none."""
        candidates = [
            self.root / folder / f"{stem}{spelt}"
            for folder, suffix in FORMATS
            for spelt in (suffix, suffix.upper(), f"{suffix}f")
        ]
        return next((path for path in candidates if path.is_file()), self.root / "jpg" / f"{stem}.jpg")

    def _points(self, stem: str) -> Float[np.ndarray, "22 2"]:
        return read_end_plates(self.root / POINTS / f"{stem}.csv", len(self.schema)).points

    def _notes(self, cases: Sequence[Case]) -> Iterator[str]:
        """Mention the films' formats, copies of another size, and films without points."""
        formats = Counter(case.film.suffix.removeprefix(".").lower() for case in cases)
        if formats:
            yield "Films are read as " + ", ".join(f"{suffix} ({count})" for suffix, count in formats.items()) + "."
        other = [case for case in cases if case.size != FRAME]
        if other:
            height, width = min(case.size for case in other)
            yield (
                f"{len(other)} films are not 2048 x 2487 px (the smallest is {width} x {height}): their labels and the "
                f"spacing of {SPACING} mm were scaled to their size."
            )
        films = {path.stem for folder, _ in FORMATS for path in (self.root / folder).glob("*.*")}
        bare = sorted(films - set(self.stems))
        if bare:
            yield f"{len(bare)} films have no points and stay unused, {bare[0]} first."
