"""Digital Hand Atlas: 895 left hands, 37 landmarks, three published folds (Gertych et al. 2007, Payer et al. 2019).

`all.csv` has one line per hand: its number, then 37 pairs x,y in pixels of the original film. The films are
`images/<number>.<suffix>`; `cv/set{1,2,3}/{train,test}.txt` list the folds, one number per line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from datamodules.base import Case, DataError, Inventory, LandmarkDataModule, LandmarkSchema, Protocol
from datamodules.components.images.image_io import film_sizes, find_film
from datamodules.components.labels.parsing import parse_row, read_lines, whole
from datamodules.components.protocols import Split

POINTS = 37
WRIST_MM = 50.0
PAYER_WRIST = ("ulna-styloid", "radius-styloid")
OTHER_WRIST = ("ulna-metaphysis-outer", "radius-metaphysis-outer")
FINGERS = ("index", "middle", "ring", "little")
FOLDS = ("fold1", "fold2", "fold3")

_NAMES = (
    *("ulna-metaphysis-outer", "ulna-styloid", "ulna-metaphysis-inner"),
    *("radius-metaphysis-inner", "radius-metaphysis-outer", "radius-styloid"),
    *("triquetrum", "lunate", "scaphoid", "hamate", "capitate", "trapezoid", "trapezium"),
    *("little-base", "ring-base", "middle-base", "index-base", "thumb-base"),
    *("thumb-mcp", "thumb-ip", "thumb-tip"),
    *(f"{finger}-{joint}" for finger in FINGERS for joint in ("mcp", "pip", "dip", "tip")),
)
_CHAINS = (
    ("thumb-base", "thumb-mcp", "thumb-ip", "thumb-tip"),
    *(tuple(f"{finger}-{joint}" for joint in ("base", "mcp", "pip", "dip", "tip")) for finger in FINGERS),
    ("ulna-styloid", "ulna-metaphysis-outer", "ulna-metaphysis-inner"),
    ("radius-metaphysis-inner", "radius-metaphysis-outer", "radius-styloid"),
    ("triquetrum", "lunate", "scaphoid"),
    ("hamate", "capitate", "trapezoid", "trapezium"),
)


class Hand(LandmarkDataModule):
    """The hands of the Digital Hand Atlas, in millimetres by the rule that a wrist is 50 mm wide.

    Films carry no spacing that scores could use, so every hand's truth defines its own: by the two styloids (0-based
    points 1 and 5) in Payer's rule, by the outer metaphyses (0 and 4) in the other, which makes the same predictions
    about 7 % better. Names follow the mean shape: distal forearm, proximal poles of the seven carpals, metacarpal bases
    (`base`), then each finger's joints (`mcp`, `pip`, `dip`; `ip` of the thumb) and tip. Every hand is one patient. The
    NME is normalised by the wrist's width between the styloids.
    """

    title = "Digital Hand Atlas (left hands)"
    licence = "films: public for research, no licence is stated; labels and folds: see Payer et al.'s repository."
    obtain = (
        "Films come from https://ipilab.usc.edu/research/baaweb, all.csv and the cv lists from Payer et al., "
        "https://github.com/christianpayer/MedicalDataAugmentationTool-HeatmapRegression (hand_xray)."
    )
    layout = """
