from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.phantom.hand.films import hand_film, write_hand
from datamodules.phantom.rendering import PhantomFilm
from datamodules.phantom.skull.films import class_labels, official_points, skull_film, write_isbi

SEEDS = range(6)
FILMS = {"skull": (skull_film, 19), "hand": (hand_film, 37)}
seeds = st.integers(0, 2**31 - 1)


def read_reader(path: Path) -> tuple[np.ndarray, list[int]]:
    lines = path.read_text().split()
    return np.array([[int(v) for v in line.split(",")] for line in lines[:19]]), [int(v) for v in lines[19:]]


def grey(film: PhantomFilm, at: np.ndarray) -> float:
    x, y = np.round(at).astype(int)
    return float(film.image[y - 2 : y + 3, x - 2 : x + 3].mean())


@pytest.mark.parametrize("name", FILMS)
def test_the_same_seed_gives_the_same_film_and_another_seed_another(name: str) -> None:
    draw, landmarks = FILMS[name]
    one, again, other = draw(3, 256), draw(3, 256), draw(4, 256)
    assert one.points.shape == (landmarks, 2)
    assert one.image.dtype == np.uint8
    assert one.image.shape[0] == 256
    np.testing.assert_array_equal(one.image, again.image)
    np.testing.assert_array_equal(one.points, again.points)
    assert np.abs(one.points - other.points).max() > 1


@pytest.mark.parametrize("name", FILMS)
@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_every_landmark_lies_on_the_film_and_no_two_coincide(name: str, seed: int) -> None:
    film = FILMS[name][0](seed, 96)
    height, width = film.image.shape
    assert (film.points >= 0).all()
    assert (film.points <= (width - 1, height - 1)).all()
    apart = np.linalg.norm(film.points[:, None] - film.points[None], axis=2) + 99 * np.eye(len(film.points))
    assert apart.min() > 0.01


@pytest.mark.parametrize("name", FILMS)
def test_a_film_of_twice_the_height_shows_the_same_anatomy(name: str) -> None:
    draw = FILMS[name][0]
    small, large = draw(5, 240), draw(5, 480)
    scale = np.array(large.image.shape[::-1]) / small.image.shape[::-1]
    np.testing.assert_allclose((small.points + 0.5) * scale - 0.5, large.points, atol=2.0)  # widths are whole pixels


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_a_skull_has_its_parts_in_anatomical_order(seed: int) -> None:
    x, y = skull_film(seed, 96).points.T
    nasion, a_point, b_point, pogonion, menton, gnathion, gonion = 1, 4, 5, 6, 7, 8, 9
    assert y[nasion] < y[17] < y[a_point] < y[b_point] < y[pogonion]
    assert y[menton] >= y[[1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 16, 17, 18]].max()
    assert x[pogonion] >= x[gnathion] >= x[menton] > x[gonion]
    assert x[3] < x[0] < x[nasion]  # porion, sella, nasion
    assert x[16] < x[17]  # posterior and anterior nasal spine
    assert (x[[12, 13, 15]] > x[[4, 5, 6]]).all()  # soft tissue in front of bone


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_a_hand_is_a_left_one_with_ordered_joints(seed: int) -> None:
    points = hand_film(seed, 96).points
    for first, last in ((18, 20), (21, 24), (25, 28), (29, 32), (33, 36)):
        reach = np.linalg.norm(points[first : last + 1] - points[15], axis=1)
        assert (np.diff(reach) > 0).all()
    assert (np.diff(points[[33, 29, 25, 21, 18], 0]) > 0).all()  # little finger left, thumb right
    assert points[28, 1] < points[15, 1] < points[7, 1] < points[3, 1]  # tip, metacarpal, lunate, radius
    assert points[0, 0] < points[2, 0] < points[4, 0]


def test_the_skull_landmarks_sit_on_the_edges_that_define_them() -> None:
    for seed in SEEDS:
        film = skull_film(seed, 480)
        menton, gonion = film.points[7], film.points[9]
        assert grey(film, menton - (0, 5)) > grey(film, menton + (0, 8))
        inwards = (film.points[10] - gonion) / np.linalg.norm(film.points[10] - gonion)
        assert grey(film, gonion + 4 * inwards) > grey(film, gonion - 12 * inwards)
        for lip in (12, 13, 15):  # skin against the air in front of it
            assert grey(film, film.points[lip] - (4, 0)) > grey(film, film.points[lip] + (8, 0))


