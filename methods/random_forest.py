"""random_forest: a regression forest from a film's HOG to all coordinates, RFR (Criminisi et al., MCV 2010)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from sklearn.ensemble import RandomForestRegressor
from torch import Tensor
from typing_extensions import override

from methods.base import Batch, FittedMethod, LandmarkSchema, Paper, Prediction, Sample
from methods.components.images.hog import FilmFeatures

PIXEL_VARIANCE = 1 / 12


class RandomForest(FittedMethod):
    """A forest of multi-output regression trees on the principal components of the film's HOG.

    Every tree answers all landmarks at once; the forest's answer is their mean, and the trees' disagreement is its
    covariance. Fitted by scikit-learn in `prepare`; what a checkpoint keeps are the trees, padded to `max_leaves`.
    """

    paper = Paper(
        "Regression Forests for Efficient Anatomy Detection and Localization in CT Studies",
        "Criminisi et al.",
        2010,
        "https://doi.org/10.1007/978-3-642-18421-5_11",
        differs=(
            "One answer per film from global features, not the votes of all pixels: what the papers' tables call RFR "
            "is not described there.",
            "Trees split principal components of HOG, not differences of box means.",
        ),
    )
    variants: ClassVar = {"random_forest": {}}
    smoke: ClassVar = {"input_size": (32, 32), "components": 4, "trees": 5, "max_leaves": 8}
    below: Tensor
    feature: Tensor
    threshold: Tensor
    answer: Tensor
    trees: int
    max_leaves: int
    max_depth: int
    min_films: int

    def __init__(
        self,
        schema: LandmarkSchema,
        input_size: tuple[int, int] = (128, 128),
        components: int = 64,
        trees: int = 100,
        max_leaves: int = 128,
        max_depth: int = 16,
        min_films: int = 3,
    ) -> None:
        super().__init__(schema)
        self.features = FilmFeatures(self.input_size, components)
        nodes = 2 * max_leaves - 1
        self.register_buffer("below", torch.zeros(trees, nodes, 2, dtype=torch.long))
        self.register_buffer("feature", torch.zeros(trees, nodes, dtype=torch.long))
        self.register_buffer("threshold", torch.zeros(trees, nodes))
        self.register_buffer("answer", torch.zeros(trees, nodes, len(schema), 2))

    @override
    def prepare(self, train: Sequence[Sample]) -> None:
        """Grow the forest; a missing landmark counts as at its mean, one that no film shows as in the centre."""
        features = self.features.fit(torch.stack([sample.image for sample in train]))
        forest = RandomForestRegressor(
            self.trees,
            max_depth=self.max_depth,
            max_leaf_nodes=self.max_leaves,
            min_samples_leaf=self.min_films,
            max_features=1 / 3,
            random_state=torch.initial_seed() % 2**32,
        ).fit(features.numpy(), self._targets(train).numpy())
        for number, tree in enumerate(forest.estimators_):
            self._keep(number, tree.tree_)

    def _targets(self, train: Sequence[Sample]) -> Float[Tensor, "film coordinate"]:
        points = torch.stack([sample.points for sample in train])
        return torch.where(points.isnan(), self.mean_shape(points), points).flatten(1)

    def _keep(self, number: int, tree: object) -> None:
        """Copy a tree; a leaf is its own child, so that a walk may stay in it."""
        left, right, feature, threshold, value = (
            np.asarray(getattr(tree, name))
            for name in ("children_left", "children_right", "feature", "threshold", "value")
        )
        count, leaf = len(left), left < 0
        own = np.arange(count)
        below = np.stack([np.where(leaf, own, left), np.where(leaf, own, right)], axis=1)
        self.below[number, :count] = torch.from_numpy(below)
        self.feature[number, :count] = torch.from_numpy(np.where(leaf, 0, feature))
        self.threshold[number, :count] = torch.from_numpy(_round_down(threshold))
        self.answer[number, :count] = torch.from_numpy(value).float().view(count, -1, 2)

    @override
    def predict(self, batch: Batch) -> Prediction:
        """Walk every film down every tree; average the leaves."""
        features: Tensor = self.features(batch.image)
        tree = torch.arange(self.trees, device=features.device).expand(features.shape[0], -1)
        node = torch.zeros_like(tree)
        for _ in range(self.max_depth):
            right = features.gather(1, self.feature[tree, node]) > self.threshold[tree, node]
            node = self.below[tree, node, right.long()]
        answers = self.answer[tree, node]
        points = answers.mean(dim=1)
        return Prediction(points, _disagreement(answers - points[:, None]))


def _disagreement(offset: Float[Tensor, "batch tree landmark 2"]) -> Float[Tensor, "batch landmark 2 2"]:
    """Return the trees' covariance, a pixel's own added so that it is never singular."""
    outer = (offset[..., :, None] * offset[..., None, :]).mean(dim=1)
    return outer + PIXEL_VARIANCE * torch.eye(2, device=offset.device)


def _round_down(threshold: np.ndarray) -> np.ndarray:
    """Return the largest float32 not above each threshold: float32 features fall to the same side of it as of it."""
    single = threshold.astype(np.float32)
    return np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)
