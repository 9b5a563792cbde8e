"""SLSN (Zhang et al., "Automated vertebral landmarks and spinal curvature estimation using non-directional PAFs")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import albumentations as A  # the library's own convention
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from methods.base import Augmentation, Batch, LandmarkSchema, Method, Paper, Pixels, Prediction, Sample
from methods.components.augmentation import mirror
from methods.components.heatmap import Codec, covariance, decode, find_blobs, gaussian, windows
from methods.components.images.intensity import grey
from methods.components.losses import l2
from methods.components.optim import Schedule
from methods.components.structures.group_classes import GroupClass, mean_axes
from methods.components.structures.limbs import greedy_pairs, limb_scores, line_field
from methods.components.structures.vertebrae import spine_structures

Widths = tuple[int, int, int, int, int]
Repeats = tuple[int, int, int, int]
Points = Float[np.ndarray, "point 2"]

CORNERS, EDGES, NECK = slice(0, 4), slice(4, 6), 6
"""Shared maps: upper left, upper right, lower left and lower right corners, left and right edge centres, the neck."""
SHARED: Final = 7
SIDES: Final = (0, 1, 0, 1)
"""The edge, left or right, on which each corner lies."""
FOUND, NECK_FOUND, LINKED = 0.5, 0.3, 0.7
"""What a map must exceed to show a point, the neck's map to show the neck, and a pair's score to be a vertebra."""
NECK_MARGIN: Final = 80 / 384
"""Share of the film's width on either side in which no neck is looked for: 80 of 384 px."""
REACH: Final = 3
"""Radius in sigma round a corner's highest pixel in which its point and its spread are measured."""


