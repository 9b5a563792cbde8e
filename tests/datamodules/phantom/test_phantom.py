from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

from datamodules.phantom.rendering import Radiograph, collimate, ellipse, smooth_noise, spline, transform
from datamodules.phantom.spine import body_outline, draw_column, make_column, spine_film, write_aasce

SEEDS = range(8)


@pytest.fixture(scope="module")
def aasce(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("aasce")
    write_aasce(root, train=5, test=2, seed=3, height=160, angles=lambda points, height: np.array([height, 2.5, 0]))
    return root


def test_the_same_seed_gives_the_same_film_and_another_seed_another() -> None:
    one, two, other = spine_film(4, 192), spine_film(4, 192), spine_film(5, 192)
    assert np.array_equal(one.image, two.image)
    assert np.array_equal(one.points, two.points)
    assert not np.array_equal(one.points, other.points)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_film_is_narrow_and_holds_all_68_landmarks(seed: int) -> None:
    film = spine_film(seed, 192)
    height, width = film.image.shape
    assert film.image.dtype == np.uint8
    assert film.points.shape == (68, 2)
    assert 1.9 < height / width < 3.3
    assert (film.points >= 0).all()
    assert (film.points <= [width - 1, height - 1]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_corners_run_left_right_then_down_the_spine(seed: int) -> None:
    top_left, top_right, bottom_left, bottom_right = spine_film(seed, 192).points.reshape(17, 4, 2).swapaxes(0, 1)
    assert (top_left[:, 0] < top_right[:, 0]).all()
    assert (bottom_left[:, 0] < bottom_right[:, 0]).all()
    assert (top_left[:, 1] < bottom_left[:, 1]).all()
    assert (top_right[:, 1] < bottom_right[:, 1]).all()
    tops, bottoms = (top_left + top_right) / 2, (bottom_left + bottom_right) / 2
    assert (bottoms[:-1, 1] < tops[1:, 1]).all()


def test_vertebrae_grow_from_the_chest_to_the_loin() -> None:
    corners = np.array([spine_film(seed, 192).points.reshape(17, 4, 2) for seed in SEEDS])
    width = np.linalg.norm(corners[:, :, 1] - corners[:, :, 0], axis=-1).mean(axis=0)
    height = np.linalg.norm(corners[:, :, 2] - corners[:, :, 0], axis=-1).mean(axis=0)
    assert (np.diff(width[4::3]) > 0).all()
    assert height[16] > 1.5 * height[0]


def test_scoliosis_varies_from_nearly_straight_to_severe() -> None:
    tilts = np.array([make_column(np.random.default_rng(seed), 512, 220).tilt for seed in range(60)])
    spread = np.ptp(tilts, axis=1)
    assert spread.min() < 12
    assert spread.max() > 45
    assert 15 < np.median(spread) < 45


def test_both_polarities_occur_and_most_films_show_bone_white() -> None:
    inverted = [spine_film(seed, 96).inverted for seed in range(60)]
    assert 0 < sum(inverted) < 20


def test_a_vertebral_body_has_its_corners_exactly_at_the_landmarks() -> None:
    column = make_column(np.random.default_rng(1), 512, 220)
    film = Radiograph(512, 220, np.random.default_rng(0))
    outline = body_outline(column.corners[12])
    film.add_polygon(outline, 1.0)
    rows, columns = np.nonzero(film.depth > 0.02)
    drawn = np.stack([columns, rows], axis=1).astype(float)
    for corner, away in zip(column.corners[12], ([-1, -1], [1, -1], [-1, 1], [1, 1]), strict=True):
        tip = drawn[np.argmax(drawn @ np.array(away))]
        assert np.abs(tip - corner).max() < 1.5
        assert np.abs(outline - corner).sum(axis=1).min() < 1e-9


def test_a_rectangle_adds_its_area_at_its_place_within_an_eighth_of_a_pixel() -> None:
    film = Radiograph(64, 64, np.random.default_rng(0))
    film.add_polygon(np.array([[10.3, 20.6], [40.7, 20.6], [40.7, 50.0], [10.3, 50.0]]), 2.0)
    rows, columns = np.mgrid[:64, :64]
    mass = float(film.depth.sum())
    assert mass / 2 == pytest.approx(30.4 * 29.4, rel=0.02)
    assert (film.depth * columns).sum() / mass == pytest.approx(25.5, abs=0.125)
    assert (film.depth * rows).sum() / mass == pytest.approx(35.3, abs=0.125)


def test_the_cortex_is_denser_than_the_spongy_inside() -> None:
    film = Radiograph(100, 100, np.random.default_rng(0))
    film.add_bone(ellipse((50, 50), (30, 30)), cortex=0.3, medulla=0.1, rim=2.0, texture=0.0)
    assert film.depth[50, 50] == pytest.approx(0.1, abs=0.01)
    assert film.depth[50, 21:24].max() > 0.25
    assert film.depth[50, 15] == 0


def test_shapes_outside_of_the_film_leave_it_untouched() -> None:
    film = Radiograph(40, 30, np.random.default_rng(0))
    film.add_ellipse((200.0, 20.0), (10.0, 5.0), 1.0, soft=2.0)
    film.add_tube(np.array([[-50.0, -50.0], [-40.0, -60.0]]), 3.0, medulla=1.0)
    assert not film.depth.any()


def test_an_inverted_film_is_the_negative_of_the_plain_one() -> None:
    films = []
    for inverted in (False, True):
        film = Radiograph(96, 48, np.random.default_rng(2))
        draw_column(film, make_column(np.random.default_rng(3), 96, 48))
        films.append(film.develop(inverted=inverted).astype(int))
    assert np.array_equal(films[0] + films[1], np.full((96, 48), 255))


def test_fewer_photons_make_a_noisier_film() -> None:
    def roughness(photons: float) -> float:
        film = Radiograph(128, 64, np.random.default_rng(0))
        film.add_gradient(1.0)
        return float(np.abs(np.diff(film.develop(photons=photons).astype(float), axis=1)).mean())

    assert roughness(500) > 2 * roughness(50_000)


def test_collimation_covers_only_the_given_margins() -> None:
    image = np.full((50, 40), 200, np.uint8)
    covered = collimate(image, (5.0, 0.0, 0.0, 10.0), grey=0, soft=0.5)
    assert (covered[:, :4] == 0).all()
    assert (covered[-9:] == 0).all()
    assert (covered[:38, 7:] == 200).all()


def test_a_spline_passes_through_its_knots_and_a_closed_one_returns() -> None:
    knots = np.array([[0.0, 0.0], [4.0, 1.0], [5.0, 6.0], [1.0, 5.0]])
    assert np.allclose(spline(knots, 7)[::2], knots)
    closed = spline(knots, 40, closed=True)
    assert np.allclose(closed[::10], knots)
    assert np.linalg.norm(closed[-1] - closed[0]) < 1.0


def test_placing_turns_clockwise_on_the_screen() -> None:
    assert np.allclose(transform(np.array([[1.0, 0.0]]), np.array([5.0, 5.0]), degrees=90, scale=2), [[5.0, 7.0]])


@pytest.mark.parametrize("sigma", [1.0, 20.0])
def test_smooth_noise_has_unit_deviation_at_every_scale(sigma: float) -> None:
    field = smooth_noise(np.random.default_rng(0), 90, 70, sigma)
    assert field.shape == (90, 70)
    assert field.std() == pytest.approx(1.0, abs=1e-3)


def test_the_written_tree_is_that_of_the_challenge(aasce: Path) -> None:
    for split, count in (("training", 5), ("test", 2)):
        films = sorted(path.name for path in (aasce / "data" / split).iterdir())
        labels = aasce / "labels" / split
        assert len(films) == count
        assert all(re.fullmatch(r"sunhl-1th-\d\d-[A-Z][a-z]{2}-201[67]-\d+ [A-D] AP\.jpg", film) for film in films)
        assert (labels / "filenames.csv").read_text().splitlines() == films
        tables = {"filenames.csv", "landmarks.csv", "angles.csv"}
        assert {path.name for path in labels.iterdir()} == {f"{film}.mat" for film in films} | tables


@pytest.mark.parametrize("split", ["training", "test"])
def test_p2_equals_the_landmark_table_times_the_films_size(aasce: Path, split: str) -> None:
    labels = aasce / "labels" / split
    table = np.loadtxt(labels / "landmarks.csv", delimiter=",", ndmin=2)
    for name, row in zip((labels / "filenames.csv").read_text().splitlines(), table, strict=True):
        image = cv2.imread(str(aasce / "data" / split / name), cv2.IMREAD_UNCHANGED)
        assert image is not None
        height, width = image.shape
        points = scipy.io.loadmat(labels / f"{name}.mat")["p2"]
        assert np.abs(points - row.reshape(2, 68).T * [width, height]).max() < 0.01


def test_the_angle_table_holds_what_the_given_rule_says(aasce: Path, tmp_path: Path) -> None:
    assert (aasce / "labels" / "test" / "angles.csv").read_text() == "160,2.5,0\n" * 2
    write_aasce(tmp_path, train=1, test=1, height=96)
    assert not list(tmp_path.rglob("angles.csv"))


def test_no_film_occurs_twice_in_a_written_set(aasce: Path) -> None:
    tables = [np.loadtxt(aasce / "labels" / split / "landmarks.csv", delimiter=",") for split in ("training", "test")]
    assert len(np.unique(np.concatenate(tables), axis=0)) == 7
