"""Cards: a dataset described by one YAML file, read key by key so that a mistake is one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from datamodules.components.cards.card_errors import without_names
from datamodules.components.cards.values import build, mapping, pair, pairs, plain, refuse_unknown, require, text, texts
from datamodules.components.cards.yaml_file import read_yaml
from datamodules.components.errors import DataError
from datamodules.components.schema import LandmarkSchema

LabelFormat = Literal["wide-csv", "long-csv", "coco", "labelme", "cvat", "text"]
Origin = Literal["zero", "corner", "one"]
Unit = Literal["px", "fraction", "percent"]
Exif = Literal["by format", "followed", "ignored"]
EXIF_FORMATS = ("coco", "cvat", "labelme")
"""Their tools show and label films turned as the EXIF orientation says."""
DicomSpacing = Literal["PixelSpacing", "ImagerPixelSpacing"]
MEAN = "mean"
"""The truth of a set that several readers labelled, unless a protocol says another."""
RADII_MM = (2.0, 2.5, 3.0, 4.0)
RADII_PX = (10.0, 20.0, 30.0, 40.0)

_GROUPS = {"patient": "patient", "split": "part: train, val or test"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Annotations:
    """Where the points stand and how they are written.

    Args:
        format: One of `LabelFormat`.
        path: Files or patterns of files, relative to the card's root.
        readers: Instead of `path`: each reader's files, where several persons labelled the same films.
        case: CSV: the column with the image's file name, with or without folder and suffix; the first if empty.
        x: CSV: the column of x; in a wide table with `{name}` for the landmark's label.
        y: The same for y.
        label: Long CSV: the column with the landmark's label.
        header: Wide CSV: whether the first line names the columns; without one they are case, x, y, x, y ...
        delimiter: CSV: what stands between two values; found out if empty.
        decimal: CSV: `,` where 12,5 is a number.
        skip: Text: lines to pass over at the top of each file.
        exif: Whether points are on the film turned as its EXIF orientation says (`followed`) or on the pixels as they
            are stored (`ignored`); by default as the tools of the format do, see `EXIF_FORMATS`.
        origin: What the point (0, 0) is: the centre of the first pixel (`zero`), its corner (`corner`); with `one` the
            first centre is (1, 1).
        unit: What a coordinate counts: pixels (`px`), or a `fraction` or `percent` of the film's width and height.
            Without it they are pixels, and a set is refused whose points can hardly be.
    """

    format: LabelFormat
    path: tuple[str, ...] = ()
    readers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    case: str = ""
    x: str = ""
    y: str = ""
    label: str = "landmark"
    header: bool = True
    delimiter: str = ""
    decimal: str = "."
    skip: int = 0
    origin: Origin = "zero"
    unit: Unit | None = None
    exif: Exif = "by format"

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns of all label files."""
        return self.path or tuple(pattern for patterns in self.readers.values() for pattern in patterns)

    @property
    def follows_exif(self) -> bool:
        """Whether films are turned as their EXIF orientation says."""
        return self.exif == "followed" or (self.exif == "by format" and self.format in EXIF_FORMATS)


@dataclass(frozen=True)
class CaseTable:
    """A CSV file with more columns per image, for patients, spacings or splits.

    Args:
        path: The file, relative to the card's root.
        case: The column with the image's file name; the first if empty.
        delimiter: What stands between two values; found out if empty.
    """

    path: str
    case: str = ""
    delimiter: str = ""


@dataclass(frozen=True)
class Spacing:
    """How large a pixel is; one of the four ways.

    Args:
        mm_per_pixel: The same for all films: one number, or x and y.
        column: The CSV column with millimetres per pixel, or two columns for x and y.
        dicom: The DICOM element; `ImagerPixelSpacing` is measured at the detector, not in the patient.
        between: Two labels of every film that are `mm` apart: landmarks, or points of a ruler.
        mm: Their distance.
    """

    mm_per_pixel: tuple[float, ...] = ()
    column: tuple[str, ...] = ()
    dicom: DicomSpacing | None = None
    between: tuple[str, ...] = ()
    mm: float | None = None


@dataclass(frozen=True)
class Patient:
    """Which films show one patient; one of the three ways.

    Args:
        column: The CSV column with the patient.
        pattern: A regular expression on the film's path; what its first group matches is the patient.
        dicom: A DICOM keyword, `PatientID`.
    """

    column: str = ""
    pattern: str = ""
    dicom: str = ""

    @property
    def said(self) -> str:
        """The rule in words, for messages."""
        given = {"column": self.column, "pattern": self.pattern, "dicom": self.dicom}
        return next(f"{key} {value!r}" for key, value in given.items() if value)