all.csv                                  number, x0, y0, ... x36, y36
images/<number>.mha                      (mha, jpg, png, bmp or tif)
cv/set{1,2,3}/{train,test}.txt           one number per line
cv_reduced/set{1,2,3}/{train,test}.txt   the same for the reduced protocol (optional)
"""
    schema = LandmarkSchema(
        names=_NAMES, edges=tuple(pair for chain in _CHAINS for pair in pairwise(chain)), normalizer=PAYER_WRIST
    )
    protocols = (
        Protocol("3-fold", "Payer's three folds; 50 mm between points 1 and 5.", FOLDS, "mm", "wrist 1-5"),
        Protocol("3-fold-other", "Payer's three folds; 50 mm between points 0 and 4.", FOLDS, "mm", "wrist 0-4"),
        Protocol(
            "3-fold-reduced",
            "The nine films that Payer et al. publish, in three folds; 50 mm between points 1 and 5.",
            FOLDS,
            "mm",
            "wrist 1-5",
            caveats=("6 training films a fold",),
        ),
    )
    radii = (2.0, 4.0, 10.0)
    folders: ClassVar[tuple[str, ...]] = ("hand", "hand_xray", "digital_hand_atlas")
    phantom_films = 72

    def scan(self) -> Inventory:
        """Read `all.csv` and the headers of the films that it or the protocol's lists name."""
        rows = self._rows
        listed = {case for fold in self._folds for cases in fold for case in cases}
        films = {name: find_film(self.root / "images", name, ".mha") for name in sorted({*rows, *listed})}
        found = film_sizes(self.root, {name: film for name, film in films.items() if name in listed or film.is_file()})
        unlabelled = tuple(f"{name} in all.csv" for name in sorted(listed) if name not in rows)
        cases, oddities = {}, []
        for name, size in found.sizes.items():
            if name not in rows:
                continue
            line, points = rows[name]
            spacing = self._spacing(points, line)
            cases[name] = Case(name, films[name], points, size, (spacing, spacing), name, "PA")
            oddities += [f"{name}: {text}" for text in _oddities(points, size)]
        missing = (*found.missing, *unlabelled)
        return Inventory(cases, missing, tuple(oddities), self._notes(listed, cases), found.unreadable)

    def splits(self) -> tuple[Split, ...]:
        """Return the published folds; the validation films are a tenth of a fold's training films."""
        splits = []
        for name, (train, test) in zip(FOLDS, self._folds, strict=True):
            splits.append(Split.validated(name, train, {"test": test}, {case: case for case in train}))
        return tuple(splits)

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write 72 films of 512 px height in three folds."""
        from datamodules.phantom.hand.films import write_hand

        write_hand(root, films=cls.phantom_films * scale, seed=seed)

    @cached_property
    def _rows(self) -> Mapping[str, tuple[int, Float[np.ndarray, "37 2"]]]:
        """The line number and the points of every hand in `all.csv`."""
        path = self.root / "all.csv"
        if not path.is_file():
            raise self.foreign_folder("all.csv is not there")
        rows: dict[str, tuple[int, Float[np.ndarray, "37 2"]]] = {}
        for line, text in enumerate(read_lines(path), 1):
            name, *fields = text.split(",")
            if name in rows:
                raise DataError(f"{path}, line {line} repeats hand {name} of line {rows[name][0]}; remove one of them.")
            rows[name] = line, whole(parse_row(fields, 2 * POINTS, path, line).reshape(POINTS, 2))
        return rows

    @cached_property
    def _folds(self) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
        """(train, test) of each fold of the protocol."""
        folder = self.root / ("cv_reduced" if self.protocol.name == "3-fold-reduced" else "cv")
        if not folder.is_dir():
            raise self.foreign_folder(f"{folder.name}, which lists the folds of {self.protocol.name}, is not there")
        return tuple((_read_list(folder / s / "train.txt"), _read_list(folder / s / "test.txt")) for s in _SETS)

    def _spacing(self, points: Float[np.ndarray, "37 2"], line: int) -> float:
        """Return millimetres per pixel by the protocol's wrist rule; NaN where a wrist point is missing."""
        first, second = self.schema.index(OTHER_WRIST if self.protocol.truth == "wrist 0-4" else PAYER_WRIST)
        width = float(np.linalg.norm(points[first] - points[second]))
        if width == 0:
            raise DataError(
                f"{self.root / 'all.csv'}, line {line} puts points {first} and {second}, the ends of the wrist, in one "
                f"place, so the hand has no scale; restore the original label file."
            )
        return WRIST_MM / width

    def _notes(self, listed: set[str], cases: Mapping[str, Case]) -> tuple[str, ...]:
        notes = [f"Millimetres by the wrist rule: 50 mm between points {self.protocol.truth.removeprefix('wrist ')}."]
        unused = [name for name in cases if name not in listed]
        if unused:
            notes.append(f"Films that are in no fold of {self.protocol.name}: {', '.join(sorted(unused))}.")
        return tuple(notes)


_SETS = ("set1", "set2", "set3")


def _read_list(path: Path) -> tuple[str, ...]:
    return tuple(line.strip() for line in read_lines(path) if line.strip())


def _oddities(points: Float[np.ndarray, "37 2"], size: tuple[int, int]) -> Iterator[str]:
    height, width = size
    for name, (x, y) in zip(_NAMES, points, strict=True):
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5) and np.isfinite(x):
            yield f"{name} at ({x:g}, {y:g}) lies outside the film of {width} x {height} px."
