"""Vertebra-focused landmark detection (Yi et al., "Vertebra-Focused Landmark Detection ...", ISBI 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import albumentations as A  # the library's own convention
import torch
from jaxtyping import Bool, Float, Int
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.optim.lr_scheduler import ExponentialLR
from typing_extensions import override

from methods.base import Augmentation, Batch, LandmarkSchema, Method, Paper, Prediction, Sample
from methods.components.augmentation import mirror
from methods.components.heatmap import covariance, from_heatmap_grid, highest_peaks, to_heatmap_grid, windows
from methods.components.images.intensity import grey
from methods.components.losses import focal, l1
from methods.components.networks.backbones import Weights
from methods.components.networks.feature_pyramid import FeaturePyramid
from methods.components.optim import fused_adam
from methods.components.structures.group_classes import GroupClass, group_classes, mean_axes, order_along

STRIDE = 4
WINDOW = 6.0
"""Radius in heatmap pixels, at the paper's input size, within which a centre's spread is measured."""


class VertebraFocused(Method):
    """A detector of vertebra centres that reads four corner vectors at each, so that corners stay in order.

    Beyond the spine: groups of one size are one class of the centre heatmap, and their n-th detection along the mean
    direction of the training films gets the n-th name. A landmark of no group is a class of its own, a structure of a
    single point without corner vectors. The offset head makes points sub-pixel, so there is no choice of codec.
    """

    paper = Paper(
        "Vertebra-Focused Landmark Detection for Scoliosis Assessment",
        "Yi et al.",
        2020,
        "https://arxiv.org/abs/2001.03187",
        differs=(
            "Learning rate, its decay, batch, epochs, augmentation and rounding of centres are those of the authors' "
            "public code.",
            "Training starts from scratch unless weights=imagenet; the paper starts from ImageNet.",
            "A centre's Gaussian is sized by the bounding box of its corners, not by the lengths of their edges.",
            "Expand, half of the time, pads each of the four sides by up to a quarter on its own; the code keeps the "
            "film's aspect. Colour distortion is contrast and brightness alone, as films are grey.",
            "A class map with an incomplete structure is trained near its complete ones only; AASCE has none.",
        ),
        weights="imagenet",
    )
    variants: ClassVar = {"vertebra-focused": {}}
    smoke: ClassVar = {"backbone_name": "test_resnet", "head_width": 8, "input_size": (64, 64)}
    axes: Tensor
    decay: float

    def __init__(
        self,
        schema: LandmarkSchema,
        backbone_name: str = "resnet34.tv_in1k",
        head_width: int = 256,
        input_size: tuple[int, int] = (1024, 512),
        epochs: int = 50,
        batch_size: int = 2,
        lr: float = 1.25e-4,
        decay: float = 0.96,
        weights: Weights = "none",
    ) -> None:
        super().__init__(schema)
        self.classes = group_classes(schema)
        self.network = CentreNetwork(self.classes, backbone_name, head_width, weights)
        self.register_buffer("axes", torch.tensor([[0.0, 1.0]]).repeat(len(self.classes), 1))

    @property
    @override
    def augmentation(self) -> Augmentation:
        """Grading, Expand (a black frame, so that every landmark stays inside), and mirroring where names may swap."""
        grade = A.RandomBrightnessContrast(brightness_limit=0.125, contrast_limit=0.5, p=0.5)
        expand = A.CropAndPad(percent=(0.0, 0.25), sample_independently=True, keep_size=True, p=0.5)
        return (grade, expand, *mirror(self.schema))

    @override
    def prepare(self, train: Sequence[Sample]) -> None:
        """Learn in which direction the structures of a kind follow each other."""
        self.axes.copy_(mean_axes(self.classes, train))

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam, decaying by .96 an epoch."""
        optimizer = fused_adam(self, self.parameters(), self.lr)
        return {"optimizer": optimizer, "lr_scheduler": ExponentialLR(optimizer, self.decay)}

    def forward(self, batch: Batch) -> list[Fields]:
        """Return centre logits, offsets and corner vectors of each kind at stride 4."""
        fields: list[Fields] = self.network(grey(batch.image) - 0.5)
        return fields

    def loss(self, batch: Batch) -> Tensor:
        """Focal loss of the centres, L1 of the offsets and L1 of the corner vectors, with equal weights (Sec. 2)."""
        fields = self(batch)
        targets = [self._targets(batch, kind) for kind in self.classes]
        pairs = list(zip(fields, targets, strict=True))
        centres = focal(
            torch.stack([field.centre for field in fields], dim=1),
            torch.stack([target.heatmap for target in targets], dim=1),
            torch.stack([target.counted for target in targets], dim=1),
        )
        positive = torch.cat([target.positive for target in targets], dim=1)
        offset = torch.cat([_at(field.offset, target.pixel) for field, target in pairs], dim=1)
        loss = centres + l1(offset, torch.cat([target.offset for target in targets], dim=1), positive)
        cornered = [(field, target) for field, target in pairs if field.corners.shape[1]]
        if not cornered:
            return loss
        corners = torch.cat([_at(field.corners, target.pixel)[target.positive].flatten() for field, target in cornered])
        true = torch.cat([target.corners[target.positive].flatten() for _, target in cornered])
        return loss + l1(corners[None], true[None], torch.ones_like(true[None], dtype=torch.bool))

    def _targets(self, batch: Batch, kind: GroupClass) -> CentreTargets:
        """Render what the network should say of one kind."""
        height, width = (side // STRIDE for side in self.input_size)
        points = to_heatmap_grid(batch.points[:, kind], STRIDE)  # batch, structure, slot, 2
        centre = points.mean(dim=2)
        complete = centre.isfinite().all(dim=-1)
        pixel = centre.nan_to_num(-1).floor().long()
        limit = torch.tensor([width, height], device=pixel.device)
        positive = complete & ((pixel >= 0) & (pixel < limit)).all(dim=-1)
        pixel = pixel.clamp(min=0).minimum(limit - 1)
        heatmap = _disks(pixel, _sigma(points), (height, width)).masked_fill(~positive[..., None, None], 0).amax(dim=1)
        counted = complete.all(dim=1)[:, None, None] | (heatmap > 0.01)
        corners = (points - centre[:, :, None]).flatten(2)
        return CentreTargets(heatmap, counted, pixel, positive, centre - pixel, corners)

    def predict(self, batch: Batch) -> Prediction:
        """Take as many centres as the kind has structures, name them along the kind's axis, add offset and vectors."""
        return self._read(self(batch))

    @override
    def perfect(self, batch: Batch) -> Prediction:
        return self._read([_as_fields(self._targets(batch, kind)) for kind in self.classes])

    def _read(self, fields: Sequence[Fields]) -> Prediction:
        points = fields[0].centre.new_zeros((fields[0].centre.shape[0], len(self.schema), 2))
        spread = points.new_zeros((*points.shape, 2))
        window = round(self.pixels(WINDOW))
        for kind, axis, field in zip(self.classes, self.axes, fields, strict=True):
            heatmap = field.centre.sigmoid()
            pixel = highest_peaks(heatmap, len(kind))
            centre = pixel + _at(field.offset, pixel)
            order = order_along(centre, axis)[..., None].expand(-1, -1, 2)
            pixel, centre = pixel.gather(1, order), from_heatmap_grid(centre.gather(1, order), STRIDE)
            points[:, kind] = centre[:, :, None]
            if field.corners.shape[1]:
                points[:, kind] += STRIDE * _at(field.corners, pixel).view(points.shape[0], len(kind), -1, 2)
            spread[:, kind] = covariance(windows(heatmap, pixel, window), centre, STRIDE)[:, :, None]
        return Prediction(points, spread)


class Fields(NamedTuple):
    """What the network says of one kind: centre logits, offsets (x, y) and corner vectors (x, y per slot)."""

    centre: Float[Tensor, "batch height width"]
    offset: Float[Tensor, "batch 2 height width"]
    corners: Float[Tensor, "batch channel height width"]


class CentreTargets(NamedTuple):
    """Rendered for the loss: a heatmap and which of it counts; per structure its pixel, if it has one, and vectors."""

    heatmap: Float[Tensor, "batch height width"]
    counted: Bool[Tensor, "batch height width"]
    pixel: Int[Tensor, "batch structure 2"]
    positive: Bool[Tensor, "batch structure"]
    offset: Float[Tensor, "batch structure 2"]
    corners: Float[Tensor, "batch structure channel"]


def _as_fields(target: CentreTargets) -> Fields:
    """Return what a network without error says of one kind."""
    films = torch.arange(len(target.pixel), device=target.pixel.device)[:, None]
    x, y = target.pixel.unbind(dim=-1)

    def drawn(values: Tensor) -> Tensor:
        empty = values.new_zeros(len(values), *target.heatmap.shape[-2:], values.shape[-1])
        return empty.index_put((films, y, x), values).movedim(-1, 1).float()

    corners = target.corners if target.corners.shape[-1] > 2 else target.corners[..., :0]
    return Fields(target.heatmap.float().logit(eps=1e-6), drawn(target.offset), drawn(corners))


def _at(field: Float[Tensor, "batch channel height width"], pixel: Int[Tensor, "batch structure 2"]) -> Tensor:
    """Read a field at pixels: (batch, structure, channel)."""
    batch = torch.arange(field.shape[0], device=field.device)[:, None]
    return field.float()[batch, :, pixel[..., 1], pixel[..., 0]]


def _sigma(points: Float[Tensor, "batch structure slot 2"], overlap: float = 0.7) -> Tensor:
    """Return the Gaussian's width by the size of a structure, as in CornerNet's public code, sigma = (2 r + 1) / 6.

    With the box's sides h and w and the overlap o, r = -o (h + w) + sqrt(o^2 (h + w)^2 + 4 o (1 - o) h w).
    """
    width, height = (points.amax(dim=2) - points.amin(dim=2)).unbind(dim=-1)
    half = overlap * (width + height)
    radius = -half + (half**2 + 4 * overlap * (1 - overlap) * width * height).sqrt()
    return (2 * radius.floor().clamp(min=0) + 1) / 6


def _disks(
    pixel: Int[Tensor, "batch structure 2"], sigma: Float[Tensor, "batch structure"], size: tuple[int, int]
) -> Tensor:
    """Render unit-height Gaussians of individual widths, exactly 1 at their pixels."""
    columns, rows = (torch.arange(n, device=pixel.device) for n in (size[1], size[0]))
    across, down = columns - pixel[..., :1], rows - pixel[..., 1:]
    squared = across[..., None, :] ** 2 + down[..., :, None] ** 2
    return torch.exp(-squared / (2 * sigma**2)[..., None, None])


class CentreNetwork(nn.Module):
    """ResNet encoder, three skip connections back to stride 4, and one head per field."""

    def __init__(self, found: Sequence[GroupClass], backbone_name: str, head_width: int, weights: Weights) -> None:
        super().__init__()
        self.slots = [len(kind[0]) if len(kind[0]) > 1 else 0 for kind in found]
        self.encoder = FeaturePyramid(backbone_name, weights)
        _, *channels = self.encoder.channels
        pairs = zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True)
        self.decoder = nn.ModuleList(Combination(low, high) for low, high in pairs)
        self.centre = _head(channels[0], head_width, len(found), (3, 1), bias=-2.19)  # sigmoid: .1, centres are rare
        self.offset = _head(channels[0], head_width, 2 * len(found), (3, 1))
        self.corners = _head(channels[0], head_width, 2 * sum(self.slots), (7, 7)) if any(self.slots) else None

    def forward(self, image: Float[Tensor, "batch 1 height width"]) -> list[Fields]:
        """Map a film, -.5 to .5, to the fields of each kind."""
        _, *skips, features = self.encoder(image.expand(-1, 3, -1, -1))
        for combine in self.decoder:
            features = combine(features, skips.pop())
        centre, offset = self.centre(features).float(), self.offset(features).unflatten(1, (-1, 2)).float()
        corners = features[:, :0] if self.corners is None else self.corners(features)
        split = corners.float().split([2 * slots for slots in self.slots], dim=1)
        return [Fields(centre[:, k], offset[:, k], split[k]) for k in range(len(self.slots))]


