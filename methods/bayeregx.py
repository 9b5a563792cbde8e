"""BayeRegX (Upadhyay et al., "BayeRegX: Uncertainty Driven, Attention-based Keypoint Regression ...", CHIL 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import albumentations as A  # the library's own convention
import torch
from jaxtyping import Float
from torch import Tensor, nn

from methods.base import Batch, InputSpec, LandmarkSchema, Method, Paper, Prediction, Sample, Stage
from methods.components.crops.box_detector import BoxDetector
from methods.components.crops.crop_finder import CropFinder, CropSource
from methods.components.crops.crop_layout import crop_layout
from methods.components.crops.crops import Crops
from methods.components.images.intensity import grey
from methods.components.initial_weights import load_part
from methods.components.losses import attenuated_l2, l2
from methods.components.networks.cbam import CBAM
from methods.components.optim import Schedule

Head = Literal["mse", "baye"]
Attention = Literal["none", "woo", "eq3"]
CENTRE_SIGMA = 2.0
"""Of the detector's Gaussians, in pixels of its reduced film at the default film_size."""
SMALLEST_BOX = 4.0
"""Side of a box that a structure has at least, in pixels of the film at the default film_size."""


class BayeRegX(Method):
    """AlexNet with block attention that regresses a vertebra's points, and their variances, from a crop.

    On sets of crops, as of any landmarks that form no groups, the film is the crop. On whole films every group of
    landmarks has a crop of its own and one network reads them all; groups of different sizes have outputs of their own.
    Crops come from a detector that is trained before the regressor, or, with `crops="oracle"`, from the true landmarks
    of whole films, at test time too: then `predict` reads `batch.points`, and the badge is "oracle crop".

    Points and standard deviations are fractions of a crop's sides. Predictions hold the sides, so that
    `leaderboards.site.charts.uncertainty_classes` can sort points into the paper's certain, moderately and highly
    uncertain.
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
            "Boxes are widened by a quarter of their sides, in training by 10 to 40 % at random, and sets of crops are "
            "moved and scaled at random instead; the paper gives no number for its random padding.",
            "The heads start at zero.",
            "The detector's crops and bayeregx-oracle's are cut from a film reduced to film_size, "
            "the paper's from the film.",
            "Outputs are counted from the mean and the spread of the training crops.",
            "It trains 100 epochs and keeps the best one on the validation crops; the paper trains until convergence.",
            "Where crops must be found, a small centre and size detector does it; the paper's is a pre-trained YOLOv3.",
            "Lumbar models start from random weights; the paper's start from the cervical model, which "
            "bayeregx-from-cervical does once there is a run of it.",
        ),
    )
    variants: ClassVar = {
        "bayeregx": {},
        "bayeregx-cbam": {"head": "mse"},
        "bayeregx-base": {"head": "mse", "attention": "none"},
        "bayeregx-eq3": {"attention": "eq3"},
        "bayeregx-eq14": {"log_weight": 0.5},
        "bayeregx-oracle": {"crops": "oracle"},
        "bayeregx-from-cervical": {"init_from": "cervical_crops"},
    }
    version: ClassVar = 2
    smoke: ClassVar = {"width": 4, "dense": 16, "crop_size": (64, 128), "film_size": (64, 64), "detector_width": 4}
    mean: Tensor
    spread: Tensor
    head: Head
    log_weight: float
    crops: CropSource
    crop_size: tuple[int, int]
    film_size: tuple[int, int]
    detector_epochs: int

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
        sigma, smallest = (self.pixels(length, "film_size") for length in (CENTRE_SIGMA, SMALLEST_BOX))
        finds = bool(schema.groups) and crops == "detector"
        detector = BoxDetector(count, detector_width, sigma) if finds else None
        self.finder = CropFinder(
            self.layout, landmarks, grouped=bool(schema.groups), margin=margin, smallest=smallest, detector=detector
        )
        self.register_buffer("mean", torch.full((landmarks, 2), 0.5))
        self.register_buffer("spread", torch.full((landmarks, 2), -4.0))

    @property
    def stages(self) -> Sequence[Stage]:
        """The detector, where there is one, then the regressor."""
        last = Stage("regressor", self.epochs)
        return (last,) if self.finder.detector is None else (Stage("detector", self.detector_epochs), last)

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
        """Fit where the training crops have their points, and how large structures are."""
        points = torch.stack([sample.points for sample in train])
        self.finder.fit(points)
        film = train[0].image.expand(len(train), -1, -1, -1)
        fractions = self._fractions(self.finder.true(points, film), points)
        centre = fractions.nanmean(dim=0).nan_to_num(0.5)
        squared = ((fractions - centre) ** 2).nanmean(dim=0).nan_to_num(0.01)
        self.mean.copy_(centre)
        self.spread.copy_(squared.clamp(min=1e-4).log())

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the regressor, heads included, of a run with as many points to a crop; its crops may be others."""
        load_part(self.regressor, "regressor", weights)

    def _fractions(self, crops: Crops, points: Float[Tensor, "batch landmark 2"]) -> Tensor:
        """Return landmarks as fractions of their crops."""
        return self.finder.of_landmarks(crops).to_crop(points) + 0.5

    def forward(self, batch: Batch, crops: Crops) -> Answer:
        """Return each landmark's mean and log variance, in fractions of its crop."""
        images = grey(batch.image)
        if self.schema.groups:
            images = crops.cut(images, self.crop_size).flatten(0, 1)[:, None]
        means, variances = self.regressor(images)
        shape = (batch.image.shape[0], len(self.layout.structures), self.layout.slots, 2)
        at = (slice(None), self.layout.structure_of, self.layout.slot_of)
        log_variance = self.spread + variances.view(shape)[at] if self.head == "baye" else None
        return Answer(self.mean + means.view(shape)[at], log_variance)

    def loss(self, batch: Batch) -> Tensor:
        """MSE of the fractions, or Eq. 16; in the detector's stage its own loss."""
        if self.stages[self.stage].name == "detector":
            return self.finder.loss(batch)
        crops = self.finder.true(batch.points, batch.image, jitter=True)
        answer, truth = self(batch, crops), self._fractions(crops, batch.points)
        if answer.log_variance is None:
            return l2(answer.mean, truth, batch.visible)
        return attenuated_l2(answer.mean, answer.log_variance, truth, batch.visible, self.log_weight)

    def predict(self, batch: Batch) -> Prediction:
        """Find the crops, regress, and map fractions to network pixels; a variance grows with its crop's side."""
        crops = self.finder.find(batch)
        answer, of = self(batch, crops), self.finder.of_landmarks(crops)
        points = of.to_film(answer.mean - 0.5)
        if answer.log_variance is None:
            return Prediction(points, crops=of.size)
        return Prediction(points, torch.diag_embed(answer.log_variance.exp() * of.size**2), crops=of.size)


class Answer(NamedTuple):
    """Of each landmark, in fractions of its crop; no variance where the network has no head for it."""

    mean: Float[Tensor, "batch landmark 2"]
    log_variance: Float[Tensor, "batch landmark 2"] | None


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