@dataclass(frozen=True)
class SplitRule:
    """How films are split, whole patients at a time; one of the four ways.

    Args:
        column: The CSV column that says `train`, `val` or `test`.
        pattern: A regular expression on the film's path, or on that of its label file; what its first group matches is
            `train`, `val` or `test`.
        train: Its values for training.
        val: Its values for validation; a tenth of the training patients where no film has one.
        tests: Its values for testing, a test set each.
        ratio: Shares of training, validation and test films.
        folds: Number of folds, each tested once.
        stratify: The CSV column whose values every part gets its share of.
        seed: Of the random order.
    """

    column: str = ""
    pattern: str = ""
    train: tuple[str, ...] = ("train",)
    val: tuple[str, ...] = ("val",)
    tests: tuple[str, ...] = ("test",)
    ratio: tuple[float, ...] = ()
    folds: int = 0
    stratify: str = ""
    seed: int = 0

    @property
    def is_published(self) -> bool:
        """Whether the set itself says which film is in which part."""
        return bool(self.column or self.pattern)


@dataclass(frozen=True)
class Card:
    """A dataset in the words of its card; the fields are the keys of the YAML file.

    Args:
        images: Pattern of the image files, relative to `root`.
        annotations: See `Annotations`.
        names: The landmarks in order; as a mapping where the files use other labels.
        name: Of the dataset in commands, tables and folders; the card's file name if empty.
        title: In words.
        licence: Under which terms it is to be had.
        obtain: How to get it.
        private: Show no path, id, text or landmark name of the set anywhere; ids become salted hashes.
        show_names: Show the landmarks' and groups' names of a private set all the same.
        salt: Of the hashes; a file beside the card keeps one if empty.
        root: Folder of images and labels, relative to the card.
        groups: Structure to its landmarks.
        flips: Pairs that trade places when a film is mirrored.
        edges: Pairs joined by a line in pictures.
        normalizer: The pair whose distance normalises the NME.
        radii: Of the SDR, in mm where `spacing` is given, else in pixels.
        spacing: See `Spacing`; unknown, and so pixels only, without it.
        patient: See `Patient`; without it every film is a patient.
        table: See `CaseTable`.
        split: See `SplitRule`.
        protocols: Several rules by name instead of `split`; the first is the default.
        labels: The labels in the files, one per name.
        file: The card's file.
    """

    images: str
    annotations: Annotations
    names: tuple[str, ...]
    name: str = ""
    title: str = ""
    licence: str = "The card states none."
    obtain: str = "It is described by a card; ask whoever wrote the card."
    private: bool = False
    show_names: bool = False
    salt: str = ""
    root: str = "."
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    flips: tuple[tuple[str, str], ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    normalizer: tuple[str, str] | None = None
    radii: tuple[float, ...] = ()
    spacing: Spacing | None = None
    patient: Patient | None = None
    table: CaseTable | None = None
    split: SplitRule | None = None
    protocols: Mapping[str, SplitRule] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    file: Path = Path()

    @classmethod
    def load(cls, path: Path, *, reveal: bool = False) -> Card:
        """Read and check a card.

        Args:
            path: The file.
            reveal: Let an error name the landmarks of a private card.

        Raises:
            DataError: There is no such file, it is not YAML, a key is not known or a value is not what its key takes.
        """
        if not path.is_file():
            raise DataError(f"there is no card {path}; `osteomark data new-card FOLDER` writes one.")
        content: object = {}
        try:
            content = read_yaml(path)
            return cls.parse(content, path)
        except (ValueError, RecursionError) as error:
            told = str(error) if reveal else without_names(str(error), content)
            raise DataError(f"the card {path.name}: {told}") from error

    @classmethod
    def parse(cls, content: object, path: Path) -> Card:
        """Return the card of a YAML file's content, key by key.

        Raises:
            ValueError: A key is not known or a value is not what its key takes.
        """
        given = mapping(content, "a card")
        refuse_unknown(given, [item.name for item in fields(Card) if item.name not in ("labels", "file")])
        require(given, ("images", "annotations", "names"))
        values: dict[str, Any] = {
            key: _KEY_PARSERS[key](value, key) if key in _KEY_PARSERS else plain(Card, key, value)
            for key, value in given.items()
        }
        names = given["names"]
        labels = texts(list(names.values()), "names") if isinstance(names, Mapping) else values["names"]
        card = cls(**{"name": path.stem, **values, "labels": labels, "file": path.absolute()})
        _check(card)
        return card

    @property
    def schema(self) -> LandmarkSchema:
        """The landmarks as its author calls them."""
        return LandmarkSchema(self.names, self.groups, self.flips, self.edges, self.normalizer)

    @property
    def folder(self) -> Path:
        """Where images and labels lie."""
        return (self.file.parent / self.root).resolve()

    @property
    def rules(self) -> Mapping[str, SplitRule]:
        """The splits by the names of their protocols."""
        if self.protocols:
            return self.protocols
        rule = self.split or SplitRule(ratio=(0.7, 0.1, 0.2))
        return {f"{rule.folds}-fold" if rule.folds else "split" if rule.is_published else "ratio": rule}


def _annotations(given: Mapping[Any, Any], where: str) -> Annotations:
    plain_keys = {key: value for key, value in given.items() if key != "readers"}
    files = mapping(given.get("readers", {}), f"{where}: readers")
    readers = {text(name, f"{where}: readers"): texts(value, f"{where}: readers") for name, value in files.items()}
    refuse_unknown(given, [item.name for item in fields(Annotations)], where)
    return replace(build(Annotations, plain_keys, where), readers=readers)


_KEY_PARSERS: dict[str, Callable[[Any, str], Any]] = {
    "annotations": lambda value, where: _annotations(mapping(value, where), where),
    "table": lambda value, where: build(CaseTable, {"path": value} if isinstance(value, str) else value, where),
    "spacing": lambda value, where: build(Spacing, value, where),
    "patient": lambda value, where: build(Patient, value, where),
    "split": lambda value, where: build(SplitRule, value, where),
    "protocols": lambda value, where: {
        text(name, where): build(SplitRule, rule, f"{where}: {name}") for name, rule in mapping(value, where).items()
    },
    "names": lambda value, where: texts(list(value) if isinstance(value, Mapping) else value, where),
    "groups": lambda value, where: {
        text(name, where): texts(members, where) for name, members in mapping(value, where).items()
    },
    "flips": pairs,
    "edges": pairs,
    "normalizer": pair,
}


def _check(card: Card) -> None:
    """Refuse a card that contradicts itself; each mistake is a sentence."""
    if not _NAME.fullmatch(card.name):
        raise ValueError(f"name {card.name!r} may have letters, digits, - and _ only, since it names folders.")
    if not card.names:
        raise ValueError("names is empty; list the landmarks in order.")
    for pattern in (card.images, *card.annotations.patterns, *([card.table.path] if card.table else [])):
        _check_path(pattern)
    if len(set(card.labels)) < len(card.labels):
        raise ValueError("names gives two landmarks the same label; labels must differ.")
    if any(radius <= 0 for radius in card.radii):
        raise ValueError("radii must be positive.")
    spec = card.annotations
    _check_readers(spec)
    if spec.format == "wide-csv" and any(key and "{name}" not in key for key in (spec.x, spec.y)):
        raise ValueError("annotations: x and y of a wide table need {name} where the landmark's label stands.")
    if card.split and card.protocols:
        raise ValueError("it has both split and protocols; keep one of them.")
    _ = card.schema  # checks groups, flips, edges and the normaliser
    if card.spacing:
        _check_spacing(card.spacing)
    if card.patient:
        _one_of("patient", card.patient, ("column", "pattern", "dicom"))
        _check_expression("patient", card.patient.pattern)
    for name, rule in card.rules.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"protocols: {name!r} may have letters, digits, - and _ only, since it names folders.")
        _check_rule(rule)


