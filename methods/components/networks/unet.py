"""U-Net (Ronneberger et al., MICCAI 2015)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class UNetwork(nn.Module):
    """Four poolings down and four up-convolutions up, with the skips concatenated; input sides divide by 16.

    Args:
        landmarks: Number of heatmaps.
        width: Channels at full resolution, doubled by every pooling.
        dropout: Share of the coarsest feature maps that training drops.
        batch_norm: Normalise after every 3x3 convolution; the original does not.
    """

    def __init__(self, landmarks: int, width: int = 64, dropout: float = 0.5, batch_norm: bool = True) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(5)]
        self.down = nn.ModuleList(_convs(*pair, batch_norm) for pair in zip([3, *widths[:3]], widths[:4], strict=True))
        self.pool = nn.MaxPool2d(2)
        self.bottom = nn.Sequential(_convs(widths[3], widths[4], batch_norm), nn.Dropout2d(dropout))
        rising = list(zip(widths[:0:-1], widths[3::-1], strict=True))
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(before, after, 2, stride=2) for before, after in rising)
        self.up = nn.ModuleList(_convs(before, after, batch_norm) for before, after in rising)
        self.output = nn.Conv2d(width, landmarks, kernel_size=1)
        self.apply(_initialize)

    def forward(self, film: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch landmark height width"]:
        """Map a film to heatmaps at stride 1.

        Raises:
            ValueError: A side of the input does not divide by 16.
        """
        if film.shape[-1] % 16 or film.shape[-2] % 16:
            raise ValueError(f"the input's sides {tuple(film.shape[-2:])} must divide by 16, U-Net's coarsest stride.")
        features, skips = film, []
        for down in self.down:
            skips.append(down(features))
            features = self.pool(skips[-1])
        features = self.bottom(features)
        for enlarge, up in zip(self.enlarge, self.up, strict=True):
            features = up(torch.cat([skips.pop(), enlarge(features)], dim=1))
        heatmaps: Tensor = self.output(features)
        return heatmaps


def _convs(before: int, after: int, batch_norm: bool) -> nn.Sequential:
    """Two 3x3 convolutions, each followed by ReLU."""
    layers: list[nn.Module] = []
    for channels in (before, after):
        norm = (nn.BatchNorm2d(after),) if batch_norm else ()
        layers += [nn.Conv2d(channels, after, kernel_size=3, padding=1), *norm, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _initialize(module: nn.Module) -> None:
    """Draw the weights of convolutions with deviation sqrt(2 / fan-in) (Ronneberger et al., Sec. 3)."""
    if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
