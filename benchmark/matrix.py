"""The matrix: a small YAML file that names methods, datasets, seeds and a budget, and becomes a list of cells."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import yaml

from benchmark.cell import Budget, Cell, Purpose
from benchmark.lookup import ANY_METHODS, Variant, choose, effective_hparams, find_variant, hparam_names, unknown
from datamodules import DatasetRegistry, is_card
from datamodules.base import LandmarkDataModule, Protocol
from methods.base import Method

FOLDER = Path(__file__).parent / "matrices"
T = TypeVar("T")


@dataclass(frozen=True)
class MethodEntry:
    """A method of the matrix.

    Args:
        name: Of a variant; a file's name means its first variant.
        hparams: Hyper-parameters on top of the variant's.
        datasets: Names or card files of the matrix' datasets that it runs on; empty means all.
    """

    name: str
    hparams: Mapping[str, Any] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetEntry:
    """A dataset of the matrix.

    Args:
        name: Of the dataset.
        protocols: Names of protocols; empty means the default one.
        splits: Names of splits; empty means all of each protocol.
        budget: Values that replace the matrix' budget here.
    """

    name: str
    protocols: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    budget: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Override:
    """Values for some of the cells; later overrides win.

    Args:
        methods: Names of the variants it is for; empty means all.
        datasets: Names of the datasets it is for; empty means all.
        hparams: Hyper-parameters on top of everything before.
        budget: Values that replace the budget's.
    """

    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    hparams: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Matrix:
    """Which cells to run. The fields are the keys of the YAML file.

    Args:
        budget: For all cells.
        seeds: One run each.
        methods: Names, or mappings with the keys of `MethodEntry`; empty means every method's first variant.
        datasets: Names or card files, or mappings with the keys of `DatasetEntry`; empty means every dataset.
        hparams: Of every method that has them; what a method's entry and overrides say wins.
        overrides: Mappings with the keys of `Override`.
        smoke: Use every method's `smoke` hyper-parameters: does it run at all?
        purpose: `tune` where settings are still being chosen: no test film is predicted, and runs are ranked on their
            validation films alone.
        engine: Where the cells run: a name, or a mapping with `name` and settings of that engine.
        limit: Seconds that an attempt at a cell may take, in a file such as `2h`; a cell that takes longer has failed.
            It is tried again next time, from its last complete epoch. None sets no limit.
        stall: Seconds that a cell may go without any progress, likewise.
    """

    budget: Budget = field(default_factory=Budget)
    seeds: tuple[int, ...] = (0,)
    methods: tuple[MethodEntry, ...] = ()
    datasets: tuple[DatasetEntry, ...] = ()
    hparams: Mapping[str, Any] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    smoke: bool = False
    purpose: Purpose = "compare"
    engine: Mapping[str, Any] = field(default_factory=dict)
    limit: float | None = None
    stall: float | None = None

    @classmethod
    def load(cls, source: Path | str, datasets: DatasetRegistry) -> Matrix:
        """Read a matrix file, or one of the package's own by its name.

        Args:
            source: The file or the name.
            datasets: The datasets of cards that the file names are added.

        Raises:
            ValueError: There is no such file, it is not YAML, or a key or value in it is not known.
        """
        path = Path(source)
        if not path.is_file():
            own = {file.stem: file for file in sorted(FOLDER.glob("*.yaml"))}
            if path.suffix or str(source) not in own:
                raise unknown(str(source), own, "matrix file")
            path = own[str(source)]
        try:
            return _with_cards(_parse(yaml.safe_load(path.read_text()) or {}), path.parent, datasets)
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def narrow(
        self,
        methods: Sequence[str] = (),
        datasets: Sequence[str] = (),
        seeds: Sequence[int] = (),
        epochs: int | None = None,
        purpose: Purpose | None = None,
    ) -> Matrix:
        """Return the matrix with the command line's choices; an empty one changes nothing.

        The epochs count for every cell, whatever the matrix gives single datasets and methods.
        """
        own_methods = {entry.name: entry for entry in self.methods}
        own_datasets = {entry.name: entry for entry in self.datasets}
        narrowed = replace(
            self,
            methods=tuple(own_methods.get(name, MethodEntry(name)) for name in methods) or self.methods,
            datasets=tuple(own_datasets.get(name, DatasetEntry(name)) for name in datasets) or self.datasets,
            seeds=tuple(seeds) or self.seeds,
            purpose=purpose or self.purpose,
        )
        return narrowed if epochs is None else narrowed.with_overrides([Override(budget=epochs_budget(epochs))])

    def with_overrides(self, overrides: Iterable[Override]) -> Matrix:
        """Return the matrix with overrides that win over those it has."""
        return replace(self, overrides=(*self.overrides, *overrides))

    def variants(self, methods: Mapping[str, type[Method]]) -> list[Variant]:
        """Return the variants of the matrix' methods.

        Raises:
            ValueError: A name is not known.
        """
        return [find_variant(name, methods) for name in [entry.name for entry in self.methods] or methods]

    def cells(
        self, methods: Mapping[str, type[Method]], datasets: Mapping[str, type[LandmarkDataModule]]
    ) -> list[Cell]:
        """Return the cells, first seed first, in the order of the file.

        Raises:
            ValueError: A name is not known; the message has the nearest one.
        """
        named = self._named(methods, datasets)
        every = {name for method_class in methods.values() for name in hparam_names(method_class)}
        for name in self.hparams:
            if name not in every:
                raise unknown(name, every, ANY_METHODS)
        found = [
            named._cell(entry, find_variant(method.name, methods), method, protocol, split, seed)
            for seed in named.seeds
            for entry in named.datasets
            for protocol in _protocols(entry, datasets[entry.name])
            for split in _splits(entry, protocol)
            for method in named.methods
            if entry.name in (method.datasets or [entry.name])
        ]
        return list(dict.fromkeys(found))

    def _named(self, methods: Mapping[str, type[Method]], datasets: Mapping[str, type[LandmarkDataModule]]) -> Matrix:
        """Fill in what is empty and spell every name as the plugin does."""
        variants = [
            replace(
                e,
                name=find_variant(e.name, methods).name,
                datasets=tuple(choose(name, datasets, "dataset") for name in e.datasets),
            )
            for e in self.methods
        ]
        entries = [replace(e, name=choose(e.name, datasets, "dataset")) for e in self.datasets]
        overrides = [
            replace(
                e,
                methods=tuple(find_variant(name, methods).name for name in e.methods),
                datasets=tuple(choose(name, datasets, "dataset") for name in e.datasets),
            )
            for e in self.overrides
        ]
        return replace(
            self,
            methods=tuple(variants) or tuple(map(MethodEntry, methods)),
            datasets=tuple(entries) or tuple(map(DatasetEntry, datasets)),
            overrides=tuple(overrides),
        )

    def _cell(
        self, entry: DatasetEntry, variant: Variant, method: MethodEntry, protocol: Protocol, split: str, seed: int
    ) -> Cell:
        fitting = [
            override
            for override in self.overrides
            if variant.name in (override.methods or [variant.name])
            and entry.name in (override.datasets or [entry.name])
        ]
        shared = {name: value for name, value in self.hparams.items() if name in hparam_names(variant.method_class)}
        hparams = {**shared, **(variant.method_class.smoke if self.smoke else {}), **method.hparams}
        budget = _changed(self.budget, entry.budget)
        for override in fitting:
            hparams.update(override.hparams)
            budget = _changed(budget, override.budget)
        paper = variant.method_class.paper_settings(entry.name, protocol.name) if budget.name == Budget.name else {}
        effective = effective_hparams(variant, hparams, paper)
        names = (entry.name, protocol.name, split, variant.method, variant.name)
        return Cell(*names, seed, effective, budget, self.purpose)


def epochs_budget(epochs: int) -> dict[str, Any]:
    """Return what a number of epochs from the command line changes in a budget: it is the paper's no more."""
    return {"name": f"{epochs} epochs", "epochs": epochs}


