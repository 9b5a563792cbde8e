"""Geometry of the network's input, and augmentation that keeps every landmark under its name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import seed_everything

from datamodules import discover
from datamodules.base import LandmarkDataModule
from datamodules.components.transforms import (
    Augmentation,
    Box,
    InputSpec,
    invert_affine,
    landmark_box,
    resize,
    to_image_affine,
    transform_points,
)
from tests.datamodules.conftest import centroid, dots

SIZE = (96, 64)
AFFINE_STEPS = {
    "horizontal flip": (A.HorizontalFlip(p=1), SIZE),
    "vertical flip": (A.VerticalFlip(p=1), SIZE),
    "both flips": (A.Compose([A.HorizontalFlip(p=1), A.VerticalFlip(p=1)]), SIZE),
    "transpose": (A.Transpose(p=1), (64, 64)),
    "quarter turns": (A.RandomRotate90(p=1), (64, 64)),
    "rotation": (A.Rotate(limit=(-40, 40), p=1), SIZE),
    "affine": (A.Affine(rotate=(-20, 20), scale=(0.8, 1.2), translate_percent=(-0.1, 0.1), shear=(-8, 8), p=1), SIZE),
    "crop": (A.RandomResizedCrop(size=SIZE, scale=(0.6, 0.9), p=1), SIZE),
}

sides = st.integers(2, 3000)
specs = st.builds(
    InputSpec, size=st.tuples(st.integers(8, 600), st.integers(8, 600)), fit=st.sampled_from(["stretch", "pad"])
)
boxes = st.builds(
    lambda left, top, width, height: Box(left, top, left + width, top + height),
    st.integers(0, 500),
    st.integers(0, 500),
    sides,
    sides,
)
coordinates = st.floats(-100, 3000, allow_nan=False)


@given(box=boxes, spec=specs, x=coordinates, y=coordinates)
def test_to_image_and_its_inverse_undo_each_other(box: Box, spec: InputSpec, x: float, y: float) -> None:
    affine = to_image_affine(box, spec)
    points = np.array([[x, y], [np.nan, np.nan]])
    there = transform_points(invert_affine(affine), points)
    back = transform_points(affine, there)
    assert np.allclose(back[0], points[0], atol=1e-6)
    assert np.isnan(there[1]).all()


@given(box=boxes, spec=specs)
def test_the_edges_of_the_box_stay_inside_the_input(box: Box, spec: InputSpec) -> None:
    corners = np.array([[box.left - 0.5, box.top - 0.5], [box.right - 0.5, box.bottom - 0.5]])
    low, high = transform_points(invert_affine(to_image_affine(box, spec)), corners)
    height, width = spec.size
    assert (low >= -0.5 - 1e-9).all()
    assert (high <= np.array([width, height]) - 0.5 + 1e-9).all()
    if spec.fit == "stretch":
        assert np.allclose([low, high], [[-0.5, -0.5], [width - 0.5, height - 0.5]])


@given(spec=specs, width=st.integers(50, 3000), height=st.integers(50, 3000))
def test_pad_keeps_the_aspect_up_to_the_rounding_to_whole_pixels(spec: InputSpec, width: int, height: int) -> None:
    affine = to_image_affine(Box(0, 0, width, height), InputSpec(spec.size, fit="pad"))
    new_width, new_height = width / affine[0, 0], height / affine[1, 1]
    scale = min(spec.size[1] / width, spec.size[0] / height)
    assert abs(new_width - width * scale) <= max(0.5, 1 - width * scale) + 1e-6
    assert abs(new_height - height * scale) <= max(0.5, 1 - height * scale) + 1e-6


@given(
    points=st.lists(st.tuples(st.floats(-50, 250), st.floats(-50, 450)), min_size=1, max_size=6),
    margin=st.floats(0, 2),
)
def test_an_oracle_box_lies_in_the_film_and_holds_every_point_that_does(
    points: list[tuple[float, float]], margin: float
) -> None:
    array = np.array([*points, (np.nan, np.nan)])
    box = landmark_box(array, (400, 200), margin)
    assert 0 <= box.left < box.right <= 200
    assert 0 <= box.top < box.bottom <= 400
    inside = array[((array >= 0) & (array <= (199, 399))).all(axis=1)]
    assert (inside >= (box.left - 0.5, box.top - 0.5)).all()
    assert (inside <= (box.right - 0.5, box.bottom - 0.5)).all()


def test_without_a_visible_point_the_oracle_box_is_the_film() -> None:
    assert landmark_box(np.full((3, 2), np.nan), (40, 20), 0.1) == Box(0, 0, 20, 40)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
@pytest.mark.parametrize("box", [Box(0, 0, 150, 240), Box(20, 30, 140, 230)])
@pytest.mark.parametrize("size", [(120, 60), (300, 310)])
def test_resizing_keeps_the_picture_under_its_points(fit: str, box: Box, size: tuple[int, int]) -> None:
    points = np.array([[50.3, 60.8], [110.0, 70.5], [80.6, 200.2]])
    spec = InputSpec(size, fit=fit)  # type: ignore[arg-type]
    image = resize(dots((240, 150), points), box, spec)
    moved = transform_points(invert_affine(to_image_affine(box, spec)), points)
    assert image.shape == size
    assert all(np.abs(centroid(image, point) - point).max() < 0.6 for point in moved)


def test_a_film_shrinks_by_the_mean_of_its_pixels_or_by_the_four_nearest() -> None:
    film = np.random.default_rng(0).integers(0, 256, (40, 80), dtype=np.uint8)
    blocks = film.reshape(10, 4, 20, 4).astype(float)
    for interpolation, rows in (("area", slice(0, 4)), ("bilinear", slice(1, 3))):
        spec = InputSpec((10, 20), interpolation=interpolation)  # type: ignore[arg-type]
        expected = blocks[:, rows, :, rows].mean(axis=(1, 3))
        assert np.abs(resize(film, Box(0, 0, 80, 40), spec) - expected).max() <= 1


def test_pad_fills_up_with_black_on_both_sides() -> None:
    image = resize(np.full((100, 50), 200, np.uint8), Box(0, 0, 50, 100), InputSpec((40, 40), fit="pad"))
    assert (image[:, 10:30] == 200).all()
    assert not image[:, :10].any()
    assert not image[:, 30:].any()


@pytest.mark.parametrize(("step", "size"), AFFINE_STEPS.values(), ids=AFFINE_STEPS)
def test_augmented_points_stay_on_their_dots(step: A.BasicTransform, size: tuple[int, int]) -> None:
    points = np.array([[20.2, 15.7], [45.0, 25.5], [15.5, 45.1], [40.4, 50.0]])
    augment = Augmentation(InputSpec(size, augment=(step,)), flip_index=(0, 1, 2, 3))
    image = dots(size, points)
    for _ in range(5):
        moved = augment(image, points)
        inside = [p for p in moved.points if (p > 8).all() and (p < np.array(size[::-1]) - 8).all()]
        assert all(np.abs(centroid(moved.image, point) - point).max() < 1 for point in inside)
        assert np.allclose(transform_points(moved.affine, moved.points), points, atol=1e-3)


@pytest.mark.parametrize(
    ("step", "mirrors"),
    [
        (A.HorizontalFlip(p=1), True),
        (A.VerticalFlip(p=1), True),
        (A.Transpose(p=1), True),
        (A.Compose([A.HorizontalFlip(p=1), A.VerticalFlip(p=1)]), False),
        (A.Rotate(limit=(30, 40), p=1), False),
    ],
    ids=["horizontal", "vertical", "transpose", "half turn", "rotation"],
)
def test_left_and_right_change_names_exactly_when_the_film_is_mirrored(step: A.BasicTransform, mirrors: bool) -> None:
    points = np.array([[20.0, 30.0], [44.0, 30.0], [32.0, 12.0]])
    spec = InputSpec((64, 64), augment=(step,))
    results = []
    for flip_index in ((1, 0, 2), (0, 1, 2)):
        torch.manual_seed(0)
        results.append(Augmentation(spec, flip_index)(np.zeros((64, 64), np.uint8), points).points)
    named, blind = results
    assert np.allclose(named, blind[[1, 0, 2]] if mirrors else blind)


def test_a_mirrored_film_keeps_left_left_of_right() -> None:
    augment = Augmentation(InputSpec((64, 64), augment=(A.HorizontalFlip(p=1),)), flip_index=(1, 0, 2))
    moved = augment(np.zeros((64, 64), np.uint8), np.array([[10.0, 30.0], [40.0, 31.0], [30.0, 12.0]]))
    assert np.allclose(moved.points, [[23.0, 31.0], [53.0, 30.0], [33.0, 12.0]])


def test_a_missing_point_stays_missing_and_takes_its_partner_s_name_when_mirrored() -> None:
    points = np.array([[20.0, 30.0], [np.nan, np.nan], [32.0, 12.0]])
    augment = Augmentation(InputSpec((64, 64), augment=(A.HorizontalFlip(p=1),)), flip_index=(1, 0, 2))
    moved = augment(np.zeros((64, 64), np.uint8), points).points
    assert np.isnan(moved[0]).all()
    assert np.allclose(moved[1:], [[43.0, 30.0], [31.0, 12.0]])


def test_a_point_that_leaves_the_film_stays_visible() -> None:
    shift = A.Affine(translate_px={"x": (30, 30), "y": (0, 0)}, p=1)
    augment = Augmentation(InputSpec((64, 64), augment=(shift,)), flip_index=(0,))
    assert np.allclose(augment(np.zeros((64, 64), np.uint8), np.array([[50.0, 20.0]])).points, [[80.0, 20.0]])


def test_a_flipped_sample_s_visible_follows_its_points(tiny_roots: dict[str, Path]) -> None:
    data = discover()["aasce"](tiny_roots["aasce"])
    data.configure(InputSpec((64, 32), augment=(A.HorizontalFlip(p=1),)), batch_size=1)
    name = data.split.train[0]
    left, right = data.schema.index(("L3-TL", "L3-TR"))
    data.inventory.cases[name].points[left] = np.nan
    sample = data.sample(name, Augmentation(data.spec, data.schema.flip_index))
    assert (~sample.visible).nonzero().flatten().tolist() == [right]
    assert torch.equal(sample.visible, torch.isfinite(sample.points).all(dim=1))


@pytest.fixture
def augmented(tiny_roots: dict[str, Path]) -> Callable[[int], LandmarkDataModule]:
    def make(workers: int) -> LandmarkDataModule:
        data = discover()["aasce"](tiny_roots["aasce"])
        steps = (A.HorizontalFlip(p=0.5), A.Affine(rotate=(-20, 20), translate_percent=(-0.1, 0.1), p=1))
        data.configure(InputSpec((64, 32), augment=steps), batch_size=4, workers=workers)
        return data

    return make


def epochs(data: LandmarkDataModule, count: int = 2) -> list[dict[str, torch.Tensor]]:
    """Serve `count` epochs after seeding; each is a map from case to points."""
    seed_everything(7, workers=True, verbose=False)
    loader = data.train_dataloader()
    return [{c: p for batch in loader for c, p in zip(batch.case, batch.points, strict=True)} for _ in range(count)]


@pytest.mark.parametrize("workers", [0, 2])
def test_augmentation_repeats_under_one_seed_and_differs_between_epochs(
    augmented: Callable[[int], LandmarkDataModule], workers: int
) -> None:
    first, again = epochs(augmented(workers)), epochs(augmented(workers))
    cases = [case for case in first[0] if case in first[1]]
    assert all(torch.equal(first[e][case], again[e][case]) for e in (0, 1) for case in cases)
    assert all(not torch.equal(first[0][case], first[1][case]) for case in cases)


def test_workers_do_not_repeat_each_other_s_augmentation(augmented: Callable[[int], LandmarkDataModule]) -> None:
    data = augmented(2)
    same = data.split.train[0]
    data.__dict__["split"] = replace(data.split, train=(same,) * 8)
    data.configure(data.spec, batch_size=1, workers=2)
    seed_everything(7, workers=True, verbose=False)
    served = [batch.points[0] for batch in data.train_dataloader()]
    assert len({tuple(points.flatten().tolist()) for points in served}) == 8


def test_preprocessing_that_would_depend_on_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="must always apply"):
        InputSpec((8, 8), preprocess=(A.CLAHE(p=0.5),))


def test_preprocessing_draws_the_same_strength_for_every_film() -> None:
    film = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    spec = InputSpec((64, 64), preprocess=(A.CLAHE(clip_limit=(1, 10), p=1), A.GaussianBlur(sigma_limit=(0.1, 3), p=1)))
    first, second = (resize(film, Box(0, 0, 64, 64), spec) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, film)


def test_the_key_of_a_spec_names_what_changes_the_cached_film() -> None:
    base = InputSpec((8, 4))
    others = [
        InputSpec((4, 8)),
        InputSpec((8, 4), fit="pad"),
        InputSpec((8, 4), preprocess=(A.CLAHE(clip_limit=(2, 2), p=1),)),
        InputSpec((8, 4), preprocess=(A.CLAHE(clip_limit=(3, 3), p=1),)),
        InputSpec((8, 4), interpolation="bilinear"),
    ]
    assert len({spec.key for spec in (base, *others)}) == 6
    assert InputSpec((8, 4), augment=(A.HorizontalFlip(),)).key == base.key