def test_the_finger_tips_are_bone_inside_the_skin() -> None:
    for seed in SEEDS:
        film = hand_film(seed, 480)
        for tip in (24, 28, 32, 36):
            back = film.points[tip] - film.points[tip - 1]
            away = back / np.linalg.norm(back)
            assert grey(film, film.points[tip] - 4 * away) > grey(film, film.points[tip] + 9 * away)


def test_isbi_files_have_the_official_names_and_frame(tmp_path: Path) -> None:
    write_isbi(tmp_path, 2, 1, 1, seed=7, height=240)
    images = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.bmp"))
    assert images == [
        "RawImage/Test1Data/151.bmp",
        "RawImage/Test2Data/301.bmp",
        "RawImage/TrainingData/001.bmp",
        "RawImage/TrainingData/002.bmp",
    ]
    film = cv2.imread(str(tmp_path / images[2]), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(film, skull_film(8, 240).image)
    for reader in ("400_senior", "400_junior"):
        files = sorted(path.name for path in (tmp_path / "AnnotationsByMD" / reader).iterdir())
        assert files == ["001.txt", "002.txt", "151.txt", "301.txt"]


def test_isbi_readers_scatter_about_the_truth_by_a_millimetre(tmp_path: Path) -> None:
    write_isbi(tmp_path, 12, 0, 0, height=96)
    labels = tmp_path / "AnnotationsByMD"
    truth = np.array([official_points(skull_film(number, 96)) for number in range(1, 13)])
    errors = []
    for reader in ("400_senior", "400_junior"):
        read = np.array([read_reader(labels / reader / f"{number:03d}.txt")[0] for number in range(1, 13)])
        errors.append(read - truth)
        assert np.abs(errors[-1]).max() <= 30.51  # the cut at 3 mm, and rounding
        assert 8.5 < errors[-1].std() < 11.5
    assert abs(np.corrcoef(errors[0].ravel(), errors[1].ravel())[0, 1]) < 0.2


def test_isbi_files_end_with_eight_class_labels_on_odd_films(tmp_path: Path) -> None:
    write_isbi(tmp_path, 2, 0, 0, height=96)
    senior = tmp_path / "AnnotationsByMD" / "400_senior"
    points, labels = read_reader(senior / "001.txt")
    assert labels == class_labels(points.astype(float))
    assert len(labels) == 8
    assert set(labels) <= {1, 2, 3, 4}
    assert read_reader(senior / "002.txt")[1] == []


def test_a_set_without_enough_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Test2Data .* 0 to 100 films, got 101"):
        write_isbi(tmp_path, 1, 1, 101)
    with pytest.raises(ValueError, match="at least 3 films"):
        write_hand(tmp_path, 2)


def test_hand_files_parse_back_to_the_same_points(tmp_path: Path) -> None:
    write_hand(tmp_path, 4, seed=11, height=256)
    rows = [line.split(",") for line in (tmp_path / "all.csv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["3142", "3143", "3144", "3145"]
    for i, row in enumerate(rows):
        points = np.array(row[1:], dtype=float).reshape(37, 2)
        np.testing.assert_allclose(points, hand_film(11 + i, 256).points, atol=0.01)
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["3142.jpg", "3143.mha", "3144.mha", "3145.mha"]


def test_hand_volumes_have_one_slice_and_fifty_millimetres_at_the_wrist(tmp_path: Path) -> None:
    write_hand(tmp_path, 3, height=256)
    image, film = SimpleITK.ReadImage(str(tmp_path / "images" / "3143.mha")), hand_film(1, 256)
    assert image.GetSize() == (*film.image.shape[::-1], 1)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image)[0], film.image)
    assert np.linalg.norm(film.points[1] - film.points[5]) * image.GetSpacing()[0] == pytest.approx(50, abs=0.01)


def test_hand_folds_test_every_film_exactly_once(tmp_path: Path) -> None:
    write_hand(tmp_path, 7, height=96)
    cases = {line.split(",")[0] for line in (tmp_path / "all.csv").read_text().splitlines()}
    tested: list[str] = []
    for fold in (1, 2, 3):
        folder = tmp_path / "cv" / f"set{fold}"
        train, test = ((folder / f"{part}.txt").read_text().split() for part in ("train", "test"))
        assert set(train) == cases - set(test)
        tested += test
    assert sorted(tested) == sorted(cases)
