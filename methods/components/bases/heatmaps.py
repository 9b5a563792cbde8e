"""Heatmap regression: a network answers heatmaps, which are trained to be Gaussians and decoded to landmarks."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, UInt8
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from typing_extensions import override

from methods.base import Augmentation, Batch, Method, Prediction
from methods.components.augmentation import payer
from methods.components.heatmap import Codec, covariance, decode, gaussian
from methods.components.losses import l2
from methods.components.optim import Optimizer, stepped

Heatmaps = Float[Tensor, "batch landmark height width"]


class HeatmapMethod(Method):
    """Regresses heatmaps at one or more strides, all supervised with L2; the finest is decoded.

    `sigma` counts heatmap pixels at every stride.
    """

    sigma: float
    codec: Codec

    @property
    def stride(self) -> int:
        """Network pixels per pixel of the finest heatmaps."""
        return 1

    @abstractmethod
    def forward(self, image: UInt8[Tensor, "batch 1 height width"]) -> dict[int, Heatmaps]:
        """Return stride -> heatmaps."""

    def targets(self, points: Float[Tensor, "batch landmark 2"], size: tuple[int, int], stride: int) -> Heatmaps:
        """Render the Gaussians of landmarks in network pixels, (height, width) heatmap pixels large."""
        return gaussian(points, size, self.sigma, stride)

    def criterion(self, predicted: Heatmaps, target: Heatmaps, visible: Bool[Tensor, "batch landmark"]) -> Tensor:
        """Return the loss of one stride's heatmaps."""
        return l2(predicted, target, visible)

    @override
    def loss(self, batch: Batch) -> Tensor:
        total = torch.zeros((), device=batch.image.device)
        for stride, predicted in self(batch.image).items():
            height, width = predicted.shape[-2:]
            target = self.targets(batch.points, (height, width), stride)
            total = total + self.criterion(predicted, target, batch.visible)
        return total

    @override
    def predict(self, batch: Batch) -> Prediction:
        return self.read(self(batch.image)[self.stride])

    @override
    def perfect(self, batch: Batch) -> Prediction:
        height, width = self.input_size
        return self.read(self.targets(batch.points, (height // self.stride, width // self.stride), self.stride))

    def read(self, heatmap: Heatmaps) -> Prediction:
        """Decode the finest heatmaps."""
        points = decode(heatmap, self.codec, self.stride, self.sigma)
        return Prediction(points, covariance(heatmap, points, self.stride))


class FARNetTraining(HeatmapMethod):
    """The training of FARNet and of its rivals U-Net and FPN (Ao and Wu, J. Digit. Imaging 2023, Sec. 4.2).

    The signatures' defaults are those for ISBI: (800, 640) without augmentation. Sigma is 10 px at every size (Eq. 1).
    """

    settings: ClassVar = {
        "hand": {"input_size": (512, 512), "augment": True},
        "aasce": {"input_size": (1024, 512), "augment": True},
        "aasce/consistent-5-fold": {},
    }
    augment: bool
    optimizer: Optimizer

    @property
    @override
    def augmentation(self) -> Augmentation:
        """That of Payer et al., to whom the paper refers, with `augment`."""
        return payer(self.input_size) if self.augment else ()

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimiser; its learning rate falls to a tenth after two thirds of the steps (epoch 200 of 300)."""
        return stepped(self, self.lr, self.optimizer)
