"""The convolutional block attention module (Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class CBAM(nn.Module):
    """Weighs feature maps by attention over channels, then over pixels (Woo et al., Eq. 1).

    Args:
        channels: Of the feature maps.
        reduction: Factor by which the perceptron's hidden layer is narrower than its input; one unit stays.
        kernel: Side of the spatial attention's convolution.
        separate: Whether the two pooled channels have a sigmoid each (Upadhyay et al., Eq. 3): the sum lies between 0
            and 2 and is 1 at the start, where Woo et al.'s is 1/2.
    """

    def __init__(self, channels: int, reduction: int = 16, kernel: int = 7, separate: bool = False) -> None:
        super().__init__()
        self.separate = separate
        hidden = max(1, channels // reduction)
        self.perceptron = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))
        self.convolution = nn.Conv2d(2, 1, kernel, padding=kernel // 2)

    def channel_attention(
        self, features: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel"]:
        """One perceptron over the mean and the maximum of every channel, added (Woo et al., Eq. 2)."""
        mean, peak = (self.perceptron(pooled) for pooled in (features.mean(dim=(-2, -1)), features.amax(dim=(-2, -1))))
        return mean.sigmoid() + peak.sigmoid() if self.separate else torch.sigmoid(mean + peak)

    def spatial_attention(
        self, features: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch 1 height width"]:
        """A convolution over the mean and the maximum of every pixel (Woo et al., Eq. 3)."""
        pooled = torch.cat([features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)], dim=1)
        return torch.sigmoid(self.convolution(pooled))

    def forward(
        self, features: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Return the refined feature maps (Upadhyay et al., Eq. 5 and 6)."""
        refined = features * self.channel_attention(features)[:, :, None, None]
        return refined * self.spatial_attention(refined)
