"""How Fard et al., IEEE Access 2022, prepare the films of every method of their tables (Sec. IV-A.1 and IV-B)."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from typing import Final

import albumentations as A  # the library's own convention
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from typing_extensions import override

from methods.base import Augmentation, Batch, Method, Prediction
from methods.components.heatmap import Codec, covariance, decode, gaussian
from methods.components.images.intensity import three_channels
from methods.components.images.turning import turn
from methods.components.losses import l2

STRIDE: Final = 4
TURNED: Final = 0.5
"""Share of the training films that are turned."""

DECODER: Final = (
    "Heatmaps are decoded by DARK; the paper does not say how it decodes, the authors' public face code takes the "
    "centroid of the three highest pixels (codec=three-point)."
)
PREPARATION: Final = (
    "A training film is shown once an epoch, in either of the two orders at random; the paper stores both.",
    "The channels are made of the resized film; the paper makes them of the film before it crops and resizes.",
    "Half of the training films are turned, in their own proportions, and shrink or shift where a landmark would leave "
    "the input; with oracle_crop the turn comes after the crop. The paper does not say which comes first.",
    "Contrast and brightness of half of the films change by up to a fifth, limits that the paper does not print; "
    "colour stays, since the films are grey.",
    "The whole film is read; the paper crops every film to its true landmarks (oracle_crop=0.0 does so here).",
)
"""What all methods of the paper's tables do otherwise here."""


PRETRAINED: Final = (
    "With weights=imagenet the backbone reads the grey, equalised and inverted film, 0 to 1, where its weights expect "
    "red, green and blue under ImageNet's mean and deviation; the paper does not say what its rivals start from. "
    "timm's weights of ResNet-50 were trained with the stride in the 3x3 convolution, which stands in the 1x1 here."
)


class TwoOrders(Method):
    """A method that reads films as three channels in two orders.

    A film enters grey, equalised and inverted. In the second order it is mirrored and the last two channels trade
    places (Fig. 7): training draws the order of each film at random, testing takes it from the case id. Training films
    are turned by up to `rotation` degrees.

    A subclass implements `shown_loss` and `shown_prediction`, both on films as they are shown.
    """

    rotation: float

    @property
    @override
    def augmentation(self) -> Augmentation:
        """Contrast and brightness; films are turned in `loss`, where the film's proportions are known."""
        return (A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),)

    @abstractmethod
    def shown_loss(
        self,
        image: Float[Tensor, "batch 3 height width"],
        points: Float[Tensor, "batch landmark 2"],
        second: Bool[Tensor, " batch"],
    ) -> Tensor:
        """Return the loss of films as they are shown; missing points are NaN."""

    @abstractmethod
    def shown_prediction(
        self, image: Float[Tensor, "batch 3 height width"], second: Bool[Tensor, " batch"]
    ) -> Prediction:
        """Return the landmarks of films as they are shown."""

    def show(self, batch: Batch, second: Bool[Tensor, " batch"]) -> Float[Tensor, "batch 3 height width"]:
        """Return the three channels of each film in the first order or, where `second`, in the second."""
        order = second[:, None, None, None]
        return three_channels(torch.where(order, batch.image.flip(-1), batch.image), second)

    def mirror(
        self, points: Float[Tensor, "batch landmark 2"], second: Bool[Tensor, " batch"]
    ) -> Float[Tensor, "batch landmark 2"]:
        """Mirror the points of films in the second order, exchanging left and right names; its own inverse."""
        mirrored = points[:, list(self.schema.flip_index)]
        mirrored = torch.stack([self.input_size[1] - 1 - mirrored[..., 0], mirrored[..., 1]], dim=-1)
        return torch.where(second[:, None, None], mirrored, points)

    def mirror_covariance(
        self, spread: Float[Tensor, "batch landmark 2 2"], second: Bool[Tensor, " batch"]
    ) -> Float[Tensor, "batch landmark 2 2"]:
        """Do the same to covariances: x and y of a mirrored film go together the other way."""
        signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], device=spread.device)
        return torch.where(second[:, None, None, None], spread[:, list(self.schema.flip_index)] * signs, spread)

    @override
    def loss(self, batch: Batch) -> Tensor:
        device, films = batch.image.device, len(batch.case)
        second = torch.rand(films, device=device) < 0.5
        angle = self.rotation * (2 * torch.rand(films, device=device) - 1) * (torch.rand(films, device=device) < TURNED)
        shown = turn(self.show(batch, second), self.mirror(batch.points, second), batch.to_image, angle)
        return self.shown_loss(shown.image, shown.points, second)

    @override
    def predict(self, batch: Batch) -> Prediction:
        """Predict each film in the order that its case id draws (Sec. IV-A.1)."""
        second = torch.tensor([zlib.crc32(case.encode()) % 2 == 1 for case in batch.case], device=batch.image.device)
        return self._unmirrored(self.shown_prediction(self.show(batch, second), second), second)

    def _unmirrored(self, shown: Prediction, second: Bool[Tensor, " batch"]) -> Prediction:
        spread = None if shown.covariance is None else self.mirror_covariance(shown.covariance, second)
        return Prediction(self.mirror(shown.points, second), spread)


class TwoOrderHeatmaps(TwoOrders):
    """Regresses heatmaps at stride 4 with L2; `sigma` counts heatmap pixels.

    A subclass sets `network`, which maps three channels to heatmaps.
    """

    sigma: float
    codec: Codec
    network: nn.Module
    states_spread = True
    """Whether the loss makes a map say how certain it is."""

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch landmark h w"]:
        """Return the heatmaps of films as they are shown."""
        heatmap: Tensor = self.network(image)
        return heatmap.float()

    def criterion(
        self,
        predicted: Float[Tensor, "batch landmark h w"],
        target: Float[Tensor, "batch landmark h w"],
        visible: Bool[Tensor, "batch landmark"],
    ) -> Tensor:
        """Return the loss of heatmaps."""
        return l2(predicted, target, visible)

    @override
    def shown_loss(self, image: Tensor, points: Tensor, second: Tensor) -> Tensor:
        predicted: Tensor = self(image)
        target = gaussian(points, (predicted.shape[-2], predicted.shape[-1]), self.sigma, STRIDE)
        return self.criterion(predicted, target, points.isfinite().all(dim=-1))

    @override
    def shown_prediction(self, image: Tensor, second: Tensor) -> Prediction:
        return self._read(self(image))

    @override
    def perfect(self, batch: Batch) -> Prediction:
        height, width = self.input_size
        second = torch.arange(len(batch.case), device=batch.points.device) % 2 == 1
        points = self.mirror(batch.points, second)
        target = gaussian(points, (height // STRIDE, width // STRIDE), self.sigma, STRIDE)
        return self._unmirrored(self._read(target), second)

    def _read(self, heatmap: Float[Tensor, "batch landmark h w"]) -> Prediction:
        points = decode(heatmap, self.codec, STRIDE, self.sigma)
        return Prediction(points, covariance(heatmap, points, STRIDE) if self.states_spread else None)
