"""SLSN (Zhang et al., "Automated vertebral landmarks and spinal curvature estimation using non-directional PAFs")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from methods.base import Augmentation, Batch, LandmarkSchema, Method, Paper, Pixels, Prediction, Sample
from methods.components.augmentation import mirror, rotation_and_contrast
from methods.components.heatmap import Codec, covariance, decode, gaussian, highest_peaks, windows
from methods.components.images.intensity import grey
from methods.components.losses import l2
from methods.components.optim import Schedule
from methods.components.structures.group_classes import (
    group_classes,
    mean_axes,
    mean_structure,
    order_along,
)
from methods.components.structures.limbs import limb_scores, limb_tree, line_field, pair

Repeats = tuple[int, int, int, int]
REACH = 3


class SLSN(Method):
    """Finds all corners of one name (all upper left ones, say) in one heatmap and pairs them to vertebrae by NPAFs.

    A ladder of shuffle units answers, at the film's resolution, a point confidence map per corner of a vertebra and a
    non-directional part affinity field (NPAF) per limb: a line that joins two corners across the spine. Peaks of one
    corner's map are paired with those of another by the field's mean along the line between them; vertebrae are named
    in their order along the mean direction of the training films.

    Beyond the spine: groups of one size share their maps, and a landmark of no group has a map of its own and no limb.
    """

    paper = Paper(
        "Automated vertebral landmarks and spinal curvature estimation using non-directional part affinity fields",
        "Zhang et al.",
        2021,
        "https://github.com/zc402/Scoliosis",
        differs=(
            "The paper's text was not at hand: network, sigma, line thickness, field weight and Adam at 1e-3 are those "
            "of the first author's public code (zc402/Scoliosis), in its first draft. The authors' final model there "
            "has other widths (64/64/128/256/1024) and repeats (4-4-8-4), dilated 5x5 depthwise convolutions, additive "
            "skips, and maps of two edge centres and of the neck.",
            "Three limbs assemble all corners; the code's one field joins the centres of the left and the right edge.",
            "Pairs have the highest total score, not greedily the next best; as many vertebrae are kept as there are.",
            "A cosine schedule replaces the code's reduction on a plateau.",
            "A map with an incomplete structure is trained near its visible points only; AASCE has none.",
        ),
    )
    not_exported = "how its vertebrae are paired depends on the film."
    variants: ClassVar = {"slsn": {}}
    smoke: ClassVar = {"width": 4, "deepest": 16, "repeats": (1, 2, 1, 1), "input_size": (64, 64), "sigma": 2.0}
    axes: Tensor
    limbs: Tensor
    sigma: float
    thickness: float
    field_weight: float
    codec: Codec
    rotation: float

    def __init__(
        self,
        schema: LandmarkSchema,
        width: int = 48,
        deepest: int = 1024,
        repeats: Repeats = (8, 16, 8, 8),
        input_size: tuple[int, int] = (752, 256),
        sigma: Pixels = 4.0,
        thickness: Pixels = 6.0,
        field_weight: float = 0.2,
        codec: Codec = "quadratic",
        epochs: int = 100,
        batch_size: int = 4,
        lr: float = 1e-3,
        schedule: Schedule = "cosine",
        rotation: float = 10,
    ) -> None:
        super().__init__(schema)
        self.classes = group_classes(schema)
        self.slots = [len(kind[0]) for kind in self.classes]
        self.limb_counts = [slots - 1 for slots in self.slots]
        self.network = LadderShuffleNet(sum(self.slots) + sum(self.limb_counts), width, deepest, repeats)
        self.register_buffer("axes", torch.tensor([[0.0, 1.0]]).repeat(len(self.classes), 1))
        star = [(0, slot) for slots in self.slots for slot in range(1, slots)]
        self.register_buffer("limbs", torch.tensor(star, dtype=torch.long).view(-1, 2))

    @property
    @override
    def augmentation(self) -> Augmentation:
        return (*rotation_and_contrast(self.rotation), *mirror(self.schema))

    @override
    def prepare(self, train: Sequence[Sample]) -> None:
        """Learn in which direction the structures of a kind follow each other, and which limbs lie across it."""
        self.axes.copy_(mean_axes(self.classes, train))
        means = [mean_structure(kind, train) for kind in self.classes]
        trees = [limb_tree(mean, axis) for mean, axis in zip(means, self.axes.cpu(), strict=True)]
        self.limbs.copy_(torch.cat(trees))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return confidence maps (batch, slot of every kind, height, width) and fields (batch, limb, ...)."""
        maps, fields = self.network(grey(batch.image)).float().split([sum(self.slots), len(self.limbs)], dim=1)
        return maps, fields

    def loss(self, batch: Batch) -> Tensor:
        """L2 of the confidence maps and, weighted, of the fields."""
        maps, fields = self(batch)
        true_maps, counted_maps, true_fields, counted_fields = self._truths(batch)
        point_loss = l2(maps, true_maps, counted_maps)  # chosen pixel by pixel
        return point_loss + self.field_weight * l2(fields, true_fields, counted_fields)

    def _truths(self, batch: Batch) -> list[Tensor]:
        """Render all maps and fields, and say which of their pixels count."""
        limbs = torch.split(self.limbs, self.limb_counts)
        truths = [self._truth(batch.points[:, kind], own) for kind, own in zip(self.classes, limbs, strict=True)]
        return [torch.cat(parts, dim=1) for parts in zip(*truths, strict=True)]

    def _truth(
        self, points: Float[Tensor, "batch structure slot 2"], limbs: Int[Tensor, "limb 2"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Render one kind's maps and fields, and say which of their pixels count."""
        maps = torch.stack(
            [gaussian(slot, self.input_size, self.sigma).nan_to_num(0).amax(dim=1) for slot in points.unbind(2)], 1
        )
        starts, ends = points[:, :, limbs].unbind(3)
        joined = zip(starts.unbind(2), ends.unbind(2), strict=True)
        fields = [line_field(start, end, self.input_size, self.thickness).amax(dim=1) for start, end in joined]
        drawn = torch.stack(fields, dim=1) if fields else maps[:, :0]
        visible = points.isfinite().all(dim=-1)
        known, linked = visible.all(dim=1), visible[:, :, limbs].all(dim=-1).all(dim=1)
        return maps, known[..., None, None] | (maps > 0.01), drawn, linked[..., None, None] | (drawn > 0)

    def predict(self, batch: Batch) -> Prediction:
        """Take as many peaks per slot as the kind has structures, pair them to structures, name these in order."""
        return self._read(*self(batch))

    @override
    def perfect(self, batch: Batch) -> Prediction:
        maps, _, fields, _ = self._truths(batch)
        return self._read(maps, fields)

    def _read(self, maps: Tensor, fields: Tensor) -> Prediction:
        points = maps.new_zeros((len(maps), len(self.schema), 2))
        spread = points.new_zeros((*points.shape, 2))
        outputs = zip(torch.split(maps, self.slots, 1), torch.split(fields, self.limb_counts, 1), strict=True)
        grouped = zip(self.classes, self.axes, torch.split(self.limbs, self.limb_counts), outputs, strict=True)
        for kind, axis, limbs, (own_maps, own_fields) in grouped:
            peaks = self._assemble(own_maps, own_fields, limbs, len(kind))
            order = order_along(peaks.float().mean(dim=2), axis)[..., None, None].expand_as(peaks)
            for slot, peak in enumerate(peaks.gather(1, order).unbind(2)):
                window = windows(own_maps[:, slot], peak, round(REACH * self.sigma))
                own = [structure[slot] for structure in kind]
                points[:, own] = decode(window, self.codec, sigma=self.sigma)
                spread[:, own] = covariance(window, points[:, own])
        return Prediction(points, spread)

    def _assemble(self, maps: Tensor, fields: Tensor, limbs: Tensor, count: int) -> Tensor:
        """Return the peaks of each found structure: (batch, structure, slot, 2)."""
        radius = max(1, round(self.sigma))  # two maxima of one blob are one point
        peaks = [highest_peaks(heatmap, count, radius) for heatmap in maps.unbind(1)]
        for field, (start, end) in zip(fields.unbind(1), limbs.tolist(), strict=True):
            partner = pair(limb_scores(field, peaks[start], peaks[end]))
            peaks[end] = peaks[end].gather(1, partner[..., None].expand(-1, -1, 2))
        return torch.stack(peaks, dim=2)


class LadderShuffleNet(nn.Module):
    """Four levels of ShuffleNet V2 units down and, with transposed depthwise convolutions, up; sides divide by 16.

    Args:
        outputs: Maps to answer.
        width: Channels at the two finest levels; they double at each of the next two.
        deepest: Channels at the coarsest level.
        repeats: Units per level, finest first.
    """

    def __init__(self, outputs: int, width: int, deepest: int, repeats: Repeats) -> None:
        super().__init__()
        fine = [width, width, 2 * width, 4 * width]
        self.first = nn.Sequential(*_conv(1, width, 3), nn.ReLU(inplace=True))
        self.down = nn.ModuleList(
            _level(before, after, count, up=False)
            for before, after, count in zip(fine, [*fine[1:], deepest], repeats, strict=True)
        )
        rising = [deepest, 8 * width, 4 * width, 2 * width]
        self.up = nn.ModuleList(
            _level(before, after, count, up=True)
            for before, after, count in zip(rising, [4 * width, 2 * width, width, width], repeats[::-1], strict=True)
        )
        self.answer = nn.Sequential(*_conv(width, width, 1), nn.ReLU(inplace=True), nn.Conv2d(width, outputs, 1))

    def forward(self, image: Float[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch output height width"]:
        """Map a film to maps of its size.

        Raises:
            ValueError: A side of the input does not divide by 16.
        """
        if image.shape[-1] % 16 or image.shape[-2] % 16:
            raise ValueError(f"SLSN halves its input 4 times; {tuple(image.shape[-2:])} must divide by 16.")
        features, skips = self.first(image), []
        for down in self.down:
            features = down(features)
            skips.append(features)
        features = self.up[0](skips.pop())
        for up in self.up[1:]:
            features = up(torch.cat([features, skips.pop()], dim=1))
        maps: Tensor = self.answer(features)
        return maps


class ShuffleUnit(nn.Module):
    """The unit of ShuffleNet V2 (Ma et al., ECCV 2018, Fig. 3): at stride 1 half of the channels pass as they are."""

    def __init__(self, before: int, after: int, resize: bool, up: bool) -> None:
        super().__init__()
        half = after // 2
        self.resize = resize
        self.main = nn.Sequential(
            *_conv(before if resize else half, half, 1),
            nn.ReLU(inplace=True),
            *_depthwise(half, resize, up),
            *_conv(half, half, 1),
            nn.ReLU(inplace=True),
        )
        side = (*_depthwise(before, resize, up), *_conv(before, half, 1), nn.ReLU(inplace=True)) if resize else ()
        self.side = nn.Sequential(*side)
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, features: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch channel2 h w"]:
        """Join both branches and shuffle their channels."""
        passed, used = (features, features) if self.resize else features.chunk(2, dim=1)
        shuffled: Tensor = self.shuffle(torch.cat([self.side(passed), self.main(used)], dim=1))
        return shuffled


def _level(before: int, after: int, units: int, up: bool) -> nn.Sequential:
    """One unit that halves or doubles the resolution, then units that keep it."""
    keep = (ShuffleUnit(after, after, resize=False, up=up) for _ in range(units - 1))
    return nn.Sequential(ShuffleUnit(before, after, resize=True, up=up), *keep)


def _depthwise(channels: int, resize: bool, up: bool) -> tuple[nn.Module, nn.Module]:
    """Depthwise convolution and BatchNorm."""
    if resize and up:
        return nn.ConvTranspose2d(channels, channels, 4, 2, 1, bias=False, groups=channels), nn.BatchNorm2d(channels)
    stride = 2 if resize else 1
    return nn.Conv2d(channels, channels, 3, stride, 1, bias=False, groups=channels), nn.BatchNorm2d(channels)


def _conv(before: int, after: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    """Convolution and BatchNorm."""
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(after)
