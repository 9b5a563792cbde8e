"""AASCE 2019: 609 spinal AP films with 17 vertebrae x 4 corners (Wu et al. 2017, MICCAI 2019 challenge).

Files under `labels/{training,test}`: `filenames.csv` lists the films, `landmarks.csv` holds 68 x then 68 y as shares of
the film's width and height, `<film>.mat` the same points as `p2` in pixels, `angles.csv` the three Cobb angles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.io import loadmat
from sklearn.model_selection import ShuffleSplit

from datamodules.base import Case, DataError, Inventory, LandmarkDataModule, LandmarkSchema, Protocol
from datamodules.components.images.image_io import film_sizes
from datamodules.components.labels.parsing import parse_row, read_lines, whole
from datamodules.components.protocols import SHARED_PATIENTS, Split, grouped_folds

VERTEBRAE = (*(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6)))
CORNERS = ("TL", "TR", "BL", "BR")
POINTS = len(VERTEBRAE) * len(CORNERS)
PARTS = ("training", "test")
AGREEMENT = 0.5
"""Pixels by which a film's `.mat` and its row of `landmarks.csv` may differ: the former is rounded."""
IMPLAUSIBLE_ANGLE = 120.0
"""Degrees; the largest Cobb angle of the films whose labels are sound is below 90."""
LEAKED = re.compile(r"28-Feb-2017-(239|24[0-4]) |01-Mar-2017-319 A |28-Feb-2017-300 E ")
"""Test films that show what a training film or an earlier test film shows (17 of 128): 15 are training films of
10-Jan-2017, re-cropped and re-annotated; 319 A is the training film 25-Jul-2016-15 B; 300 E is 300 D."""
SAME_FILMS = {
    **{"26-Jul-2016-82": "167", "10-Jan-2017-239": "238", "26-Jul-2016-85": "12", "26-Jul-2016-77": "141"},
    **{"26-Jul-2016-78": "153", "29-Dec-2016-157": "79", "30-Dec-2016-159": "80", "10-Jan-2017-250": "249"},
    **dict.fromkeys(("20-Jul-2016-1", "20-Jul-2016-5", "20-Jul-2016-16"), "coronal"),
    **dict.fromkeys(("24-Jul-2016-35", "25-Jul-2016-48", "25-Jul-2016-63"), "coronal"),
}
"""Sessions of training films -> numbers of others that show the same films, by pixels; folds keep them together."""
SESSION = re.compile(r"\d{2}-[A-Za-z]{3}-\d{4}-(\d+|coronal)")

_LEAK_BADGES = ("16 of 128 test films also in training", "1 film twice in test")


class _Label(NamedTuple):
    """What the label files say of one film: points as shares of its size, and angles; None where absent."""

    part: str
    film: str
    shares: Float[np.ndarray, " 136"] | None
    angles: Float[np.ndarray, " 3"] | None


def _edges() -> Iterator[tuple[str, str]]:
    for vertebra in VERTEBRAE:
        for a, b in pairwise(("TL", "TR", "BR", "BL", "TL")):
            yield f"{vertebra}-{a}", f"{vertebra}-{b}"