def _with_cards(matrix: Matrix, folder: Path, known: DatasetRegistry) -> Matrix:
    """Read the cards that stand among the datasets, as seen from here or from the matrix, and put their names there."""

    def name(given: str) -> str:
        beside = folder / given
        return known.name_of(str(beside) if is_card(given) and beside.is_file() else given)

    return replace(
        matrix,
        methods=tuple(replace(entry, datasets=tuple(map(name, entry.datasets))) for entry in matrix.methods),
        datasets=tuple(replace(entry, name=name(entry.name)) for entry in matrix.datasets),
        overrides=tuple(replace(entry, datasets=tuple(map(name, entry.datasets))) for entry in matrix.overrides),
    )


def _protocols(entry: DatasetEntry, dataset: type[LandmarkDataModule]) -> list[Protocol]:
    known = {protocol.name: protocol for protocol in dataset.protocols}
    names = entry.protocols or (dataset.protocols[0].name,)
    return [known[choose(name, known, f"protocol of {entry.name}")] for name in names]


def _splits(entry: DatasetEntry, protocol: Protocol) -> list[str]:
    names = entry.splits or protocol.splits
    return [choose(name, protocol.splits, f"split of {entry.name}'s protocol {protocol.name}") for name in names]


def _changed(budget: Budget, values: Mapping[str, Any]) -> Budget:
    return replace(budget, **_known_keys(values, Budget, "budget"))


