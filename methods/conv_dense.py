"""conv-dense: a classification network's convolutions and dense layers that regress all coordinates at once."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from methods.base import Batch, LandmarkSchema, Paper
from methods.components.bases.coordinates import CoordinateMethod
from methods.components.images.intensity import imagenet
from methods.components.networks.backbones import Weights, film_statistics
from methods.components.networks.feature_pyramid import FeaturePyramid
from methods.components.optim import Schedule


class ConvDense(CoordinateMethod):
    """The rival "conv with dense" of the spinal papers: VGG's convolutions, two dense layers, 2K coordinates.

    Its features are flattened, not averaged, so that the dense layers know where in the film something is.
    """

    paper = Paper(
        "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        "Simonyan and Zisserman",
        2015,
        "https://arxiv.org/abs/1409.1556",
        differs=(
            "The papers that report this rival name it and cite VGG; they state neither its layers nor its training.",
            "Features are pooled to 4x4 cells and feed two dense layers of 2048, as those of an angle regressor in the "
            "public code of SLSN's first author (zc402/Scoliosis); the convolutions have BatchNorm.",
            "The convolutions start at random unless weights=imagenet.",
            "The last layer starts at zero and predicts offsets from the mean training shape.",
        ),
    )
    variants: ClassVar = {"conv-dense": {}, "conv-dense-densenet121": {"backbone_name": "densenet121.tv_in1k"}}
    smoke: ClassVar = {"backbone_name": "test_resnet", "dense": 32, "input_size": (64, 64), "lr": 1e-3}

    def __init__(
        self,
        schema: LandmarkSchema,
        backbone_name: str = "vgg16_bn",
        cells: int = 4,
        dense: int = 2048,
        dropout: float = 0.5,
        input_size: tuple[int, int] = (256, 128),
        epochs: int = 150,
        batch_size: int = 16,
        lr: float = 1e-4,
        schedule: Schedule = "cosine",
        rotation: float = 10,
        weights: Weights = "none",
    ) -> None:
        super().__init__(schema)
        self.statistics = film_statistics(backbone_name, weights)
        self.encoder = FeaturePyramid(backbone_name, weights)
        self.dense = nn.Sequential(
            nn.AdaptiveAvgPool2d(cells),
            nn.Flatten(),
            *(nn.Linear(self.encoder.channels[-1] * cells**2, dense), nn.ReLU(inplace=True), nn.Dropout(dropout)),
            *(nn.Linear(dense, dense), nn.ReLU(inplace=True), nn.Dropout(dropout)),
        )
        self.head = nn.Linear(dense, 2 * len(schema))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, batch: Batch) -> Float[Tensor, "batch landmark 2"]:
        """Return each landmark as a fraction of the film's width and height."""
        features = torch.relu(self.encoder(imagenet(batch.image, self.statistics))[-1])
        offsets: Tensor = self.head(self.dense(features)).float().unflatten(1, (-1, 2))
        return self.mean + offsets
