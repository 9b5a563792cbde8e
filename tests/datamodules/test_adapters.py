"""What each adapter makes of its dataset's own files, against an independent reading of them."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat, savemat

from datamodules import aasce, hand, isbi2015
from datamodules.base import DataError

Fresh = Callable[[str], Path]


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    """Rewrite a text file line by line."""
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


# --- AASCE ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def spine(fresh: Fresh) -> Path:
    return fresh("aasce")


def test_aasce_points_are_the_pixels_of_the_mat_files(spine: Path) -> None:
    cases = aasce.AASCE(spine).inventory.cases
    mats = {path.name.removesuffix(".jpg.mat"): path for path in spine.rglob("*.mat")}
    assert set(mats) == set(cases)
    assert all(np.array_equal(cases[name].points, loadmat(path)["p2"]) for name, path in mats.items())


def test_aasce_without_mat_files_reads_the_shares_of_landmarks_csv(spine: Path) -> None:
    expected = aasce.AASCE(spine).inventory.cases
    for path in spine.rglob("*.mat"):
        path.unlink()
    cases = aasce.AASCE(spine).inventory.cases
    assert all(np.abs(cases[name].points - case.points).max() < 0.01 for name, case in expected.items())


def test_aasce_reports_a_mat_that_contradicts_landmarks_csv_and_uses_it(spine: Path) -> None:
    mat = next((spine / "labels" / "test").glob("*.mat"))
    savemat(mat, {"p2": loadmat(mat)["p2"] + 0.75})
    data = aasce.AASCE(spine)
    name = mat.name.removesuffix(".jpg.mat")
    assert any(text.startswith(name) and "0.8 px" in text for text in data.inventory.oddities)
    assert np.array_equal(data.inventory.cases[name].points, loadmat(mat)["p2"])


@pytest.mark.parametrize("columns", [135, 137])
def test_aasce_names_the_line_of_landmarks_csv_with_another_number_of_values(spine: Path, columns: int) -> None:
    path = spine / "labels" / "training" / "landmarks.csv"
    edit(path, lambda lines: [*lines[:2], ",".join((lines[2] + ",0.5").split(",")[:columns]), *lines[3:]])
    with pytest.raises(DataError, match=rf"landmarks\.csv, line 3 holds {columns} values instead of 136"):
        _ = aasce.AASCE(spine).inventory


@pytest.mark.parametrize("table", ["landmarks.csv", "angles.csv"])
def test_aasce_names_a_table_with_another_number_of_films(spine: Path, table: str) -> None:
    path = spine / "labels" / "training" / table
    path.write_text("1,2,3\n")
    with pytest.raises(DataError, match=rf"{table} has 1 lines where filenames\.csv beside it lists 12 films"):
        _ = aasce.AASCE(spine).inventory


@pytest.mark.parametrize(
    ("content", "message"),
    [({"p2": np.zeros((67, 2))}, "67 x 2 numbers in `p2` instead of 68 x 2"), ({"q": np.zeros(3)}, "no readable `p2`")],
)
def test_aasce_names_a_mat_with_other_content(spine: Path, content: dict[str, np.ndarray], message: str) -> None:
    mat = next(spine.rglob("*.mat"))
    savemat(mat, content)
    with pytest.raises(DataError, match=f"{re.escape(mat.name)} .*{message}"):
        _ = aasce.AASCE(spine).inventory
    mat.write_bytes(b"no mat file")
    with pytest.raises(DataError, match=re.escape(mat.name)):
        _ = aasce.AASCE(spine).inventory


def test_aasce_film_names_cannot_clash_between_training_and_test(spine: Path) -> None:
    first = (spine / "labels" / "training" / "filenames.csv").read_text().splitlines()[0]
    edit(spine / "labels" / "test" / "filenames.csv", lambda lines: [first, *lines[1:]])
    with pytest.raises(DataError, match=r"test/filenames\.csv lists .* whose name is taken"):
        _ = aasce.AASCE(spine).inventory


def test_aasce_lists_a_whole_part_that_is_not_there(spine: Path) -> None:
    (spine / "labels" / "test" / "filenames.csv").unlink()
    with pytest.raises(DataError, match=r"lacks a file \(labels/test/filenames\.csv\)"):
        _ = aasce.AASCE(spine).inventory


def test_aasce_lists_the_labels_that_a_film_lacks(spine: Path) -> None:
    (spine / "labels" / "training" / "landmarks.csv").unlink()
    next((spine / "labels" / "training").glob("*.mat")).unlink()
    data = aasce.AASCE(spine, allow_missing=True)
    assert len(data.inventory.cases) == 15
    assert len(data.inventory.missing) == 1


def test_aasce_mentions_films_that_no_list_names(spine: Path) -> None:
    Image.new("L", (8, 8)).save(spine / "data" / "training" / "stray.jpg")
    assert "stray" in aasce.AASCE(spine).inventory.notes[0]


def test_aasce_reports_odd_labels_and_keeps_them(spine: Path) -> None:
    mat = next((spine / "labels" / "training").glob("*.mat"))
    points = loadmat(mat)["p2"]
    points[[0, 2]] = points[[2, 0]]
    points[[1, 3]] = points[[3, 1]]
    points[40] = (-5, 60)
    savemat(mat, {"p2": points})
    data = aasce.AASCE(spine)
    name = mat.name.removesuffix(".jpg.mat")
    odd = [text.removeprefix(f"{name}: ") for text in data.inventory.oddities if text.startswith(name)]
    assert "the corners of T1 are swapped." in odd
    assert any(text.startswith("T11-TL at (-5, 60) lies outside the film") for text in odd)
    assert name in data.inventory.cases


def test_aasce_reports_implausible_and_zero_angles(spine: Path) -> None:
    (spine / "labels" / "test" / "angles.csv").write_text("130.5,20,0\n30,0,10\n30,20,10\n30,20,10\n")
    odd = [text.split(": ")[1] for text in aasce.AASCE(spine).inventory.oddities]
    odd = [text for text in odd if "looks inverted" not in text]  # as some phantoms are drawn
    assert odd == ["a Cobb angle of 130.5 degrees.", "Cobb angle a3 is 0.", "Cobb angle a2 is 0."]


@pytest.mark.parametrize(
    ("stem", "patient"),
    [
        ("sunhl-1th-28-Feb-2017-239 A AP", "239"),
        ("sunhl-1th-10-Jan-2017-239 D AP", "239"),
        ("sunhl-1th-22-Nov-2016-142 A AP (2)", "142"),
        ("sunhl-1th-20-Jul-2016-coronal7", "coronal"),
        ("own film", "own film"),
    ],
)
def test_aasce_films_of_one_session_number_are_one_patient(stem: str, patient: str) -> None:
    assert aasce._patient(stem) == patient


# --- ISBI 2015 --------------------------------------------------------------------------------------------------------


@pytest.fixture
def skull(fresh: Fresh) -> Path:
    return fresh("isbi2015")


def readings(root: Path, reader: str, name: str) -> np.ndarray:
    """Read the 19 points of a reader's file in the official frame."""
    lines = (root / "AnnotationsByMD" / f"400_{reader}" / f"{name}.txt").read_text().split()[:19]
    return np.array([[float(value) for value in line.split(",")] for line in lines])


