"""A cascade of regressors that moves a shape, step by step, by what it sees round the shape's points."""

from __future__ import annotations

from typing import Any, cast

import timm
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate, smooth_l1_loss

from methods.components.crops.crops import Crops
from methods.components.structures.shape_model import OffsetAxes, mean_shape

FEATURES = 64
Size = tuple[int, int]
"""(height, width)."""


class TruncatedMobileNet(nn.Module):
    """MobileNet-V2 up to its 320 channels, then a 1x1 convolution to 64 and global average pooling (Table I).

    Args:
        backbone_name: A timm MobileNet or EfficientNet; its stem and what follows its blocks are replaced.
        stem_kernel: Of the first convolution, stride 2.
    """

    def __init__(self, backbone_name: str = "mobilenetv2_100", stem_kernel: int = 1) -> None:
        super().__init__()
        whole: Any = timm.create_model(backbone_name)
        self.stem = _convolution(1, whole.conv_stem.out_channels, stem_kernel, stride=2)
        self.blocks = whole.blocks
        self.last = _convolution(whole.conv_head.in_channels, FEATURES)

    def forward(self, region: Float[Tensor, "region 1 height width"]) -> Float[Tensor, "region 64"]:
        """Describe regions, 0 to 1."""
        features: Tensor = self.last(self.blocks(self.stem(region)))
        return features.mean(dim=(-2, -1)).float()


class CascadeStage(nn.Module):
    """One stage: encodes the region round each point and regresses, from all of them, components of the offsets."""

    def __init__(self, encoder: TruncatedMobileNet, points: int, components: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.offsets = OffsetAxes(points, components)
        self.head = nn.Linear(FEATURES * points, len(self.offsets.axes))
        nn.init.zeros_(self.head.weight)  # an untrained stage leaves the shape where it is
        nn.init.zeros_(self.head.bias)

    def forward(self, regions: Float[Tensor, "batch point height width"]) -> Float[Tensor, "batch component"]:
        """Regress the components, in full precision under autocast too: they place points to the sub-pixel.

        The head answers in units of each component's scale, so that one learning rate suits all components and stages.
        """
        features = self.encoder(regions.flatten(0, 1)[:, None]).unflatten(0, regions.shape[:2])
        with torch.autocast(regions.device.type, enabled=False):
            components: Tensor = self.head(features.flatten(1)) * self.offsets.scale
        return components


class Cascade(nn.Module):
    """Stages that move a start shape in frames of one size: whole films, or regions of interest.

    Shapes are in the frame's pixels. Offsets are regressed as shares of the frame's height, so that the axes are those
    of offsets in pixels and one beta of the smooth L1 loss fits frames of all sizes.

    Args:
        frame: Size of a frame.
        region: Size of what is cut round each point, and the size to which it is resized.
        points: How many points a shape has.
        components: As in `OffsetAxes`.
        depth: How many stages.
        backbone_name: As in `TruncatedMobileNet`.
        stem_kernel: As in `TruncatedMobileNet`.
    """

    centre: Tensor
    start: Tensor

    def __init__(
        self,
        frame: Size,
        region: tuple[Size, Size],
        points: int,
        components: int,
        depth: int,
        backbone_name: str,
        stem_kernel: int,
    ) -> None:
        super().__init__()
        self.unit, self.region = float(frame[0]), region
        self.stages = nn.ModuleList(
            CascadeStage(TruncatedMobileNet(backbone_name, stem_kernel), points, components) for _ in range(depth)
        )
        centre = torch.tensor([(frame[1] - 1) / 2, (frame[0] - 1) / 2])
        self.register_buffer("centre", centre.expand(points, 2).clone(), persistent=False)
        self.register_buffer("start", centre.expand(points, 2).clone())

    def forward(
        self, frames: Float[Tensor, "batch 1 height width"], shift: Tensor | float = 0.0, depth: int | None = None
    ) -> Float[Tensor, "batch point 2"]:
        """Return the shape after `depth` stages, after all by default, from the start shape moved by `shift` pixels."""
        shape = (self.start + shift).expand(frames.shape[0], -1, -1)
        for stage in self.stages[:depth]:
            shape = self._moved(frames, shape, cast(CascadeStage, stage))
        return shape

    @torch.no_grad()
    def frozen(self, frames: Float[Tensor, "batch 1 height width"], depth: int | None = None) -> Tensor:
        """Return what `forward` does, with stages that neither learn nor follow the batch's statistics any more."""
        self.stages[:depth].eval()
        shape: Tensor = self(frames, depth=depth)
        return shape

    def loss(
        self, frames: Float[Tensor, "batch 1 height width"], truth: Float[Tensor, "batch point 2"], n: int, beta: float
    ) -> Float[Tensor, ""]:
        """Smooth L1 between the true and the regressed components of stage `n` (Eq. 12), mean over shapes.

        A missing point, NaN in `truth`, is taken to be where the regressed components put it: it costs nothing and
        pulls at nothing. With every point there, this is the paper's loss. Shapes without any point are left out.
        """
        stage = cast(CascadeStage, self.stages[n])
        known = truth.isfinite().all(dim=-1)
        seen = known.any(dim=-1)
        moved = self._moved(frames, self.frozen(frames, n), stage)
        with torch.autocast(frames.device.type, enabled=False):
            missed = torch.where(known[..., None], truth, moved)[seen] - moved[seen]
            residual = stage.offsets.encode(missed / self.unit)
        return smooth_l1_loss(residual, torch.zeros_like(residual), beta=beta, reduction="sum") / max(1, len(residual))

    def fit(self, shapes: Float[Tensor, "#case point 2"], truths: Float[Tensor, "case point 2"], n: int) -> None:
        """Learn the axes of stage `n` from the offsets between its input shapes and the true ones (Eq. 1 to 4).

        The first stage's input is the start shape, which is learnt before (Eq. 7): the mean of the true ones, the
        frame's centre for a point that none has. Missing points are NaN.
        """
        if n == 0:
            self.start.copy_(mean_shape(truths, self.centre))
            shapes = self.start
        cast(CascadeStage, self.stages[n]).offsets.fit((truths - shapes) / self.unit)

    def _moved(self, frames: Tensor, shape: Tensor, stage: CascadeStage) -> Float[Tensor, "batch point 2"]:
        """Update a shape by one stage (Eq. 9 to 11)."""
        size, pixels = self.region
        regions = Crops.of_size(shape, size).cut(frames)
        if pixels != size:
            regions = interpolate(regions, pixels, mode="bilinear", antialias=True)
        components: Tensor = stage(regions)
        with torch.autocast(shape.device.type, enabled=False):
            return shape + self.unit * stage.offsets.decode(components)


def _convolution(before: int, after: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU6(inplace=True))
