"""The key of one training run, the job that runs it, and what all jobs of a matrix share; no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from datamodules import DatasetRegistry
    from datamodules.base import LandmarkDataModule
    from datamodules.components.images.cache import FilmCache

HASH_LENGTH = 8
Purpose = Literal["compare", "tune"]
"""What runs are for: a run that tunes never predicts a test film."""
On = Literal["test", "validation"]
"""The films on which runs are scored and ranked."""


@dataclass(frozen=True)
class Budget:
    """How much training a run may use; part of the run's key, and shown beside every number.

    Args:
        name: `paper` where the method trains as published, otherwise what it is (`reduced`, `smoke`).
        epochs: Every stage of a method trains this many epochs; None trains the method's own stages.
        train_cases: Only the first so many training cases are used; None uses all.
        precision: Lightning's name for the arithmetic, or `auto`: bf16-mixed where a training step is faster so.
        workers: Loader processes. They change no number; the key has them, since in earlier versions they did.
        devices: Train every batch on so many devices of one machine, a part on each. Batch size and learning rate are
            those of the whole batch. The parts draw random numbers and normalise apart, so it belongs to the key.
        sync_batchnorm: Normalise over the whole batch instead of each device's part; on GPUs only.
        micro_batch: Where memory runs out, a second attempt lets so many films through the network at a time, on each
            device, and accumulates the gradients of a batch; None fails such a cell.
        calibrate: Half of the validation patients choose the checkpoint, and regions and covariances are calibrated on
            the other half, which then did not choose.

    Raises:
        ValueError: A count is not positive, a switch is not a boolean, or two settings exclude each other.
    """

    name: str = "paper"
    epochs: int | None = None
    train_cases: int | None = None
    precision: str = "32-true"
    workers: int = 0
    devices: int = 1
    sync_batchnorm: bool = False
    micro_batch: int | None = None
    calibrate: bool = False

    def __post_init__(self) -> None:
        """Check the counts."""
        for key, low in (("epochs", 1), ("train_cases", 1), ("workers", 0), ("devices", 1), ("micro_batch", 1)):
            value = getattr(self, key)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < low):
                raise ValueError(f"budget.{key} is {value!r}; give a whole number of at least {low}.")
        for key in ("sync_batchnorm", "calibrate"):
            if not isinstance(getattr(self, key), bool):
                raise ValueError(f"budget.{key} is {getattr(self, key)!r}; give true or false.")
        if self.micro_batch and self.precision == "16-mixed":  # the scale of its gradients is not known in time
            raise ValueError("budget.micro_batch does not go with precision 16-mixed; choose bf16-mixed or 32-true.")

    @property
    def label(self) -> str:
        """The budget as leaderboards name it.

        Example:
            >>> Budget("reduced", epochs=12, train_cases=100).label
            'reduced (12 epochs/stage, 100 training films)'
            >>> Budget("reduced", epochs=1, precision="auto").label
            'reduced (1 epoch/stage, auto precision)'
        """
        limits = [
            f"{self.epochs} epoch{'s' * (self.epochs > 1)}/stage" if self.epochs else "",
            f"{self.train_cases} training film{'s' * (self.train_cases > 1)}" if self.train_cases else "",
            "" if self.precision == "32-true" else f"{self.precision} precision",
            f"{self.devices} devices" if self.devices > 1 else "",
            "synchronised batch normalisation" if self.sync_batchnorm else "",
            f"micro-batches of {self.micro_batch} where memory runs out" if self.micro_batch else "",
            "half of the validation films calibrate" if self.calibrate else "",
        ]
        details = ", ".join(filter(None, limits))
        return f"{self.name} ({details})" if details else self.name

    def as_key(self) -> dict[str, Any]:
        """Return what a run's key is made of: a setting that is younger than the first keys counts where it is set."""
        content = asdict(self)
        return {name: value for name, value in content.items() if name not in _YOUNGER or value != _YOUNGER[name]}


_YOUNGER = {"devices": 1, "sync_batchnorm": False, "micro_batch": None, "calibrate": False}
"""Settings of a budget that came after the first keys, with what they were until then."""


