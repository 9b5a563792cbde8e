"""What a dataset's duplicate films mean: which parts of the split they are in, and whether that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from datamodules.audit.duplicates import DuplicatePair, FilmSignature, find_pairs, sign_film, signature_size
from datamodules.base import Case, DataError, LandmarkDataModule
from datamodules.components.protocols import Split
from datamodules.components.transforms import (
    Affine,
    Box,
    InputSpec,
    compose_affines,
    invert_affine,
    to_image_affine,
)

SAME_SCALE = 0.01
"""Relative difference of pixel sizes below which one film is not a resized copy of the other."""
SAME_CROP = 0.98
"""Overlap from which on one film is not cropped otherwise than the other."""
WHOLE = 0.7
"""Overlap below which two crops of one film show different things, neighbouring vertebrae for example."""


@dataclass(frozen=True)
class Finding:
    """Two films that belong together.

    Attributes:
        first: The case of the film that comes first in the order training, validation, test.
        second: The other case.
        first_part: The part of the split that the first film is in; of several folds, the one that tests it.
        second_part: The same for the second film.
        what: `same film` or `same patient`.
        kind: The same in more words.
        known: Whether the dataset says it: that one is a repeat (`LandmarkDataModule.repeats`), or, of two exposures or
            of two parts of a film, that they are of one patient.
        leak: Whether a split trains on one of them and tests the other.
        correlation: Of the local contrast of their overlap.
        overlap: Share of the smaller view that the other one shows, too.
        shared: Features in the same places, of up to 300.
        scale: Pixels of the second film per pixel of the first, along the film's sides on average.
        angle: Degrees by which the second film is turned, clockwise on the screen.
        inverted: Whether one is the negative of the other.
        mirrored: Whether one is the mirror image of the other.
    """

    first: str
    second: str
    first_part: str
    second_part: str
    what: str
    kind: str
    known: bool
    leak: bool
    correlation: float
    overlap: float
    shared: int
    scale: float
    angle: float
    inverted: bool
    mirrored: bool

    @property
    def facts(self) -> dict[str, Any]:
        """The attributes by name, numbers rounded to what they are worth."""
        digits = {"correlation": 4, "overlap": 3, "scale": 3, "angle": 1}
        facts = asdict(self)
        return facts | {key: round(facts[key], places) + 0.0 for key, places in digits.items()}  # + 0.0: no -0.0


@dataclass(frozen=True)
class Audit:
    """What was found in a dataset under one protocol.

    Attributes:
        protocol: Its name.
        films: How many films were compared.
        unreadable: How many could not be, because they are missing or broken.
        findings: The pairs: leaks first, then in the order of the parts and names.
        pictures: The signatures of each finding's two films and the affine between them; none where the set is private.
    """

    protocol: str
    films: int
    unreadable: int
    findings: tuple[Finding, ...]
    pictures: tuple[tuple[FilmSignature, FilmSignature, DuplicatePair], ...]


def find_duplicates(data: LandmarkDataModule) -> Audit:
    """Compare all films of a dataset with each other.

    Two exposures of one patient, and two parts of a film, are listed only where the dataset takes them for films of two
    patients.

    Raises:
        DataError: The folder is not this dataset.
    """
    signatures = _signatures(data)
    inventory = data.inventory
    order = _Order(data.published)
    names = sorted(signatures, key=lambda name: (order.rank(name), name))
    found = []
    for pair in find_pairs([signatures[name] for name in names]):
        finding = _finding(data, order, pair, names[pair.first], names[pair.second])
        if not finding.known or (finding.what == "same film" and finding.overlap >= WHOLE):
            found.append((finding, (signatures[finding.first], signatures[finding.second], pair)))
    found.sort(key=lambda item: (item[0].what, not item[0].leak, item[0].first_part, item[0].first, item[0].second))
    return Audit(
        data.protocol.name,
        len(signatures),
        len(inventory.missing) + len(inventory.unreadable),
        tuple(finding for finding, _ in found),
        () if data.private else tuple(films for _, films in found),
    )


def _signatures(data: LandmarkDataModule) -> dict[str, FilmSignature]:
    """Read every film once; those that cannot be read are left out."""
    data.require_folder()
    cases = data.scan().cases  # `inventory` would decode every film to know that it can be, before we do
    with ThreadPoolExecutor() as pool:
        signatures = dict(zip(cases, pool.map(lambda case: _signature(data, case), cases.values()), strict=True))
    return {name: signature for name, signature in signatures.items() if signature is not None}


def _signature(data: LandmarkDataModule, case: Case) -> FilmSignature | None:
    try:
        return sign_film(data.films.read(case.film, _whole(case), InputSpec(signature_size(case.size)), exif=case.exif))
    except DataError:
        return None


def _whole(case: Case) -> Box:
    height, width = case.size
    return Box(0, 0, width, height)


class _Order:
    """Which part of the splits each case is in."""

    def __init__(self, splits: Sequence[Split]) -> None:
        self.splits = splits
        self.parts = _single(splits[0]) if len(splits) == 1 else _folds(splits)
        self.ranks = {part: rank for rank, part in enumerate(dict.fromkeys(self.parts.values()))}

    def part(self, case: str) -> str:
        """Return the part's name."""
        return self.parts.get(case, "unused")

    def rank(self, case: str) -> int:
        """Return the part's place among the parts."""
        return self.ranks.get(self.part(case), len(self.ranks))

    def leaks(self, first: str, second: str) -> bool:
        """Whether a split trains on one and tests the other."""
        return any({_role(split, first), _role(split, second)} == {"train", "test"} for split in self.splits)


