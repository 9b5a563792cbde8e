"""BUU-LSPINE, NHANES II and the set of both: points, names, formats, splits and damage."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.audit.check import check
from datamodules.base import DataError
from datamodules.buu import BUU
from datamodules.buu_ap import BUUAP
from datamodules.components.images.image_io import film_size, read_film
from datamodules.components.images.nh2 import CERVICAL, LUMBAR, nh2_size, read_nh2, write_nh2
from datamodules.components.labels.end_plates import read_end_plates, write_end_plates
from datamodules.families.buu_view import parse_name
from datamodules.lumbar import PAPER, Lumbar, draw_parts, scaled
from datamodules.nhanes2 import NHANES2, SPACING

Fresh = Callable[[str], Path]


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Rewrite a text file line by line."""
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def table(path: Path) -> np.ndarray:
    """The four coordinates of every line of a csv, read without the adapter."""
    return np.array([[float(text) for text in line.split(",")[:4]] for line in path.read_text().splitlines()])


def by_patient(films: int, patients: int) -> dict[str, str]:
    return {f"f{film:05d}": f"p{film % patients}" for film in range(films)}


# --- BUU-LSPINE -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dataset", "folder", "count"), [("buu", BUU, "LA", 22), ("buu_ap", BUUAP, "AP", 20)])
def test_buu_points_are_the_ends_of_the_csvs_end_plates_in_order(
    tiny_roots: dict[str, Path], name: str, dataset: type[BUU], folder: str, count: int
) -> None:
    cases = dataset(tiny_roots[name]).inventory.cases
    files = sorted((tiny_roots[name] / folder).glob("*.csv"))
    assert [file.stem for file in files] == sorted(cases)
    assert len(dataset.schema) == count
    for file in files:
        rows = table(file)
        assert np.abs(cases[file.stem].points[::2] - rows[:, :2]).max() < 0.01
        assert np.abs(cases[file.stem].points[1::2] - rows[:, 2:]).max() < 0.01


def test_a_row_is_an_end_plate_with_the_images_left_end_first() -> None:
    assert BUU.schema.names[4:8] == ("L2-TL", "L2-TR", "L2-BL", "L2-BR")
    assert BUU.schema.names[-2:] == BUU.schema.groups["S1"] == ("S1-TL", "S1-TR")
    assert BUUAP.schema.names == BUU.schema.names[:-2]
    assert ("S1-TL", "S1-TR") in BUU.schema.flips


def test_a_films_name_says_patient_sex_age_and_view() -> None:
    assert parse_name("0238-M-067Y0") == ("0238", "M", 67, 0)
    assert parse_name("238-67Y0") is None


def test_buu_notes_count_patients_and_marked_levels(fresh: Fresh) -> None:
    root = fresh("buu")
    file = min((root / "LA").glob("*.csv"))
    edit(file, lambda lines: [line.rpartition(",")[0] + ",0" for line in lines[:-1]] + [lines[-1][:-1] + "1"])
    notes = " ".join(BUU(root).inventory.notes)
    names = [parse_name(path.stem) for path in (root / "LA").glob("*.jpg")]
    women = sum(name.sex == "F" for name in names if name)
    assert f"{women} women and {16 - women} men" in notes
    assert f"labelled other than 0, {file.stem} first" in notes


def test_films_of_one_patient_stay_together(fresh: Fresh) -> None:
    root = fresh("buu")
    for film in sorted((root / "LA").glob("*Y1.*")):
        shutil.copy(film, film.with_name(f"{film.stem[:4]}-F-099Y1{film.suffix}"))
    data = BUU(root, "5-fold", "fold2")
    assert Counter(Counter(data.patients.values()).values()) == {2: 16}
    parts = [data.split.train, data.split.val, *data.split.tests.values()]
    patients = [{data.patients[stem] for stem in part} for part in parts]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 16


