"""Shape-constrained cascade (Wang et al., "Accurate Scoliosis Vertebral Landmark Localization ...", 2022)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, ClassVar, NamedTuple, cast

import albumentations as A  # the library's own convention
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import ExponentialLR

from datamodules.components.samples import collate
from methods.base import Batch, InputSpec, LandmarkSchema, Method, Paper, Prediction, Sample, Stage
from methods.components.crops.crops import Crops
from methods.components.images.intensity import grey
from methods.components.lengths import Follows
from methods.components.optim import fused_adam
from methods.components.structures.cascade import Cascade
from methods.components.structures.group_classes import GroupClass, group_classes

FILMS_AT_ONCE = 8
Size = Annotated[tuple[int, int], Follows("input_size")]
"""(height, width) in pixels of the film, as large a part of it at every `input_size` unless it is given."""
WHOLE_FILM = 1e3
"""A margin of the oracle crop so wide that it is the film: what is told is where the RoIs lie."""


class ShapeCascade(Method):
    """Vertebra centres first, then the corners round each: in both steps CNNs move a mean shape along principal axes.

    Beyond the spine: step 1 places the centre of every group and every landmark of no group, so that a schema without
    groups is one cascade over all its points; in step 2 groups of one size share their networks. A group with a missing
    landmark has no centre on that film. Each stage of training is one CNN; those before it are frozen.

    With `true_centres`, the RoIs of groups lie at the true centres, at test time too (Fig. 7b): then `predict` reads
    `batch.points`, and leaderboards show the badge "oracle crop".
    """

    paper = Paper(
        "Accurate Scoliosis Vertebral Landmark Localization on X-ray Images via Shape-constrained Multi-stage "
        "Cascaded CNNs",
        "Wang et al.",
        2022,
        "https://arxiv.org/abs/2206.02087",
        differs=(
            "A film of 680 px height is padded to one width after CLAHE; the mean shape is taken in the padded frame.",
            "A batch is one film and its mirror image, the paper's two; a schema without left-right pairs is not "
            "mirrored.",
            "6 of 8 components for corners and 24 for a schema without groups are ours: the paper prints 8 of 34 for "
            "centres only. CLAHE has OpenCV's usual limit 2 and 8x8 tiles.",
            "Offsets are shares of the frame's height, a scale that beta = .001 fits; the paper is silent.",
            "A CNN answers in units of each component's root mean square over the training films: without that, Adam "
            "tears up what the stages before have gained.",
            "RoIs lie at predicted centres in training too, so that step 2 meets the errors that it will meet.",
            "The perturbed start moves by shares of the frame's height, drawn from the case id, in testing only.",
            "Fig. 7 shows the error after every stage of one cascade of five; here each number of stages is a run. "
            "Rows on true centres train both steps, and their centres go unused.",
            "The paper's 50 test films and its validation films are not known; the suite draws its own.",
        ),
    )
    variants: ClassVar = {
        "shape-cascade": {},
        "shape-cascade-no-pca": {"pca": False},
        "shape-cascade-true-centres": {"true_centres": True},
        "shape-cascade-true-centres-no-pca": {"true_centres": True, "pca": False},
        **{
            f"shape-cascade{name}-{depth}-stage": {**hparams, "depth": depth}
            for name, hparams in (
                ("", {}),
                ("-no-pca", {"pca": False}),
                ("-true-centres", {"true_centres": True}),
                ("-true-centres-no-pca", {"true_centres": True, "pca": False}),
            )
            for depth in (1, 2, 4, 5)
        },
        "shape-cascade-start-02": {"start_noise": 0.02},
        "shape-cascade-start-04": {"start_noise": 0.04},
    }
    smoke: ClassVar = {
        "backbone_name": "test_efficientnet",
        "input_size": (64, 64),
        "region": (16, 32),
        "region_input": (16, 16),
        "roi": (32, 32),
        "corner_region": (16, 16),
    }
    depth: int
    true_centres: bool
    start_noise: float
    roi: tuple[int, int]
    decay: float
    beta: float

    def __init__(
        self,
        schema: LandmarkSchema,
        depth: int = 3,
        pca: bool = True,
        components: int = 8,
        corner_components: int = 6,
        ungrouped_components: int = 24,
        true_centres: bool = False,
        start_noise: float = 0.0,
        backbone_name: str = "mobilenetv2_100",
        stem_kernel: int = 1,
        input_size: tuple[int, int] = (680, 560),
        region: Size = (80, 192),
        region_input: tuple[int, int] = (48, 80),
        roi: Size = (80, 96),
        corner_region: Size = (48, 48),
        epochs: int = 8,
        batch_size: int = 1,
        lr: float = 5e-4,
        decay: float = 0.5,
        beta: float = 1e-3,
    ) -> None:
        super().__init__(schema)
        found = group_classes(schema)
        self.groups = tuple(kind for kind in found if len(kind[0]) > 1)
        self.structures = tuple(structure for kind in found for structure in kind)  # groups first
        self.owner = [next(s for s, names in enumerate(self.structures) if k in names) for k in range(len(schema))]
        kept = (components if self.groups else ungrouped_components) if pca else 0
        nets = (depth, backbone_name, stem_kernel)
        self.centres = Cascade(self.input_size, (region, region_input), len(self.structures), kept, *nets)
        kept, regions = corner_components if pca else 0, (corner_region, corner_region)
        self.corners = nn.ModuleList(Cascade(self.roi, regions, len(kind[0]), kept, *nets) for kind in self.groups)
        self._train: Sequence[Sample] = ()

    @property
    def stages(self) -> Sequence[Stage]:
        """One stage per CNN of a step."""
        steps = ("centres", "corners") if self.groups else ("points",)
        return tuple(Stage(f"{step}-{n + 1}", self.epochs) for step in steps for n in range(self.depth))

    @property
    def input_spec(self) -> InputSpec:
        """The whole film in proportion, after CLAHE."""
        equalize = A.CLAHE(clip_limit=(2, 2), tile_grid_size=(8, 8), p=1)
        told = WHOLE_FILM if self.true_centres else None
        return InputSpec(self.input_size, fit="pad", preprocess=(equalize,), oracle_crop=told)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over the stage's own CNNs, halved after each epoch."""
        trained = nn.ModuleList(cascade.stages[self.stage % self.depth] for cascade in self._step())
        optimizer = fused_adam(self, trained.parameters(), self.lr)
        return {"optimizer": optimizer, "lr_scheduler": ExponentialLR(optimizer, self.decay)}

    def prepare(self, train: Sequence[Sample]) -> None:
        """Learn start shapes and axes from the training points alone, as if no stage had moved anything yet.

        That is all for the first stage; a later one learns its axes anew when its turn comes, see `on_train_start`.
        """
        self._train = train
        points = self._both_ways(torch.stack([sample.points for sample in train]))
        centres = self._centres(points)
        around = [self._rois(centres[:, place]).to_crop(points[:, kind]) for kind, place in self._places()]
        shapes = [centres, *(corners.flatten(0, 1) for corners in around)]
        for cascade, true in zip([self.centres, *self.corners], shapes, strict=True):
            for n in range(self.depth):
                cascade.fit(cascade.start, true, n)

    def on_train_start(self) -> None:
        """Learn a later stage's axes from where the trained stages leave the training films (Algorithm 2, line 4).

        A stage that is resumed has them from its checkpoint.
        """
        if self.stage == 0 or self.current_epoch > 0:
            return
        n, found = self.stage % self.depth, []
        for first in range(0, len(self._train), FILMS_AT_ONCE):
            batch = collate(self._train[first : first + FILMS_AT_ONCE])
            lessons = self._lessons(batch.image.to(self.device), batch.points.to(self.device))
            found.append([(lesson.cascade.frozen(lesson.frames, n), lesson.truth) for lesson in lessons])
        for cascade, pairs in zip(self._step(), zip(*found, strict=True), strict=False):
            shapes, truths = (torch.cat(parts) for parts in zip(*pairs, strict=True))
            cascade.fit(shapes, truths, n)

    def loss(self, batch: Batch) -> Tensor:
        """Smooth L1 of the stage's components, for films and their mirror images (Eq. 12)."""
        n = self.stage % self.depth
        lessons = self._lessons(batch.image, batch.points)
        return torch.stack([cascade.loss(frames, truth, n, self.beta) for cascade, frames, truth in lessons]).sum()

    def predict(self, batch: Batch) -> Prediction:
        """Place the centres, then the corners in the RoI round each; a lone landmark is never told."""
        film = grey(batch.image)
        centres = self.centres(film, self._noise(batch))
        points, centres = centres[:, self.owner], self._told(centres, batch.points)
        anchors = centres[:, self.owner]
        for (kind, place), cascade in zip(self._places(), self.corners, strict=True):
            rois = self._rois(centres[:, place])
            corners = cascade(_frames(rois, film)).unflatten(0, rois.centre.shape[:2])
            points[:, kind] = rois.to_film(corners)
        return Prediction(points, centres=anchors)

    def _step(self) -> list[Cascade]:
        """Return the cascades of the current stage's step."""
        return [self.centres] if self.stage < self.depth else [cast(Cascade, cascade) for cascade in self.corners]

    def _lessons(self, image: Tensor, points: Tensor) -> list[Lesson]:
        """Return what each cascade of the current step is shown and should answer, both ways round."""
        film, points = grey(image), self._both_ways(points)
        film = torch.cat([film, film.flip(-1)]) if self.schema.flips else film
        if self.stage < self.depth:
            return [Lesson(self.centres, film, self._centres(points))]
        centres = self._told(self.centres.frozen(film), points)
        lessons = []
        for (kind, place), cascade in zip(self._places(), self._step(), strict=True):
            rois = self._rois(centres[:, place])
            truth = rois.to_crop(points[:, kind])
            lessons.append(Lesson(cascade, _frames(rois, film), truth.flatten(0, 1)))
        return lessons

    def _places(self) -> list[tuple[GroupClass, slice]]:
        """Return each kind of group with its place among the structures."""
        ends = list(accumulate(len(kind) for kind in self.groups))
        return [(kind, slice(end - len(kind), end)) for kind, end in zip(self.groups, ends, strict=True)]

    def _rois(self, centres: Float[Tensor, "batch group 2"]) -> Crops:
        return Crops.of_size(centres, self.roi)

    def _told(self, centres: Tensor, points: Tensor) -> Float[Tensor, "batch structure 2"]:
        """Replace found centres by the true ones where `true_centres` says so and they are known."""
        true = self._centres(points)
        return torch.where(true.isfinite(), true, centres) if self.true_centres else centres

    def _centres(self, points: Float[Tensor, "batch landmark 2"]) -> Float[Tensor, "batch structure 2"]:
        """Return the mean of each structure's landmarks, NaN where one is missing."""
        return torch.stack([points[:, structure].mean(dim=1) for structure in self.structures], dim=1)

    def _both_ways(self, points: Float[Tensor, "batch landmark 2"]) -> Float[Tensor, "films landmark 2"]:
        """Append the points of the mirrored films, left and right names exchanged, if the schema has such pairs."""
        if not self.schema.flips:
            return points
        x, y = points[:, self.schema.flip_index].unbind(dim=-1)
        return torch.cat([points, torch.stack([self.input_size[1] - 1 - x, y], dim=-1)])

    def _noise(self, batch: Batch) -> Tensor | float:
        """Return by how many pixels each case's start is perturbed."""
        if not self.start_noise:
            return 0.0
        draws = [torch.Generator().manual_seed(zlib.crc32(case.encode())) for case in batch.case]
        noise = torch.stack([torch.randn(len(self.structures), 2, generator=draw) for draw in draws])
        return self.start_noise * self.input_size[0] * noise.to(batch.image.device)


class Lesson(NamedTuple):
    """What a cascade is shown and should answer: frames, and true shapes in their pixels."""

    cascade: Cascade
    frames: Float[Tensor, "frame 1 height width"]
    truth: Float[Tensor, "frame point 2"]


def _frames(rois: Crops, film: Tensor) -> Float[Tensor, "roi 1 height width"]:
    """Read regions of interest, one after the other, as films of one channel."""
    return rois.cut(film).flatten(0, 1)[:, None]
