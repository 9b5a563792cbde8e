"""PoseNet and IC-Loss (Fard et al., "Sagittal Cervical Spine Landmark Point Detection ...", IEEE Access 2022)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from methods.base import LandmarkSchema, Paper, Pixels
from methods.components.bases.two_orders import DECODER, PREPARATION, TwoOrderHeatmaps
from methods.components.heatmap import Codec
from methods.components.losses import Categorical, ic_loss, l1, l2
from methods.components.optim import Schedule

Loss = Literal["ic", "l1", "l2"]


class PoseNet(TwoOrderHeatmaps):
    """An encoder-decoder from a film at 256x128 to heatmaps at 64x32, trained with the intensity-aware IC-Loss.

    Under Omega (Eq. 14) the IC-Loss asks of a map's background only that it stays below .4, so that such a map says
    nothing of its spread: it has no covariance. The maps of L1, L2 and of the IC-Loss without Omega have one.

    The paper's numbers are of a private cervical set, so none stands beside a row of ours; see
    `leaderboards/boards/reported.yaml`.
    """

    paper = Paper(
        "Sagittal Cervical Spine Landmark Point Detection in X-Ray Using Deep Convolutional Neural Networks",
        "Fard et al.",
        2022,
        "https://doi.org/10.1109/ACCESS.2022.3180028",
        differs=(
            DECODER,
            "The Gaussian of Eq. 2 is positive, Eq. 7's phi_BG is read as theta_BG, and phi_1 of Eq. 10 is not printed "
            "and taken as .5.",
            "C1, C2 and C4 of Eq. 6, 8 and 10 stand on the pieces of large errors, not on those of small ones where "
            "they are printed: so the loss is 0 without error and continuous; its gradients are the same.",
            "omega_FG of Eq. 9 weighs the foreground under Omega too, where Eq. 16 drops it (weigh_foreground=False).",
            "Omega (Eq. 14) is 0 where the predicted intensity lies in the region of the true one; the cross-entropy "
            "of Eq. 13, which is to tell that, is never 0 in the foreground as printed.",
            "Of the three phi_2 of Fig. 10 the text names .05 alone; those of posenet-ic-phi0.01 and posenet-ic-phi0.1 "
            "are ours.",
            *PREPARATION,
        ),
    )
    variants: ClassVar = {
        "posenet": {"loss": "ic"},
        "posenet-l2": {"loss": "l2"},
        "posenet-l1": {"loss": "l1"},
        "posenet-ic-no-cat": {"loss": "ic", "categorical": "none"},
        "posenet-ic-all-cat": {"loss": "ic", "categorical": "all"},
        "posenet-ic-beta1": {"loss": "ic", "beta": 1.0},
        "posenet-ic-beta2": {"loss": "ic", "beta": 2.0},
        "posenet-ic-beta3": {"loss": "ic", "beta": 3.0},
        "posenet-ic-beta5": {"loss": "ic", "beta": 5.0},
        "posenet-ic-phi0.01": {"loss": "ic", "phi2": 0.01},
        "posenet-ic-phi0.1": {"loss": "ic", "phi2": 0.1},
    }
    smoke: ClassVar = {"width": 4, "input_size": (128, 128), "lr": 1e-3, "rotation": 0.0}
    categorical: Categorical
    weigh_foreground: bool
    beta: float
    phi2: float

    def __init__(
        self,
        schema: LandmarkSchema,
        loss: Loss = "ic",
        categorical: Categorical = "background-foreground",
        weigh_foreground: bool = True,
        beta: float = 4.0,
        phi2: float = 0.05,
        width: int = 64,
        input_size: tuple[int, int] = (256, 128),
        sigma: Pixels = 1.5,
        codec: Codec = "dark",
        epochs: int = 150,
        batch_size: int = 60,
        lr: float = 1e-2,
        schedule: Schedule = "inverse-time",
        rotation: float = 45,
        oracle_crop: float | None = None,
    ) -> None:
        super().__init__(schema)
        self.loss_name = loss
        self.states_spread = loss != "ic" or categorical == "none"
        self.network = PoseNetwork(len(schema), width)

    @override
    def criterion(self, predicted: Tensor, target: Tensor, visible: Tensor) -> Tensor:
        """IC-Loss (Eq. 17), L1 or L2 of the heatmaps."""
        if self.loss_name == "ic":
            return ic_loss(
                predicted,
                target,
                visible,
                self.categorical,
                self.beta,
                self.phi2,
                weigh_foreground=self.weigh_foreground,
            )
        return (l1 if self.loss_name == "l1" else l2)(predicted, target, visible)


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