def _parse(content: object) -> Matrix:
    """Build a matrix from a file's content, key by key.

    Raises:
        ValueError: A key is not known or a value is not what its key takes.
    """
    given = _known_keys(content, Matrix, "the matrix")
    parsers: dict[str, Callable[[Any], Any]] = {
        "budget": lambda value: Budget(**_known_keys(value, Budget, "budget")),
        "seeds": lambda value: tuple(_whole_number(seed) for seed in _listed(value)),
        "methods": lambda value: tuple(_entry(MethodEntry, item, "methods") for item in _listed(value)),
        "datasets": lambda value: tuple(_entry(DatasetEntry, item, "datasets") for item in _listed(value)),
        "hparams": lambda value: _known_keys(value, None, "hparams"),
        "overrides": lambda value: tuple(_entry(Override, item, "overrides") for item in _listed(value)),
        "smoke": bool,
        "purpose": _purpose,
        "engine": lambda value: _known_keys({"name": value} if isinstance(value, str) else value, None, "engine"),
        "limit": _seconds,
        "stall": _seconds,
    }
    return Matrix(**{key: parsers[key](value) for key, value in given.items()})


def _seconds(value: object) -> float:
    """Read a time such as `2h`, `90m`, `1h30m`, `45s`.

    Example:
        >>> _seconds("1h30m")
        5400.0
    """
    parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", value) if isinstance(value, str) else None
    counts = [int(count or 0) for count in parts.groups()] if parts else []
    seconds = float(sum(count * unit for count, unit in zip(counts, (3600, 60, 1), strict=False)))
    if not seconds:
        raise ValueError(f"{value!r} is no time; give hours, minutes or seconds such as 2h, 90m, 1h30m or 45s.")
    return seconds


def _entry(kind: type[T], item: object, where: str) -> T:
    given = _known_keys({"name": item} if isinstance(item, str) else item, kind, where)
    mappings = ("hparams", "budget")
    for key in set(given) & set(mappings):
        _known_keys(given[key], Budget if key == "budget" else None, f"{where}: {key}")
    plain = {key: tuple(map(str, _listed(value))) for key, value in given.items() if key not in (*mappings, "name")}
    if kind is not Override and "name" not in given:
        raise ValueError(f"an entry of {where} has no `name`.")
    return kind(**{**given, **plain})


def _known_keys(content: object, kind: type | None, where: str) -> dict[str, Any]:
    """Return a mapping after a look at its keys."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{where} must be a mapping of keys to values, but is {content!r}.")
    known = [item.name for item in fields(kind)] if kind else list(content)
    for key in content:
        if key not in known:
            raise unknown(str(key), known, f"key in {where} called")
    return dict(content)


def _listed(value: object) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _purpose(value: object) -> Purpose:
    if value not in get_args(Purpose):
        raise ValueError(f"purpose is {value!r}; it is one of {', '.join(get_args(Purpose))}.")
    return cast(Purpose, value)


def _whole_number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"seeds takes whole numbers, but has {value!r}.")
    return value
