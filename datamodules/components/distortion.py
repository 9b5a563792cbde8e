"""Landmarks under distortions that are not affine: albumentations' own way loses points and rounds the others.

Its distortions (elastic, optical, grid, thin plate, piecewise affine) are maps that say for each pixel of the new image
which place of the old one it shows. A landmark moves the other way: the map is inverted at the landmark, to a fraction
of a pixel.
"""

from __future__ import annotations

import copy
from typing import Any

import albumentations as A
import numpy as np
from albumentations.augmentations.geometric.distortion import BaseDistortion
from jaxtyping import Float

STRIDE = 4
"""Pixels between the places of the map that are searched for a start."""
ROUNDS = 12
"""Of Newton's method; each moves a point by `STRIDE` pixels at most."""


def with_exact_points(step: A.BasicTransform | A.BaseCompose) -> A.BasicTransform | A.BaseCompose:
    """Return a copy of an augmentation step whose distortions move landmarks exactly and lose none."""
    step = copy.copy(step)
    if isinstance(step, BaseDistortion):
        step.apply_to_keypoints = _move
        step._set_keys()  # albumentations looks the function up once
    if isinstance(step, A.BaseCompose):
        step.transforms = [with_exact_points(inner) for inner in step.transforms]
    return step


def _move(
    keypoints: Float[np.ndarray, "point column"],
    map_x: Float[np.ndarray, "height width"],
    map_y: Float[np.ndarray, "height width"],
    **params: Any,  # noqa: ANN401  # albumentations'
) -> Float[np.ndarray, "point column"]:
    """Return keypoints with their first two columns, x and y, moved; albumentations keeps more in the others."""
    return np.concatenate([invert_map(np.stack([map_x, map_y], axis=2), keypoints[:, :2]), keypoints[:, 2:]], axis=1)


def invert_map(
    places: Float[np.ndarray, "height width 2"], points: Float[np.ndarray, "point 2"]
) -> Float[np.ndarray, "point 2"]:
    """Return where the new image shows what the old one has under `points`.

    Beyond its edges the map goes on with the displacement of the nearest edge pixel, so that every point has an answer.
    Where a map folds over itself it is one of several.

    Args:
        places: (x, y) of the old image that each pixel of the new one shows.
        points: (x, y) in the old image.

    Returns:
        (x, y) in the new image, where `places` is `points`.
    """
    places = places.astype(np.float32)
    coarse = places[::STRIDE, ::STRIDE]
    starts = [np.unravel_index(((coarse - point) ** 2).sum(axis=2).argmin(), coarse.shape[:2]) for point in points]
    at = STRIDE * np.array(starts, np.float64).reshape(-1, 2)[:, ::-1]
    best, least = at, np.full(len(points), np.inf)
    for _ in range(ROUNDS):
        miss = points - _sample(places, at)
        distance = np.linalg.norm(miss, axis=1)
        best = np.where((distance < least)[:, None], at, best)
        least = np.minimum(distance, least)
        slopes = [_sample(places, at + half) - _sample(places, at - half) for half in (np.array([0.5, 0]), [0, 0.5])]
        steps = (np.linalg.pinv(np.stack(slopes, axis=2)) @ miss[..., None])[..., 0]
        at = at + np.clip(steps, -STRIDE, STRIDE)
    return best


def _sample(
    places: Float[np.ndarray, "height width 2"], at: Float[np.ndarray, "point 2"]
) -> Float[np.ndarray, "point 2"]:
    """Return the map between its pixels; beyond its edges with the displacement of the nearest edge pixel."""
    height, width = places.shape[:2]
    inside = np.clip(at, 0, (width - 1, height - 1))
    low = np.minimum(inside.astype(int), (max(width - 2, 0), max(height - 2, 0)))
    (x, y), (right, down) = low.T, (inside - low).T[..., None]
    above = places[y, x] * (1 - right) + places[y, np.minimum(x + 1, width - 1)] * right
    y = np.minimum(y + 1, height - 1)
    below = places[y, x] * (1 - right) + places[y, np.minimum(x + 1, width - 1)] * right
    return np.asarray(above * (1 - down) + below * down + (at - inside))
