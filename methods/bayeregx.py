"""BayeRegX (Upadhyay et al., "BayeRegX: Uncertainty Driven, Attention-based Keypoint Regression ...", CHIL 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import albumentations as A  # the library's own convention
import torch
from jaxtyping import Float
from torch import Tensor, nn

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Paper, Prediction, Sample, Stage
from methods.components.crops.box_detector import BoxDetector
from methods.components.crops.crops import Crops
from methods.components.images.intensity import grey
from methods.components.losses import attenuated_l2, l2
from methods.components.networks.cbam import CBAM
from methods.components.optim import Schedule
from methods.components.structures.group_classes import group_classes

Head = Literal["mse", "baye"]
CropSource = Literal["detector", "oracle"]
Attention = Literal["none", "woo", "eq3"]
CENTRE_SIGMA = 2.0
"""Of the detector's Gaussians, in pixels of its reduced film at the default film_size."""
SMALLEST_BOX = 4.0
"""Side of a box that a structure has at least, in pixels of the film at the default film_size."""
FITTED = ("mean", "spread", "shape", "floor", "detector.size")
"""What `prepare` fits to a dataset; `init_from` leaves it alone."""


class BayeRegX(Method):
    """AlexNet with block attention that regresses a vertebra's points, and their variances, from a crop.

    On sets of crops, as of any landmarks that form no groups, the film is the crop. On whole films every group of
    landmarks has a crop of its own and one network reads them all; groups of different sizes have outputs of their own.
    Crops come from a detector that is trained before the regressor, or, with `crops="oracle"`, from the true landmarks
    of whole films, at test time too: then `predict` reads `batch.points`, and the badge is "oracle crop".

    Points and standard deviations are fractions of a crop's sides; `leaderboards.site.uncertainty_classes` sorts
    them into the paper's certain, moderately and highly uncertain points.
    """

    paper = Paper(
        "BayeRegX: Uncertainty Driven, Attention-based Keypoint Regression for Mensuration Analysis of Spinal X-rays",
        "Upadhyay et al.",
        2020,
        differs=(
            "The sizes of the layers are not in the text: those of AlexNet's convolutions, and two dense ones of 1024.",
            "BatchNorm follows every convolution, which the paper does not mention.",
            "Channel attention is the sigmoid of a sum, as in the module that the paper takes over; its Eq. 3 prints "
            "a sum of sigmoids (bayeregx-eq3), which starts at twice that: 2^5 times the signal after five blocks.",
            "The bounding box of each crop is widened by a quarter of its sides; the paper gives no number "
            "for its random padding.",
            "The detector's crops and bayeregx-oracle's are cut from a film reduced to film_size, "
            "the paper's from the film.",
            "Outputs are counted from the mean and the spread of the training crops.",
            "Where crops must be found, a small centre and size detector does it; the paper's is a pre-trained YOLOv3.",
        ),
    )
    variants: ClassVar = {
        "bayeregx": {},
        "bayeregx-cbam": {"head": "mse"},
        "bayeregx-base": {"head": "mse", "attention": "none"},
        "bayeregx-eq3": {"attention": "eq3"},
        "bayeregx-eq14": {"log_weight": 0.5},
        "bayeregx-oracle": {"crops": "oracle"},
    }
    smoke: ClassVar = {"width": 4, "dense": 16, "crop_size": (64, 128), "film_size": (64, 64), "detector_width": 4}
    mean: Tensor
    spread: Tensor
    shape: Tensor
    floor: Tensor
    head: Head
    log_weight: float
    crops: CropSource
    crop_size: tuple[int, int]
    margin: float
    film_size: tuple[int, int]
    detector_epochs: int
    init_from: str

    def __init__(
        self,
        schema: LandmarkSchema,
        head: Head = "baye",
        attention: Attention = "woo",
        log_weight: float = 1.0,
        crops: CropSource = "detector",
        crop_size: tuple[int, int] = (224, 448),
        margin: float = 0.25,
        film_size: tuple[int, int] = (1024, 832),
        width: int = 64,
        dense: int = 1024,
        dropout: float = 0.5,
        detector_width: int = 16,
        detector_epochs: int = 50,
        epochs: int = 100,
        batch_size: int = 96,
        lr: float = 1e-4,
        schedule: Schedule = "cosine",
        init_from: str = "",
    ) -> None:
        super().__init__(schema)
        self.layout = crop_layout(schema)
        count, landmarks = len(self.layout.structures), len(schema)
        self.batch_size = max(1, batch_size // count)  # the paper's batches are crops
        self.regressor = KeypointRegressor(
            self.layout.slots, crop_size, width, dense, dropout, attention, head == "baye"
        )
        finds = bool(schema.groups) and crops == "detector"
        self.detector = (
            BoxDetector(count, detector_width, sigma=self.pixels(CENTRE_SIGMA, "film_size")) if finds else None
        )
        self.register_buffer("mean", torch.full((landmarks, 2), 0.5))
        self.register_buffer("spread", torch.full((landmarks, 2), -4.0))
        self.register_buffer("shape", torch.zeros(landmarks, 2))
        self.register_buffer("floor", torch.ones(2))

    @property
    def stages(self) -> Sequence[Stage]:
        """The detector, where there is one, then the regressor."""
        last = Stage("regressor", self.epochs)
        return (last,) if self.detector is None else (Stage("detector", self.detector_epochs), last)

    @property
    def input_spec(self) -> InputSpec:
        """A crop, stretched, or a film with its aspect; mirrored where names allow it, under CLAHE at random."""
        mirror = (A.HorizontalFlip(p=0.5),) if self.schema.flips else ()
        if self.schema.groups:
            return InputSpec(
                self.film_size, "pad", augment=(*mirror, A.CLAHE(p=0.5)), reads_truth=self.crops == "oracle"
            )
        padding = A.Affine(scale=(0.85, 1.1), translate_percent=(-0.06, 0.06), keep_ratio=False, p=0.8)
        return InputSpec(self.crop_size, augment=(*mirror, A.CLAHE(p=0.5), padding))

    def prepare(self, train: Sequence[Sample]) -> None:
        """Fit where the training crops have their points and how large structures are; load `init_from`.

        Raises:
            ValueError: `init_from` names no checkpoint of this method.
        """
        points = torch.stack([sample.points for sample in train])
        self.shape.copy_(points.nanmean(dim=0).nan_to_num())
        boxes = self._true_boxes(points, plain=True)
        self.floor.copy_((boxes.size.mean(dim=(0, 1)) / 2).clamp(min=self.pixels(SMALLEST_BOX, "film_size")))
        boxes = self._true_boxes(points)
        if self.detector is not None:
            self.detector.fit(boxes)
        film = torch.stack([sample.image for sample in train[:1]]).expand(len(train), -1, -1, -1)
        fractions = self._fractions(self._crop_boxes(boxes, film), points)
        centre = fractions.nanmean(dim=0).nan_to_num(0.5)
        squared = ((fractions - centre) ** 2).nanmean(dim=0).nan_to_num(0.01)
        self.mean.copy_(centre)
        self.spread.copy_(squared.clamp(min=1e-4).log())
        if self.init_from:
            load_weights(self, Path(self.init_from))

    def _true_boxes(self, points: Float[Tensor, "batch landmark 2"], plain: bool = False) -> Crops:
        """Return the boxes of the structures' landmarks; the mean shape, shifted, stands for missing ones."""
        visible = points.isfinite().all(dim=-1, keepdim=True)
        shift = (points - self.shape).nan_to_num().sum(dim=1, keepdim=True)
        shift = shift / visible.sum(dim=1, keepdim=True).clamp(min=1)
        full = torch.where(visible, points, self.shape + shift)
        members = [full[:, list(structure)] for structure in self.layout.structures]
        low, high = (torch.stack([f(m) for m in members], dim=1) for f in (_lowest, _highest))
        boxes = Crops.between(low, high)
        return boxes if plain else boxes._replace(size=boxes.size.maximum(self.floor))

    def _crop_boxes(self, structures: Crops, film: Tensor, jitter: bool = False) -> Crops:
        """Return the boxes to cut out: with margins, in training random ones, or the film where it is the crop."""
        if not self.schema.groups:
            return Crops.whole(film)
        if not jitter:
            return structures.widen(self.margin, self.margin)
        before, behind = (self.margin * (0.4 + 1.2 * torch.rand_like(structures.size)) for _ in range(2))
        return structures.widen(before, behind)

    def _fractions(self, boxes: Crops, points: Float[Tensor, "batch landmark 2"]) -> Tensor:
        """Return landmarks as fractions of their structures' boxes."""
        return boxes.pick(self.layout.structure_of).to_crop(points) + 0.5

    def forward(self, batch: Batch, boxes: Crops) -> Answer:
        """Return each landmark's mean and log variance, in fractions of its structure's box."""
        crops = grey(batch.image)
        if self.schema.groups:
            crops = boxes.cut(crops, self.crop_size).flatten(0, 1)[:, None]
        means, variances = self.regressor(crops)
        shape = (len(batch.case), len(self.layout.structures), self.layout.slots, 2)
        at = (slice(None), self.layout.structure_of, self.layout.slot_of)
        log_variance = self.spread + variances.view(shape)[at] if self.head == "baye" else None
        return Answer(self.mean + means.view(shape)[at], log_variance)

    def loss(self, batch: Batch) -> Tensor:
        """MSE of the fractions, or Eq. 16; in the detector's stage its own loss."""
        structures = self._true_boxes(batch.points)
        if self.detector is not None and self.stages[self.stage].name == "detector":
            known = torch.stack([batch.visible[:, list(s)].all(dim=1) for s in self.layout.structures], dim=1)
            return self.detector.loss(batch.image, structures, known)
        boxes = self._crop_boxes(structures, batch.image, jitter=True)
        answer, truth = self(batch, boxes), self._fractions(boxes, batch.points)
        if answer.log_variance is None:
            return l2(answer.mean, truth, batch.visible)
        return attenuated_l2(answer.mean, answer.log_variance, truth, batch.visible, self.log_weight)

    def predict(self, batch: Batch) -> Prediction:
        """Find the crops, regress, and map fractions to network pixels; a variance grows with its crop's side."""
        if not self.schema.groups:
            structures = Crops.whole(batch.image)
        elif self.detector is not None:
            structures = self.detector.predict(batch.image)
        else:
            structures = self._true_boxes(batch.points)
        boxes = self._crop_boxes(structures, batch.image)
        answer, of = self(batch, boxes), boxes.pick(self.layout.structure_of)
        points = of.to_film(answer.mean - 0.5)
        if answer.log_variance is None:
            return Prediction(points)
        return Prediction(points, torch.diag_embed(answer.log_variance.exp() * of.size**2))


class Answer(NamedTuple):
    """Of each landmark, in fractions of its crop; no variance where the network has no head for it."""

    mean: Float[Tensor, "batch landmark 2"]
    log_variance: Float[Tensor, "batch landmark 2"] | None


class CropLayout(NamedTuple):
    """Which landmarks are read from one crop, and which output of the network each of them is.

    Attributes:
        structures: Landmark positions of each crop.
        structure_of: The crop of each landmark.
        slot_of: The output of each landmark.
        slots: How many outputs there are.
    """

    structures: tuple[tuple[int, ...], ...]
    structure_of: list[int]
    slot_of: list[int]
    slots: int


def crop_layout(schema: LandmarkSchema) -> CropLayout:
    """Give every group a crop and every size of groups its own outputs; without groups there is one crop of all.

    Example:
        >>> crop_layout(LandmarkSchema(("a1", "a2", "b1", "b2", "tip"), {"a": ("a1", "a2"), "b": ("b1", "b2")}))
        CropLayout(structures=((0, 1), (2, 3), (4,)), structure_of=[0, 0, 1, 1, 2], slot_of=[0, 1, 0, 1, 2], slots=3)
    """
    found = group_classes(schema) if schema.groups else ((tuple(range(len(schema))),),)
    places: dict[int, tuple[int, int]] = {}
    structures: list[tuple[int, ...]] = []
    first = 0
    for kind in found:
        for members in kind:
            places |= {landmark: (len(structures), first + slot) for slot, landmark in enumerate(members)}
            structures.append(members)
        first += len(kind[0])
    crop_of, slot_of = zip(*(places[landmark] for landmark in range(len(schema))), strict=True)
    return CropLayout(tuple(structures), list(crop_of), list(slot_of), first)


class KeypointRegressor(nn.Module):
    """Five convolutions as AlexNet has them, each followed by block attention, two dense layers, and one or two heads.

    Args:
        points: How many points it regresses.
        crop_size: (height, width) of the crops.
        width: Channels of the first convolution, 64 in AlexNet.
        dense: Units of the dense layers.
        dropout: Share of them that training drops.
        attention: Block attention (CBAM) as its authors have it, as Eq. 3 prints it, or none.
        variance: Whether there is a second head, for log variances.
    """

    def __init__(
        self,
        points: int,
        crop_size: tuple[int, int],
        width: int,
        dense: int,
        dropout: float,
        attention: Attention,
        variance: bool,
    ) -> None:
        super().__init__()
        widths = [1, width, 3 * width, 6 * width, 4 * width, 4 * width]
        shapes = [(11, 4, True), (5, 1, True), (3, 1, False), (3, 1, False), (3, 1, True)]
        blocks = [
            _block(before, after, kernel, stride, pool, attention)
            for (before, after), (kernel, stride, pool) in zip(pairwise(widths), shapes, strict=True)
        ]
        self.features = nn.Sequential(*blocks, nn.Flatten())
        with torch.no_grad():
            flat = self.features.eval()(torch.zeros(1, 1, *crop_size)).shape[1]
        self.features.train()
        self.dense = nn.Sequential(
            *(nn.Dropout(dropout), nn.Linear(flat, dense), nn.ReLU(inplace=True)),
            *(nn.Dropout(dropout), nn.Linear(dense, dense), nn.ReLU(inplace=True)),
        )
        self.heads = nn.ModuleList(nn.Linear(dense, 2 * points) for _ in range(1 + variance))
        for head in self.heads:
            nn.init.zeros_(head.get_parameter("weight"))  # so that training starts at the training crops' mean
            nn.init.zeros_(head.get_parameter("bias"))

    def forward(self, crop: Float[Tensor, "crop 1 height width"]) -> tuple[Tensor, Tensor]:
        """Return offsets of means and of log variances, (crop, 2 points) each; without a second head the same twice."""
        features = self.dense(self.features(crop - 0.5))
        outputs = [head(features).float() for head in self.heads]
        return outputs[0], outputs[-1]


def _block(before: int, after: int, kernel: int, stride: int, pool: bool, attention: Attention) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU and, where asked for, block attention and a 3x3 max-pooling of stride 2."""
    padding = 2 if kernel == 11 else kernel // 2
    layers: list[nn.Module] = [nn.Conv2d(before, after, kernel, stride, padding), nn.BatchNorm2d(after), nn.ReLU()]
    if attention != "none":
        layers.append(CBAM(after, separate=attention == "eq3"))
    layers += [nn.MaxPool2d(3, 2)] * pool
    return nn.Sequential(*layers)


def load_weights(method: BayeRegX, path: Path) -> None:
    """Take over every weight of a run's checkpoint that has the same name and size here: all but heads of other sizes.

    Raises:
        ValueError: The file is absent, is no checkpoint, or shares no weight of the regressor.
    """
    if not path.is_file():
        raise ValueError(f"init_from names {path}, which is no file; give the checkpoint of a finished run.")
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # damaged bytes lead to errors of any kind
        raise ValueError(f"init_from names {path}, which is no checkpoint; give that of a finished run.") from error
    own = {name: value for name, value in method.state_dict().items() if name not in FITTED}
    shared = {name: value for name, value in stored.items() if name in own and value.shape == own[name].shape}
    if not any(name.startswith("regressor.features") for name in shared):
        raise ValueError(f"init_from names {path}, which holds no weights of this regressor; give a BayeRegX run's.")
    method.load_state_dict(shared, strict=False)


def _lowest(points: Float[Tensor, "batch member 2"]) -> Float[Tensor, "batch 2"]:
    return points.amin(dim=1)


def _highest(points: Float[Tensor, "batch member 2"]) -> Float[Tensor, "batch 2"]:
    return points.amax(dim=1)
