"""The machines that a checkpoint keeps answer as scikit-learn's do, and HOG is what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.svm import SVR

from benchmark.contract.tiny_films import make_samples
from datamodules.base import LandmarkSchema
from datamodules.components.samples import collate
from methods.components.images.hog import FilmFeatures, hog
from methods.svr import SupportVectorRegression


def _svr(schema: LandmarkSchema, shape_components: int = 0, max_films: int = 32) -> SupportVectorRegression:
    return SupportVectorRegression(schema, (32, 32), 6, shape_components, max_films, c=10.0)


def test_it_answers_as_scikit_learns_machines(schema: LandmarkSchema) -> None:
    method = _svr(schema)
    samples = make_samples(method, count=14, missing=0.2)
    method.prepare(samples[:10])
    batch = collate(samples)
    features = method.features(batch.image).double().numpy()
    predicted = method.predict(batch).points.flatten(1).double().numpy()
    for coordinate, column in enumerate(batch.points.flatten(1).double().numpy().T):
        known = np.flatnonzero(np.isfinite(column[:10]))
        mean, spread = column[known].mean(), column[known].std()
        machine = SVR(gamma=1 / 6, C=10.0).fit(features[known], (column[known] - mean) / spread)
        np.testing.assert_allclose(
            predicted[:, coordinate], machine.predict(features) * spread + mean, atol=0.02
        )  # libsvm stops at 1e-3


def test_structured_outputs_stay_in_the_space_of_the_training_shapes(schema: LandmarkSchema) -> None:
    method = _svr(schema, shape_components=3)
    samples = make_samples(method, count=10, missing=0.0)
    method.prepare(samples)
    shapes = method.predict(collate(samples)).points.flatten(1) - method.mean
    assert torch.linalg.matrix_rank(shapes, atol=1e-3) == 3


def test_more_films_than_it_keeps_are_thinned_out_evenly(schema: LandmarkSchema) -> None:
    method = _svr(schema, max_films=4)
    samples = make_samples(method, count=10)
    method.prepare(samples)
    expected = method.features(collate([samples[i] for i in (0, 3, 6, 9)]).image)
    torch.testing.assert_close(method.support, expected)


def test_one_film_or_a_landmark_in_one_film_gives_the_mean(schema: LandmarkSchema) -> None:
    for shape_components in (0, 3):
        method = _svr(schema, shape_components)
        samples = make_samples(method, count=1, missing=0.0)
        method.prepare(samples)
        torch.testing.assert_close(method.predict(collate(samples)).points[0], samples[0].points)


def test_hog_is_the_textbooks() -> None:
    film = torch.randint(0, 256, (1, 1, 24, 16), dtype=torch.uint8)
    torch.testing.assert_close(
        hog(film)[0].double().numpy(), _textbook_hog(film[0, 0].numpy() / 255), atol=1e-5, rtol=0
    )


def _textbook_hog(film: np.ndarray) -> np.ndarray:
    """Pixel by pixel; a block's 36 numbers are listed orientation by orientation."""
    padded, (height, width) = np.pad(film, 1, mode="edge"), film.shape
    cells = np.zeros((height // 8, width // 8, 9))
    for row, column in np.ndindex(film.shape):
        dy = (padded[row + 2, column + 1] - padded[row, column + 1]) / 2
        dx = (padded[row + 1, column + 2] - padded[row + 1, column]) / 2
        place = math.atan2(dy, dx) % math.pi / (math.pi / 9) - 0.5
        for orientation in (math.floor(place), math.floor(place) + 1):
            share = 1 - abs(place - orientation)
            cells[row // 8, column // 8, orientation % 9] += math.hypot(dx, dy) * share / 64
    corners = [(r, c) for r in range(height // 8 - 1) for c in range(width // 8 - 1)]
    blocks = [cells[r : r + 2, c : c + 2].transpose(2, 0, 1).ravel() for r, c in corners]
    clipped = [np.minimum(block / np.linalg.norm(block), 0.2) for block in blocks]
    return np.stack([block / np.linalg.norm(block) for block in clipped], axis=1).ravel()


def test_hog_does_not_see_brightness_or_contrast() -> None:
    film = torch.randint(0, 100, (1, 1, 16, 16), dtype=torch.uint8)
    torch.testing.assert_close(hog(film), hog(2 * film + 30), atol=1e-4, rtol=0)


def test_fitted_features_are_uncorrelated_with_unit_variance() -> None:
    films = torch.randint(0, 256, (12, 1, 16, 16), dtype=torch.uint8)
    features = FilmFeatures((16, 16), 5).fit(films)
    torch.testing.assert_close(features.T.cov(), torch.eye(5), atol=1e-4, rtol=0)


def test_a_size_that_holds_no_whole_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="divide by 8"):
        FilmFeatures((30, 32), 4)
