"""Thumbnails of films: which are given, and to whom they are not."""

import shutil
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

import datamodules
from benchmark import dataset_folders as data
from benchmark.thumbnails import PIXELS, DatasetRequest, FilmRequest, Thumbnails, thumbnail_size
from datamodules.base import PHANTOM_MARK, Case, Inventory
from tests.stored_runs import Skull

SIZE = (900, 600)
POINTS = np.array([[10.0, 20.0], [30.0, 40.0], [np.nan, np.nan]])


class Films(Skull):
    """Two films and their labels."""

    def scan(self) -> Inventory:
        return Inventory({name: Case(name, self.root / f"{name}.png", POINTS, SIZE) for name in ("a", "b/ü")})


class Hidden(Films):
    """The same films, of a clinic."""

    private: ClassVar = True


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of datasets, with the films of both below it."""
    monkeypatch.setattr(datamodules, "discover", lambda: {"skull": Films, "clinic": Hidden})
    monkeypatch.setattr(data, "PHANTOMS", tmp_path / "phantom")
    for name in ("data/skull", "data/clinic", "phantom/skull"):
        for film in ("a.png", "b/ü.png"):
            path = tmp_path / name / film
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full(SIZE, 128, np.uint8))
    return tmp_path / "data"


def place(dataset: str = "skull", *, phantom: bool = False) -> DatasetRequest:
    return DatasetRequest(dataset, "official", "1a2b", phantom)


def film(case: str = "a", shift: float = 0.0, size: tuple[int, int] = SIZE) -> FilmRequest:
    return FilmRequest(case, POINTS + shift, size)


def test_films_are_found_and_made_small(root: Path, tmp_path: Path) -> None:
    found = Thumbnails(tmp_path / "runs", root)(place(), [film(), film("b/ü")])
    assert found.keys() == {"a", "b/ü"}
    image = cv2.imread(str(found["a"]), cv2.IMREAD_UNCHANGED)
    assert image.shape == thumbnail_size(SIZE)
    assert image.size == pytest.approx(PIXELS, rel=0.01)
    assert abs(int(image.mean()) - 128) < 3


def test_films_of_people_need_a_folder_that_somebody_names(root: Path, tmp_path: Path) -> None:
    assert Thumbnails(tmp_path / "runs", root)(place(), [film()])
    assert Thumbnails(tmp_path / "runs")(place(), [film()]) == {}  # although its thumbnail lies in the store


def test_phantoms_are_always_shown(root: Path, tmp_path: Path) -> None:
    assert Thumbnails(tmp_path / "runs")(place(phantom=True), [film()]).keys() == {"a"}


def test_phantoms_of_a_data_root_are_found_there(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "phantom")
    assert not Thumbnails(tmp_path / "runs", root)(place(phantom=True), [film()])
    (root / "skull" / PHANTOM_MARK).touch()
    assert Thumbnails(tmp_path / "runs", root)(place(phantom=True), [film()])


def test_films_of_a_private_set_are_never_shown(root: Path, tmp_path: Path) -> None:
    assert Thumbnails(tmp_path / "runs", root)(place("clinic"), [film()]) == {}
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("other", [film(shift=1.0), film(size=(900, 601)), film("c")])
def test_a_film_that_is_not_the_one_that_was_tested_is_left_out(
    other: FilmRequest, root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Thumbnails(tmp_path / "runs", root)(place(), [other]) == {}
    assert f"lacks films that were tested, with their labels: {other.case}" in caplog.text


def test_a_folder_that_is_not_there_costs_the_films_and_not_the_site(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Thumbnails(tmp_path / "runs", tmp_path / "nowhere")(place(), [film()]) == {}
    assert "no film of skull is shown" in caplog.text


def test_what_was_drawn_once_is_not_looked_for_again(root: Path, tmp_path: Path) -> None:
    gallery = Thumbnails(tmp_path / "runs", root)
    before = {case: path.stat().st_mtime_ns for case, path in gallery(place(), [film()]).items()}
    (root / "skull" / "a.png").unlink()
    assert {case: path.stat().st_mtime_ns for case, path in gallery(place(), [film()]).items()} == before