class Combination(nn.Module):
    """Upsample, 3x3 convolution, concatenate with the skip, 1x1 convolution; BatchNorm and ReLU after each."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Conv2d(low, high, 3, padding=1), nn.BatchNorm2d(high), nn.ReLU(inplace=True))
        self.join = nn.Sequential(nn.Conv2d(2 * high, high, 1), nn.BatchNorm2d(high), nn.ReLU(inplace=True))

    def forward(self, coarse: Tensor, skip: Tensor) -> Float[Tensor, "batch channel height width"]:
        """Bring coarse features to the skip's resolution and join them."""
        raised = interpolate(coarse, skip.shape[-2:], mode="bilinear", align_corners=False)
        joined: Tensor = self.join(torch.cat([skip, self.up(raised)], dim=1))
        return joined


def _head(before: int, width: int, after: int, kernels: tuple[int, int], bias: float = 0.0) -> nn.Sequential:
    """Convolution, ReLU, convolution; biases start at zero and `bias`."""
    first, last = (
        nn.Conv2d(a, b, kernel, padding=kernel // 2)
        for a, b, kernel in zip((before, width), (width, after), kernels, strict=True)
    )
    assert first.bias is not None and last.bias is not None
    nn.init.zeros_(first.bias)
    nn.init.constant_(last.bias, bias)
    return nn.Sequential(first, nn.ReLU(inplace=True), last)