def _check_readers(spec: Annotations) -> None:
    _one_of("annotations", spec, ("path", "readers"))
    if len(spec.readers) == 1 or MEAN in spec.readers or not all(map(_NAME.fullmatch, spec.readers)):
        raise ValueError(
            f"annotations: readers needs two or more names of letters, digits, - and _, none of them {MEAN!r}; write "
            f"`path` for one reader."
        )


def _check_path(pattern: str) -> None:
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise ValueError(f"{pattern!r} leaves the folder; images, annotations and table lie in `root`: change that.")
    try:
        any(Path("no such folder").glob(pattern))
    except (ValueError, NotImplementedError, IndexError, re.error) as error:
        raise ValueError(f"{pattern!r} is no pattern of files ({error}).") from error


def _check_spacing(spacing: Spacing) -> None:
    _one_of("spacing", spacing, ("mm_per_pixel", "column", "dicom", "between"))
    if len(spacing.mm_per_pixel) > 2 or any(value <= 0 for value in spacing.mm_per_pixel):
        raise ValueError("spacing: mm_per_pixel is one positive number, or two: x and y.")
    if len(spacing.column) > 2:
        raise ValueError("spacing: column is one column, or two: x and y.")
    if spacing.between and (len(spacing.between) != 2 or not spacing.mm or spacing.mm <= 0):
        raise ValueError("spacing: between needs two labels, and mm their positive distance in millimetres.")


def _check_rule(rule: SplitRule) -> None:
    _one_of("split", rule, ("column", "pattern", "ratio", "folds"))
    _check_expression("split", rule.pattern)
    if rule.ratio and (len(rule.ratio) != 3 or min(rule.ratio) < 0 or rule.ratio[0] <= 0 or rule.ratio[2] <= 0):
        raise ValueError("split: ratio has three shares: training and test above 0, validation between them.")
    if rule.folds and rule.folds < 2:
        raise ValueError(f"split: folds is {rule.folds}; give at least 2.")
    values = (*rule.train, *rule.val, *rule.tests)
    if len(set(values)) < len(values) or not all(_NAME.fullmatch(test) for test in rule.tests):
        raise ValueError("split: train, val and tests must differ, and tests have letters, digits, - and _ only.")


def _check_expression(key: str, pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"{key}: pattern {pattern!r} is no regular expression ({error}).") from error
    if pattern and not groups:
        raise ValueError(f"{key}: pattern {pattern!r} needs a group in parentheses, which is the {_GROUPS[key]}.")


def _one_of(where: str, value: object, keys: Sequence[str]) -> None:
    given = [key for key in keys if getattr(value, key)]
    if len(given) != 1:
        raise ValueError(f"{where} needs exactly one of {', '.join(keys)}, but has {' and '.join(given) or 'none'}.")
