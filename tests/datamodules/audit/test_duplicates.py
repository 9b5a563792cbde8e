"""Films that show one radiograph are found, whatever was done to them; films of two patients are not."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import UInt8

from datamodules.audit.duplicates import (
    SAME_FILM,
    SAME_PATIENT,
    SYMMETRIES,
    DuplicatePair,
    FilmSignature,
    Symmetry,
    candidates,
    compare,
    find_pairs,
    local_contrast,
    sign_film,
    signature_size,
)
from datamodules.components.images.image_io import read_film
from datamodules.isbi2015 import TRAIN_TEST1, WITHIN_TEST1
from datamodules.phantom.hand.films import hand_film
from datamodules.phantom.skull.films import skull_film
from datamodules.phantom.spine import spine_film

Image = UInt8[np.ndarray, "height width"]
CROP = np.s_[30:-20, 15:-10]


def signature(image: Image) -> FilmSignature:
    return sign_film(cv2.resize(image, signature_size(image.shape)[::-1], interpolation=cv2.INTER_AREA))


def re_cropped(image: Image) -> Image:
    """Crop, enlarge, brighten the dark parts, and compress."""
    part = cv2.resize(image[CROP], None, fx=1.3, fy=1.3, interpolation=cv2.INTER_CUBIC)
    brighter = (255 * (part / 255) ** 0.7).round().astype(np.uint8)
    return cv2.imdecode(cv2.imencode(".jpg", brighter, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_GRAYSCALE)


@pytest.fixture(scope="module", params=[spine_film, skull_film, hand_film], ids=["spine", "skull", "hand"])
def films(request: pytest.FixtureRequest) -> list[Image]:
    """Ten unrelated phantoms."""
    return [request.param(seed, height=400).image for seed in range(10)]


CHANGES = {
    "a copy": (lambda image: image, Symmetry()),
    "re-cropped": (re_cropped, Symmetry()),
    "inverted": (lambda image: 255 - image, Symmetry(inverted=True)),
    "mirrored": (lambda image: np.ascontiguousarray(image[:, ::-1]), Symmetry(mirrored=True)),
    "all of it": (lambda image: 255 - re_cropped(image)[:, ::-1], Symmetry(inverted=True, mirrored=True)),
}


def test_planted_duplicates_are_found_among_unrelated_phantoms(films: list[Image]) -> None:
    planted = [change(film) for (change, _), film in zip(CHANGES.values(), films, strict=False)]
    pairs = {(pair.first, pair.second): pair for pair in find_pairs([signature(film) for film in films + planted])}
    assert sorted(pairs) == [(index, len(films) + index) for index in range(len(planted))]
    assert {pair.relation for pair in pairs.values()} == {"same film"}
    assert [pairs[key].symmetry for key in sorted(pairs)] == [view for _, view in CHANGES.values()]


@pytest.mark.parametrize("view", SYMMETRIES, ids=str)
def test_registration_finds_the_known_geometry(view: Symmetry) -> None:
    film = spine_film(3, height=320).image
    height, width = film.shape
    planted = np.array([[1.08, 0.05, -9.0], [-0.05, 1.08, 4.0]])
    turned = 255 - film if view.inverted else film
    moved = cv2.warpAffine(turned, planted, (width, height), borderMode=cv2.BORDER_REFLECT)
    flip = np.array([[-1.0, 0.0, width - 1], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) if view.mirrored else np.eye(3)
    pair = compare(signature(film), signature(moved[:, ::-1] if view.mirrored else moved), (0, 1, view))
    assert pair is not None
    assert pair.affine == pytest.approx((flip @ np.vstack([planted, [0, 0, 1]]))[:2], abs=0.3)
    assert pair.misfit < 0.3
    assert pair.correlation > SAME_FILM


def test_overlap_is_the_share_of_the_film_that_shows_less() -> None:
    film = skull_film(1, height=400).image
    pair = compare(signature(film), signature(film[60:]), (0, 1, Symmetry()))
    assert pair is not None
    assert pair.overlap == pytest.approx(1, abs=0.02)
    shifted = compare(signature(film[40:]), signature(film[:-40]), (0, 1, Symmetry()))
    assert shifted is not None
    assert shifted.overlap == pytest.approx(320 / 360, abs=0.02)


@pytest.mark.parametrize("image", [np.zeros((300, 200), np.uint8), np.full((40, 30), 255, np.uint8)])
def test_a_blank_film_matches_nothing_and_breaks_nothing(image: Image) -> None:
    assert find_pairs([signature(image), signature(image), signature(spine_film(0, height=200).image)]) == []


def test_one_film_or_none_has_no_pairs() -> None:
    assert find_pairs([]) == find_pairs([signature(spine_film(0, height=200).image)]) == []


def test_local_contrast_hardly_changes_with_the_window() -> None:
    film = np.clip(spine_film(2, height=320).image, 20, 235)
    other = (0.5 * film + 60).round().astype(np.uint8)
    a, b = (local_contrast(image).astype(float).ravel() for image in (film, other))
    assert np.corrcoef(a, b)[0, 1] > 0.97


def pair_of(correlation: float = 0.5, shared: int = 20, moved: int = 0, misfit: float = 1.0) -> DuplicatePair:
    return DuplicatePair(0, 1, Symmetry(), np.eye(2, 3), correlation, 1.0, shared, 100, moved, misfit)


@pytest.mark.parametrize(
    ("pair", "kind"),
    [
        (pair_of(SAME_FILM), "same film"),
        (pair_of(0.7, shared=60, misfit=0.2), "same film"),
        (pair_of(0.7, shared=40, misfit=0.2), None),
        (pair_of(0.7, shared=60, moved=SAME_PATIENT, misfit=0.8), "same patient"),
        (pair_of(0.7, shared=60, moved=0, misfit=0.8), None),
        (pair_of(0.5, shared=60, moved=SAME_PATIENT, misfit=0.1), None),
    ],
)
def test_a_pair_is_of_one_film_one_patient_or_neither(pair: DuplicatePair, kind: str | None) -> None:
    assert pair.relation == kind


def test_candidates_are_ordered_pairs_that_name_no_film_twice() -> None:
    found = candidates([signature(spine_film(seed, height=200).image) for seed in range(6)], nearest=2)
    assert all(first < second for first, second, _ in found)
    assert found == sorted(set(found))
    assert {index for first, second, _ in found for index in (first, second)} == set(range(6))


@pytest.fixture(scope="module")
def radiograph(real_data: Path) -> Callable[[int], FilmSignature]:
    """The look at a film of ISBI 2015, by its number."""
    folder = next((p for name in ("isbi2015", "isbi_ceph") if (p := real_data / name / "RawImage").is_dir()), None)
    if folder is None:
        pytest.skip("no films of ISBI 2015")
    return lambda number: signature(read_film(next(folder.glob(f"*/{number:03d}.*"))))


@pytest.mark.slow
def test_repeated_radiographs_are_found_and_others_are_not(radiograph: Callable[[int], FilmSignature]) -> None:
    known = [*TRAIN_TEST1[:5], *WITHIN_TEST1]
    numbers = sorted({number for pair in known for number in pair} | set(range(301, 309)))
    found = find_pairs([radiograph(number) for number in numbers])
    assert {(numbers[p.first], numbers[p.second]) for p in found if p.relation == "same film"} == set(known)


@pytest.mark.slow
def test_two_exposures_of_one_patient_are_not_one_film(radiograph: Callable[[int], FilmSignature]) -> None:
    """251 and 286 show one head in one holder, turned by four degrees between the exposures."""
    (pair,) = find_pairs([radiograph(251), radiograph(286)])
    assert pair.relation == "same patient"
