"""ISBI 2015: 400 lateral cephalograms with 19 landmarks by two readers (Wang et al. 2016, ISBI 2014/2015 challenges).

Each reader has one file per film: 19 lines `x,y` in pixels of the official frame of 1935 x 2400 at 0.1 mm, followed, in
the original archive, by 8 lines of class labels, which are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from datamodules.base import Case, Inventory, LandmarkDataModule, LandmarkSchema, Protocol
from datamodules.components.images.image_io import film_sizes, find_film
from datamodules.components.labels.parsing import parse_points, read_lines
from datamodules.components.protocols import Split, grouped_folds

FRAME = (2400, 1935)
"""(height, width) in pixels of the films that the labels refer to."""
FRAME_SPACING = 0.1
POINTS = 19
CLASS_LINES = 8
FAR_APART = 15.0
"""Millimetres between the two readers that make a landmark odd; 2.15 mm is the mean."""
SETS = {"TrainingData": range(1, 151), "Test1Data": range(151, 301), "Test2Data": range(301, 401)}

# Pairs of numbers that show one radiograph: training and test1, then two within test1.
TRAIN_TEST1 = (
    *((1, 275), (7, 293), (10, 295), (14, 287), (28, 296), (38, 283), (56, 280), (62, 288), (80, 282), (88, 297)),
    *((103, 201), (108, 289), (118, 285), (123, 276), (126, 299), (132, 291), (137, 292), (138, 281), (141, 279)),
    (144, 173),
)
WITHIN_TEST1 = ((159, 278), (188, 294), (196, 277))
REPEATED = re.compile(f"^({'|'.join(str(second) for _, second in (*TRAIN_TEST1, *WITHIN_TEST1))})$")

_TRAIN_TEST1_BADGE = "20 of 150 test1 films also in training"
_WITHIN_TEST1_BADGE = "3 films twice in test1"
_OFFICIAL = "Films 1-150 train, 151-300 are test1, 301-400 test2; the truth is "
_ALL_TRAIN = "Official, but all of films 1-150 train and none validates, so that the last epoch is the result"
TRUNCATED = "mean, cut off to whole pixels in test films"


class ISBI2015(LandmarkDataModule):
    """The lateral cephalograms of the ISBI challenges, in millimetres.

    Case names are the films' three-digit numbers. Copies of another size than 1935 x 2400 are read too: labels and
    spacing are scaled to the film, separately in x and y. The patient of a film is the first film that shows the same
    radiograph; patients as such are not published. The NME is normalised by sella-nasion, the anterior skull base.
    """

    title = "ISBI 2015 (lateral cephalograms)"
    licence = "released for research with the challenge; no public licence is stated (cite Wang et al. 2016)."
    obtain = "Download RawImage and AnnotationsByMD from https://figshare.com/s/37ec464af8e81ae6ebbf and unpack both."
    layout = """
