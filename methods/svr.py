"""svr: support vector regression of all coordinates from a film's HOG, the rival of Sun et al., IPMI 2017."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from sklearn.decomposition import PCA
from sklearn.svm import SVR
from torch import Tensor
from typing_extensions import override

from methods.base import Batch, FittedMethod, LandmarkSchema, Paper, Prediction, Sample
from methods.components.images.hog import FilmFeatures


class SupportVectorRegression(FittedMethod):
    """One RBF support vector machine per output, on the principal components of the film's HOG.

    In `svr` the outputs are the coordinates, each for itself. In `svr-structured` they are the principal components of
    the training shapes, so that landmarks share what is learnt, as in the multi-output S2VR of Sun et al. Fitted by
    scikit-learn in `prepare`; what a checkpoint keeps are the support vectors, padded to `max_films`.
    """

    paper = Paper(
        "Direct Estimation of Spinal Cobb Angles by Structured Multi-output Regression",
        "Sun et al.",
        2017,
        "https://doi.org/10.1007/978-3-319-59050-9_42",
        differs=(
            "S2VR's joint optimisation with its manifold penalty is not repeated: outputs are fitted one by one.",
            "`svr-structured` stands in for its structured outputs by the principal components of the shapes.",
            "The kernel is an RBF on 64 principal components of HOG, its width and C are scikit-learn's defaults.",
        ),
    )
    variants: ClassVar = {"svr": {}, "svr-structured": {"shape_components": 16}}
    smoke: ClassVar = {"input_size": (32, 32), "components": 4, "max_films": 16}
    mean: Tensor
    basis: Tensor
    support: Tensor
    dual: Tensor
    intercept: Tensor
    shape_components: int
    max_films: int
    c: float
    epsilon: float

    def __init__(
        self,
        schema: LandmarkSchema,
        input_size: tuple[int, int] = (128, 128),
        components: int = 64,
        shape_components: int = 0,
        max_films: int = 1024,
        c: float = 1.0,
        epsilon: float = 0.1,
    ) -> None:
        super().__init__(schema)
        self.gamma = 1 / components
        self.features = FilmFeatures(self.input_size, components)
        coordinates = 2 * len(schema)
        outputs = shape_components or coordinates
        self.register_buffer("mean", torch.zeros(coordinates))
        self.register_buffer("basis", torch.zeros(outputs, coordinates))
        self.register_buffer("support", torch.zeros(max_films, components))
        self.register_buffer("dual", torch.zeros(max_films, outputs))
        self.register_buffer("intercept", torch.zeros(outputs))

    @override
    def prepare(self, train: Sequence[Sample]) -> None:
        """Fit features, outputs and machines on the training films, at most on `max_films` evenly spread ones."""
        spread = np.linspace(0, len(train) - 1, min(len(train), self.max_films)).round().astype(int)
        chosen = [train[index] for index in spread]
        features = self.features.fit(torch.stack([sample.image for sample in chosen]))
        targets = self._fit_outputs(torch.stack([sample.points for sample in chosen]))
        for buffer in (self.support, self.dual, self.intercept):
            buffer.zero_()
        self.support[: len(chosen)] = features
        for output, target in enumerate(targets.T):
            self._fit_machine(output, features.double().numpy(), target)

    def _fit_outputs(self, points: Float[Tensor, "film landmark 2"]) -> np.ndarray:
        """Choose mean and basis of the outputs; return each film's outputs, of unit variance, NaN where missing."""
        self.mean.copy_(self.mean_shape(points).flatten())
        centred = (points.flatten(1) - self.mean).double().numpy()
        self.basis.zero_()
        if self.shape_components:
            return self._fit_shapes(np.nan_to_num(centred))
        known = np.isfinite(centred).sum(axis=0).clip(min=1)
        spread = np.sqrt(np.nansum(centred**2, axis=0) / known) + 1e-6
        self.basis.copy_(torch.from_numpy(np.diag(spread)))
        return np.asarray(centred / spread)

    def _fit_shapes(self, shapes: Float[np.ndarray, "film coordinate"]) -> np.ndarray:
        """Take the shapes' principal components for the outputs, as many as the films allow."""
        count = min(self.shape_components, len(shapes) - 1, shapes.shape[1])
        if count < 1:
            return np.zeros((len(shapes), 0))
        pca = PCA(count, svd_solver="full").fit(shapes)
        spread = np.sqrt(pca.explained_variance_) + 1e-6
        self.basis[:count] = torch.from_numpy(spread[:, None] * pca.components_)
        return np.asarray(pca.transform(shapes) / spread)

    def _fit_machine(self, output: int, features: np.ndarray, target: np.ndarray) -> None:
        """Fit one output on the films that have it; with fewer than two its mean stays."""
        known = np.flatnonzero(np.isfinite(target))
        if len(known) < 2:
            return
        machine = SVR(kernel="rbf", gamma=self.gamma, C=self.c, epsilon=self.epsilon)
        machine.fit(features[known], target[known])
        self.dual[torch.from_numpy(known[machine.support_]), output] = torch.from_numpy(machine.dual_coef_[0]).float()
        self.intercept[output] = float(machine.intercept_[0])

    @override
    def predict(self, batch: Batch) -> Prediction:
        """Sum the kernels over the support vectors, in full precision under autocast too."""
        features: Tensor = self.features(batch.image)
        with torch.autocast(batch.image.device.type, enabled=False):
            distance = torch.cdist(features, self.support, compute_mode="donot_use_mm_for_euclid_dist")
            outputs = torch.exp(-self.gamma * distance**2) @ self.dual + self.intercept
            points = self.mean + outputs @ self.basis
        return Prediction(points.view(points.shape[0], -1, 2))