@pytest.mark.parametrize(
    ("protocol", "readers"),
    [("official", ("senior", "junior")), ("official-senior", ("senior",)), ("official-junior", ("junior",))],
)
def test_isbi_points_and_spacing_are_scaled_to_the_film(skull: Path, protocol: str, readers: tuple[str, ...]) -> None:
    for name, case in isbi2015.ISBI2015(skull, protocol).inventory.cases.items():
        official = np.mean([readings(skull, reader, name) for reader in readers], axis=0)
        height, width = case.size
        spacing = np.array([193.5 / width, 240.0 / height])
        assert np.allclose(case.spacing, spacing)
        assert np.allclose((case.points + 0.5) * spacing, (official + 0.5) * 0.1, atol=1e-9)


def test_isbi_truth_that_is_cut_off_is_so_in_test_films_alone(skull: Path) -> None:
    usual = isbi2015.ISBI2015(skull, "official-150").inventory.cases
    cut = isbi2015.ISBI2015(skull, "official-150-truncated").inventory.cases
    for name, case in cut.items():
        height, width = case.size
        official = (case.points + 0.5) * np.array([1935 / width, 2400 / height]) - 0.5
        mean = np.mean([readings(skull, reader, name) for reader in ("senior", "junior")], axis=0)
        if int(name) <= 150:
            assert np.array_equal(case.points, usual[name].points)
        else:
            assert np.allclose(official, np.floor(mean), atol=1e-9)
    assert any((case.points != usual[name].points).any() for name, case in cut.items())