@dataclass(frozen=True)
class Cell:
    """One method variant x dataset x protocol x split x seed.

    Args:
        dataset: The datamodule's name.
        protocol: The protocol's name.
        split: The name of one of the protocol's splits.
        method: The method's name.
        variant: The name of one of the method's variants.
        seed: Seeds everything, before anything is constructed.
        hparams: Every effective hyper-parameter as sorted (name, value): the signature's defaults, under the variant's
            values, under the paper's for the dataset, under the matrix' overrides. So a changed default changes the
            key.
        budget: How much training the run may use.
        purpose: `tune` where the run serves to choose settings and does without test films; it has a key of its own.
    """

    dataset: str
    protocol: str
    split: str
    method: str
    variant: str
    seed: int = 0
    hparams: tuple[tuple[str, Any], ...] = ()
    budget: Budget = field(default_factory=Budget)
    purpose: Purpose = "compare"

    def __str__(self) -> str:
        """Return a short name for logs."""
        return f"{self.dataset}/{self.protocol}/{self.split}/{self.variant}/seed{self.seed}"

    @property
    def config(self) -> str:
        """A short hash of hyper-parameters and budget: the same for all splits and seeds of a leaderboard row."""
        return _hash({"method": self.method, "hparams": self.hparams, "budget": self.budget.as_key()})

    @property
    def tunes(self) -> bool:
        """Whether no test film may be predicted."""
        return self.purpose == "tune"

    def key(self, fingerprint: str) -> str:
        """Return a short hash of every hyper-parameter, the budget and the data's fingerprint."""
        content = asdict(self) | {"budget": self.budget.as_key()}
        if not self.tunes:
            del content["purpose"]  # keys of runs that were made before there was a purpose stay
        return _hash({"cell": content, "data": fingerprint})

    def path(self, fingerprint: str) -> Path:
        """Return the run's folder relative to the store."""
        name = f"seed{self.seed}-{self.key(fingerprint)}"
        return Path(self.dataset, self.protocol, self.split, self.variant, name)

    def as_json(self) -> dict[str, Any]:
        """Return the cell as `run.json` holds it."""
        return asdict(self) | {"hparams": dict(self.hparams), "config": self.config}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Cell:
        """Return the cell that `as_json` wrote."""
        rest = {key: value for key, value in stored.items() if key not in ("config", "hparams", "budget")}
        hparams = tuple(sorted((name, freeze(value)) for name, value in stored["hparams"].items()))
        return cls(**rest, hparams=hparams, budget=Budget(**stored["budget"]))


class Job(NamedTuple):
    """A cell with the fingerprint of its data, which together have one folder in the store."""

    cell: Cell
    fingerprint: str


def _package_datasets() -> DatasetRegistry:
    from datamodules import DatasetRegistry

    return DatasetRegistry()


@dataclass(frozen=True)
class Context:
    """What all cells of a matrix share. It can be sent to another process.

    Args:
        store: The run store's folder.
        roots: Dataset name -> its folder.
        cache: Folder for resized films; None keeps them in memory.
        plugins: Files with methods from outside the package.
        allow_missing: Go on without the cases whose files are missing.
        tracking: Whether runs are tracked by Weights & Biases; `auto` where it has a key.
        artifacts: Send it the predicted points and the weights, too; never those of a private set.
        datasets: Every dataset by name; the package's if not given.
        started: When the run began, UTC, ISO 8601: what failed in another run since then is not tried again. If not
            given, everything that failed is.
        limit: Seconds that an attempt at a cell may take; None sets no limit.
        stall: Seconds that a cell may go without any progress; None likewise.
    """

    store: Path
    roots: Mapping[str, Path]
    cache: Path | None = None
    plugins: tuple[Path, ...] = ()
    allow_missing: bool = False
    tracking: Literal["wandb", "none", "auto"] = "none"
    artifacts: bool = False
    datasets: DatasetRegistry = field(default_factory=_package_datasets)
    started: str = ""
    limit: float | None = None
    stall: float | None = None

    def dataset(self, cell: Cell) -> type[LandmarkDataModule]:
        """Return the class of a cell's dataset.

        Raises:
            ValueError: There is no such dataset.
        """
        return self.datasets.find(cell.dataset)

    def datamodule(self, cell: Cell) -> LandmarkDataModule:
        """Return a cell's data, its films shared with all cells of this process.

        Raises:
            ValueError: There is no such dataset, or it is not what it should be.
        """
        dataset_class = self.dataset(cell)
        data = dataset_class(self.roots[cell.dataset], cell.protocol, cell.split, allow_missing=self.allow_missing)
        data.films = _films(self.cache, cell.dataset)
        return data


@cache
def _films(folder: Path | None, dataset: str) -> FilmCache:
    """Films are hashed and decoded once per process, not once per cell."""
    from datamodules.components.images.cache import FilmCache

    return FilmCache(folder, dataset)


def freeze(value: Any) -> Any:  # noqa: ANN401  # a hyper-parameter is what a method's signature says
    """Return a value read from YAML or JSON with its lists as tuples.

    Example:
        >>> freeze([1, [2, 3]])
        (1, (2, 3))
    """
    return tuple(freeze(item) for item in value) if isinstance(value, (list, tuple)) else value


def _hash(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]
