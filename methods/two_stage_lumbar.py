"""Two-stage lumbar network (An et al., "Part Affinity Fields and CoordConv for Detecting ...", Sensors 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

import albumentations as A  # the library's own convention
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate
from typing_extensions import override

from methods.base import (
    Augmentation,
    Batch,
    InputSpec,
    LandmarkSchema,
    Method,
    Paper,
    Prediction,
    Sample,
    Stage,
)
from methods.components.crops.crops import Crops, draw, structure_crops, vertebra_sides, widening
from methods.components.heatmap import Codec, covariance, decode, from_heatmap_grid, gaussian, to_heatmap_grid
from methods.components.images.clahe import blur, clahe
from methods.components.images.intensity import grey
from methods.components.images.spine_cutout import Cutout, cutout
from methods.components.lengths import Follows
from methods.components.losses import l2
from methods.components.networks.centre_net import STRIDE, CentreNet
from methods.components.networks.mnet import MNet
from methods.components.optim import Schedule
from methods.components.structures.centre_repair import descending, repair, rule_holds
from methods.components.structures.limbs import line_field
from methods.components.structures.vertebrae import Frame, StructureClass, frames, landmark_sigma, spine_structures

TYPICAL_SIGMA, TYPICAL_SPREAD = 1 / 24, 1 / 13
"""Of a centre map's and a square's side, where the labels do not tell the size of L5 or of the square's structure."""
SMALLEST_SIGMA = 1 / 64
"""Of a centre map's side: a pixel of the paper's."""


