"""FARNet's multi-scale feature aggregation (Ao and Wu 2023, Sec. 3.1.1)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Fusion = Literal["concatenate", "add"]


class MultiScaleFeatureAggregation(nn.Module):
    """Up to L2, down to L5 and up again to L1 (Sec. 3.1.1); every fusion is that of Fig. 3.

    Args:
        channels: Of the backbone's feature maps C1 to C5 (or C1 to C4), finest first.
        width: Channels of the two upward paths; the downward path doubles them at every step.
        fusion: `concatenate` (MSFA), or `add` (MSFA (+)).
    """

    def __init__(self, channels: tuple[int, ...], width: int = 256, fusion: Fusion = "concatenate") -> None:
        super().__init__()
        fuse = Concatenate if fusion == "concatenate" else Add
        c1, *laterals, top = channels
        falling = [width * 2**level for level in range(len(laterals) + 1)]  # at L2, L3, ...
        self.turn = nn.Sequential(conv(top, top // 2, 3), conv(top // 2, width, 1))
        self.up = nn.ModuleList(fuse(width, lateral, width) for lateral in reversed(laterals))
        self.down = nn.ModuleList(conv(before, 2 * before, 3, stride=2) for before in falling[:-1])
        self.merge = nn.ModuleList(fuse(moved, width, moved) for moved in falling[1:-1])
        bottom = falling[-1]
        self.merge.append(fuse(bottom, width, bottom // 2, kernel=3))
        self.turn_again = conv(bottom // 2, width, 1)
        coarse = [fuse(width, lateral, width) for lateral in reversed(falling[1:-1])]
        last = [fuse(width, width, width // 2), fuse(width // 2, c1, width // 4)]  # L2 and L1
        self.up_again = nn.ModuleList([*coarse, *last])
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear")

    def _rise(self, steps: nn.ModuleList, features: Tensor, laterals: list[Tensor]) -> list[Tensor]:
        """Climb from coarse to fine; return the features before the first and after every step."""
        path = [features]
        for step, lateral in zip(steps, reversed(laterals), strict=True):
            path.append(step(self.upsample(path[-1]), lateral))
        return path

    def forward(self, scales: list[Float[Tensor, "batch _ _ _"]]) -> Float[Tensor, "batch channel height width"]:
        """Return the features of L1."""
        c1, *laterals, top = scales
        *rising, features = self._rise(self.up, self.turn(top), laterals)
        falling = [features]
        for down, merge, lateral in zip(self.down, self.merge, reversed(rising), strict=True):
            falling.append(merge(down(falling[-1]), lateral))
        bottom = self.turn_again(falling.pop())
        return self._rise(self.up_again, bottom, [c1, *falling])[-1]


class Concatenate(nn.Module):
    """Fig. 3: concatenate, then reduce the channels by a 1x1 convolution (3x3 at the coarsest level)."""

    def __init__(self, moved: int, lateral: int, after: int, kernel: int = 1) -> None:
        super().__init__()
        self.reduce = conv(moved + lateral, after, kernel)

    def forward(self, moved: Float[Tensor, "b _ h w"], lateral: Float[Tensor, "b _ h w"]) -> Float[Tensor, "b _ h w"]:
        """Merge a resampled map with the lateral one of its resolution."""
        reduced: Tensor = self.reduce(torch.cat([moved, lateral], dim=1))
        return reduced


class Add(nn.Module):
    """MSFA (+) (Sec. 3.1.1, 4.4): 1x1 convolutions where channels must be matched, a sum and a 3x3 convolution."""

    def __init__(self, moved: int, lateral: int, after: int, kernel: int = 3) -> None:
        super().__init__()
        self.moved = nn.Identity() if moved == after else nn.Conv2d(moved, after, kernel_size=1)
        self.lateral = nn.Identity() if lateral == after else nn.Conv2d(lateral, after, kernel_size=1)
        self.smooth = conv(after, after, kernel)

    def forward(self, moved: Float[Tensor, "b _ h w"], lateral: Float[Tensor, "b _ h w"]) -> Float[Tensor, "b _ h w"]:
        """Merge a resampled map with the lateral one of its resolution."""
        smooth: Tensor = self.smooth(self.moved(moved) + self.lateral(lateral))
        return smooth


def conv(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU."""
    convolution = nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))
