"""BoostNet (Wu et al., "Automatic Landmark Estimation for Adolescent Idiopathic Scoliosis ...", MICCAI 2017)."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear

from methods.base import Batch, LandmarkSchema, Paper
from methods.components.bases.coordinates import CoordinateMethod
from methods.components.images.intensity import grey
from methods.components.losses import l2
from methods.components.optim import Schedule
from methods.components.structures.group_classes import group_classes

BLOCKS = (1, 2, 4, 8, 8)


class BoostNet(CoordinateMethod):
    """Convolutions, a BoostLayer that takes outlier features out, and an output layer that knows the spine's structure.

    The BoostLayer reconstructs its features; one that differs too much from its reconstruction is an outlier and is
    replaced by it. The structured output lets each landmark depend on its neighbours alone: the other corners of its
    vertebra and the same corner of the vertebrae above and below. Landmarks of no group depend on one another by the
    schema's edges, and all on all where there are none.
    """

    paper = Paper(
        "Automatic Landmark Estimation for Adolescent Idiopathic Scoliosis Assessment Using BoostNet",
        "Wu et al.",
        2017,
        "https://doi.org/10.1007/978-3-319-66182-7_15",
        differs=(
            "Of the paper only the abstract was at hand: input size, sizes of layers and training are assumed.",
            "The BoostLayer is a tied-weight autoencoder; an outlier lies beyond twice the running deviation of its "
            "feature's reconstruction error, and that error is trained along.",
            "The structured output is a K x K matrix, zero between landmarks that are not neighbours, the identity at "
            "first, shared by x and y.",
            "Training starts at the mean shape of the training films.",
        ),
    )
    variants: ClassVar = {"boostnet": {}}
    smoke: ClassVar = {"width": 4, "features": 32, "input_size": (64, 64), "lr": 1e-3}
    reconstruction_weight: float

    def __init__(
        self,
        schema: LandmarkSchema,
        width: int = 32,
        features: int = 1024,
        dropout: float = 0.25,
        tolerance: float = 2.0,
        reconstruction_weight: float = 1e-3,
        input_size: tuple[int, int] = (256, 128),
        epochs: int = 150,
        batch_size: int = 16,
        lr: float = 3e-4,
        schedule: Schedule = "cosine",
        rotation: float = 10,
    ) -> None:
        super().__init__(schema)
        cells = (input_size[0] // 2 ** len(BLOCKS)) * (input_size[1] // 2 ** len(BLOCKS))
        self.encoder = nn.Sequential(
            *(_block(before, after) for before, after in pairwise([1, *(width * times for times in BLOCKS)])),
            *(nn.Flatten(), nn.Dropout(dropout)),
            *(nn.Linear(width * BLOCKS[-1] * cells, features), nn.BatchNorm1d(features), nn.ReLU(inplace=True)),
        )
        self.boost = BoostLayer(features, tolerance)
        self.head = nn.Linear(features, 2 * len(schema))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.structure = StructuredOutput(neighbours(schema))

    def forward(self, batch: Batch) -> Float[Tensor, "batch landmark 2"]:
        """Return each landmark as a fraction of the film's width and height."""
        return self._locate(self.boost(self.encoder(grey(batch.image))))

    def _locate(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch landmark 2"]:
        offsets: Tensor = self.structure(self.head(features).float().unflatten(1, (-1, 2)))
        return self.mean + offsets

    def loss(self, batch: Batch) -> Tensor:
        """L2 of the normalised coordinates, and of the BoostLayer's reconstruction on films with a landmark."""
        features = self.encoder(grey(batch.image))
        places = l2(self._locate(self.boost(features)), self.to_fractions(batch.points), batch.visible)
        labelled = batch.visible.any(dim=1, keepdim=True).expand_as(features)
        error = l2(self.boost.reconstruct(features.detach()), features.detach(), labelled)
        return places + self.reconstruction_weight * error


class BoostLayer(nn.Module):
    """Replaces outlier features by their reconstruction.

    Args:
        features: How many.
        tolerance: Running standard deviations of a feature's reconstruction error beyond which it is an outlier.
    """

    deviation: Tensor

    def __init__(self, features: int, tolerance: float, momentum: float = 0.1) -> None:
        super().__init__()
        self.tolerance, self.momentum = tolerance, momentum
        self.encode = nn.Linear(features, features // 4)
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))

    def reconstruct(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
        """Encode features and decode them by the same weights, transposed."""
        return linear(torch.relu(self.encode(features)), self.encode.weight.T, self.bias)

    def forward(self, features: Float[Tensor, "batch feature"]) -> Float[Tensor, "batch feature"]:
        """Return the features without their outliers; in training, follow the errors' deviation."""
        rebuilt = self.reconstruct(features)
        error = (features - rebuilt).detach().float()
        if self.training:
            self.deviation.lerp_((error**2).mean(dim=0).sqrt(), self.momentum)
        return torch.where(error.abs() > self.tolerance * self.deviation, rebuilt, features)


class StructuredOutput(nn.Module):
    """A linear layer over landmarks that is zero between those that are not neighbours; the identity at first."""

    linked: Tensor

    def __init__(self, linked: Bool[Tensor, "landmark landmark"]) -> None:
        super().__init__()
        self.register_buffer("linked", linked)
        self.weight = nn.Parameter(torch.eye(len(linked)))

    def forward(self, points: Float[Tensor, "batch landmark 2"]) -> Float[Tensor, "batch landmark 2"]:
        """Let each landmark depend on its neighbours."""
        return torch.matmul(self.weight * self.linked, points)


def neighbours(schema: LandmarkSchema) -> Bool[Tensor, "landmark landmark"]:
    """Return which landmarks depend on one another: symmetric, every landmark on itself.

    Neighbours stand in one group, in the same slot of groups that follow each other, or at the ends of an edge.
    """
    linked = torch.eye(len(schema), dtype=torch.bool)
    for kind in group_classes(schema):
        for group in kind:
            linked[torch.tensor(group)[:, None], torch.tensor(group)] = True
        for upper, lower in pairwise(kind):
            linked[upper, lower] = True
    for ends in schema.edges:
        linked[schema.index(ends)] = True
    if not schema.groups and not schema.edges:
        linked[:] = True
    return linked | linked.T


def _block(before: int, after: int) -> nn.Sequential:
    """3x3 convolution, BatchNorm, ReLU, 2x2 max-pooling."""
    conv = nn.Conv2d(before, after, kernel_size=3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True), nn.MaxPool2d(2))