@pytest.mark.parametrize("change", [lambda lines: lines[:-2], lambda lines: [*lines, lines[-1]]])
def test_a_csv_with_another_number_of_end_plates_is_named_with_its_line(
    fresh: Fresh, change: Callable[[list[str]], list[str]]
) -> None:
    file = min((fresh("buu") / "LA").glob("*.csv"))
    edit(file, change)
    rows = len(file.read_text().splitlines())
    line = min(rows, 11)
    with pytest.raises(DataError, match=rf"{file.name}, line {line}: .*holds {rows} end plates instead of 11"):
        _ = BUU(file.parent.parent).inventory


def test_a_csv_with_a_broken_line_is_named_with_line_and_value(fresh: Fresh) -> None:
    file = min((fresh("buu_ap") / "AP").glob("*.csv"))
    edit(file, lambda lines: [*lines[:6], lines[6].replace(",", ";", 1), *lines[7:]])
    with pytest.raises(DataError, match=rf"{file.name}, line 7 holds '.*;.*' where a number is needed"):
        _ = BUUAP(file.parent.parent).inventory
    edit(file, lambda lines: [*lines[:6], "1,2,3", *lines[7:]])
    with pytest.raises(DataError, match=rf"{file.name}, line 7 holds 3 values instead of 4"):
        _ = BUUAP(file.parent.parent).inventory


def test_a_header_and_missing_labels_and_points_are_read(tmp_path: Path) -> None:
    points = np.arange(44.0).reshape(22, 2)
    points[5] = np.nan
    write_end_plates(tmp_path / "film.csv", points, ("",) * 11)
    edit(tmp_path / "film.csv", lambda lines: ["x1,y1,x2,y2,label", *(line.rstrip(",") for line in lines)])
    label = read_end_plates(tmp_path / "film.csv", 22)
    assert np.array_equal(label.points, points, equal_nan=True)
    assert label.is_healthy


def test_a_film_without_csv_and_a_csv_without_film_are_named(fresh: Fresh) -> None:
    root = fresh("buu")
    one, two, *_ = sorted((root / "LA").glob("*.jpg"))
    one.unlink()
    two.with_suffix(".csv").unlink()
    with pytest.raises(DataError, match=rf"lacks 2 files \(LA/{one.name}, LA/{two.stem}\.csv\)"):
        _ = BUU(root).inventory
    assert len(BUU(root, allow_missing=True).inventory.cases) == 14


def test_odd_labels_and_names_are_kept_and_told(fresh: Fresh) -> None:
    root = fresh("buu")
    file = min((root / "LA").glob("*.csv"))
    x1, y1, x2, y2 = table(file)[0]
    edit(file, lambda lines: [f"{x2},{y2},{x1},{y1},0", *lines[1:]])
    for path in (file, file.with_suffix(".jpg")):
        path.rename(path.with_name(f"film1{path.suffix}"))
    found = BUU(root).inventory
    assert "film1" in found.cases
    assert any("L1-TL lies to the right of L1-TR" in text for text in found.oddities)
    assert any("does not read NNNN-S-AAAY1" in text for text in found.oddities)


def test_buu_version_2_gives_spacings_and_the_authors_parts(fresh: Fresh) -> None:
    root = fresh("buu")
    stems = BUU(root).stems
    rows = [f"{stems[0]}\t0.15", f"{stems[1][:-1]}\t0.2", f"{stems[2]}.jpg\t0.25"]
    (root / "csv_info").mkdir()
    table = root / "csv_info" / "pixel_spacing_BUU_LSPINE_V2.csv"
    table.write_text("\n".join(["filename\tpixel_spacing", *rows]) + "\n")
    (root / "data").mkdir()
    shutil.move(root / "LA", root / "data" / "LA")
    data = BUU(root, "v2-split")
    assert [data.inventory.cases[stem].spacing for stem in stems[:3]] == [(0.15,) * 2, (0.2,) * 2, (0.25,) * 2]
    assert np.isnan(data.inventory.cases[stems[3]].spacing).all()
    folder = root / "BUU_LSPINE_V2_LA"
    for part, cases in (("train", data.split.train), ("eval", data.split.val), ("test", data.split.tests["test"])):
        assert list(cases) == sorted(path.stem for path in (folder / part / "images").iterdir())
    table.write_text("filename\tpixel_spacing\na\tb\n")
    with pytest.raises(DataError, match=r"V2\.csv, line 2 is no tab separated"):
        _ = BUU(root).inventory
    shutil.rmtree(folder)
    with pytest.raises(DataError, match="has no folder BUU_LSPINE_V2_LA"):
        _ = BUU(root, "v2-split").split


