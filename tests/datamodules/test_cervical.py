"""The cervical adapter's views and splits, the crops' parts, and what their table refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datamodules.base import DataError, LandmarkDataModule
from datamodules.cervical import Cervical, draw_tests
from datamodules.cervical_crops import CervicalCrops
from datamodules.lumbar_crops import LumbarCrops
from tests.data import cervical as tiny_cervical
from tests.data import cervical_crops as tiny_crops

CLINIC = {f"P{p}-{view}": view for p in range(600) for view in ("LC", "LCE", "LCF") if view == "LC" or p % 5 == 0}
PATIENTS = {film: film.partition("-")[0] for film in CLINIC}
Edit = Callable[[list[str]], list[str]]


def write(root: Path, writer: Callable[[Path], None], edit: Edit = lambda lines: lines) -> Path:
    root.mkdir(exist_ok=True)
    writer(root)
    table = root / "landmarks.csv"
    table.write_text("\n".join(edit(table.read_text().splitlines())) + "\n")
    return root


def cell(line: int, column: int, text: str) -> Edit:
    def edit(lines: list[str]) -> list[str]:
        cells = lines[line].split(",")
        cells[column] = text
        return [*lines[:line], ",".join(cells), *lines[line + 1 :]]

    return edit


@pytest.mark.parametrize("patients", [PATIENTS, {film: film for film in CLINIC}], ids=["patients", "films"])
def test_a_tenth_of_the_neutral_and_a_twentieth_of_the_other_films_test(patients: dict[str, str]) -> None:
    tests = draw_tests(CLINIC, patients)
    assert {view: len(films) for view, films in tests.items()} == {"LC": 60, "LCE": 6, "LCF": 6}
    assert all(CLINIC[film] == view for view, films in tests.items() for film in films)


def test_whole_patients_test() -> None:
    tested = {film for films in draw_tests(CLINIC, PATIENTS).values() for film in films}
    owners = {PATIENTS[film] for film in tested}
    assert {film for film in CLINIC if PATIENTS[film] in owners} == tested


def test_the_draw_does_not_depend_on_the_order_of_the_table() -> None:
    backwards = dict(reversed(CLINIC.items()))
    assert draw_tests(CLINIC, PATIENTS) == draw_tests(backwards, PATIENTS)


def test_every_view_is_a_named_test_set_of_its_own(tmp_path: Path) -> None:
    data = Cervical(write(tmp_path / "c", tiny_cervical.write), "patients")
    assert list(data.split.tests) == ["LC", "LCE", "LCF"]
    for view, films in data.split.tests.items():
        assert films
        assert {data.inventory.cases[film].view for film in films} == {view}


def test_the_protocol_of_the_paper_says_that_patients_may_straddle(tmp_path: Path) -> None:
    data = Cervical(write(tmp_path / "c", tiny_cervical.write))
    assert data.protocol.name == "published"
    assert "patients in both training and test" in data.protocol.caveats
    assert Cervical.find_protocol("patients").caveats == ()


def test_there_are_29_points_and_the_nme_is_normalised_by_numbers_0_and_4() -> None:
    assert len(Cervical.schema) == 29
    assert Cervical.schema.normalizer_index == (0, 4)
    assert sum(map(len, Cervical.schema.groups.values())) == 29


def test_an_empty_cell_is_a_missing_point(tmp_path: Path) -> None:
    data = Cervical(write(tmp_path / "c", tiny_cervical.write, cell(3, 6, "")))
    points = data.inventory.cases["P0003-LC"].points
    assert np.flatnonzero(np.isnan(points).any(axis=1)).tolist() == [1]
    assert np.isnan(points[1]).all()


def test_a_point_beside_its_film_is_kept_and_reported(tmp_path: Path) -> None:
    data = Cervical(write(tmp_path / "c", tiny_cervical.write, cell(1, 3, "-40")))
    assert data.inventory.cases["P0001-LC"].points[0, 0] == -40
    labels = [text for text in data.inventory.oddities if "looks inverted" not in text]  # a fifth is drawn so
    assert labels == [
        f"P0001-LC: C2-dens at (-40, {data.inventory.cases['P0001-LC'].points[0, 1]:g}) lies outside the film of "
        f"{data.inventory.cases['P0001-LC'].size[1]} x 128 px.",
    ]


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    def shuffle(lines: list[str]) -> list[str]:
        return [",".join([*line.split(",")[::-1], "remark"]) for line in lines]

    one, other = write(tmp_path / "a", tiny_cervical.write), write(tmp_path / "b", tiny_cervical.write, shuffle)
    assert Cervical(one).content == Cervical(other).content


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (cell(2, 1, "AP"), r"line 3 names the view 'AP'; a view is LC, LCE, LCF"),
        (cell(2, 5, "x1"), r"line 3 holds 'x1'"),
        (cell(0, 1, "pose"), r"line 1 has no column 'view'"),
        (lambda lines: [*lines, lines[1]], r"line 23 names no film of its own \('P0001-LC.png'\)"),
        (lambda lines: [lines[0], lines[1] + ",7"], r"line 2 has 62 cells where the header has 61"),
    ],
)
def test_a_broken_table_is_named_with_line_and_value(tmp_path: Path, edit: Edit, words: str) -> None:
    root = write(tmp_path / "c", tiny_cervical.write, edit)
    with pytest.raises(DataError, match=rf"landmarks\.csv, {words}"):
        _ = Cervical(root).inventory


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (cell(4, 2, "L3"), "line 5 names the level 'L3'"),
        (cell(4, 3, ""), "line 5 gives the spacing , "),
        (cell(4, 3, "0"), "line 5 gives the spacing 0, "),
    ],
)
def test_a_crop_without_a_level_or_a_spacing_is_refused(tmp_path: Path, edit: Edit, words: str) -> None:
    root = write(tmp_path / "c", tiny_crops.write, edit)
    with pytest.raises(DataError, match=words):
        _ = CervicalCrops(root).inventory


@pytest.mark.parametrize(("dataset", "shares"), [(CervicalCrops, (10, 20, 130)), (LumbarCrops, (5, 5, 55))])
def test_crops_are_shared_out_as_in_the_paper(dataset: type[LandmarkDataModule], shares: tuple[int, int, int]) -> None:
    validate, test, total = shares
    assert dataset.shares == (validate / total, test / total)  # type: ignore[attr-defined]
    assert all("oracle crop" in protocol.caveats for protocol in dataset.protocols)


def test_crops_of_one_patient_cannot_be_split(tmp_path: Path) -> None:
    root = write(tmp_path / "c", tiny_crops.write, lambda lines: lines[:6])
    with pytest.raises(DataError, match="one patient only"):
        _ = CervicalCrops(root).split
