"""Every albumentations transform that takes keypoints: all landmarks come back, in their order, on the film."""

import warnings
from collections.abc import Iterator
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from albumentations.core.transforms_interface import BasicTransform
from albumentations.core.type_definitions import Targets
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.components.distortion import invert_map
from datamodules.components.transforms import Augmentation, InputSpec
from tests.datamodules.conftest import centroid, dots

SIZE = (128, 96)
POINTS = np.array([[26.3, 30.4], [70.2, 28.7], [np.nan, np.nan], [30.1, 96.8], [68.4, 99.2], [48.6, 62.5]])
OUTSIDE = np.array([[-4.0, 130.0], [95.0, 127.0]])
"""Landmarks over and on the edge of the film."""
ARGUMENTS: dict[str, dict[str, Any]] = {
    "CenterCrop": {"height": 100, "width": 80},
    "Crop": {"x_min": 5, "y_min": 5, "x_max": 90, "y_max": 120},
    "CropAndPad": {"percent": (-0.1, 0.1)},
    "GridElasticDeform": {"num_grid_xy": (4, 4), "magnitude": 6},
    "LongestMaxSize": {"max_size": 150},
    "RandomCrop": {"height": 100, "width": 80},
    "RandomResizedCrop": {"size": (100, 80), "scale": (0.6, 0.9)},
    "RandomSizedCrop": {"min_max_height": (80, 110), "size": SIZE},
    "Resize": {"height": 140, "width": 100},
    "SmallestMaxSize": {"max_size": 110},
}
NOT_OF_FILMS = {
    **dict.fromkeys(("AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop", "RandomCropNearBBox"), "it takes boxes"),
    **dict.fromkeys(("RandomSizedBBoxSafeCrop",), "it takes boxes"),
    **dict.fromkeys(("ConstrainedCoarseDropout", "CropNonEmptyMaskIfExists", "MaskDropout"), "it takes a mask"),
    **dict.fromkeys(("CenterCrop3D", "CoarseDropout3D", "CubicSymmetry", "Pad3D"), "it takes a volume"),
    **dict.fromkeys(("PadIfNeeded3D", "RandomCrop3D"), "it takes a volume"),
    "Mosaic": "it lays other films into this one",
}
HIDES = (
    *("CoarseDropout", "Erasing", "FrequencyMasking", "GridDropout", "Morphological", "PixelDropout", "TimeMasking"),
    "XYMasking",
)
"""Transforms that move nothing and may paint over a landmark."""


def keypoint_transforms() -> Iterator[str]:
    """The names of the library's transforms that say they move keypoints."""

    def below(base: type) -> Iterator[type]:
        for child in base.__subclasses__():
            yield child
            yield from below(child)

    for found in sorted({child.__name__: child for child in below(BasicTransform)}.items()):
        targets = getattr(found[1], "_targets", ())
        if Targets.KEYPOINTS in (targets if isinstance(targets, tuple) else (targets,)) and hasattr(A, found[0]):
            yield found[0]


def augmentation(name: str, flips: tuple[int, ...], size: tuple[int, int] = SIZE) -> Augmentation:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library advertises its other transforms
        step = getattr(A, name)(**ARGUMENTS.get(name, {}), p=1)
    return Augmentation(InputSpec(size, augment=(step,)), flips)


@pytest.mark.filterwarnings("ignore:Some keypoints are not in any tile")  # those beyond the film are not
@pytest.mark.parametrize("name", [name for name in keypoint_transforms() if name not in NOT_OF_FILMS])
def test_every_landmark_comes_back_in_its_order_on_its_place_in_the_film(name: str) -> None:
    torch.manual_seed(0)
    film = dots(SIZE, POINTS[np.isfinite(POINTS).all(axis=1)])
    augment = augmentation(name, tuple(range(8)))
    seen = 0
    for _ in range(4):
        moved = augment(film, np.concatenate([POINTS, OUTSIDE]))
        assert moved.points.shape == (8, 2)
        assert np.isfinite(moved.points).all(axis=1).tolist() == [True, True, False, *[True] * 5]
        for point, before in zip(moved.points[:6], POINTS, strict=True):
            if name in HIDES:
                assert np.allclose(point, before, equal_nan=True)
            elif (point > 9).all() and (point < np.array(moved.image.shape[::-1]) - 10).all():
                seen += 1
                assert np.abs(centroid(moved.image, point) - point).max() < 1.2
    assert seen >= 8 or name in HIDES


def test_the_transforms_that_are_left_out_exist() -> None:
    assert set(NOT_OF_FILMS) <= set(keypoint_transforms())


@pytest.mark.parametrize("name", ["ElasticTransform", "OpticalDistortion", "ThinPlateSpline", "RandomGridShuffle"])
def test_a_distortion_is_not_taken_for_a_mirror_and_a_mirrored_one_is(name: str) -> None:
    mirror = A.HorizontalFlip(p=1)
    step = augmentation(name, ()).pipeline.transforms[0]
    points = np.array([[30.0, 60.0], [70.0, 62.0]])
    for steps, mirrored in (((step,), False), ((step, mirror), True), ((mirror, step), True)):
        results = []
        for flips in ((0, 1), (1, 0)):
            torch.manual_seed(3)
            results.append(Augmentation(InputSpec(SIZE, augment=steps), flips)(np.zeros(SIZE, np.uint8), points).points)
        assert np.allclose(results[0], results[1][::-1] if mirrored else results[1])


def test_a_landmark_that_a_step_drops_is_missing_and_the_others_keep_their_names() -> None:
    class DropsFirst(A.NoOp):
        def apply_to_keypoints(self, keypoints: np.ndarray, **params: object) -> np.ndarray:
            return keypoints[1:]

    moved = Augmentation(InputSpec(SIZE, augment=(DropsFirst(p=1),)), tuple(range(6)))(dots(SIZE, POINTS[:2]), POINTS)
    assert np.isnan(moved.points[0]).all()
    assert np.allclose(moved.points[1:], POINTS[1:], equal_nan=True)


def test_corners_without_an_area_lead_nowhere_back() -> None:
    class Collapses(A.NoOp):
        def apply_to_keypoints(self, keypoints: np.ndarray, **params: object) -> np.ndarray:
            return np.concatenate([keypoints[:, :1] * 0, keypoints[:, 1:]], axis=1)

    augment = Augmentation(InputSpec(SIZE, augment=(Collapses(p=1),)), (0,))
    moved = augment(np.zeros(SIZE, np.uint8), np.array([[3.0, 4.0]]))
    assert np.isnan(moved.affine).all()
    assert moved.points.tolist() == [[0.0, 4.0]]


@settings(deadline=None)
@given(
    st.tuples(st.floats(-20, 120), st.floats(-20, 150)),
    st.floats(0.6, 1.6),
    st.tuples(st.floats(-15, 15), st.floats(-15, 15)),
    st.floats(0, 3),
)
def test_a_map_is_inverted_to_a_fraction_of_a_pixel_inside_the_film_and_beyond_it(
    target: tuple[float, float], scale: float, shift: tuple[float, float], waves: float
) -> None:
    def place(x: np.ndarray | float, y: np.ndarray | float) -> np.ndarray:
        return np.stack(
            [scale * x + shift[0] + waves * np.sin(y / 9), scale * y + shift[1] + waves * np.cos(x / 9)], -1
        )

    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    inside = np.clip(target, 0, (SIZE[1] - 1, SIZE[0] - 1))
    shown = place(*inside) + (target - inside)
    assert np.allclose(invert_map(place(columns, rows), shown[None]), [target], atol=0.1)
