"""The lumbar phantoms: films, exact landmarks, occlusions, and files in the datasets' layouts."""

import re
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from datamodules.components.images.nh2 import read_nh2
from datamodules.components.labels.end_plates import read_end_plates
from datamodules.phantom.lumbar.anatomy import FIRST_LUMBAR, LEVELS, draw_condition, make_spine
from datamodules.phantom.lumbar.ap import lumbar_ap_film
from datamodules.phantom.lumbar.files import write_buu, write_nhanes2
from datamodules.phantom.lumbar.films import LumbarFilm, body_outline, lumbar_film
from datamodules.phantom.rendering import PhantomFilm, Radiograph

SEEDS = range(12)


@pytest.fixture(scope="module")
def films() -> list[LumbarFilm]:
    return [lumbar_film(seed, 96) for seed in range(60)]


def along(film: PhantomFilm, outwards: float) -> float:
    """Mean grey value of all vertebrae this share of their size away from the walls, along the upper end plate."""
    values = []
    for corners in film.points[:20].reshape(5, 4, 2):
        middle = corners.mean(axis=0)
        x, y = np.round(middle + (corners[[0, 2]].mean(axis=0) - middle) * outwards).astype(int)
        values.append(float(film.image[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].mean()))
    return float(np.mean(values))


@pytest.mark.parametrize("make", [lambda seed: lumbar_film(seed, 128).film, lambda seed: lumbar_ap_film(seed, 128)])
def test_the_same_seed_gives_the_same_film_and_another_seed_another(make: "type[PhantomFilm]") -> None:
    one, two, other = make(4), make(4), make(5)
    assert np.array_equal(one.image, two.image)
    assert np.array_equal(one.points, two.points)
    assert one.image.shape != other.image.shape or not np.array_equal(one.image, other.image)


def test_all_landmarks_lie_on_the_film_in_the_images_order(films: list[LumbarFilm]) -> None:
    for film in [*(lateral.film for lateral in films), *(lumbar_ap_film(seed, 96) for seed in SEEDS)]:
        height, width = film.image.shape
        assert film.image.dtype == np.uint8
        assert (film.points >= 0).all()
        assert (film.points <= [width - 1, height - 1]).all()
        assert (film.points[::2, 0] < film.points[1::2, 0]).all()
        middles = film.points.reshape(-1, 2, 2).mean(axis=1)[:, 1]
        assert (np.diff(middles) > 0).all()


def test_films_vary_as_real_ones_do(films: list[LumbarFilm]) -> None:
    assert 0 < sum(lateral.film.inverted for lateral in films) < 15
    assert 0 < sum(lateral.mirrored for lateral in films) < 15
    assert 5 <= sum(bool(lateral.dark) for lateral in films) <= 25
    assert {level for lateral in films for level in lateral.dark} <= {LEVELS.index(f"L{i}") for i in range(1, 5)}


def test_the_papers_occlusions_all_occur() -> None:
    found = [draw_condition(np.random.default_rng(seed)) for seed in range(400)]
    assert {kind for condition in found for kind in condition.fracture} == {"", "wedge", "biconcave", "crush"}
    assert Counter(condition.transition for condition in found).keys() == {"", "sacralised", "lumbarised"}
    assert sum(any(condition.fracture) for condition in found) < 120
    slips = np.array([condition.slip for condition in found])
    assert slips.max() > 0.25 > 0 > slips.min()


def test_a_wedge_fracture_lowers_the_front_and_a_slip_moves_a_vertebra_to_the_front() -> None:
    ratios: dict[str, list[float]] = {"": [], "wedge": []}
    for seed in range(150):
        spine = make_spine(np.random.default_rng(seed), (512, 400))
        for level, kind in enumerate(spine.condition.fracture):
            front, back = (np.linalg.norm(spine.corners[level, i + 2] - spine.corners[level, i]) for i in (0, 1))
            if kind in ratios:
                ratios[kind].append(float(front / back))
        for level in np.flatnonzero(spine.condition.slip[FIRST_LUMBAR:-1]) + FIRST_LUMBAR:
            below = spine.corners[level + 1, :2]
            axis = (below[1] - below[0]) / np.linalg.norm(below[1] - below[0])
            moved = float((spine.corners[level, 2:].mean(axis=0) - below.mean(axis=0)) @ axis)
            slip = -moved / float(np.linalg.norm(below[1] - below[0]))
            assert slip == pytest.approx(spine.condition.slip[level], abs=0.09)
    assert max(ratios["wedge"]) < 0.85 < np.median(ratios[""])


