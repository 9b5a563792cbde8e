"""The lateral cervical phantom, and the crops cut from it and from its lumbar sister."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.cervical import Cervical
from datamodules.cervical_crops import CervicalCrops
from datamodules.phantom.cervical.crops import cut, lumbar_lateral, write_cervical_crops
from datamodules.phantom.cervical.films import MIRRORED, MIRRORED_VERTEBRA, VIEWS, View, cervical_film, cervical_lateral

NAMES = Cervical.schema.names
seeds = st.integers(0, 2**31 - 1)
views = st.sampled_from(VIEWS)


def lordosis(points: np.ndarray) -> float:
    """Degrees by which C2's lower end plate is turned back against C7's, whichever way the patient faces."""
    index = Cervical.schema.index(("C2-BL", "C2-BR", "C7-BL", "C7-BR", "C2-dens", "C1-L", "C1-R"))
    upper, lower = points[index[1]] - points[index[0]], points[index[3]] - points[index[2]]
    turn = np.degrees(np.arctan2(lower[1], lower[0]) - np.arctan2(upper[1], upper[0]))
    dens, left, right = points[list(index[4:])]
    faces_right = np.linalg.norm(right - dens) < np.linalg.norm(left - dens)  # the anterior arch is next to the dens
    return float(turn if faces_right else -turn)


@pytest.mark.parametrize("view", VIEWS)
def test_the_same_arguments_give_the_same_film_and_another_seed_another(view: View) -> None:
    one, again, other = cervical_film(3, view, 128), cervical_film(3, view, 128), cervical_film(4, view, 128)
    assert one.points.shape == (len(NAMES), 2)
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.points, again.points)
    assert np.abs(one.points - other.points).max() > 1


@settings(max_examples=25, deadline=None)
@given(seed=seeds, view=views)
def test_every_landmark_lies_on_the_film_with_its_vertebra_in_order(seed: int, view: View) -> None:
    film = cervical_film(seed, view, 64)
    height, width = film.image.shape
    assert (film.points >= 0).all()
    assert (film.points <= (width - 1, height - 1)).all()
    corners = film.points[5:].reshape(6, 4, 2)  # TL TR BL BR of C3 to T1
    along = corners[:, 1] - corners[:, 0]
    assert (along[:, 0] > 0).all()
    assert (corners[:, 2:, 1].mean(1) > corners[:, :2, 1].mean(1)).all()
    assert (np.diff(corners.mean(axis=1)[:, 1]) > 0).all()


def test_a_film_of_twice_the_height_shows_the_same_anatomy() -> None:
    small, large = cervical_film(5, "LC", 240), cervical_film(5, "LC", 480)
    scale = np.array(large.image.shape[::-1]) / small.image.shape[::-1]
    np.testing.assert_allclose((small.points + 0.5) * scale - 0.5, large.points, atol=2.0)


def test_the_neck_bends_back_in_extension_and_forwards_in_flexion() -> None:
    bends = {view: [lordosis(cervical_film(seed, view, 64).points) for seed in range(12)] for view in VIEWS}
    assert min(bends["LCE"]) > 20 > np.mean(bends["LC"]) > 5 > max(bends["LCF"])


def test_films_of_one_patient_show_the_same_bones() -> None:
    def widths(seed: int, view: View, patient: int) -> np.ndarray:
        corners = cervical_film(seed, view, 128, patient=patient).points[5:].reshape(6, 4, 2)
        plates = np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)
        return plates / plates.sum()

    one = widths(1, "LC", 7)
    np.testing.assert_allclose(one, widths(2, "LCE", 7), atol=0.003)
    assert np.abs(one - widths(1, "LC", 8)).max() > 0.003


def test_patients_face_both_ways_and_films_have_both_polarities() -> None:
    films = [cervical_film(seed, "LC", 64) for seed in range(24)]
    left, right, dens = (NAMES.index(name) for name in ("C1-L", "C1-R", "C2-dens"))
    near = {
        bool(np.linalg.norm(f.points[left] - f.points[dens]) < np.linalg.norm(f.points[right] - f.points[dens]))
        for f in films
    }
    assert near == {True, False}
    assert {film.inverted for film in films} == {True, False}


def test_names_trade_places_in_the_phantom_as_in_the_schemas() -> None:
    assert Cervical.schema.flip_index == MIRRORED
    assert CervicalCrops.schema.flip_index == MIRRORED_VERTEBRA


def test_the_corners_of_crops_are_those_of_the_film() -> None:
    lateral = cervical_lateral(2, "LC", 128)
    np.testing.assert_array_equal(lateral.vertebrae[:, :4], lateral.film.points[5:25].reshape(5, 4, 2))


@settings(max_examples=12, deadline=None)
@given(seed=seeds, lumbar=st.booleans())
def test_a_crop_shows_the_films_own_pixels_with_margins_round_its_points(seed: int, lumbar: bool) -> None:
    lateral = lumbar_lateral(seed, 96) if lumbar else cervical_lateral(seed, "LC", 96)
    crop = cut(lateral, 2, np.random.default_rng(0))
    left, top = np.round(lateral.vertebrae[2, 0] - crop.points[0]).astype(int)
    height, width = crop.image.shape
    np.testing.assert_array_equal(crop.image, lateral.film.image[top : top + height, left : left + width])
    assert (crop.points >= 0).all()
    assert (crop.points <= (width - 1, height - 1)).all()


def test_vertebral_bodies_are_brighter_than_the_discs_between_them() -> None:
    for draw in (lambda seed: cervical_lateral(seed, "LC", 512), lambda seed: lumbar_lateral(seed, 512)):
        for seed in range(4):
            lateral = draw(seed)
            image = 255 - lateral.film.image if lateral.film.inverted else lateral.film.image
            body = lateral.vertebrae[:, :4].mean(axis=1)
            disc = (lateral.vertebrae[:-1, 2:4].mean(axis=1) + lateral.vertebrae[1:, :2].mean(axis=1)) / 2
            grey = [cv2.blur(image, (7, 7))[tuple(np.round(at).astype(int).T[::-1])].mean() for at in (body, disc)]
            assert grey[0] > grey[1] + 5


def test_written_crops_parse_back_to_the_same_points(tmp_path: Path) -> None:
    write_cervical_crops(tmp_path, 3, CervicalCrops.schema.names, height=128)
    cases = CervicalCrops(tmp_path).inventory.cases
    assert len(cases) == 15
    lateral = cervical_lateral(1, "LCE", 128)
    found = cases["P0002-C5"]
    np.testing.assert_allclose(np.diff(found.points, axis=0), np.diff(lateral.vertebrae[2], axis=0), atol=2e-3)
    assert found.spacing == pytest.approx((lateral.spacing, lateral.spacing), abs=1e-5)