# --- NHANES II --------------------------------------------------------------------------------------------------------


def test_nhanes_points_and_spacing_belong_to_the_film_whatever_its_size(tiny_roots: dict[str, Path]) -> None:
    for name, case in NHANES2(tiny_roots["nhanes2"]).inventory.cases.items():
        labelled = table(tiny_roots["nhanes2"] / "points" / f"{name}.csv").reshape(22, 2)
        scale = np.array([case.size[1] / 2048, case.size[0] / 2487])
        assert np.abs((case.points + 0.5) / scale - 0.5 - labelled).max() < 0.01
        assert np.allclose(case.spacing * scale, SPACING)
        assert case.film.suffix != ".nh2" or np.array_equal(case.points, labelled)


def test_every_format_of_nhanes_is_read_and_the_deepest_preferred(fresh: Fresh) -> None:
    root = fresh("nhanes2")
    notes = " ".join(NHANES2(root).inventory.notes)
    assert all(text in notes for text in ("nh2 (1)", "tif (2)", "jpg (9)", "11 films are not 2048 x 2487 px"))
    film = next((root / "nh2").iterdir())
    shutil.copy(next((root / "jpg").iterdir()), root / "jpg" / f"{film.stem}.jpg")
    assert NHANES2(root).inventory.cases[film.stem].film == film
    shutil.move(root / "nh2", root / "fullres")
    assert NHANES2(root).inventory.cases[film.stem].film.parent.name == "fullres"


def test_an_nh2_film_shows_what_its_12_bits_hold(tiny_roots: dict[str, Path]) -> None:
    film = next((tiny_roots["nhanes2"] / "nh2").iterdir())
    deep, shown = read_nh2(film), read_film(film)
    assert film_size(film) == deep.shape == shown.shape == (2487, 2048)
    assert 1000 < deep.max() <= 4095
    assert np.corrcoef(deep[::9, ::9].ravel(), shown[::9, ::9].ravel())[0, 1] > 0.98


@pytest.mark.parametrize("order", ["big", "little"])
def test_an_nh2_film_is_read_in_either_byte_order(tmp_path: Path, order: str) -> None:
    film = np.random.default_rng(0).integers(0, 4096, CERVICAL, dtype=np.uint16)
    write_nh2(tmp_path / "film.nh2", film, order)
    assert np.array_equal(read_nh2(tmp_path / "film.nh2"), film)


@pytest.mark.parametrize("bytes_", [0, 10_186_750, 10_186_754])
def test_an_nh2_film_of_another_size_is_named_with_the_sizes_there_are(fresh: Fresh, bytes_: int) -> None:
    root = fresh("nhanes2")
    film = next((root / "nh2").iterdir())
    film.write_bytes(b"\0" * bytes_)
    with pytest.raises(DataError, match=rf"{film.name} has {bytes_:,} bytes, but .* 10,186,752 \(2048 x 2487 px\)"):
        _ = NHANES2(root).inventory
    assert film.stem not in NHANES2(root, allow_missing=True).inventory.cases


def test_values_beyond_12_bits_are_no_nh2_film(tmp_path: Path) -> None:
    path = tmp_path / "film.nh2"
    np.full(LUMBAR, 0x7F7F, ">u2").tofile(path)
    assert nh2_size(path) == LUMBAR
    with pytest.raises(DataError, match=r"film\.nh2 holds values above 4095"):
        read_film(path)
    with pytest.raises(ValueError, match="values up to 4095, not 4096"):
        write_nh2(path, np.full(LUMBAR, 4096, np.uint16))
    with pytest.raises(ValueError, match=r"not \(4, 4\)"):
        write_nh2(path, np.zeros((4, 4), np.uint16))


