"""Every corruption does what it says, the same for a case wherever it runs, and more with every severity."""

import hashlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float, UInt8

from datamodules import discover
from datamodules.base import LandmarkDataModule
from datamodules.components.images.corruptions import CORRUPTIONS, ELECTRONIC_NOISE, SEVERITIES, corrupt, corruption
from datamodules.components.images.image_io import read_film
from datamodules.components.images.metal import PIECES, draw_metal
from datamodules.components.transforms import InputSpec
from datamodules.phantom.skull.films import skull_film

from ..conftest import centroid, dots

CASES = tuple(f"case{number}" for number in range(6))
INTENSITY = tuple(name for name, kind in CORRUPTIONS.items() if kind.move is None)
MIDDLE = (20, 31, 42)
"""Points that stay on a turned film."""
Film = UInt8[np.ndarray, "height width"]


@pytest.fixture(scope="module")
def film() -> Film:
    return skull_film(0, 480).image


def difference(first: Film, second: Film) -> float:
    return float(np.abs(first.astype(float) - second).mean())


def turned(points: Float[np.ndarray, "point 2"], size: tuple[int, int], degrees: float) -> Float[np.ndarray, "point 2"]:
    """Turn points about the middle of a film by complex multiplication, anti-clockwise as seen."""
    middle = complex((size[1] - 1) / 2, (size[0] - 1) / 2)
    moved = (points[:, 0] + 1j * points[:, 1] - middle) * np.exp(-1j * np.deg2rad(degrees)) + middle
    return np.stack([moved.real, moved.imag], axis=1)