class TwoStageLumbar(Method):
    """Finds the centres of L1 to L5 and S1 on a small film, then the corners of each in a square of the full one.

    Stage 1, Pose-Net, sees the film at 512x512, blurred and after CLAHE, with a piece of L1, L2, L3 or L4 blackened at
    random (random spine cutout). Algorithm 1 puts back a skipped vertebra, if its rule holds for the training films'
    true centres: on lumbar chains, not on whole spines, whose gaps differ. Stage 2 cuts a square round each centre (Eq.
    5) from the film's own pixels and reads it with one M-Net for the vertebrae and one for the sacrum; they also answer
    part affinity fields, lines along the end plates, which nothing but the loss uses.

    Beyond the lumbar spine: groups follow each other from top to bottom. Those of the commonest size are the vertebrae;
    other sizes, and landmarks of no group, are further kinds with an M-Net each and the square of the vertebra before
    them. Squares are larger than Eq. 5's where these would cut off training landmarks (see `widening`).
    """

    paper = Paper(
        "Part Affinity Fields and CoordConv for Detecting Landmarks of Lumbar Vertebrae and Sacrum in X-ray Images",
        "An et al.",
        2022,
        "https://doi.org/10.3390/s22228628",
        differs=(
            "No sizes are printed: Pose-Net has those of convolutional pose machines, M-Net those of Fu et al. 2018 "
            "and the mean of its side outputs. The first convolution of an image has no norm and ReLU before it.",
            "The norms of Eq. 2 to 4, 10 and 11 are taken as mean squared errors.",
            "CLAHE (limit 2, 8x8 tiles), blur (5x5, sigma 1), the share of films with a cutout (a half) and the ranges "
            "of all augmentation are not printed.",
            "The film is read at film_size (2048 px), not at any size; squares that would cut landmarks off are wider.",
            "A step of stage 2 takes all squares of its 16 films up to 96 of a kind; the paper's takes 32 squares.",
            "No early stopping: both stages train to their end; the suite's rule chooses the checkpoint of the second.",
            "Landmark maps are smoothed and decoded to the sub-pixel; the paper does not say how it decodes.",
            "Algorithm 1 is left out where more than 2 % of the training films' true centres look skipped to it.",
            "Kim et al. has the same networks with vanilla blocks, keeps faint peaks and is asked for L1 to L5 only; "
            "the sacrum, which it does not have, has its square at the training films' mean offset from L5.",
            "At smaller sizes than the paper's the maps' Gaussians stay at least a pixel wide.",
        ),
    )
    not_exported = "how its centres are repaired depends on the film."
    variants: ClassVar = {
        "two-stage-lumbar": {},
        "two-stage-lumbar-kernel-7": {"kernel": 7, "cutout": "none"},
        "two-stage-lumbar-no-cutout": {"cutout": "none"},
        "two-stage-lumbar-cutout": {"cutout": "anywhere"},
        "two-stage-lumbar-rsc-1.0": {"cutout_ratio": 1.0},
        "two-stage-lumbar-rsc-0.8": {"cutout_ratio": 0.8},
        "two-stage-lumbar-rsc-0.4": {"cutout_ratio": 0.4},
        "two-stage-lumbar-no-coordconv": {"coordconv": 0},
        "two-stage-lumbar-no-paf": {"paf_width": 0.0},
        "two-stage-lumbar-no-coordconv-no-paf": {"coordconv": 0, "paf_width": 0.0},
        "two-stage-lumbar-cc1-no-paf": {"coordconv": 1, "paf_width": 0.0},
        "two-stage-lumbar-paf2-no-coordconv": {"coordconv": 0, "paf_width": 2.0},
        "two-stage-lumbar-paf6-no-coordconv": {"coordconv": 0, "paf_width": 6.0},
        "two-stage-lumbar-kim": {
            "kernel": 7, "cutout": "none", "coordconv": 0, "paf_width": 0.0, "one_map": True, "vanilla": True
        },
    }  # fmt: skip
    smoke: ClassVar = {"centre_width": 4, "mnet_width": 4, "film_size": 128, "view_size": 64, "crop_size": 32}
    widening: Tensor
    offsets: Tensor
    """Of each structure's centre from its vertebra's, in sides of that one's square."""
    repairs: Tensor
    """Whether Algorithm 1 is applied."""
    cutout: Cutout
    cutout_ratio: float
    cutout_share: float
    paf_width: float
    peak_window: int
    smoothing: float
    one_map: bool
    film_size: int
    view_size: int
    crop_size: int
    crops: int
    shift: float
    zoom: float
    rotation: float
    codec: Codec

    def __init__(
        self,
        schema: LandmarkSchema,
        kernel: int = 13,
        cutout: Cutout = "spine",
        cutout_ratio: float = 0.6,
        cutout_share: float = 0.5,
        coordconv: int = 2,
        paf_width: Annotated[float, Follows("crop_size")] = 4.0,
        paf_weights: tuple[float, float] = (0.001, 0.01),
        one_map: bool = False,
        peak_window: Annotated[int, Follows("view_size")] = 3,
        vanilla: bool = False,
        centre_width: int = 64,
        mnet_width: int = 32,
        film_size: int = 2048,
        view_size: int = 512,
        crop_size: int = 256,
        crops: int = 96,
        shift: float = 0.1,
        zoom: float = 0.1,
        rotation: float = 15,
        codec: Codec = "dark",
        smoothing: Annotated[float, Follows("crop_size")] = 4.0,
        epochs: tuple[int, int] = (200, 250),
        batch_size: int = 16,
        lr: float = 1e-4,
        schedule: Schedule = "linear",
    ) -> None:
        super().__init__(schema)
        self.stage_epochs, self.view_stride = epochs, film_size / view_size
        self.structures = spine_structures(schema)
        self.paf_weights = (paf_weights[0], *[paf_weights[1]] * (len(self.structures.classes) - 1))
        self.centre_net = CentreNet(1 if one_map else len(self.structures.members), centre_width, kernel, vanilla)
        self.mnets = nn.ModuleList(
            MNet(kind.slots + self._has_field(kind), mnet_width, coordconv, vanilla) for kind in self.structures.classes
        )
        self.register_buffer("widening", torch.ones(len(self.structures.members)))
        self.register_buffer("offsets", torch.zeros(len(self.structures.members), 2))
        self.register_buffer("repairs", torch.tensor(True))

    @classmethod
    @override
    def unsupported(cls, schema: LandmarkSchema) -> str | None:
        """Ask for two groups of one size: without neighbours there is no spacing to crop by (Eq. 5)."""
        vertebrae = spine_structures(schema).classes[0]
        known = vertebrae.slots > 1 and len(vertebrae.positions) > 1
        return None if known else "Its landmarks form no two groups of one size, whose spacing says how large to crop."

    @property
    def stages(self) -> Sequence[Stage]:
        """Pose-Net for 200 epochs, then both M-Nets for 250 (Sec. 4.1)."""
        return tuple(map(Stage, ("centres", "landmarks"), self.stage_epochs))

    @property
    @override
    def augmentation(self) -> Augmentation:
        place = A.Affine(
            scale=(0.9, 1.1), translate_percent=(-0.06, 0.06), rotate=(-self.rotation, self.rotation), p=0.5
        )
        return place, A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5)

    @property
    @override
    def input_spec(self) -> InputSpec:
        """The whole film on a black square at nearly its own resolution."""
        return InputSpec((self.film_size, self.film_size), fit="pad", augment=self.augmentation)

    @override
    def prepare(self, train: Sequence[Sample]) -> None:
        """Find out which squares must be larger than Eq. 5's, where other structures lie, and if Algorithm 1 fits."""
        points = torch.stack([sample.points for sample in train])
        centres = self.structures.centres(points)
        self.widening.copy_(widening(points, self.structures, self.film_size))
        hosts, sides = self._hosts(centres[:, list(self.structures.vertebrae)])
        self.offsets.copy_(((centres - hosts) / sides.clamp(min=1)).nanmean(dim=0).nan_to_num(0))
        self.repairs.fill_(rule_holds(centres[:, : self.structures.chained]))

    def _hosts(self, vertebrae: Float[Tensor, "batch vertebra 2"]) -> tuple[Tensor, Tensor]:
        """Return, for every structure, the centre of its vertebra and the side of that one's square."""
        hosts = list(self.structures.hosts)
        return vertebrae[:, hosts], vertebra_sides(vertebrae)[:, hosts, None]

    def _has_field(self, kind: StructureClass) -> bool:
        return self.paf_width > 0 and len(kind.plates) > 0

    def _view(self, film: Tensor) -> Float[Tensor, "batch 1 view view"]:
        """Shrink, blur and equalise films for Pose-Net, 0 to 1."""
        small = interpolate(film.float(), (self.view_size, self.view_size), mode="area")
        return clahe(blur(small)) / 255

    def loss(self, batch: Batch) -> Tensor:
        """Eq. 4 in the first stage, Eq. 10 and 11 in the second."""
        return self._centre_loss(batch) if self.stage == 0 else self._landmark_loss(batch)

    def _centre_loss(self, batch: Batch) -> Tensor:
        """L2 of the inner map of the last vertebra and of all centre maps (Eq. 1 to 4)."""
        vertebrae = self.structures.classes[0]
        points = to_heatmap_grid(batch.points, self.view_stride)
        bodies = frames(points[:, vertebrae.landmarks], vertebrae.plates)
        shown = Frame(*(field[:, :-1] for field in bodies))  # the last one, L5, is never hidden
        view = cutout(self._view(batch.image), shown, self.cutout, self.cutout_ratio, self.cutout_share)
        inner, maps = self.centre_net(view)
        target = self._centre_target(batch)
        visible = target.isfinite().all(dim=(-2, -1))
        last = [vertebrae.positions[-1]]
        loss = l2(inner, target[:, last], visible[:, last])
        if not self.one_map:
            return loss + l2(maps, target, visible)
        asked = list(vertebrae.positions)
        joint = target[:, asked].nan_to_num(0).amax(dim=1, keepdim=True)
        return loss + l2(maps, joint, visible[:, asked].all(dim=1)[:, None, None, None] | (joint > 0.01))

    def _centre_target(self, batch: Batch) -> Float[Tensor, "batch structure height width"]:
        """Render the centres; sigma is half the height of the last vertebra (below Eq. 1)."""
        vertebrae, side = self.structures.classes[0], self.view_size // STRIDE
        points = to_heatmap_grid(batch.points, self.view_stride)
        height = frames(points[:, vertebrae.landmarks], vertebrae.plates).height[:, -1]
        sigma = (height / 2 / STRIDE).nan_to_num(TYPICAL_SIGMA * side).clamp(min=SMALLEST_SIGMA * side)
        return gaussian(self.structures.centres(points), (side, side), sigma[:, None, None], STRIDE)

    def _squares(self, centres: Float[Tensor, "batch structure 2"]) -> Crops:
        """Return Eq. 5's squares in film pixels; what is missing (NaN) gets a place and a side."""
        return structure_crops(centres, self.structures, self.crop_size, self.film_size).scaled(self.widening)

    def _cut(self, film: Tensor, squares: Crops) -> Float[Tensor, "batch structure size size"]:
        """Cut squares from the unprocessed films and blur them (Sec. 3.3)."""
        return blur(squares.cut(grey(film)))

    def _landmark_loss(self, batch: Batch) -> Tensor:
        """Sum the losses of all M-Nets, which share no parameter, over squares round true centres, moved and scaled."""
        centres = self.structures.centres(batch.points)
        squares = self._squares(centres).jitter(self.shift, self.zoom)
        cuts, known = self._cut(batch.image, squares), centres.isfinite().all(dim=-1)
        total = torch.zeros((), device=cuts.device)
        for kind, mnet, weight in zip(self.structures.classes, self.mnets, self.paf_weights, strict=True):
            points = squares.pick(kind.positions).to_crop(batch.points[:, kind.landmarks])
            points = points.masked_fill(~known[:, kind.positions, None, None], torch.nan).flatten(0, 1)
            chosen = draw(known[:, kind.positions].flatten(), self.crops)
            answer = mnet(cuts[:, kind.positions].flatten(0, 1)[chosen, None]).float()
            total = total + self._kind_loss(kind, answer, points[chosen], weight)
        return total

    def _kind_loss(self, kind: StructureClass, answer: Tensor, points: Tensor, weight: float) -> Tensor:
        """L2 of the landmark maps and, weighted, of the part affinity field (Eq. 6 to 11)."""
        visible = points.isfinite().all(dim=-1)
        size = (self.crop_size, self.crop_size)
        loss = l2(answer[:, : kind.slots], self._landmark_target(kind, points), visible)
        if not self._has_field(kind):
            return loss
        starts, ends = (points[:, list(slots)] for slots in zip(*kind.plates, strict=True))
        field = line_field(starts, ends, size, self.paf_width).amax(dim=1, keepdim=True)
        return loss + weight * l2(answer[:, kind.slots :], field, visible.all(dim=1, keepdim=True))

    def _landmark_target(self, kind: StructureClass, points: Float[Tensor, "crop slot 2"]) -> Tensor:
        """Render landmarks in squares, (crop, slot, height, width)."""
        sigma = landmark_sigma(points, kind.plates, TYPICAL_SPREAD * self.crop_size)
        return gaussian(points, (self.crop_size, self.crop_size), sigma[:, None, None])

    def find_centres(self, batch: Batch) -> Float[Tensor, "batch structure 2"]:
        """Return the structures' centres in film pixels: the maps' maxima, repaired by Algorithm 1 where it fits."""
        _, maps = self.centre_net(self._view(batch.image))
        return self._read_centres(maps)

    def _read_centres(self, maps: Float[Tensor, "batch map height width"]) -> Float[Tensor, "batch structure 2"]:
        if self.one_map:
            vertebrae = descending(maps[:, 0], len(self.structures.vertebrae), self.peak_window)
            hosts, sides = self._hosts(vertebrae)
            centres = hosts + self.offsets * sides
        else:
            centres, chain = decode(maps, "quadratic"), self.structures.chained
            if self.repairs:
                centres = torch.cat([repair(maps[:, :chain], centres[:, :chain]), centres[:, chain:]], dim=1)
        return from_heatmap_grid(centres, STRIDE * self.view_stride)

    def predict(self, batch: Batch) -> Prediction:
        """Find centres, cut squares, decode every M-Net's maps and map them back to the film."""
        centres = self.find_centres(batch)
        squares = self._squares(centres)
        cuts, answers = self._cut(batch.image, squares), []
        for kind, mnet in zip(self.structures.classes, self.mnets, strict=True):
            rounds = torch.split(cuts[:, kind.positions].flatten(0, 1)[:, None], self.crops)
            answers.append([mnet(cut)[:, : kind.slots].float() for cut in rounds])
        return self._read(centres, squares, answers)

    @override
    def perfect(self, batch: Batch) -> Prediction | None:
        """None where all centres share one map: its neighbours merge where vertebrae are small."""
        if self.one_map:
            return None
        centres = self._read_centres(self._centre_target(batch).nan_to_num(0))
        squares, answers = self._squares(centres), []
        for kind in self.structures.classes:
            local = squares.pick(kind.positions).to_crop(batch.points[:, kind.landmarks]).flatten(0, 1)
            answers.append([self._landmark_target(kind, local)])
        return self._read(centres, squares, answers)

    def _read(self, centres: Tensor, squares: Crops, answers: Sequence[Sequence[Tensor]]) -> Prediction:
        """Decode the maps of each kind's squares, in rounds, and map the points to the film."""
        points = centres.new_zeros((len(centres), len(self.schema), 2))
        anchors, spreads = torch.zeros_like(points), points.new_zeros((*points.shape, 2))
        for kind, rounds in zip(self.structures.classes, answers, strict=True):
            own, shape = squares.pick(kind.positions), (len(points), len(kind.positions))
            local, wide = (torch.cat(fields) for fields in zip(*map(self._decode, rounds), strict=True))
            anchors[:, kind.landmarks] = centres[:, kind.positions, None]
            points[:, kind.landmarks] = own.to_film(local.view(*shape, *local.shape[1:]))
            spreads[:, kind.landmarks] = own.scale[..., :1, None, None] ** 2 * wide.view(*shape, *wide.shape[1:])
        return Prediction(points, spreads, anchors)

    def _decode(self, maps: Float[Tensor, "crop slot size size"]) -> tuple[Tensor, Tensor]:
        points = decode(maps, self.codec, sigma=self.smoothing)
        return points, covariance(maps, points)
