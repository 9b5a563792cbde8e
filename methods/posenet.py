"""PoseNet and IC-Loss (Fard et al., "Sagittal Cervical Spine Landmark Point Detection ...", IEEE Access 2022)."""

from __future__ import annotations

import zlib
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from typing_extensions import override

from methods.base import Augmentation, Batch, LandmarkSchema, Method, Paper, Prediction
from methods.components.augmentation import rotation_and_contrast
from methods.components.heatmap import Codec, covariance, decode, gaussian
from methods.components.images.intensity import equalize, grey
from methods.components.losses import Categorical, ic_loss, l1, l2
from methods.components.optim import Schedule

STRIDE = 4
SUB_PIXEL = "Heatmaps are decoded to the sub-pixel; the paper does not say how it decodes."
WHOLE_FILM = "The whole film is read; the paper crops every film to its true landmarks (oracle_crop=0.0 does so here)."
Loss = Literal["ic", "l1", "l2"]


class PoseNet(Method):
    """An encoder-decoder from a film at 256x128 to heatmaps at 64x32, trained with the intensity-aware IC-Loss.

    A film enters as three channels, grey, equalised and inverted. In the second order it is mirrored and the last two
    channels trade places (Fig. 7): training draws the order of each film at random, testing takes it from the case id.

    The paper's numbers are of a private cervical set, so none stands beside a row of ours; see
    `leaderboards/boards/reported.yaml`.
    """

    paper = Paper(
        "Sagittal Cervical Spine Landmark Point Detection in X-Ray Using Deep Convolutional Neural Networks",
        "Fard et al.",
        2022,
        "https://doi.org/10.1109/ACCESS.2022.3180028",
        differs=(
            "A training film is shown once an epoch, in either of the two orders at random; the paper stores both.",
            SUB_PIXEL,
            "phi_1 of Eq. 10 is not printed and taken as .5, and Eq. 7's phi_BG is read as theta_BG.",
            WHOLE_FILM,
        ),
    )
    variants: ClassVar = {
        "posenet": {"loss": "ic"},
        "posenet-l2": {"loss": "l2"},
        "posenet-l1": {"loss": "l1"},
        "posenet-ic-no-cat": {"loss": "ic", "categorical": "none"},
        "posenet-ic-all-cat": {"loss": "ic", "categorical": "all"},
    }
    smoke: ClassVar = {"width": 4, "input_size": (128, 128), "lr": 1e-3}
    categorical: Categorical
    weigh_foreground: bool
    sigma: float
    codec: Codec
    rotation: float

    def __init__(
        self,
        schema: LandmarkSchema,
        loss: Loss = "ic",
        categorical: Categorical = "background-foreground",
        weigh_foreground: bool = True,
        width: int = 64,
        input_size: tuple[int, int] = (256, 128),
        sigma: float = 1.5,
        codec: Codec = "quadratic",
        epochs: int = 150,
        batch_size: int = 60,
        lr: float = 1e-2,
        schedule: Schedule = "inverse-time",
        rotation: float = 45,
        oracle_crop: float | None = None,
    ) -> None:
        super().__init__(schema)
        self.loss_name = loss
        self.network = PoseNetwork(len(schema), width)

    @property
    @override
    def augmentation(self) -> Augmentation:
        return rotation_and_contrast(self.rotation)

    def forward(self, image: Tensor, second: Bool[Tensor, " batch"]) -> Float[Tensor, "batch landmark height width"]:
        """Return heatmaps of films shown in the first order or, where `second`, in the second."""
        mirrored = torch.where(second[:, None, None, None], image.flip(-1), image)
        equalized, inverted = equalize(mirrored), 1 - grey(mirrored)
        order = second[:, None, None, None]
        middle, last = torch.where(order, inverted, equalized), torch.where(order, equalized, inverted)
        heatmap: Tensor = self.network(torch.cat([grey(mirrored), middle, last], dim=1))
        return heatmap.float()

    def _mirror(self, points: Tensor, second: Bool[Tensor, " batch"]) -> Tensor:
        """Mirror the points of films in the second order, exchanging left and right names; its own inverse."""
        mirrored = points[:, list(self.schema.flip_index)]
        mirrored = torch.stack([self.input_size[1] - 1 - mirrored[..., 0], mirrored[..., 1]], dim=-1)
        return torch.where(second[:, None, None], mirrored, points)

    def _mirror_covariance(self, spread: Tensor, second: Bool[Tensor, " batch"]) -> Tensor:
        """Do the same to covariances: x and y of a mirrored film go together the other way."""
        signs = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], device=spread.device)
        return torch.where(second[:, None, None, None], spread[:, list(self.schema.flip_index)] * signs, spread)

    def loss(self, batch: Batch) -> Tensor:
        """IC-Loss (Eq. 17), L1 or L2 of the heatmaps."""
        second = torch.rand(len(batch.case), device=batch.image.device) < 0.5
        points = self._mirror(batch.points, second)
        visible = points.isfinite().all(dim=-1)
        height, width = self.input_size
        truth = gaussian(points, (height // STRIDE, width // STRIDE), self.sigma, STRIDE)
        predicted = self(batch.image, second)
        if self.loss_name == "ic":
            weigh = self.weigh_foreground
            return ic_loss(predicted, truth, visible, self.categorical, weigh_foreground=weigh)
        return (l1 if self.loss_name == "l1" else l2)(predicted, truth, visible)

    def predict(self, batch: Batch) -> Prediction:
        """Decode the heatmaps of each film in the order that its case id draws (Sec. IV-A)."""
        second = torch.tensor([zlib.crc32(case.encode()) % 2 == 1 for case in batch.case], device=batch.image.device)
        heatmap: Tensor = self(batch.image, second)
        points = decode(heatmap, self.codec, STRIDE, self.sigma)
        spread = covariance(heatmap, points, STRIDE)
        return Prediction(self._mirror(points, second), self._mirror_covariance(spread, second))


class PoseNetwork(nn.Module):
    """Head, four Down-Sampling, Keep and four Up-Sampling modules (Fig. 1 and 2); input sides divide by 128."""

    def __init__(self, landmarks: int, width: int = 64) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width]
        self.head = nn.Sequential(*(_conv(c, width, stride=2) for c in (3, width, width)))
        self.down = nn.ModuleList(
            nn.Sequential(_conv(before, after), _conv(after, after))
            for before, after in zip([width, *widths[:-1]], widths, strict=True)
        )
        self.pool = nn.MaxPool2d(2)
        self.keep = nn.Sequential(_conv(8 * width, 16 * width), _deconv(16 * width, 8 * width))
        rising = list(reversed(widths))
        self.up = nn.ModuleList(
            nn.Sequential(_conv(before + after, after), _conv(after, after), _deconv(after, after))
            for before, after in zip([8 * width, *rising[:-1]], rising, strict=True)
        )
        self.output = nn.Conv2d(width, landmarks, kernel_size=3, padding=1)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch landmark h w"]:
        """Map a film to heatmaps at stride 4.

        Raises:
            ValueError: A side of the input does not divide by 128.
        """
        if image.shape[-1] % 128 or image.shape[-2] % 128:
            raise ValueError(f"PoseNet halves its input 7 times; {tuple(image.shape[-2:])} must divide by 128.")
        features, skips = self.head(image), []
        for down in self.down:
            skips.append(down(features))
            features = self.pool(skips[-1])
        features = self.keep(features)
        for up in self.up:
            features = up(torch.cat([features, skips.pop()], dim=1))
        output: Tensor = self.output(features)
        return output


def _conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, ReLU, BatchNorm, in the paper's order."""
    conv = nn.Conv2d(before, after, kernel_size=3, stride=stride, padding=1)
    return nn.Sequential(conv, nn.ReLU(inplace=True), nn.BatchNorm2d(after))


def _deconv(before: int, after: int) -> nn.Sequential:
    """2x2 stride-2 deconvolution, ReLU, BatchNorm."""
    return nn.Sequential(nn.ConvTranspose2d(before, after, 2, stride=2), nn.ReLU(inplace=True), nn.BatchNorm2d(after))