@pytest.mark.parametrize("protocol", ["official-150", "official-150-truncated"])
def test_isbi_trains_on_all_150_films_where_none_validates(skull: Path, protocol: str) -> None:
    official, all_train = (isbi2015.ISBI2015(skull, name).split for name in ("official", protocol))
    assert all_train.val == ()
    assert set(all_train.train) == {*official.train, *official.val}
    assert all_train.tests == official.tests


def test_isbi_films_of_the_official_size_keep_the_labels_numbers(skull: Path) -> None:
    Image.new("L", (1935, 2400)).save(skull / "RawImage" / "TrainingData" / "001.bmp")
    case = isbi2015.ISBI2015(skull, "official-senior").inventory.cases["001"]
    assert np.allclose(case.points, readings(skull, "senior", "001"), atol=1e-9)
    assert np.allclose(case.spacing, 0.1)


def test_isbi_says_that_it_rescaled_and_what_is_absent(skull: Path) -> None:
    notes = isbi2015.ISBI2015(skull).inventory.notes
    assert "12 films are not 1935 x 2400 px" in notes[0]
    assert "388 of the 400" in notes[1]


def test_isbi_reads_labels_with_and_without_class_lines_and_jpg(skull: Path) -> None:
    expected = isbi2015.ISBI2015(skull).inventory.cases
    for path in (skull / "AnnotationsByMD").rglob("*.txt"):
        lines = path.read_text().split()
        path.write_text("\r\n".join(lines[:19] + ([] if len(lines) > 19 else ["1"] * 8)))
    film = skull / "RawImage" / "TrainingData" / "002.bmp"
    Image.open(film).save(film.with_suffix(".jpg"))
    film.unlink()
    cases = isbi2015.ISBI2015(skull).inventory.cases
    assert cases["002"].film.suffix == ".jpg"
    assert all(np.array_equal(cases[name].points, case.points) for name, case in expected.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:18], r"line 18: .*18 points instead of 19"),
        (lambda lines: [*lines[:19], "5,6"], r"line 20: .*20 points instead of 19"),
        (lambda lines: [*lines[:4], "12", *lines[5:]], r"line 5 holds 1 values instead of 2"),
        (lambda lines: [*lines[:4], "12,x", *lines[5:]], r"line 5 holds 'x' where a number is needed"),
        (lambda lines: [*lines[:19], *"1234567"], r"line 20 holds 1 values instead of 2"),
    ],
)
def test_isbi_names_the_line_of_a_broken_label(
    skull: Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
    edit(skull / "AnnotationsByMD" / "400_junior" / "003.txt", change)
    with pytest.raises(DataError, match=rf"003\.txt, {message}"):
        _ = isbi2015.ISBI2015(skull).inventory


def test_isbi_needs_only_the_reader_that_the_protocol_takes(skull: Path) -> None:
    (skull / "AnnotationsByMD" / "400_junior" / "004.txt").unlink()
    assert "004" in isbi2015.ISBI2015(skull, "official-senior").inventory.cases
    with pytest.raises(DataError, match=r"400_junior/004\.txt"):
        _ = isbi2015.ISBI2015(skull, "official").inventory


def test_isbi_reports_readers_that_are_far_apart(skull: Path) -> None:
    edit(skull / "AnnotationsByMD" / "400_senior" / "005.txt", lambda lines: ["100,100", *lines[1:]])
    edit(skull / "AnnotationsByMD" / "400_junior" / "005.txt", lambda lines: ["100,300", *lines[1:]])
    assert isbi2015.ISBI2015(skull).inventory.oddities == ("005: the two readers put sella 20.0 mm apart.",)


def test_isbi_without_a_test_set_says_so(skull: Path) -> None:
    for folder in ("Test1Data", "Test2Data"):
        for film in (skull / "RawImage" / folder).iterdir():
            film.unlink()
            for reader in ("senior", "junior"):
                (skull / "AnnotationsByMD" / f"400_{reader}" / f"{film.stem}.txt").unlink()
    with pytest.raises(DataError, match="no film for the training or test cases"):
        _ = isbi2015.ISBI2015(skull).split


def test_isbi_repeated_radiographs_are_one_patient_and_leave_the_leak_free_test() -> None:
    assert {isbi2015._patient(name) for name in ("001", "275")} == {"001"}
    assert {isbi2015._patient(name) for name in ("159", "278")} == {"159"}
    repeats = [f"{n:03d}" for n in range(151, 301) if isbi2015._patient(f"{n:03d}") != f"{n:03d}"]
    assert len(repeats) == 23


# --- Digital Hand Atlas -----------------------------------------------------------------------------------------------


@pytest.fixture
def hands(fresh: Fresh) -> Path:
    return fresh("hand")


def test_hand_points_are_the_numbers_of_all_csv(hands: Path) -> None:
    rows = np.loadtxt(hands / "all.csv", delimiter=",")
    cases = hand.Hand(hands).inventory.cases
    assert {str(int(row[0])) for row in rows} == set(cases)
    assert all(np.array_equal(cases[str(int(row[0]))].points.ravel(), row[1:]) for row in rows)


@pytest.mark.parametrize(
    ("protocol", "ends"), [("3-fold", [1, 5]), ("3-fold-other", [0, 4]), ("3-fold-reduced", [1, 5])]
)
def test_hand_wrists_are_50_mm_wide_by_the_protocol_s_rule(hands: Path, protocol: str, ends: list[int]) -> None:
    for case in hand.Hand(hands, protocol).inventory.cases.values():
        first, second = case.points[ends] * case.spacing
        assert np.hypot(*(first - second)) == pytest.approx(50)


def test_hand_folds_are_the_published_lists(hands: Path) -> None:
    for fold in (1, 2, 3):
        split = hand.Hand(hands, "3-fold", f"fold{fold}").split
        lists = {part: (hands / "cv" / f"set{fold}" / f"{part}.txt").read_text().split() for part in ("train", "test")}
        assert sorted(split.train + split.val) == sorted(lists["train"])
        assert list(split.tests["test"]) == lists["test"]


def test_hand_rows_without_a_film_matter_only_if_a_fold_lists_them(hands: Path) -> None:
    edit(hands / "all.csv", lambda lines: [*lines, ",".join(["9999", *lines[0].split(",")[1:]])])
    assert "9999" not in hand.Hand(hands).inventory.cases
    edit(hands / "cv" / "set1" / "test.txt", lambda lines: [*lines, "9999"])
    with pytest.raises(DataError, match=r"lacks a file \(images/9999\.mha\)"):
        _ = hand.Hand(hands).inventory


def test_hand_lists_name_hands_without_labels(hands: Path) -> None:
    edit(hands / "all.csv", lambda lines: lines[1:])
    assert hand.Hand(hands, allow_missing=True).inventory.missing[0].endswith("in all.csv")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [lines[0], lines[1] + ",7", *lines[2:]], "line 2 holds 75 values instead of 74"),
        (lambda lines: [lines[0], lines[0], *lines[2:]], "line 2 repeats hand .* of line 1"),
        (lambda lines: [lines[0], lines[1].replace(",", ",x", 1), *lines[2:]], "line 2 holds 'x"),
        (lambda lines: [",".join([lines[0].split(",")[0], *["5"] * 74]), *lines[1:]], "line 1 puts points 1 and 5"),
    ],
)
def test_hand_names_the_line_of_a_broken_label(
    hands: Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
    edit(hands / "all.csv", change)
    with pytest.raises(DataError, match=rf"all\.csv, {message}"):
        _ = hand.Hand(hands).inventory


def test_hand_without_the_reduced_lists_still_has_the_full_ones(hands: Path) -> None:
    for path in sorted((hands / "cv_reduced").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (hands / "cv_reduced").rmdir()
    assert hand.Hand(hands, "3-fold").split.train
    with pytest.raises(DataError, match="cv_reduced"):
        _ = hand.Hand(hands, "3-fold-reduced").inventory


def test_hand_names_follow_the_fingers() -> None:
    names = hand.Hand.schema.names
    assert (len(names), names[1], names[5], names[20], names[36]) == (
        37,
        "ulna-styloid",
        "radius-styloid",
        "thumb-tip",
        "little-tip",
    )
