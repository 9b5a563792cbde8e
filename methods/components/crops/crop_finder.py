"""Where the crops of a film's structures lie: round their true landmarks, or where a detector sees them."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from methods.base import Batch
from methods.components.crops.box_detector import BoxDetector
from methods.components.crops.crop_layout import CropLayout
from methods.components.crops.crops import Crops

CropSource = Literal["detector", "oracle"]


class CropFinder(nn.Module):
    """Finds one upright crop per structure: the box of its landmarks with a margin.

    A film without groups is one crop. Otherwise boxes come from the true landmarks in training and, at test time, from
    the detector; without a detector, from the true landmarks there, too.

    Args:
        layout: Which landmarks each crop holds.
        landmarks: How many there are.
        grouped: Whether the structures are parts of the film; otherwise the film is the crop.
        margin: Share of a box's sides by which each edge moves outwards.
        smallest: The least side of a box in pixels.
        detector: Finds the boxes; None where nothing has to be found.
    """

    shape: Tensor
    floor: Tensor

    def __init__(
        self,
        layout: CropLayout,
        landmarks: int,
        *,
        grouped: bool,
        margin: float,
        smallest: float,
        detector: BoxDetector | None,
    ) -> None:
        super().__init__()
        self.layout, self.grouped, self.margin, self.smallest = layout, grouped, margin, smallest
        self.detector = detector
        self.register_buffer("shape", torch.zeros(landmarks, 2))
        self.register_buffer("floor", torch.ones(2))

    def fit(self, points: Float[Tensor, "film landmark 2"]) -> None:
        """Learn the mean shape and how large structures are from the training films' landmarks (NaN where missing)."""
        self.shape.copy_(points.nanmean(dim=0).nan_to_num())
        boxes = self._boxes(points)
        self.floor.copy_((boxes.size.mean(dim=(0, 1)) / 2).clamp(min=self.smallest))
        if self.detector is not None:
            self.detector.fit(self.boxes(points))

    def boxes(self, points: Float[Tensor, "film landmark 2"]) -> Crops:
        """Return the box of each structure's landmarks, no smaller than half of the mean box.

        The mean shape, shifted to the visible landmarks, stands for missing ones.
        """
        boxes = self._boxes(points)
        return boxes._replace(size=boxes.size.maximum(self.floor))

    def true(self, points: Float[Tensor, "film landmark 2"], film: Tensor, jitter: bool = False) -> Crops:
        """Return the crops round the true landmarks, in training with random margins (`jitter`)."""
        if not self.grouped:
            return Crops.whole(film)
        boxes = self.boxes(points)
        if not jitter:
            return boxes.widen(self.margin, self.margin)
        before, behind = (self.margin * (0.4 + 1.2 * torch.rand_like(boxes.size)) for _ in range(2))
        return boxes.widen(before, behind)

    def find(self, batch: Batch) -> Crops:
        """Return the crops of films to predict."""
        if self.detector is None:
            return self.true(batch.points, batch.image)
        return self.detector.predict(batch.image).widen(self.margin, self.margin)

    def loss(self, batch: Batch) -> Float[Tensor, ""]:
        """Return the detector's loss; structures with a missing landmark do not count.

        Raises:
            ValueError: There is no detector.
        """
        if self.detector is None:
            raise ValueError("these crops are not found by a detector, so there is nothing to train.")
        known = torch.stack([batch.visible[:, list(s)].all(dim=1) for s in self.layout.structures], dim=1)
        return self.detector.loss(batch.image, self.boxes(batch.points), known)

    def of_landmarks(self, crops: Crops) -> Crops:
        """Return the crop of each landmark."""
        return crops.pick(self.layout.structure_of)

    def _boxes(self, points: Float[Tensor, "film landmark 2"]) -> Crops:
        visible = points.isfinite().all(dim=-1, keepdim=True)
        shift = (points - self.shape).nan_to_num().sum(dim=1, keepdim=True)
        shift = shift / visible.sum(dim=1, keepdim=True).clamp(min=1)
        full = torch.where(visible, points, self.shape + shift)
        members = [full[:, list(structure)] for structure in self.layout.structures]
        low, high = (
            torch.stack(corners, dim=1)
            for corners in zip(*((each.amin(dim=1), each.amax(dim=1)) for each in members), strict=True)
        )
        return Crops.between(low, high)
