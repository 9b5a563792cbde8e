"""The forest that a checkpoint keeps answers as scikit-learn's does."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.ensemble import RandomForestRegressor

from benchmark.contract.tiny_films import make_samples
from datamodules.base import LandmarkSchema
from datamodules.components.samples import collate
from methods.random_forest import RandomForest, _round_down


def _forest(schema: LandmarkSchema) -> RandomForest:
    torch.manual_seed(5)
    return RandomForest(schema, input_size=(32, 32), components=6, trees=7, max_leaves=6, min_films=1)


def test_it_answers_as_scikit_learns_forest(schema: LandmarkSchema) -> None:
    method = _forest(schema)
    samples = make_samples(method, count=14, missing=0.0)
    method.prepare(samples[:10])
    batch = collate(samples)
    features = method.features(batch.image).numpy()
    targets = batch.points.flatten(1).numpy()
    reference = RandomForestRegressor(
        7, max_depth=16, max_leaf_nodes=6, min_samples_leaf=1, max_features=1 / 3, random_state=5
    ).fit(features[:10], targets[:10])
    np.testing.assert_allclose(method.predict(batch).points.flatten(1), reference.predict(features), rtol=1e-5)


def test_its_covariance_is_the_disagreement_of_the_trees(schema: LandmarkSchema) -> None:
    method = _forest(schema)
    samples = make_samples(method, count=8, missing=0.0)
    method.prepare(samples)
    covariance = method.predict(collate(samples)).covariance
    method.answer.copy_(method.answer[:1].expand_as(method.answer))
    for buffer in (method.below, method.feature, method.threshold):
        buffer.copy_(buffer[:1].expand_as(buffer))
    unanimous = method.predict(collate(samples)).covariance
    assert covariance is not None
    assert unanimous is not None
    torch.testing.assert_close(unanimous, torch.eye(2).expand_as(unanimous) / 12)
    assert (covariance.diagonal(dim1=-2, dim2=-1) > 1 / 12).all()


def test_a_landmark_that_no_film_shows_is_put_in_the_centre(schema: LandmarkSchema) -> None:
    method = _forest(schema)
    samples = [s._replace(points=s.points.index_fill(0, torch.tensor([0]), torch.nan)) for s in make_samples(method)]
    method.prepare(samples)
    assert (method.predict(collate(samples)).points[:, 0] == 15.5).all()


def test_thresholds_are_rounded_towards_the_lower_side() -> None:
    low = np.float32(0.1)
    between = (np.float64(low) + np.float64(np.nextafter(low, np.float32(1)))) / 2
    thresholds = np.array([between, np.float64(low), -between])
    rounded = _round_down(thresholds)
    assert (rounded <= thresholds).all()
    np.testing.assert_array_equal(rounded[:2], low)
