"""The method contract: a paper's plugin states its network, loss and prediction; the base class does the rest."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import get_annotations
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple, final

import albumentations as A  # the library's own convention
import torch
from jaxtyping import Float
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torchmetrics import MeanMetric
from typing_extensions import override

from datamodules.base import Batch, LandmarkSchema, Sample
from datamodules.components.samples import apply_affine
from datamodules.components.transforms import InputSpec, Interpolation
from methods.components.initial_weights import read_weights
from methods.components.lengths import Pixels, ResolvesLengths, defaults, scale
from methods.components.micro_batches import accumulate, divide
from methods.components.optim import Schedule, adam

__all__ = [
    "Augmentation",
    "Batch",
    "FittedMethod",
    "InputSpec",
    "LandmarkSchema",
    "Method",
    "Paper",
    "Pixels",
    "Prediction",
    "Sample",
    "Stage",
]

Augmentation = tuple[A.BasicTransform | A.BaseCompose, ...]

MONITOR: Final = "val/radial_error"
"""The one quantity that chooses checkpoints, for all methods: mean radial error in original pixels."""
ONE_VALUE: Final = "more than 1 value per channel"
"""What torch says of batch normalisation over one film."""


@dataclass(frozen=True)
class Paper:
    """Where a method comes from; the numbers that it prints stand in `leaderboards/boards/reported.yaml`.

    Args:
        title: The paper's title; for a reference of ours, what it is.
        authors: First author and "et al.", as it is cited.
        year: Year of publication.
        url: DOI or page.
        differs: One sentence per deliberate difference between the paper and this implementation.
        weights: What its networks start from, as a method's `weights` says it; empty where the paper does not say.
    """

    title: str
    authors: str = ""
    year: int = 0
    url: str = ""
    differs: tuple[str, ...] = ()
    weights: str = ""


class Stage(NamedTuple):
    """One stretch of training: all stages of a method train in order and end in one checkpoint."""

    name: str
    epochs: int


class Prediction(NamedTuple):
    """Landmarks of a batch.

    Attributes:
        points: (x, y), network pixels as a method answers, original pixels as the base hands it on.
        covariance: Of each point, in square pixels of the same space; None where the method has none.
        centres: Of the structure of each landmark, as an earlier stage found it to look for the landmark there, (x, y)
            in the same space; None where the method has no such stage.
        crops: (width, height) of the upright crop that each landmark was read from, in pixels of the same space; None
            where the method reads the film as a whole.
    """

    points: Float[Tensor, "batch landmark 2"]
    covariance: Float[Tensor, "batch landmark 2 2"] | None = None
    centres: Float[Tensor, "batch landmark 2"] | None = None
    crops: Float[Tensor, "batch landmark 2"] | None = None

    def transform(self, affine: Float[Tensor, "batch 2 3"]) -> Prediction:
        """Map points and centres by x -> A x + b, covariances by C -> A C A^T and crops to the boxes round them."""
        affine = affine.double()
        linear = affine[:, None, :, :2]
        return Prediction(
            apply_affine(affine, self.points.double()),
            None if self.covariance is None else linear @ self.covariance.double() @ linear.mT,
            None if self.centres is None else apply_affine(affine, self.centres.double()),
            None if self.crops is None else (linear.abs() @ self.crops.double()[..., None])[..., 0],
        )


class Method(LightningModule, metaclass=ResolvesLengths):
    """A landmark method as one plugin file.

    A subclass sets `paper`, `variants` and `smoke`, types its hyper-parameters in `__init__` (its signature *is* the
    configuration: plain numbers, texts, booleans and tuples) and calls `super().__init__(schema)` first. That call sets
    every hyper-parameter that the class, or a base, annotates (`sigma: float`) as an attribute of that name. A length
    in pixels of the input is typed `Pixels` in the signature: it is stated for the `input_size` beside it and shrinks
    with a smaller one unless it is given.

    It implements `loss` and `predict`, and overrides what its paper does otherwise than the defaults: one stage of
    `epochs`, Adam at `lr` under `schedule`, the whole film stretched to `input_size` without augmentation.
    """

    paper: ClassVar[Paper]
    variants: ClassVar[Mapping[str, Mapping[str, Any]]]
    """The paper's rows: name -> hyper-parameters. The first is the method itself and gives it its name."""
    version: ClassVar[int] = 1
    """Raised by whoever changes what a trained network of this method answers: older checkpoints are then refused."""
    not_exported: ClassVar[str] = ""
    """Why its prediction cannot become a graph for other programs, in a sentence; empty where it can."""
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """How the paper trains on single datasets: `dataset` or `dataset/protocol` -> hyper-parameters, where these are not
    the signature's. A protocol that is named here is the one that the paper follows. `budget: paper` applies them."""
    smoke: ClassVar[Mapping[str, Any]]
    """Hyper-parameters so small that the contract tests take a second."""

    input_size: tuple[int, int]
    """(height, width) of the network's input."""
    epochs: int
    batch_size: int = 16
    lr: float
    schedule: Schedule = "constant"
    weights: str = "none"
    """What the network starts from: `none` or `imagenet`."""
    checkpoint: Literal["best", "last"] = "best"
    """Which epoch's weights are the result: the last stage's `best` by `MONITOR`, as for all methods, or its `last`,
    for a variant that repeats a code which chooses none."""
    init_from: str = ""
    """Checkpoint of another run that training starts from, see `start_from`; empty for none. In a matrix it may be a
    run's folder or the name of the dataset of a finished run, too (`benchmark.initial_weights`)."""
    micro_batch: int | None = None
    """Films that go through the network at a time, with gradients accumulated over the batch; None for all of a batch.
    No hyper-parameter: a run sets it where memory ran out."""
    fit: Literal["stretch", "pad"] = "stretch"
    oracle_crop: float | None = None
    interpolation: Interpolation = "area"
    """See `InputSpec`."""

    def __init__(self, schema: LandmarkSchema) -> None:
        super().__init__()
        self.schema = schema
        self.stage = 0
        self._radial_error = MeanMetric(nan_strategy="disable").set_dtype(torch.float64)  # over all devices
        self.save_hyperparameters(ignore=["schema"])
        for name in self.hparams.keys() & _annotated(type(self)):
            value = self.hparams[name]
            setattr(self, name, tuple(value) if isinstance(value, list) else value)

    @property
    def stages(self) -> Sequence[Stage]:
        """The stages of training at the paper's budget; none for a method that learns in `prepare` alone."""
        return (Stage("train", self.epochs),)

    @property
    def augmentation(self) -> Augmentation:
        """Random changes of the training films, in their order."""
        return ()

    @property
    def input_spec(self) -> InputSpec:
        """Size, fit, preprocessing and augmentation of the films this method reads."""
        return InputSpec(
            self.input_size,
            self.fit,
            augment=self.augmentation,
            oracle_crop=self.oracle_crop,
            interpolation=self.interpolation,
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimiser of the current stage, and its schedule."""
        return adam(self, self.lr, self.schedule)

    def pixels(self, length: float, size: str = "input_size") -> float:
        """Return a constant in pixels of a hyper-parameter's default size at the size that this method has."""
        return scale(length, defaults(type(self))[size], getattr(self, size))

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Return the scalar training loss of the current stage; finite with zero gradients when no point is visible."""

    @abstractmethod
    def predict(self, batch: Batch) -> Prediction:
        """Return every landmark in network pixels; the whole method, whatever the stage."""

    def perfect(self, batch: Batch) -> Prediction | None:
        """Return what `predict` would read from the very maps that the loss asks for, in network pixels.

        It differs from the batch's points by the decoder's own error. None where a method decodes no maps.
        """
        del batch
        return None

    def prepare(self, train: Sequence[Sample]) -> None:
        """Fit what is not trained by gradients, from this split's training cases only."""

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Take over weights of another run before the first stage, after `prepare`.

        Args:
            weights: Of the checkpoint that `init_from` names.

        Raises:
            ValueError: They do not fit.
        """
        del weights
        raise ValueError(f"{type(self).__name__} does not start from another run; leave init_from empty.")

    @classmethod
    def unsupported(cls, schema: LandmarkSchema) -> str | None:
        """Return why this method cannot run on a schema, in a sentence; None if it can."""
        del schema
        return None

    @final
    @classmethod
    def paper_settings(cls, dataset: str, protocol: str = "") -> dict[str, Any]:
        """Return the hyper-parameters with which the paper trains on a dataset, as far as `settings` states them."""
        return {**cls.settings.get(dataset, {}), **cls.settings.get(f"{dataset}/{protocol}", {})}

    @final
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Log and return the loss."""
        del batch_idx
        parts = divide(batch, self.micro_batch)
        try:
            loss = self.loss(batch) if len(parts) == 1 else accumulate(self.loss, parts, self.parameters())
        except ValueError as error:
            if all(len(part.case) > 1 for part in parts) or ONE_VALUE not in str(error):
                raise
            cure = "batch_size, or train on more films" if len(parts) == 1 else "budget.micro_batch"
            raise ValueError(
                f"{type(self).__name__} normalises over the films of a batch and needs at least two of them; raise "
                f"{cure}."
            ) from error
        count = len(batch.case)
        self.log("train/loss", loss, on_step=False, on_epoch=True, batch_size=count, prog_bar=True, sync_dist=True)
        return loss

    @final
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the mean radial error in original pixels over visible landmarks."""
        del batch_idx
        predicted = self._predict(batch).transform(batch.to_image).points
        truth = apply_affine(batch.to_image.double(), batch.points.double())
        errors = (predicted - truth).norm(dim=-1)[batch.visible]
        self._radial_error.update(errors)
        self.log(MONITOR, self._radial_error, batch_size=len(batch.case), prog_bar=True)

    @final
    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> tuple[Batch, Prediction]:
        """Return the batch with its prediction in original pixels."""
        del batch_idx, dataloader_idx
        prediction = self._predict(batch)
        return batch, prediction._replace(points=prediction.points.float()).transform(batch.to_image)

    def _predict(self, batch: Batch) -> Prediction:
        """Predict a batch, `micro_batch` films at a time."""
        parts = [self.predict(part) for part in divide(batch, self.micro_batch)]
        joined: list[Any] = [None if field[0] is None else torch.cat(field) for field in zip(*parts, strict=True)]
        return Prediction(*joined)

    @final
    def on_fit_start(self) -> None:
        """Start from the weights of `init_from`, unless a checkpoint of this run is being resumed."""
        if self.init_from and self.stage == 0 and self.trainer.ckpt_path is None:
            self.start_from(read_weights(Path(self.init_from)))

    @final
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the stage, so that training resumes in it."""
        checkpoint["stage"] = self.stage

    @final
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Return to the checkpoint's stage."""
        self.stage = checkpoint["stage"]

    @final
    def parameter_counts(self) -> dict[str, int]:
        """Count parameters as torch does (`trainable`) and as Keras does (`keras`: BatchNorm statistics counted).

        A running average of the network's weights does not count.
        """
        averages = {part for m in self.modules() if isinstance(m, AveragedModel) for part in m.modules()}
        modules = [m for m in self.modules() if m not in averages]
        weights = {p for m in modules for p in m.parameters(recurse=False)}
        norms = (m for m in modules if isinstance(m, torch.nn.modules.batchnorm._BatchNorm))
        statistics = sum(b.numel() for m in norms for b in (m.running_mean, m.running_var) if b is not None)
        trainable = sum(p.numel() for p in weights if p.requires_grad)
        return {"trainable": trainable, "keras": sum(p.numel() for p in weights) + statistics}


class FittedMethod(Method):
    """A method that learns in `prepare` alone: no stage, nothing to train by gradients."""

    @property
    @override
    def stages(self) -> Sequence[Stage]:
        return ()

    @override
    def loss(self, batch: Batch) -> Tensor:
        return batch.image.new_zeros((), dtype=torch.float32)

    def mean_shape(self, points: Float[Tensor, "film landmark 2"]) -> Float[Tensor, "landmark 2"]:
        """Average each landmark over the films that show it (not NaN); one that no film shows is in the centre."""
        height, width = self.input_size
        mean = points.nanmean(dim=0)
        return torch.where(mean.isnan(), torch.tensor([(width - 1) / 2, (height - 1) / 2]), mean)


def _annotated(method: type) -> set[str]:
    """Return the names that a method and its bases, up to `Method`, annotate."""
    classes = (base for base in method.__mro__ if issubclass(base, Method))
    return {name for base in classes for name in get_annotations(base)}
