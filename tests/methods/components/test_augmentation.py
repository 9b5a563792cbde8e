"""Augmentation that several methods share: landmarks stay on the film, and only what has a mirror image is mirrored."""

from __future__ import annotations

import albumentations as A
import numpy as np
import pytest
import torch

from datamodules.base import LandmarkSchema
from datamodules.components.transforms import Augmentation, InputSpec
from methods.base import Augmentation as Steps
from methods.components.augmentation import NodeElastic, mirror, payer

SIDE = 160
POINTS = np.array([[50.0, 60.0], [110.0, 55.0], [80.0, 100.0], [np.nan, np.nan]])


def film() -> np.ndarray:
    """A dark film with a bright disc of radius 5 at each point."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = np.zeros((SIDE, SIDE), np.uint8)
    for x, y in POINTS[:3]:
        image[np.hypot(columns - x, rows - y) <= 5] = 255
    return image


def moved(steps: Steps, draws: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Films and points after some draws."""
    torch.manual_seed(0)
    augment = Augmentation(InputSpec((SIDE, SIDE), augment=steps), (0, 1, 2, 3))
    return [augment(film(), POINTS)[:2] for _ in range(draws)]


@pytest.mark.parametrize("steps", [payer((SIDE, SIDE))[:3], (NodeElastic(nodes=5, reach=8, p=1),)])
def test_points_stay_on_their_discs_and_missing_ones_missing(steps: Steps) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for image, points in moved(steps, draws=20):
        assert np.isnan(points[3]).all()
        for x, y in points[:3]:
            near = np.hypot(columns - x, rows - y) <= 12
            if 12 <= x < SIDE - 12 and 12 <= y < SIDE - 12:
                weight = image * near / (image * near).sum()
                assert np.hypot((weight * columns).sum() - x, (weight * rows).sum() - y) < 1


def test_an_elastic_node_moves_a_film_by_its_reach_at_most_and_does_move_it() -> None:
    distances = [np.abs(points[:3] - POINTS[:3]).max() for _, points in moved((NodeElastic(5, reach=8, p=1),), 20)]
    assert 2 < max(distances) <= 8


def test_payers_shift_is_ten_pixels_of_a_width_of_512() -> None:
    affine = payer((1024, 256))[0]
    assert isinstance(affine, A.Affine)
    assert affine.translate_percent == {"x": (-5 / 256, 5 / 256), "y": (-5 / 1024, 5 / 1024)}
    assert affine.rotate == pytest.approx((-14.3239, 14.3239), abs=1e-3)


def test_only_a_schema_with_left_and_right_is_mirrored() -> None:
    assert mirror(LandmarkSchema(("sella", "nasion"))) == ()
    (flip,) = mirror(LandmarkSchema(("left", "right"), flips=(("left", "right"),)))
    assert isinstance(flip, A.HorizontalFlip)