def test_films_without_points_stay_unused_and_are_told(fresh: Fresh) -> None:
    root = fresh("nhanes2")
    points = min((root / "points").iterdir())
    points.unlink()
    found = NHANES2(root).inventory
    assert len(found.cases) == 11
    assert f"1 films have no points and stay unused, {points.stem} first." in found.notes


# --- both -------------------------------------------------------------------------------------------------------------


def test_the_papers_numbers_are_met_exactly_by_films_of_as_many_patients() -> None:
    for films in (1524, 2000, 4700):
        drawn = draw_parts(by_patient(films, films), PAPER, seed=0)
        assert {part: len(names) for part, names in drawn.items()} == {"train": 976, "val": 244, "test": 304}
        assert len({name for names in drawn.values() for name in names}) == 1524


@given(st.integers(12, 400), st.integers(1, 3), st.integers(0, 5))
def test_a_draw_keeps_patients_whole_and_no_part_exceeds_its_share(patients: int, each: int, seed: int) -> None:
    films = by_patient(patients * each, patients)
    drawn = draw_parts(films, PAPER, seed)
    owners = [{films[name] for name in names} for names in drawn.values()]
    assert sum(map(len, owners)) == len(set().union(*owners))
    wanted = scaled(PAPER, len(films))
    assert sum(wanted.values()) == len(films)
    assert all(wanted[part] - 2 * each <= len(names) <= wanted[part] for part, names in drawn.items())


def test_a_draw_follows_its_seed_and_not_the_order_of_the_films() -> None:
    films = by_patient(100, 60)
    again = dict(sorted(films.items(), reverse=True))
    assert draw_parts(films, PAPER, 0) == draw_parts(again, PAPER, 0) != draw_parts(films, PAPER, 1)
    with pytest.raises(DataError, match="3 films are too few to draw a val part"):
        draw_parts(by_patient(3, 3), {"train": 8, "val": 1, "test": 1}, 0)


def test_the_combined_set_holds_both_sources_as_they_are(tiny_roots: dict[str, Path]) -> None:
    root = tiny_roots["lumbar"]
    cases = Lumbar(root).inventory.cases
    alone = BUU(root / "buu").inventory.cases | NHANES2(root / "nhanes2").inventory.cases
    assert set(cases) == set(alone)
    assert all(np.array_equal(cases[name].points, case.points) for name, case in alone.items())
    assert Counter(case.view for case in cases.values()) == {"buu": 14, "nhanes2": 8}
    assert {bool(np.isnan(case.spacing).any()) for case in cases.values() if case.view == "buu"} == {True}
    assert all(case.patient.startswith(case.view) for case in cases.values())


def test_the_combined_set_says_that_its_split_is_scaled_down(tiny_roots: dict[str, Path]) -> None:
    report = check(Lumbar, tiny_roots["lumbar"]).text
    assert "22 films are here instead of the 1524 of An et al." in report
    assert "complete (train 14, val 4, test 4)" in report
    assert "nhanes2-to-buu: complete (train 7, val 1, buu 14)" in report


def test_a_source_that_is_not_there_is_missing_and_the_other_can_be_used(fresh: Fresh) -> None:
    root = fresh("lumbar")
    shutil.move(root / "buu", root / "BUU-LSPINE")
    assert len(Lumbar(root).inventory.cases) == 22
    shutil.rmtree(root / "nhanes2")
    with pytest.raises(DataError, match=r"lacks a file \(nhanes2, the whole folder\)"):
        _ = Lumbar(root).inventory
    report = check(Lumbar, root)
    assert report.usable
    assert "buu-to-nhanes2: cannot be run" in report.text