RawImage/TrainingData/001.bmp ... 150.bmp    (bmp, jpg, png or tif)
RawImage/Test1Data/151.bmp ... 300.bmp
RawImage/Test2Data/301.bmp ... 400.bmp
AnnotationsByMD/400_senior/001.txt ... 400.txt
AnnotationsByMD/400_junior/001.txt ... 400.txt
"""
    schema = LandmarkSchema(
        names=(
            *("sella", "nasion", "orbitale", "porion", "subspinale", "supramentale", "pogonion", "menton", "gnathion"),
            *("gonion", "lower-incisor-tip", "upper-incisor-tip", "upper-lip", "lower-lip", "subnasale"),
            *("soft-tissue-pogonion", "posterior-nasal-spine", "anterior-nasal-spine", "articulare"),
        ),
        edges=(
            *(("sella", "nasion"), ("porion", "orbitale"), ("sella", "articulare"), ("articulare", "gonion")),
            *(("gonion", "menton"), ("menton", "gnathion"), ("gnathion", "pogonion"), ("pogonion", "supramentale")),
            *(("supramentale", "lower-incisor-tip"), ("upper-incisor-tip", "subspinale")),
            *(("subspinale", "anterior-nasal-spine"), ("anterior-nasal-spine", "posterior-nasal-spine")),
            *(("subnasale", "upper-lip"), ("upper-lip", "lower-lip"), ("lower-lip", "soft-tissue-pogonion")),
        ),
        normalizer=("sella", "nasion"),
    )
    protocols = (
        Protocol(
            "official",
            _OFFICIAL + "the mean of both readers, as in the papers.",
            unit="mm",
            truth="mean",
            caveats=(_TRAIN_TEST1_BADGE, _WITHIN_TEST1_BADGE),
            leaks="films",
        ),
        Protocol(
            "official-senior",
            _OFFICIAL + "the senior reader.",
            unit="mm",
            truth="senior",
            caveats=(_TRAIN_TEST1_BADGE, _WITHIN_TEST1_BADGE),
            leaks="films",
        ),
        Protocol(
            "official-junior",
            _OFFICIAL + "the junior reader.",
            unit="mm",
            truth="junior",
            caveats=(_TRAIN_TEST1_BADGE, _WITHIN_TEST1_BADGE),
            leaks="films",
        ),
        Protocol(
            "official-150",
            f"{_ALL_TRAIN}, as in the public code of Ao and Wu.",
            unit="mm",
            truth="mean",
            caveats=(_TRAIN_TEST1_BADGE, _WITHIN_TEST1_BADGE),
            leaks="films",
        ),
        Protocol(
            "official-150-truncated",
            f"{_ALL_TRAIN}; the truth of the test films is cut off to whole pixels of 0.1 mm, as in the public code of "
            "Ao and Wu.",
            unit="mm",
            truth=TRUNCATED,
            caveats=(_TRAIN_TEST1_BADGE, _WITHIN_TEST1_BADGE),
            leaks="films",
        ),
        Protocol(
            "leak-free",
            "Official, with test1 reduced to the 127 films that are neither in training nor in test1 before.",
            unit="mm",
            truth="mean",
        ),
        Protocol(
            "4-fold",
            "Four folds of all 400 films that keep repeated radiographs together; the mean of both readers.",
            splits=tuple(f"fold{i}" for i in range(1, 5)),
            unit="mm",
            truth="mean",
        ),
    )
    radii = (2.0, 2.5, 3.0, 4.0)
    official_size = FRAME
    repeats = REPEATED
    patient_rule = "Patients are not published; films that show the same radiograph count as one patient."
    readers: ClassVar = {"mean": ("senior", "junior"), "senior": ("senior",), "junior": ("junior",)}
    folders: ClassVar[tuple[str, ...]] = ("isbi2015", "isbi_ceph")
    phantom_films = 50

    def scan(self) -> Inventory:
        """Read the readers' files that this protocol needs and the headers of all films."""
        found = film_sizes(self.root, self._films)
        cases, oddities, unlabelled = {}, [], []
        for name, size in found.sizes.items():
            files = self._label_files(name)
            absent = [str(file.relative_to(self.root)) for file in files if not file.is_file()]
            unlabelled += absent
            if absent:
                continue
            readings = [_read_label(file) for file in files]
            truth = np.mean(readings, axis=0)
            if self.protocol.truth == TRUNCATED and int(name) not in SETS["TrainingData"]:
                truth = np.trunc(truth)
            scale = np.array([size[1] / FRAME[1], size[0] / FRAME[0]])
            points = (truth + 0.5) * scale - 0.5
            spacing = (FRAME_SPACING / float(scale[0]), FRAME_SPACING / float(scale[1]))
            patient = _patient(name)
            cases[name] = Case(name, self._films[name], points, size, spacing, patient, "lateral")
            oddities += [f"{name}: {text}" for text in _oddities(readings)]
        missing = (*found.missing, *unlabelled)
        return Inventory(cases, missing, tuple(oddities), self._notes(found.sizes), found.unreadable)

    def splits(self) -> tuple[Split, ...]:
        """Split the films by number; the validation films are a tenth of the training radiographs."""
        sets = {folder: [n for n in self._films if int(n) in numbers] for folder, numbers in SETS.items()}
        train, test1, test2 = sets.values()
        if self.protocol.name == "4-fold":
            everything = [*train, *test1, *test2]
            folds = grouped_folds(everything, _patients(everything), len(self.protocol.splits))
            parts = zip(self.protocol.splits, folds, strict=True)
            return tuple(Split.validated(name, rest, {"test": fold}, _patients(rest)) for name, (rest, fold) in parts)
        if self.protocol.name == "leak-free":
            test1 = [name for name in test1 if not REPEATED.search(name)]
        tests = {"test1": tuple(test1), "test2": tuple(test2)}
        if self.protocol.name in ("official-150", "official-150-truncated"):
            return (Split("main", tuple(train), (), tests),)
        return (Split.validated("main", train, tests, _patients(train)),)

    @classmethod
    def patient_of(cls, case: str) -> str:
        """Return the first film that shows the same radiograph."""
        return _patient(case)

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write 32 training, 10 test1 and 8 test2 films of 480 px height."""
        from datamodules.phantom.skull.films import write_isbi

        write_isbi(root, train=32 * scale, test1=10 * scale, test2=8 * scale, seed=seed)

    @cached_property
    def _films(self) -> Mapping[str, Path]:
        """The film of every number that has a film or a label here, whether it is there or not.

        Raises:
            DataError: There is none.
        """
        labels = (path.stem for path in (self.root / "AnnotationsByMD").glob("400_*/*.txt"))
        films = (path.stem for folder in SETS for path in (self.root / "RawImage" / folder).glob("*"))
        present = {*labels, *films}
        paths = {
            f"{number:03d}": find_film(self.root / "RawImage" / folder, f"{number:03d}", ".bmp")
            for folder, numbers in SETS.items()
            for number in numbers
            if f"{number:03d}" in present
        }
        if not paths:
            raise self.foreign_folder("RawImage and AnnotationsByMD hold no film or label")
        return paths

    def _label_files(self, name: str) -> list[Path]:
        readers = self.readers.get(self.protocol.truth, self.readers["mean"])
        return [self.root / "AnnotationsByMD" / f"400_{reader}" / f"{name}.txt" for reader in readers]

    def _notes(self, sizes: Mapping[str, tuple[int, int]]) -> tuple[str, ...]:
        """Mention films of another size than the labels' and numbers without film and labels."""
        notes = []
        other = {size for size in sizes.values() if size != FRAME}
        if other:
            count = sum(size != FRAME for size in sizes.values())
            height, width = min(other)
            notes.append(
                f"{count} films are not 1935 x 2400 px (the smallest is {width} x {height}): their labels and the "
                f"spacing of 0.1 mm were scaled to their size."
            )
        absent = sum(map(len, SETS.values())) - len(self._films)
        if absent:
            notes.append(f"{absent} of the 400 published films have neither film nor labels here.")
        return tuple(notes)