def side(case: str) -> float:
    """The way a case is turned, drawn as the module says: from a hash of corruption and case."""
    seed = int(hashlib.sha256(f"rotation|{case}".encode()).hexdigest()[:16], 16)
    return float(np.random.default_rng(seed).choice((-1.0, 1.0)))


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_film_has_size_and_type_of_the_film_which_stays_as_it_is(name: str, film: Film) -> None:
    before = film.copy()
    for severity in SEVERITIES:
        changed = corrupt(film, "case", name, severity)
        assert (changed.shape, changed.dtype) == (film.shape, np.uint8)
        assert not np.shares_memory(changed, film)
    assert np.array_equal(film, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_case_is_corrupted_the_same_way_every_time_and_other_cases_otherwise(name: str, film: Film) -> None:
    first, again = (corrupt(film, "case", name, 3) for _ in range(2))
    assert np.array_equal(first, again)
    others = [np.array_equal(first, corrupt(film, case, name, 3)) for case in CASES]
    assert all(others) if name == "downscaling" else not all(others)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("case", CASES[:3])
def test_a_film_gets_worse_with_every_severity(name: str, case: str, film: Film) -> None:
    distances = [difference(corrupt(film, case, name, severity), film) for severity in SEVERITIES]
    assert distances == sorted(distances)
    assert distances[-1] > 1
    assert len(set(distances)) == (len(SEVERITIES) if name != "polarity" else len(set(distances)))


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", [(1, 1), (7, 300), (64, 40)])
def test_odd_sizes_are_corrupted_too(name: str, size: tuple[int, int]) -> None:
    film = np.full(size, 90, np.uint8)
    assert {corrupt(film, "case", name, severity).shape for severity in SEVERITIES} == {size}


@pytest.mark.parametrize("name", INTENSITY)
def test_only_a_rotation_moves_points(name: str, tiny_roots: dict[str, Path]) -> None:
    data = discover()["isbi2015"](tiny_roots["isbi2015"])
    case = next(iter(data.inventory.cases.values()))
    assert all(np.array_equal(corruption(case, name, s).to_original, np.eye(2, 3)) for s in SEVERITIES)
    assert tuple(name for name in CORRUPTIONS if name != "rotation") == INTENSITY


def test_a_share_of_the_films_is_inverted_and_stays_inverted() -> None:
    film = np.arange(256, dtype=np.uint8).reshape(16, 16)
    inverted = np.array(
        [[corrupt(film, f"case{i}", "polarity", s)[0, 0] == 255 for s in SEVERITIES] for i in range(1000)]
    )
    assert np.allclose(inverted.mean(axis=0), CORRUPTIONS["polarity"].levels, atol=0.04)
    assert (np.diff(inverted.astype(int), axis=1) >= 0).all()
    assert np.array_equal(corrupt(film, "any", "polarity", 5), 255 - film)


@pytest.mark.parametrize("case", CASES)
def test_exposure_shifts_the_logistic_curve_over_or_under(case: str) -> None:
    film = np.arange(256, dtype=np.uint8)[None]
    changed = corrupt(film, case, "exposure", 4)[0].astype(float)
    value = (np.arange(256) + 0.5) / 256
    exposure = -np.log10(1 / value - 1) / (4 / np.log(10))  # in factors of ten, 0 where the film is grey
    expected = [256 / (1 + np.exp(-4 * (exposure + way * np.log10(2.0**2)))) - 0.5 for way in (-1, 1)]
    assert min(np.abs(changed - curve).max() for curve in expected) <= 0.5 + 1e-9
    assert (np.diff(changed) >= 0).all()


def test_films_are_exposed_too_much_and_too_little() -> None:
    film = np.full((4, 4), 128, np.uint8)
    assert {bool(corrupt(film, case, "exposure", 3)[0, 0] > 128) for case in CASES} == {True, False}


@pytest.mark.parametrize("grey", [51, 204])
def test_noise_has_the_variance_of_counted_photons(grey: int) -> None:
    film = np.full((1024, 512), grey, np.uint8)
    changed = corrupt(film, "case", "noise", 1).astype(float)
    photons = 1000 * 10 ** (-grey / 255)
    expected = 255 * np.sqrt(photons + ELECTRONIC_NOISE**2) / (photons * np.log(10))
    assert changed.std() == pytest.approx(expected, rel=0.03)
    assert changed.mean() == pytest.approx(grey, abs=0.5)


def test_noise_does_not_depend_on_the_resolution_of_the_film() -> None:
    fine, coarse = (corrupt(np.full((side, side), 128, np.uint8), "case", "noise", 2) for side in (1024, 256))
    blocks = fine.astype(float).reshape(256, 4, 256, 4).mean(axis=(1, 3))
    assert blocks.std() == pytest.approx(coarse.astype(float).std(), rel=0.1)


@pytest.mark.parametrize("name", ["blur", "downscaling"])
def test_blurred_points_stay_where_they_are(name: str) -> None:
    points = np.array([[130.0, 200.0], [301.0, 97.0]])
    film = dots((400, 420), points)
    for case in CASES:
        spread = corrupt(film, case, name, 2).astype(float)
        halves = [np.where(np.arange(420) < 215, spread, 0), np.where(np.arange(420) >= 215, spread, 0)]
        rows, columns = np.mgrid[:400, :420]
        found = [((half * columns).sum() / half.sum(), (half * rows).sum() / half.sum()) for half in halves]
        assert np.allclose(found, points, atol=0.35)


def test_a_movement_is_as_long_as_it_says() -> None:
    film = np.zeros((801, 801), np.uint8)
    film[396:405, 396:405] = 255
    spread = corrupt(film, "case", "blur", 5).astype(float)
    rows, columns = np.nonzero(spread > 0.5 * spread.max())
    reach = np.hypot(rows - 400, columns - 400).max() * 2
    assert reach == pytest.approx(0.03 * 801, abs=9)


def test_shutters_leave_the_middle_and_close_every_side_by_half_to_all_of_the_share() -> None:
    film = np.full((1000, 800), 200, np.uint8)
    for case in CASES:
        changed = corrupt(film, case, "collimation", 5)
        assert (changed[200:800, 160:640] == 200).all()
        ends = [changed[:30, 400], changed[-30:, 400], changed[500, :24], changed[500, -24:]]
        assert all((end < 20).all() for end in ends)
        assert changed.max() == 200


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("case", CASES[:3])
def test_points_turn_with_the_film(case: str, severity: int) -> None:
    points = np.array([[150.0, 120.0], [260.0, 300.0], [180.0, 210.0]])
    film, degrees = dots((420, 360), points), side(case) * CORRUPTIONS["rotation"].levels[severity - 1]
    expected = turned(points, film.shape, degrees)
    changed = corrupt(film, case, "rotation", severity)
    assert np.allclose([centroid(changed, point) for point in expected], expected, atol=0.1)


def test_metal_only_brightens_and_the_first_pieces_stay(film: Film) -> None:
    masks = [draw_metal(film.shape, count, np.random.default_rng(3)).astype(int) for count in range(PIECES + 1)]
    assert masks[0].max() == 0
    assert all((later >= earlier).all() for earlier, later in pairwise(masks))
    assert all(later.sum() > earlier.sum() for earlier, later in pairwise(masks))
    assert (corrupt(film, "case", "metal", 5) >= film).all()


def test_a_film_that_is_small_already_is_not_downscaled() -> None:
    film = np.random.default_rng(0).integers(0, 256, (200, 120), np.uint8)
    assert np.array_equal(corrupt(film, "case", "downscaling", 2), film)
    assert not np.array_equal(corrupt(film, "case", "downscaling", 3), film)


def rotated(data: LandmarkDataModule, severity: int) -> LandmarkDataModule:
    data.change = lambda case: corruption(case, "rotation", severity)
    return data


@pytest.mark.parametrize("crop", [None, 0.25])
def test_a_turned_sample_leads_back_to_the_labels_and_shows_the_film_where_its_points_are(
    crop: float | None, fresh: Callable[[str], Path]
) -> None:
    root = fresh("aasce")
    data = discover()["aasce"](root)
    name = data.split.tests["test"][0]
    case = data.inventory.cases[name]
    chosen = case.points[list(MIDDLE)]
    _write(case.film, dots(case.size, chosen))
    data = rotated(discover()["aasce"](root), 4)
    data.configure(InputSpec((case.size[0], case.size[1]), oracle_crop=crop), batch_size=1)
    sample = data.sample(name)
    points, back = sample.points.double().numpy(), sample.to_image.double().numpy()
    assert np.allclose(points @ back[:, :2].T + back[:, 2], case.points, atol=1e-3)
    seen = sample.image[0].numpy()
    expected = turned(case.points, case.size, side(name) * 10)
    if crop is None:
        assert np.allclose(points, expected, atol=1e-3)
    for index in MIDDLE:
        assert np.allclose(centroid(seen, points[index]), points[index], atol=0.6)


def test_the_same_film_without_change_is_served_from_before(tiny_roots: dict[str, Path]) -> None:
    data = discover()["isbi2015"](tiny_roots["isbi2015"])
    name = data.split.train[0]
    clean = data.sample(name).image
    data.change = lambda case: corruption(case, "exposure", 5)
    changed = data.sample(name).image
    data.change = None
    assert data.sample(name).image.equal(clean)
    assert not changed.equal(clean)


def _write(path: Path, film: Film) -> None:
    import cv2

    assert cv2.imwrite(str(path), film, [cv2.IMWRITE_JPEG_QUALITY, 100])
    assert difference(read_film(path), film) < 1
