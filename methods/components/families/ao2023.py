"""What FARNet and its rivals U-Net and FPN share: one paper, one training (Ao and Wu, J. Digit. Imaging 2023)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import albumentations as A  # the library's own convention
import torch
from jaxtyping import Bool, Float, UInt8
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from methods.base import Batch, InputSpec, Method, Paper, Prediction, Stage
from methods.components.heatmap import Codec, covariance, decode, gaussian
from methods.components.losses import l2

Heatmaps = Float[Tensor, "batch landmark height width"]

OPTIMIZER = (
    "Adam at 1e-4, a tenth of it after two thirds of the training, as in the authors' public code; the paper prints "
    "Adadelta at 1e-4, which hardly moves a weight."
)
WEIGHTS = "Without weights=imagenet the backbone starts at random; the paper's starts from ImageNet."
AUGMENTATION = (
    "Augmentation (augment=True: hand and spine) is rotation, scaling, shift and contrast; the paper refers to others' "
    "and gives no numbers."
)


def paper(
    *differs: str, reported: Mapping[str, Mapping[str, Mapping[str, float]]] | None = None, weights: str = "none"
) -> Paper:
    """Return the paper's card with one method's deviations, rows and initial weights."""
    return Paper(
        "Feature Aggregation and Refinement Network for 2D Anatomical Landmark Detection",
        "Ao and Wu",
        2023,
        "https://doi.org/10.1007/s10278-022-00718-4",
        differs=(OPTIMIZER, AUGMENTATION, *differs),
        reported=reported or {},
        weights=weights,
    )


def row(*numbers: float) -> dict[str, float]:
    """Return a row of Tables 1 to 3 by our columns: MRE in mm, then SDR in % at 2, 2.5, 3 and 4 mm."""
    return dict(zip(("mre_mm", "sdr_2mm", "sdr_2.5mm", "sdr_3mm", "sdr_4mm"), numbers, strict=True))


def augmentation() -> tuple[A.BasicTransform, ...]:
    """Rotation by 15 degrees, scale and contrast by a fifth, shift by 20 of 512 pixels."""
    shift = 20 / 512
    return (
        A.Affine(rotate=(-15, 15), scale=(0.8, 1.2), translate_percent=(-shift, shift), p=0.9),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
    )


class FullFilmHeatmaps(Method):
    """Regresses heatmaps of the whole film at one or more strides, all supervised, trained as in Sec. 4.2.

    `input_size` is a hyper-parameter whose default is the paper's for ISBI, (800, 640); the paper reads the hand at
    (512, 512) and the spine at (1024, 512), both with `augment`. A matrix overrides them per dataset.
    """

    input_size: tuple[int, int]
    sigma: float
    codec: Codec
    epochs: int
    lr: float
    augment: bool

    @abstractmethod
    def forward(self, image: UInt8[Tensor, "batch 1 height width"]) -> dict[int, Heatmaps]:
        """Return stride -> heatmaps; all are supervised, the finest is decoded."""

    @property
    def stages(self) -> Sequence[Stage]:
        """One stage of 300 epochs (Sec. 4.2)."""
        return (Stage("train", self.epochs),)

    @property
    def input_spec(self) -> InputSpec:
        """The whole film, stretched; no augmentation unless asked for (Sec. 4.2, ISBI)."""
        height, width = self.input_size
        return InputSpec((height, width), augment=augmentation() if self.augment else ())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam whose learning rate falls to a tenth after two thirds of the steps (epoch 200 of 300)."""
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = LambdaLR(optimizer, lambda step: 1.0 if 3 * step < 2 * steps else 0.1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def targets(self, points: Float[Tensor, "batch landmark 2"], size: tuple[int, int], stride: int) -> Heatmaps:
        """Render Eq. 1 with the sub-pixel position; `sigma` counts heatmap pixels at every stride (Sec. 3.4)."""
        return gaussian(points, size, self.sigma, stride)

    def criterion(self, predicted: Heatmaps, truth: Heatmaps, visible: Bool[Tensor, "batch landmark"]) -> Tensor:
        """L2 (Eq. 2)."""
        return l2(predicted, truth, visible)

    def loss(self, batch: Batch) -> Tensor:
        """Sum the criterion over the supervised strides, with equal weights (Sec. 3.4)."""
        total = torch.zeros((), device=batch.image.device)
        for stride, predicted in self(batch.image).items():
            height, width = predicted.shape[-2:]
            truth = self.targets(batch.points, (height, width), stride)
            total = total + self.criterion(predicted, truth, batch.visible)
        return total

    def predict(self, batch: Batch) -> Prediction:
        """Take the peaks of the finest heatmaps (Sec. 3.2) and measure their spread."""
        stride, heatmap = min(self(batch.image).items())
        points = decode(heatmap, self.codec, stride, self.sigma)
        return Prediction(points, covariance(heatmap, points, stride))