def _read_label(path: Path) -> Float[np.ndarray, "19 2"]:
    """Return the 19 points in the official frame."""
    lines = read_lines(path)
    has_classes = len(lines) == POINTS + CLASS_LINES and not any("," in line for line in lines[POINTS:])
    return parse_points(path, lines[:POINTS] if has_classes else lines, POINTS)


def _patient(name: str) -> str:
    repeats = {second: first for first, second in (*TRAIN_TEST1, *WITHIN_TEST1)}
    return f"{repeats.get(int(name), int(name)):03d}"


def _patients(names: Sequence[str]) -> dict[str, str]:
    return {name: _patient(name) for name in names}


def _oddities(readings: Sequence[Float[np.ndarray, "19 2"]]) -> Iterator[str]:
    """Describe points outside the film and landmarks about which the readers disagree widely."""
    height, width = FRAME
    for points in readings:
        for name, (x, y) in zip(ISBI2015.schema.names, points, strict=True):
            if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5) and np.isfinite(x):
                yield f"{name} at ({x:g}, {y:g}) lies outside the frame of {width} x {height} px."
    gaps = np.linalg.norm(readings[0] - readings[-1], axis=1) * FRAME_SPACING
    for name, gap in zip(ISBI2015.schema.names, gaps, strict=True):
        if gap > FAR_APART:
            yield f"the two readers put {name} {gap:.1f} mm apart."