def test_a_lordosis_is_as_wide_as_in_patients() -> None:
    angles = []
    for seed in range(80):
        points = make_spine(np.random.default_rng(seed), (512, 400)).points
        first, last = points[1] - points[0], points[21] - points[20]
        angles.append(np.rad2deg(np.arctan2(*first[::-1]) - np.arctan2(*last[::-1])))
    assert 38 < np.median(angles) < 60
    assert np.std(angles) > 6


def test_a_body_has_its_corners_exactly_at_the_landmarks_and_bone_is_denser_than_what_is_in_front_of_it() -> None:
    spine = make_spine(np.random.default_rng(1), (512, 400))
    outline = body_outline(spine.corners[7], spine.hollow[7])
    assert all(np.abs(outline - corner).sum(axis=1).min() < 1e-9 for corner in spine.corners[7])
    film = Radiograph(512, 400, np.random.default_rng(0))
    film.add_polygon(outline, 1.0)
    rows, columns = np.nonzero(film.depth > 0.02)
    drawn = np.stack([columns, rows], axis=1)
    for corner, away in zip(spine.corners[7], ([-1, -1], [1, -1], [-1, 1], [1, 1]), strict=True):
        assert np.abs(drawn[np.argmax(drawn @ np.array(away))] - corner).max() < 1.6
    seen = [lateral.film for lateral in map(lumbar_film, SEEDS) if not (lateral.mirrored or lateral.dark)]
    contrast = [(along(f, 0.8) - along(f, 1.2)) * (-1 if f.inverted else 1) for f in seen]
    assert len(seen) >= 5
    assert np.mean(contrast) > 4


def test_buu_films_have_the_names_and_labels_of_the_release(tmp_path: Path) -> None:
    write_buu(tmp_path, 20, seed=4, height=64)
    for view, digit, plates in (("LA", 1, 11), ("AP", 0, 10)):
        films = sorted((tmp_path / view).glob("*.jpg"))
        assert len(films) == 20
        assert all(re.fullmatch(rf"\d{{4}}-[FM]-\d{{3}}Y{digit}\.jpg", film.name) for film in films)
        assert all(cv2.imread(str(film), cv2.IMREAD_UNCHANGED).shape[0] == 64 for film in films)
        labels = [read_end_plates(film.with_suffix(".csv"), 2 * plates).labels for film in films]
        marked = Counter(label for film in labels for label in film)
        assert marked.keys() <= {"0", "1"}
    sexes = Counter(film.name[5] for film in films)
    assert min(sexes["F"], sexes["M"]) > 0


def test_nhanes_films_come_in_one_format_each_with_points_of_the_full_film(tmp_path: Path) -> None:
    write_nhanes2(tmp_path, nh2=1, tif8=1, jpg=2, seed=3, height=80)
    names = sorted(f"{path.parent.name}/{path.suffix}" for path in tmp_path.glob("*/*"))
    assert names == ["jpg/.jpg"] * 2 + ["nh2/.nh2"] + ["points/.csv"] * 4 + ["tif8/.tif"]
    film = next((tmp_path / "nh2").iterdir())
    points = read_end_plates(tmp_path / "points" / f"{film.stem}.csv", 22).points
    assert (points > 0).all()
    assert (points < [2048, 2487]).all()
    assert read_nh2(film).std() > 100
    lengths = [np.linalg.norm(points[i + 1] - points[i]) * 0.174 for i in range(0, 20, 2)]
    assert 30 < np.mean(lengths) < 55  # millimetres on the film
