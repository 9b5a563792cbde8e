"""The datamodule contract: a dataset states facts, this base class acts on them."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader

from datamodules.components.errors import DataError
from datamodules.components.images.cache import FilmCache
from datamodules.components.images.statistics import FilmStatistics
from datamodules.components.inventory import Inventory, decode_all
from datamodules.components.loaders import NamedSamples, PartOfBatch, own_generator, start_worker
from datamodules.components.protocols import Protocol, Split
from datamodules.components.samples import Batch, Case, Sample, collate
from datamodules.components.schema import LandmarkSchema
from datamodules.components.transforms import (
    Augmentation,
    Box,
    FilmChange,
    InputSpec,
    compose_affines,
    invert_affine,
    landmark_box,
    to_image_affine,
    transform_points,
)

__all__ = ["Batch", "Case", "DataError", "Inventory", "LandmarkDataModule", "LandmarkSchema", "Protocol", "Sample"]


PHANTOM_MARK = "PHANTOM.txt"


class LandmarkDataModule(LightningDataModule, ABC):
    """A dataset of films with landmarks, served to a method under one protocol and split.

    A subclass states the class attributes and implements `scan`, `splits` and `write_phantom`.

    Args:
        root: The dataset's folder.
        protocol: Name of the protocol; the first one if empty.
        split: Name of the protocol's split; the first one if empty.
        allow_missing: Go on with the cases that are there; otherwise a missing or unreadable file is an error.
        cache: Folder for decoded and resized films; without one they are kept in memory only.

    Raises:
        DataError: The protocol or split is unknown, or a file is missing and `allow_missing` is off.
    """

    title: ClassVar[str]
    """The dataset's full name."""
    licence: ClassVar[str]
    """Under which terms it is to be had."""
    obtain: ClassVar[str]
    """How to get it, in one or two sentences with the address."""
    layout: ClassVar[str]
    """The expected folder tree, as text."""
    schema: ClassVar[LandmarkSchema]
    protocols: ClassVar[tuple[Protocol, ...]]
    """The first one is the default."""
    radii: ClassVar[tuple[float, ...]]
    """SDR radii in the protocol's unit."""
    folders: ClassVar[tuple[str, ...]] = ()
    """Names under which its folder is commonly found, where they differ from the module's."""
    phantom_films: ClassVar[int] = 24
    """How many phantom films the quick matrix writes."""
    home: ClassVar[Path | None] = None
    """The folder, where the dataset itself says it (a card does)."""
    patient_rule: ClassVar[str] = ""
    """A sentence that says how films of one patient are known; empty where nothing tells whose films they are."""
    private: ClassVar[bool] = False
    """Whether nothing may be shown of it but hashed case names and numbers."""
    repeats: ClassVar[re.Pattern[str] | None] = None
    """Found in the name of every test film that shows what a training film or an earlier test film shows, too."""
    readers: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Truth -> the readers whose mean it is, where readers are published apart; each one's own points are a truth."""
    official_size: ClassVar[tuple[int, int] | None] = None
    """(height, width) of the films that the labels refer to, where all have one; points are published in its pixels."""
    facts_key: ClassVar[str] = ""
    """What else belongs to the content's hash: facts that a user can change without changing code."""
    change: Callable[[Case], FilmChange] | None
    """What is done to every film before it is cropped and resized; None, and so nothing, unless set."""

    def __init__(
        self,
        root: Path | str,
        protocol: str = "",
        split: str = "",
        *,
        allow_missing: bool = False,
        cache: Path | str | None = None,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.protocol = self.find_protocol(protocol)
        self.split_name = split or self.protocol.splits[0]
        if self.split_name not in self.protocol.splits:
            known = ", ".join(self.protocol.splits)
            raise DataError(f"{self.protocol.name} has no split {self.split_name!r}; its splits are {known}.")
        self.allow_missing = allow_missing
        self.films = FilmCache(None if cache is None else Path(cache))
        self.change = None
        self.configure(InputSpec(size=(256, 128)), batch_size=1)
        self.serve()
        self.hold_back()

    @abstractmethod
    def scan(self) -> Inventory:
        """Read every label and find every film of `root` under `self.protocol`'s truth; decode nothing.

        Raises:
            DataError: The folder is not this dataset, or a label file is broken (file, line and value are named).
        """

    @abstractmethod
    def splits(self) -> tuple[Split, ...]:
        """Return the splits of `self.protocol` over the published case lists or over `self.inventory`'s cases."""

    @classmethod
    @abstractmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write a small phantom of this dataset in its true on-disk layout, or one of `scale` times as many films."""

    @classmethod
    def find_protocol(cls, name: str) -> Protocol:
        """Return the protocol called `name`, the default one for an empty name.

        Raises:
            DataError: There is no such protocol.
        """
        by_name = {protocol.name: protocol for protocol in cls.protocols}
        if name and name not in by_name:
            raise DataError(f"there is no protocol {name!r}; choose one of {', '.join(by_name)}.")
        return by_name[name] if name else cls.protocols[0]

    @classmethod
    def patient_of(cls, case: str) -> str:
        """Return the patient that a case's name tells; empty where the name does not tell it.

        Stored predictions are scored by it without the films.
        """
        return ""

    @final
    def first_films(self, cases: Iterable[str]) -> dict[str, str]:
        """Return the first case of each case's patient, which names the patient without naming it; see `patient_rule`.

        Returns:
            Nothing where patients are not known.
        """
        present = self.inventory.cases
        first: dict[str, str] = {}
        for name in sorted(present):
            first.setdefault(present[name].patient, name)
        return {case: first[present[case].patient] for case in cases} if self.patient_rule else {}

    @property
    def folder(self) -> str:
        """What messages call the folder."""
        return str(self.root)

    def redact(self, text: str) -> str:
        """Return an error's text as it may be stored and shown."""
        return text

    @final
    @cached_property
    def scanned(self) -> Inventory:
        """The folder's content, scanned once, with every film decoded once per content, whatever is missing.

        Raises:
            DataError: The folder is not this dataset, or a label file is broken.
        """
        self.require_folder()
        return decode_all(self.scan(), self._statistics)

    @final
    @cached_property
    def inventory(self) -> Inventory:
        """What `scanned` found, where it can be worked with.

        Raises:
            DataError: A file is missing or unreadable and `allow_missing` is off, or there is no case at all.
        """
        inventory = self.scanned
        if inventory.unreadable and not self.allow_missing:
            more = len(inventory.unreadable) - 1
            reason = " `osteomark data check CARD --reveal` says why." if self.private else ""
            others = f" {more} more: data check lists them." if more else ""
            raise DataError(f"{inventory.unreadable[0]} --allow-missing goes on without such cases.{others}{reason}")
        if inventory.missing and not self.allow_missing:
            count = "a file" if len(inventory.missing) == 1 else f"{len(inventory.missing)} files"
            raise DataError(
                f"{self.folder} lacks {count} ({_and_more(inventory.missing, 5)}); complete the "
                f"folder or pass --allow-missing to go on without these cases."
            )
        if not inventory.cases and inventory.unreadable:
            raise DataError(f"no film of {self.folder} can be read; the first: {inventory.unreadable[0]}")
        if not inventory.cases:
            raise self.foreign_folder("it holds no case with both film and labels")
        return inventory

    def require_folder(self) -> None:
        """Raise a `DataError` where there is no folder at `root`."""
        if not self.root.is_dir():
            raise self.foreign_folder("there is no such folder")

    def foreign_folder(self, reason: str) -> DataError:
        """Return the error for a `root` that is not this dataset: what it should be and how to get it."""
        return DataError(
            f"{self.folder} does not hold the dataset {self.title}: {reason}. {self.obtain} Licence: {self.licence}"
        )

    def _statistics(self, case: Case) -> FilmStatistics:
        """Decode a film; the error of a private set says less."""
        return self.films.statistics(case.film, exif=case.exif)

    @final
    @cached_property
    def published(self) -> tuple[Split, ...]:
        """The protocol's splits, whatever of them is there.

        Raises:
            DataError: There are too few cases to split.
        """
        try:
            return self.splits()
        except DataError:
            raise
        except ValueError as error:  # from scikit-learn
            raise DataError(
                f"{self.folder} holds too few cases for {self.protocol.name} ({error}); complete it or choose another "
                f"protocol."
            ) from error

    @final
    @cached_property
    def split(self) -> Split:
        """The chosen split, restricted to the cases that are there; films without a landmark are tested only.

        Raises:
            DataError: No training or no test case of this split is there, or there are too few to split.
        """
        published = next(split for split in self.published if split.name == self.split_name)
        train, val, tests = self.present(published)
        if not train or not tests:
            raise DataError(f"{self.folder} has no film for the training or test cases of split {self.split_name}.")
        return Split(published.name, train, val, tests)

    @final
    def present(self, published: Split) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, tuple[str, ...]]]:
        """Return what is there of a split to train, validate and test; films without a landmark are tested only."""
        cases = self.inventory.cases
        labelled = {name for name, case in cases.items() if case.visible.any()}
        train, val = (tuple(c for c in part if c in labelled) for part in (published.train, published.val))
        tests = {name: tuple(c for c in part if c in cases) for name, part in published.tests.items()}
        return train, val, {name: part for name, part in tests.items() if part}

    @property
    def is_phantom(self) -> bool:
        """Whether these films were drawn: their folder says so in a file, which leaderboards turn into a badge."""
        return (self.root / PHANTOM_MARK).is_file()

    @final
    @cached_property
    def content(self) -> str:
        """A short hash of every film's bytes, label and spacing under this protocol, whatever the split.

        Scores of different contents, phantoms and real films say, are never shown in one table.
        """
        digest = hashlib.sha256(f"{self.protocol.name}{self.facts_key}".encode())
        for name, case in sorted(self.inventory.cases.items()):
            digest.update(f"{name}{case.size}{case.spacing}{self.films.content(case.film)}".encode())
            digest.update(np.ascontiguousarray(case.points, np.float64).tobytes())
            digest.update("".join(self.inventory.statistics[name].repairs).encode())
        return digest.hexdigest()[:12]

    @final
    @cached_property
    def fingerprint(self) -> str:
        """A short hash of the content and of the split's lists."""
        return hashlib.sha256(f"{self.content}{self.split}".encode()).hexdigest()[:12]

    @final
    def configure(self, spec: InputSpec, batch_size: int, workers: int = 0, train_cases: int | None = None) -> None:
        """Say what the method wants to be fed, and how many of the training cases, before a loader is asked for."""
        self.spec, self.batch_size, self.workers, self.train_cases = spec, batch_size, workers, train_cases

    @final
    def serve(self, part: int = 0, parts: int = 1) -> None:
        """Serve one of equal parts of every training batch and of the validation cases, none of them twice."""
        self.part, self.parts = part, parts

    @final
    def hold_back(self, cases: Collection[str] = ()) -> None:
        """Leave validation cases out of the loader by which a checkpoint is chosen."""
        self.held_back = frozenset(cases)

    @final
    def sample(self, name: str, augment: Augmentation | None = None, seed: int | None = None) -> Sample:
        """Return a case in network pixels, augmented if asked, by a seed if given.

        Where `change` is set, the film is changed before everything else, and an oracle crop follows the points to
        where it moves them. `to_image` leads back to the film as it is stored all the same.

        Raises:
            DataError: The film cannot be decoded.
        """
        case = self.inventory.cases[name]
        change = self.change(case) if self.change else None
        box = self._box(case, change)
        image = self.films.read(case.film, box, self.spec, change, exif=case.exif)
        to_image = to_image_affine(box, self.spec)
        if change is not None:
            to_image = compose_affines(change.to_original, to_image)
        points = transform_points(invert_affine(to_image), case.points)
        if augment is not None:
            image, points, back = augment(image, points, seed)
            to_image = compose_affines(to_image, back)
        return Sample(
            name,
            torch.from_numpy(np.ascontiguousarray(image))[None],
            torch.from_numpy(points).float(),
            torch.from_numpy(np.isfinite(points).all(axis=1)),  # not the case's: a flip renames points
            torch.tensor(case.spacing, dtype=torch.float32),
            torch.from_numpy(to_image).float(),
        )

    def _box(self, case: Case, change: FilmChange | None) -> Box:
        """Return the part of the film, changed where it is, that the method is shown."""
        height, width = case.size
        if self.spec.oracle_crop is None:
            return Box(0, 0, width, height)
        back = change and invert_affine(change.to_original)
        points = case.points if back is None else transform_points(back, case.points)
        return landmark_box(points, case.size, self.spec.oracle_crop)

    @final
    def train_samples(self) -> list[Sample]:
        """Return this split's training cases, not augmented: all that a method may learn from outside `fit`."""
        return [self.sample(name) for name in self.split.train[: self.train_cases]]

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the shuffled, augmented training cases."""
        augment = Augmentation(self.spec, self.schema.flip_index) if self.spec.augment else None
        cases = self.split.train[: self.train_cases]
        return self._loader(cases, augment, PartOfBatch(len(cases), self.batch_size, self.part, self.parts))

    def val_dataloader(self) -> DataLoader[Sample] | list[DataLoader[Sample]]:
        """Return the validation cases that choose the checkpoint; an empty list where the split has none."""
        choosing = [case for case in self.split.val if case not in self.held_back]
        return self._loader(choosing[self.part :: self.parts]) if choosing else []

    def predict_dataloader(self) -> list[DataLoader[Sample]]:
        """Return one loader per test set, in the split's order."""
        return [self._loader(cases) for cases in self.split.tests.values()]

    def case_dataloader(self, cases: Sequence[str]) -> DataLoader[Sample]:
        """Return a loader of any cases, in their order."""
        return self._loader(cases)

    def _loader(
        self, cases: Sequence[str], augment: Augmentation | None = None, batches: PartOfBatch | None = None
    ) -> DataLoader[Sample]:
        """Return a loader of cases in their order, or in that of `batches`."""
        return DataLoader(
            NamedSamples(cases, partial(self.sample, augment=augment)),
            batch_size=1 if batches else max(1, self.batch_size // self.parts),
            batch_sampler=batches,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=collate,
            worker_init_fn=start_worker,
            generator=own_generator(),
        )


def _and_more(items: Sequence[str], shown: int) -> str:
    """Join the first `shown` items and count the others."""
    rest = len(items) - shown
    return ", ".join(items[:shown]) + (f" and {rest} more" if rest > 0 else "")