class SLSN(Method):
    """Pairs the centres of the left and right edges of vertebrae by an NPAF, and names vertebrae from the neck down.

    A ladder of shuffle units answers, at the film's resolution, a map per corner of a vertebra, one per edge centre,
    one of the neck (both upper corners of the first vertebra), and a non-directional part affinity field (NPAF): the
    lines between the edge centres of each vertebra. Connected components of the edge maps are paired by the field's
    mean between them, the next best pair first; pairs above the neck are dropped, and of the others as many are kept,
    from the neck down, as the schema has vertebrae. Corners are components of their maps near the kept pairs.

    Beyond the spine: only structures with two end plates of two corners each are vertebrae. Every other landmark, such
    as those of a skull, a hand or S1, has a map of its own and is where that map is highest.
    """

    fit = "pad"
    paper = Paper(
        "Automated vertebral landmarks and spinal curvature estimation using non-directional part affinity fields",
        "Zhang et al.",
        2021,
        "https://github.com/zc402/Scoliosis",
        differs=(
            "The paper's text was not at hand: all is that of the authors' final public model (zc402/Scoliosis, commit "
            "e22ad2f).",
            "The code answers edge centres, of which it takes Cobb angles. Corners here: of each corner map the "
            "components nearest to where the median training vertebra has its corner beside a found pair, no further "
            "than its edge is long, at their highest pixel refined by the codec.",
            "The code numbers the found vertebrae. Where fewer are found than the schema has, each here gets the name "
            "whose median distance in training films, from the neck or the vertebra before it, is nearest to its own; "
            "the corners of others are looked for at the median training film's places, moved as their neighbours are, "
            "and put there if no component is near.",
            "A pair is above the neck if both of its ends are; in the code if their middle is, by which 14 of AASCE's "
            "609 films would lose their first vertebra, as it is tilted.",
            "Left out: a second network that trims challenge films and drops pairs beside the spine, and a fixed range "
            "of their rows. Above and below are along the mean direction of the training films' spines.",
            "A pair's score is the field's mean between its ends; the code divides its sum over the pixels of a drawn "
            "line by the line's length, which is less for oblique lines.",
            "Points, lines and centroids are not cut to whole pixels.",
            "A cosine schedule over 100 epochs replaces the code's reduction on a plateau.",
            "A map with an incomplete structure is trained near its visible points only; AASCE has none.",
        ),
    )
    not_exported = "how its vertebrae are paired depends on the film."
    variants: ClassVar = {"slsn": {}}
    version: ClassVar = 2
    smoke: ClassVar = {"widths": (4, 4, 8, 8, 16), "repeats": (1, 2, 1, 1), "input_size": (64, 64), "sigma": 2.0}
    median: Tensor
    axis: Tensor
    sigma: float
    thickness: float
    field_weight: float
    codec: Codec
    rotation: float

    def __init__(
        self,
        schema: LandmarkSchema,
        widths: Widths = (64, 64, 128, 256, 1024),
        repeats: Repeats = (4, 4, 8, 4),
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
        self.vertebrae = _vertebrae(schema)
        paired = {landmark for own in self.vertebrae for landmark in own}
        self.alone = [landmark for landmark in range(len(schema)) if landmark not in paired]
        self.outputs = (SHARED * bool(self.vertebrae) + len(self.alone), int(bool(self.vertebrae)))
        self.network = LadderShuffleNet(sum(self.outputs), widths, repeats)
        self.register_buffer("median", torch.zeros(len(self.vertebrae), 4, 2))
        self.register_buffer("axis", torch.tensor([0.0, 1.0]))

    @property
    @override
    def augmentation(self) -> Augmentation:
        """The sides cut or padded by up to a tenth, a rotation, 25 grey levels up or down, and mirrored films."""
        side, none = (-0.1, 0.1), (0.0, 0.0)
        return (
            A.CropAndPad(percent=(none, side, none, side), keep_size=True, p=1),
            A.Rotate(limit=(-self.rotation, self.rotation), p=1),
            A.RandomBrightnessContrast(brightness_limit=25 / 255, contrast_limit=0, p=1),
            *mirror(self.schema),
        )

    @override
    def prepare(self, train: Sequence[Sample]) -> None:
        """Learn where vertebrae usually lie, and in which direction they follow each other.

        It is a median, as one in twenty of AASCE's films has its last vertebra elsewhere. A corner that no film shows
        is in the input's centre.
        """
        if not self.vertebrae:
            return
        points = torch.stack([sample.points for sample in train])
        median = points[:, self.vertebrae].nanmedian(dim=0).values
        self.median.copy_(torch.where(median.isnan(), _centre(self.input_size), median))
        self.axis.copy_(mean_axes([self.vertebrae], train)[0])

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return confidence maps (batch, map, height, width), the shared ones first, and the field (batch, 1, ...)."""
        maps, field = self.network(grey(batch.image)).float().split(self.outputs, dim=1)
        return maps, field

    def loss(self, batch: Batch) -> Tensor:
        """L2 of the confidence maps and, weighted, of the field."""
        maps, field = self(batch)
        true_maps, counted_maps, true_field, counted_field = self._truth(batch.points)
        return l2(maps, true_maps, counted_maps) + self.field_weight * l2(field, true_field, counted_field)

    def _truth(self, points: Float[Tensor, "batch landmark 2"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Render maps and field, and say which of their pixels count."""
        shown = [points[:, [landmark]] for landmark in self.alone]
        field = points.new_zeros((len(points), 0, *self.input_size))
        counted_field = field > 0
        if self.vertebrae:
            corners = points[:, self.vertebrae]
            left, right = (corners[:, :, own].mean(dim=2) for own in ([0, 2], [1, 3]))
            shown = [*corners.unbind(2), left, right, corners[:, 0, :2], *shown]
            field = line_field(left, right, self.input_size, self.thickness).amax(dim=1, keepdim=True)
            counted_field = _all_known(corners.flatten(2)) | (field > 0)
        blobs = [gaussian(own, self.input_size, self.sigma).nan_to_num(0).amax(dim=1) for own in shown]
        maps = torch.stack(blobs, dim=1)
        counted_maps = torch.cat([_all_known(own) for own in shown], dim=1) | (maps > 0.01)
        return maps, counted_maps, field, counted_field

    def predict(self, batch: Batch) -> Prediction:
        """Find the vertebrae, name them, and read their corners and every lone landmark off the maps."""
        return self._read(*self(batch))

    @override
    def perfect(self, batch: Batch) -> Prediction:
        maps, _, field, _ = self._truth(batch.points)
        return self._read(maps, field)

    def _read(self, maps: Tensor, field: Tensor) -> Prediction:
        points = maps.new_zeros((len(maps), len(self.schema), 2))
        spread = points.new_zeros((*points.shape, 2))
        lone_maps = maps[:, -len(self.alone) :] if self.alone else maps[:, :0]
        points[:, self.alone] = decode(lone_maps, self.codec, sigma=self.sigma)
        spread[:, self.alone] = covariance(lone_maps, points[:, self.alone])
        if not self.vertebrae:
            return Prediction(points, spread)
        films = zip(maps[:, :SHARED], field[:, 0], strict=True)
        found_per_film = zip(*(self._find(*film) for film in films), strict=True)
        usual, peaks = (torch.stack(both).to(maps.device) for both in found_per_film)
        for slot in range(4):
            own = [vertebra[slot] for vertebra in self.vertebrae]
            found, peak = (peaks[:, :, slot] >= 0).all(dim=-1), peaks[:, :, slot].clamp(min=0)
            near = windows(maps[:, slot], peak, round(REACH * self.sigma))
            points[:, own] = torch.where(
                found[..., None], decode(near, self.codec, sigma=self.sigma), usual[:, :, slot].to(maps.dtype)
            )
            seen = torch.where(found[..., None, None], near, maps[:, slot, None])
            spread[:, own] = covariance(seen, points[:, own])
        return Prediction(points, spread)

    def _find(
        self, maps: Float[Tensor, "map height width"], field: Float[Tensor, "height width"]
    ) -> tuple[Float[Tensor, "vertebra corner 2"], Int[Tensor, "vertebra corner 2"]]:
        """Return where each corner of a film is expected, and the highest pixel of the blob that it is; -1 for none."""
        heat = maps.detach().cpu().double().numpy()
        axis = self.axis.cpu().double().numpy()
        chain = Chain(self.median.cpu().double().numpy(), axis / np.linalg.norm(axis))
        left, right = (find_blobs(edge, FOUND).centroids for edge in heat[EDGES])
        scores = limb_scores(field[None].cpu(), torch.from_numpy(left)[None], torch.from_numpy(right)[None])[0]
        pairs = greedy_pairs(scores.detach().numpy(), LINKED)
        edges = np.stack([left[pairs[:, 0]], right[pairs[:, 1]]], axis=1)
        neck = chain.neck(find_blobs(heat[NECK], NECK_FOUND).centroids, self.input_size)
        usual = chain.complete(edges, neck)
        peaks = np.full(usual.shape, -1)
        for slot, corner in enumerate(heat[CORNERS]):
            blobs = find_blobs(corner, FOUND).peaks
            distance = np.linalg.norm(usual[:, None, slot] - blobs, axis=-1)
            near = greedy_pairs(chain.lengths[:, None, SIDES[slot]] - distance, 0.0)
            peaks[near[:, 0], slot] = blobs[near[:, 1]]
        return torch.from_numpy(usual), torch.from_numpy(peaks)


class Chain:
    """The usual places of a spine's vertebrae, to name found ones and to say where missing ones would be.

    Args:
        corners: (vertebra, corner, 2), in anatomical order.
        axis: Unit vector from the first vertebra towards the last.
    """

    def __init__(self, corners: Float[np.ndarray, "vertebra 4 2"], axis: Float[np.ndarray, " 2"]) -> None:
        self.corners, self.axis = corners, axis
        self.edges = corners.reshape(-1, 2, 2, 2).mean(axis=1)
        self.lengths = np.linalg.norm(corners[:, 2:] - corners[:, :2], axis=-1)
        """Of the left and the right edges."""

    def neck(self, blobs: Points, size: tuple[int, int]) -> float | None:
        """Return how far along the axis the neck is: the lowest blob in the film's upper half, away from its sides."""
        offsets = blobs - _centre(size).numpy()
        side = np.array([self.axis[1], -self.axis[0]])
        inside = np.abs(offsets @ side) < (0.5 - NECK_MARGIN) * (np.abs(side) @ size[::-1])
        upper = blobs[inside & (offsets @ self.axis < 0)]
        return float((upper @ self.axis).max()) if len(upper) else None

    def complete(self, edges: Float[np.ndarray, "pair 2 2"], neck: float | None) -> Float[np.ndarray, "vertebra 4 2"]:
        """Name the pairs of left and right edge centres below the neck; return where all corners are to be expected.

        They lie as usual beside a found pair. A vertebra that has none is moved from its usual place as its neighbours
        are, between two of them in proportion.
        """
        if neck is not None:
            edges = edges[(edges @ self.axis).max(axis=1) > neck]
        along = edges.mean(axis=1) @ self.axis
        order = np.argsort(along, kind="stable")[: len(self.corners)]
        edges, names = edges[order], self.names(along[order], neck)
        moved = edges.mean(axis=1) - self.edges[names].mean(axis=1)
        usual = self.corners.copy()
        if len(names):
            places = np.arange(len(self.corners))
            usual += np.stack([np.interp(places, names, move) for move in moved.T], axis=1)[:, None]
        usual[names] = edges[:, SIDES] + (self.corners - self.edges[:, SIDES])[names]
        return usual

    def names(self, along: Float[np.ndarray, " found"], neck: float | None) -> list[int]:
        """Return which vertebrae have been found at rising places along the axis, with names left for the later ones.

        Each is the one whose usual distance from the found one before it, or from the neck, is nearest to its own.
        Without a neck the first one found is the first vertebra.
        """
        usual = self.edges.mean(axis=1) @ self.axis
        usual_neck = self.corners[0, :2].mean(axis=0) @ self.axis
        names: list[int] = []
        for count, place in enumerate(along):
            here, there = (place, usual[0]) if neck is None else (neck, usual_neck)
            if names:
                here, there = along[count - 1], usual[names[-1]]
            free = np.arange(names[-1] + 1 if names else 0, len(usual) - (len(along) - count) + 1)
            names.append(int(free[np.abs(place - here - (usual[free] - there)).argmin()]))
        return names


class LadderShuffleNet(nn.Module):
    """Four levels of ShuffleNet V2 units down and, with transposed depthwise convolutions, up; sides divide by 16.

    Features of one resolution are added on the way up.

    Args:
        outputs: Maps to answer.
        widths: Channels at the film's resolution and at each level down.
        repeats: Units per level, finest first.
    """

    def __init__(self, outputs: int, widths: Widths, repeats: Repeats) -> None:
        super().__init__()
        self.first = nn.Sequential(*_conv(1, widths[0], 3), nn.ReLU(inplace=True))
        levels = list(zip(widths[:-1], widths[1:], repeats, strict=True))
        self.down = nn.ModuleList(_level(fine, coarse, count, up=False) for fine, coarse, count in levels)
        self.up = nn.ModuleList(_level(coarse, fine, count, up=True) for fine, coarse, count in reversed(levels))
        self.answer = nn.Sequential(
            *_conv(widths[0], widths[0], 1), nn.ReLU(inplace=True), nn.Conv2d(widths[0], outputs, 1)
        )

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
            features = up(features + skips.pop())
        maps: Tensor = self.answer(features)
        return maps


class ShuffleUnit(nn.Module):
    """The unit of ShuffleNet V2 (Ma et al., ECCV 2018, Fig. 3): at stride 1 half of the channels pass as they are.

    The main branch's depthwise convolution is 5x5 and dilated by 2, save where it doubles the resolution.
    """

    def __init__(self, before: int, after: int, resize: bool, up: bool) -> None:
        super().__init__()
        half = after // 2
        self.resize = resize
        self.main = nn.Sequential(
            *_conv(before if resize else half, half, 1),
            nn.ReLU(inplace=True),
            *_depthwise(half, resize, up, kernel=5, dilation=2),
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


def _vertebrae(schema: LandmarkSchema) -> GroupClass:
    """Return upper left, upper right, lower left and lower right of each vertebra, in anatomical order."""
    kinds = [kind for kind in spine_structures(schema).classes if len(kind.plates) == 2]
    return tuple(tuple(own[slot] for plate in k.plates for slot in plate) for k in kinds[:1] for own in k.landmarks)


def _all_known(points: Float[Tensor, "batch structure axis"]) -> Tensor:
    """Say whether no coordinate is missing, as (batch, 1, 1, 1)."""
    return points.isfinite().flatten(1).all(dim=1)[:, None, None, None]


def _centre(size: tuple[int, int]) -> Float[Tensor, " 2"]:
    """Return the (x, y) of the centre of an input of (height, width)."""
    return torch.tensor([(size[1] - 1) / 2, (size[0] - 1) / 2])


def _level(before: int, after: int, units: int, up: bool) -> nn.Sequential:
    """One unit that halves or doubles the resolution, then units that keep it."""
    keep = (ShuffleUnit(after, after, resize=False, up=up) for _ in range(units - 1))
    return nn.Sequential(ShuffleUnit(before, after, resize=True, up=up), *keep)


def _depthwise(
    channels: int, resize: bool, up: bool, kernel: int = 3, dilation: int = 1
) -> tuple[nn.Module, nn.Module]:
    """Depthwise convolution and BatchNorm."""
    if resize and up:
        return nn.ConvTranspose2d(channels, channels, 4, 2, 1, bias=False, groups=channels), nn.BatchNorm2d(channels)
    stride, padding = 2 if resize else 1, dilation * (kernel // 2)
    convolution = nn.Conv2d(channels, channels, kernel, stride, padding, dilation, bias=False, groups=channels)
    return convolution, nn.BatchNorm2d(channels)


def _conv(before: int, after: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    """Convolution and BatchNorm."""
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(after)