class AASCE(LandmarkDataModule):
    """The spinal films of the AASCE challenge. Pixels only: the films carry no spacing.

    Film stems name the cases. Films with one session number count as one patient; films without a number (the
    `coronal` ones) count as one too, since nothing says whose they are. The NME is normalised by the spine's length
    between T1-TL and L3-BL: 22 films label their last or last two vertebrae at the top of the film, where the
    distance to L5 is next to nothing. The SDR radii are pixels of the original film (median height 2375 px,
    vertebrae 150 px wide: 7 % to 27 % of a vertebra). Films differ in size: read NME beside.
    """

    title = "AASCE 2019 (spinal AP films)"
    licence = "research use, granted on registration; no public licence is stated."
    obtain = (
        "Register with SpineWeb (http://spineweb.digitalimaginggroup.ca, dataset 16) or the challenge "
        "(https://aasce19.github.io) and unpack boostnet_labeldata."
    )
    layout = """
data/training/<film>.jpg      data/test/<film>.jpg
labels/training/filenames.csv, landmarks.csv, angles.csv (optional), <film>.jpg.mat (optional)
labels/test/    the same four
"""
    schema = LandmarkSchema(
        names=tuple(f"{vertebra}-{corner}" for vertebra in VERTEBRAE for corner in CORNERS),
        groups={vertebra: tuple(f"{vertebra}-{corner}" for corner in CORNERS) for vertebra in VERTEBRAE},
        flips=tuple((f"{v}-{side}L", f"{v}-{side}R") for v in VERTEBRAE for side in "TB"),
        edges=tuple(_edges()),
        normalizer=("T1-TL", "L3-BL"),
        structure="vertebra",
    )
    protocols = (
        Protocol(
            "official",
            "The challenge's 481 training films, of which 441 train and 40 validate, and its 128 test films.",
            caveats=_LEAK_BADGES,
            leaks="films",
        ),
        Protocol(
            "leak-free", "Official, with the 111 test films that are neither in training nor in the test set before."
        ),
        Protocol(
            "consistent",
            "Of the 481 official training films 382 train, 49 validate and 50 test, drawn once for everybody.",
            caveats=(SHARED_PATIENTS,),
            leaks="patients",
        ),
        Protocol(
            "consistent-5-fold",
            "The 50 test films of consistent, answered by five networks, as in Ao and Wu's cross-validation: each "
            "validates on 72 to 117 of the other 431 films, sessions and repeats kept whole, and trains on the rest.",
            splits=tuple(f"fold{i}" for i in range(1, 6)),
            caveats=(SHARED_PATIENTS,),
            leaks="patients",
        ),
        Protocol(
            "5-fold",
            "Five folds of the 481 training films, sessions and repeats kept whole: 320-361 train, 36-48 validate.",
            splits=tuple(f"fold{i}" for i in range(1, 6)),
        ),
    )
    radii = (10.0, 20.0, 30.0, 40.0)
    repeats = LEAKED
    patient_rule = (
        "Films whose names hold the same session number count as one patient, and so do all that have none (`coronal`)."
    )
    folders: ClassVar[tuple[str, ...]] = ("aasce", "boostnet_labeldata")
    phantom_films = 64

    def scan(self) -> Inventory:
        """Read both parts' labels and the headers of all their films."""
        films = {stem: self.root / "data" / label.part / label.film for stem, label in self._labels.items()}
        found = film_sizes(self.root, films)
        cases, oddities, bare = {}, [], []
        for name, size in found.sizes.items():
            label = self._labels[name]
            points = self._points(label, size)
            if points is None:
                bare.append(f"labels/{label.part}/landmarks.csv (or {label.film}.mat)")
                continue
            cases[name] = Case(name, films[name], points, size, patient=_patient(name), view="AP")
            oddities += [f"{name}: {text}" for text in _oddities(points, size, label)]
            oddities += [f"{name}: {text}" for text in _disagreement(points, label, size)]
        missing = (*self._missing_lists, *found.missing, *bare)
        return Inventory(cases, missing, tuple(oddities), self._notes(films), found.unreadable)

    def splits(self) -> tuple[Split, ...]:
        """Split the published lists; the validation films are a tenth of the training sessions."""
        train, test = ([n for n, label in self._labels.items() if label.part == part] for part in PARTS)
        if self.protocol.name == "5-fold":
            patients = _joined_patients(train)
            folds = grouped_folds(train, patients, len(self.protocol.splits))
            parts = zip(self.protocol.splits, folds, strict=True)
            return tuple(Split.validated(name, rest, {"test": fold}, patients) for name, (rest, fold) in parts)
        if self.protocol.name in ("consistent", "consistent-5-fold"):
            draw = ShuffleSplit(1, test_size=max(1, round(len(train) * 50 / 481)), random_state=0)
            rest, test = ([train[i] for i in part] for part in next(draw.split(train)))
            if self.protocol.name == "consistent":
                return (_split("main", rest, test),)
            folds = grouped_folds(sorted(rest), _joined_patients(rest), len(self.protocol.splits))
            parts = zip(self.protocol.splits, folds, strict=True)
            return tuple(Split(name, trained, fold, {"test": tuple(test)}) for name, (trained, fold) in parts)
        if self.protocol.name == "leak-free":
            test = [name for name in test if not LEAKED.search(name)]
        return (_split("main", train, test),)

    @classmethod
    def patient_of(cls, case: str) -> str:
        """Return the session number in a film's name."""
        return _patient(case)

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write 48 training and 16 test films of 512 px height."""
        from datamodules.phantom.spine import write_aasce

        write_aasce(root, train=48 * scale, test=16 * scale, seed=seed)

    @cached_property
    def _labels(self) -> Mapping[str, _Label]:
        """Every film that the lists name, by stem, training first."""
        if len(self._missing_lists) == len(PARTS):
            raise self.foreign_folder("labels/training/filenames.csv and labels/test/filenames.csv are not there")
        labels: dict[str, _Label] = {}
        for part in PARTS:
            for stem, label in self._part(part):
                if stem in labels:
                    raise DataError(
                        f"{self.root / 'labels' / part / 'filenames.csv'} lists {label.film}, whose name is taken by "
                        f"another film; rename or remove one of the two films and its labels."
                    )
                labels[stem] = label
        return labels

    @cached_property
    def _missing_lists(self) -> tuple[str, ...]:
        lists = (f"labels/{part}/filenames.csv" for part in PARTS)
        return tuple(name for name in lists if not (self.root / name).is_file())

    def _part(self, part: str) -> Iterator[tuple[str, _Label]]:
        folder = self.root / "labels" / part
        if not (folder / "filenames.csv").is_file():
            return
        names = [line.strip() for line in read_lines(folder / "filenames.csv")]
        shares = _table(folder / "landmarks.csv", len(names), 2 * POINTS)
        angles = _table(folder / "angles.csv", len(names), 3)
        for row, name in enumerate(names):
            label = _Label(part, name, None if shares is None else shares[row], None if angles is None else angles[row])
            yield Path(name).stem, label

    def _points(self, label: _Label, size: tuple[int, int]) -> Float[np.ndarray, "68 2"] | None:
        """Return a film's points in pixels: from its `.mat` or else its row of `landmarks.csv`; None without both."""
        file = self.root / "labels" / label.part / f"{label.film}.mat"
        return _read_mat(file) if file.is_file() else _from_shares(label, size)

    def _notes(self, films: Mapping[str, Path]) -> tuple[str, ...]:
        """Mention films that no list names."""
        listed = set(films.values())
        found = (path for part in PARTS for path in sorted((self.root / "data" / part).glob("*.jpg")))
        extra = [path.stem for path in found if path not in listed]
        return (f"{len(extra)} films are in no filenames.csv and stay unused, {extra[0]} first.",) if extra else ()