def _role(split: Split, case: str) -> str:
    if case in split.train or case in split.val:
        return "train"
    return "test" if any(case in cases for cases in split.tests.values()) else ""


def _single(split: Split) -> Mapping[str, str]:
    parts = {"train": split.train, "val": split.val, **split.tests}
    return {case: part for part, cases in parts.items() for case in cases}


def _folds(splits: Sequence[Split]) -> Mapping[str, str]:
    tested = {case: f"{split.name} {test}" for split in splits for test, cases in split.tests.items() for case in cases}
    trained = {case: "train" for split in splits for case in split.train + split.val}
    return {**{case: part for case, part in trained.items() if case not in tested}, **tested}


def _finding(data: LandmarkDataModule, order: _Order, pair: DuplicatePair, first: str, second: str) -> Finding:
    one, other = data.inventory.cases[first], data.inventory.cases[second]
    affine = in_film_pixels(pair.affine, one.size, other.size)
    scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    down = affine[:, 1]  # where the first film's vertical leads in the second
    angle = float(np.degrees(np.arctan2(-down[0], down[1])))
    what = str(pair.relation)
    same_file = data.films.content(one.film) == data.films.content(other.film)
    return Finding(
        first,
        second,
        order.part(first),
        order.part(second),
        what,
        "same file" if same_file else _described(pair, what, scale, one.size == other.size),
        _is_known(data, one, other, different=what == "same patient" or pair.overlap < WHOLE),
        order.leaks(first, second),
        pair.correlation,
        pair.overlap,
        pair.shared,
        scale,
        angle,
        *pair.symmetry,
    )


def in_film_pixels(affine: Affine, first: tuple[int, int], second: tuple[int, int]) -> Affine:
    """Return the affine between two signatures as one between their films.

    Args:
        affine: From pixels of the first copy of 320 px to pixels of the second.
        first: (height, width) of the first film.
        second: The same of the second.
    """
    up_first, up_second = (
        to_image_affine(Box(0, 0, width, height), InputSpec(signature_size((height, width))))
        for height, width in (first, second)
    )
    return compose_affines(up_second, compose_affines(affine, invert_affine(up_first)))


def _described(pair: DuplicatePair, what: str, scale: float, same_size: bool) -> str:
    if what == "same patient":
        return "same patient, another exposure"
    words = [what]
    if pair.overlap < SAME_CROP or (not same_size and abs(scale - 1) <= SAME_SCALE):
        words.append("re-cropped")
    if abs(scale - 1) > SAME_SCALE:
        words.append("resized")
    return ", ".join(words + ["inverted"] * pair.symmetry.inverted + ["mirrored"] * pair.symmetry.mirrored)


def _is_known(data: LandmarkDataModule, one: Case, other: Case, *, different: bool) -> bool:
    repeated = any(data.repeats is not None and data.repeats.search(case.name) for case in (one, other))
    return repeated or (different and bool(one.patient) and one.patient == other.patient)