def _split(name: str, train: Sequence[str], test: Sequence[str]) -> Split:
    return Split.validated(name, train, {"test": test}, _patients(train))


def _patient(stem: str) -> str:
    match = SESSION.search(stem)
    return match[1] if match else stem


def _patients(stems: Sequence[str]) -> dict[str, str]:
    return {stem: _patient(stem) for stem in stems}


def _joined_patients(stems: Sequence[str]) -> dict[str, str]:
    sessions = {stem: SESSION.search(stem) for stem in stems}
    return {stem: SAME_FILMS.get(found[0] if found else "", _patient(stem)) for stem, found in sessions.items()}


def _table(path: Path, rows: int, columns: int) -> Float[np.ndarray, "rows columns"] | None:
    """Read a csv of `rows` lines with `columns` numbers; None where the file is absent."""
    if not path.is_file():
        return None
    lines = read_lines(path)
    if len(lines) != rows:
        raise DataError(
            f"{path} has {len(lines)} lines where filenames.csv beside it lists {rows} films; restore both files."
        )
    parsed = [parse_row(text.split(","), columns, path, line) for line, text in enumerate(lines, 1)]
    return np.array(parsed).reshape(rows, columns)


def _from_shares(label: _Label, size: tuple[int, int]) -> Float[np.ndarray, "68 2"] | None:
    if label.shares is None:
        return None
    height, width = size
    return whole(label.shares.reshape(2, POINTS).T * (width, height))


def _disagreement(points: Float[np.ndarray, "68 2"], label: _Label, size: tuple[int, int]) -> Iterator[str]:
    """Describe a `.mat`, which is used, that contradicts `landmarks.csv`."""
    listed = _from_shares(label, size)
    worst = 0.0 if listed is None else float(np.nanmax(np.abs(listed - points), initial=0.0))
    if worst > AGREEMENT:
        yield f"its .mat (which is used) and its row of landmarks.csv differ by up to {worst:.1f} px."


def _read_mat(path: Path) -> Float[np.ndarray, "68 2"]:
    try:
        points = np.asarray(loadmat(path)["p2"], np.float64)
    except Exception as error:  # damaged bytes lead scipy to errors of any kind
        raise DataError(
            f"{path} has no readable `p2` ({error}); restore the file, or delete it to use landmarks.csv instead."
        ) from error
    if points.shape != (POINTS, 2):
        shape = " x ".join(map(str, points.shape))
        raise DataError(f"{path} holds {shape} numbers in `p2` instead of {POINTS} x 2 points; restore the file.")
    return whole(points)


def _oddities(points: Float[np.ndarray, "68 2"], size: tuple[int, int], label: _Label) -> Iterator[str]:
    """Describe each thing about a film's labels that a sound film does not have."""
    corners = points.reshape(len(VERTEBRAE), len(CORNERS), 2)
    for vertebra, quad in zip(VERTEBRAE, corners, strict=True):
        if not _is_upright(quad):
            yield f"the corners of {vertebra} are swapped."
    for name, (x, y) in zip(AASCE.schema.names, points, strict=True):
        if not (-0.5 <= x <= size[1] - 0.5 and -0.5 <= y <= size[0] - 0.5) and np.isfinite(x):
            yield f"{name} at ({x:g}, {y:g}) lies outside the film of {size[1]} x {size[0]} px."
    for (upper, lower), gap in zip(pairwise(VERTEBRAE), np.diff(corners[:, :, 1].mean(axis=1)), strict=True):
        if gap <= 0:
            yield f"the centre of {lower} is not below that of {upper}."
    if label.angles is not None:
        if label.angles[0] > IMPLAUSIBLE_ANGLE:
            yield f"a Cobb angle of {label.angles[0]:g} degrees."
        yield from (f"Cobb angle a{i} is 0." for i in (2, 3) if label.angles[i - 1] == 0)


def _is_upright(quad: Float[np.ndarray, "4 2"]) -> bool:
    """Whether TL, TR, BR, BL go round a convex shape clockwise on the screen (vacuously so with a missing corner)."""
    sides = np.diff(quad[[0, 1, 3, 2, 0, 1]], axis=0)
    turns = sides[:-1, 0] * sides[1:, 1] - sides[:-1, 1] * sides[1:, 0]
    return not (turns <= 0).any()
