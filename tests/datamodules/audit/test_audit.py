"""`osteomark data audit`: who stands where twice, on the terminal, as a table and as a page."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from benchmark.cli.main import main
from datamodules.aasce import AASCE
from datamodules.audit.duplicates import DuplicatePair, Symmetry, compare, sign_film, signature_size
from datamodules.audit.leaks import find_duplicates, in_film_pixels
from datamodules.audit.page import OUTSIDE, difference
from datamodules.components.cards.card import Card
from datamodules.components.transforms import transform_points
from datamodules.phantom.card_formats import write_dicom
from datamodules.phantom.spine import spine_film, write_aasce
from datamodules.private import dataset_of
from tests.benchmark.test_privacy import MARKER, leaks, write_marked


def overwrite(film: Path, source: Path, crop: int = 0) -> None:
    """Put a film in another one's place: the labels stay and help nobody."""
    image = cv2.imread(str(source), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(film), image[crop:, crop // 2 :])


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A phantom of AASCE with a training film tested, another one, cropped, too, and a test film twice; and its films.

    The films are six that train and four that test.
    """
    root = tmp_path_factory.mktemp("leaky") / "aasce"
    write_aasce(root, train=6, test=4, seed=1, height=320)
    films = [path for part in ("training", "test") for path in sorted((root / "data" / part).iterdir())]
    shutil.copy(films[0], films[6])
    overwrite(films[7], films[1], crop=24)
    overwrite(films[8], films[9])
    return root, films


def pairs(line: str, capsys: pytest.CaptureFixture[str]) -> dict:
    assert main(line.split()) == 0
    return json.loads(capsys.readouterr().out)


def test_planted_leaks_are_named_with_their_parts(
    leaky: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, films = leaky
    found = pairs(f"data audit aasce --root {root} --out {tmp_path} --json", capsys)
    assert (found["films"], found["unreadable"]) == (10, 0)
    same = {(pair["first"], pair["second"]): pair for pair in found["pairs"]}
    assert list(same) == [(films[a].stem, films[b].stem) for a, b in ((0, 6), (1, 7), (8, 9))]
    assert [pair["leak"] for pair in same.values()] == [True, True, False]
    assert [pair["second_part"] for pair in same.values()] == ["test"] * 3
    assert [pair["first_part"] in ("train", "val") for pair in same.values()] == [True, True, False]
    assert [pair["kind"] for pair in same.values()][:2] == ["same file", "same film, re-cropped"]
    assert not any(pair["known"] for pair in same.values())


def test_the_terminal_has_a_line_a_pair_and_a_count(
    leaky: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, films = leaky
    assert main(f"data audit aasce --root {root.parent} --out {tmp_path}".split()) == 0
    printed = capsys.readouterr().out
    assert f" = {films[6].stem} (test), correlation 1.000, leak, new\n" in printed
    assert len(re.findall(r"^same fil[me]", printed, flags=re.MULTILINE)) == 3
    assert "aasce, official: 10 films compared, 3 pairs" in printed
    assert "same film, test: 1, of them new: 1" in printed


def test_a_repeat_that_the_dataset_names_is_known(
    leaky: tuple[Path, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, films = leaky
    monkeypatch.setattr(AASCE, "repeats", re.compile(re.escape(films[6].stem)))
    assert [finding.known for finding in find_duplicates(AASCE(root)).findings] == [True, False, False]


def test_neighbouring_crops_of_one_patient_are_no_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_aasce(tmp_path, train=5, test=1, seed=3, height=320)
    films = sorted((tmp_path / "data" / "training").iterdir())
    image = cv2.imread(str(films[0]), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(films[0]), image[:200])
    cv2.imwrite(str(films[1]), image[100:300])
    (finding,) = find_duplicates(AASCE(tmp_path)).findings
    assert finding.overlap == pytest.approx(0.5, abs=0.02)
    monkeypatch.setattr("datamodules.aasce._patient", lambda stem: "one")
    assert find_duplicates(AASCE(tmp_path)).findings == ()


def test_of_folds_the_one_that_tests_a_film_is_named(tmp_path: Path) -> None:
    write_aasce(tmp_path, train=10, test=1, seed=2, height=200)
    films = sorted((tmp_path / "data" / "training").iterdir())
    data = AASCE(tmp_path, "5-fold")
    tested = {case: f"{split.name} test" for split in data.published for case in split.tests["test"]}
    other = next(film for film in films[1:] if tested[film.stem] != tested[films[0].stem])
    shutil.copy(films[0], other)
    (finding,) = find_duplicates(AASCE(tmp_path, "5-fold")).findings
    assert {finding.first_part, finding.second_part} == {tested[films[0].stem], tested[other.stem]}
    assert finding.leak


def test_page_and_table_hold_every_pair_and_are_the_same_each_time(
    leaky: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, films = leaky
    for folder in ("one", "two"):
        assert main(f"data audit aasce --root {root} --out {tmp_path / folder}".split()) == 0
    for name in ("index.html", "pairs.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    page = (tmp_path / "one" / "index.html").read_text()
    assert page.count("<img src=") == page.count('alt="') == 9
    assert not re.search(r'(src|href)="(?!data:)', page)
    table = pd.read_csv(tmp_path / "one" / "pairs.csv")
    assert list(table["second"]) == [films[6].stem, films[7].stem, films[9].stem]


def test_a_film_that_cannot_be_read_is_left_out_and_counted(
    leaky: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, films = leaky
    shutil.copytree(root, tmp_path / "aasce")
    broken = tmp_path / "aasce" / films[9].relative_to(root)
    broken.write_bytes(broken.read_bytes()[:2000])
    found = pairs(f"data audit aasce --root {tmp_path} --out {tmp_path / 'out'} --json", capsys)
    assert (found["films"], found["unreadable"], len(found["pairs"])) == (9, 1, 2)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("data audit asce --root x", "there is no dataset 'asce'; did you mean 'aasce'?"),
        ("data audit aasce", "where is aasce? Give its folder with --root."),
        ("data audit aasce --root nowhere", "nowhere does not hold the dataset"),
        ("data audit aasce --root nowhere --protocol leakfree", "there is no protocol 'leakfree'"),
    ],
)
def test_bad_input_is_one_sentence(line: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    assert sentence in capsys.readouterr().err


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Path]:
    """The card of a private set whose names are marked, two of whose films are one."""
    card = write_marked(tmp_path / "hospital")
    films = sorted((card.parent / "films").iterdir())
    shutil.copy(films[0], films[9])
    for film in films[1:9]:  # large enough to have detail
        write_dicom(film, spine_film(int(film.stem[-3:]), 320).image, patient=MARKER)
    films[3].write_bytes(b"no film")
    return card


def test_a_private_set_shows_hashes_only(
    hospital: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert main(["data", "audit", str(hospital)]) == 0
    printed = "".join(capfd.readouterr())
    out = tmp_path / "work" / "data" / "audit"
    page = next(out.rglob("index.html")).read_text()
    names = set(dataset_of(Card.load(hospital))(hospital.parent, allow_missing=True).own_names())
    shown = set(re.findall("case-[0-9a-f]{12}", printed))
    assert len(shown) == 2
    assert shown <= names
    assert shown <= set(re.findall("case-[0-9a-f]{12}", page))
    assert "same file" in printed
    assert "left out: 1" in printed
    assert leaks(tmp_path / "work") == []
    assert MARKER not in printed
    assert "<img" not in page
    assert "This set is private" in page


def test_geometry_between_films_is_in_their_own_pixels() -> None:
    """A film of 800 x 400 px and its lower right part, enlarged by 1.5, seen in signatures of other sizes."""
    film = spine_film(4, height=800, width=400).image
    part = cv2.resize(film[80:, 40:], None, fx=1.5, fy=1.5, interpolation=cv2.INTER_LINEAR)
    signatures = [
        sign_film(cv2.resize(f, signature_size(f.shape)[::-1], interpolation=cv2.INTER_AREA)) for f in (film, part)
    ]
    pair = compare(*signatures, (0, 1, Symmetry()))
    assert pair is not None
    affine = in_film_pixels(pair.affine, film.shape, part.shape)
    points = np.array([[100.0, 200.0], [350.0, 700.0]])
    expected = (points - (40, 80) + 0.5) * 1.5 - 0.5
    assert np.abs(transform_points(affine, points) - expected).max() < 1.5


def test_the_difference_of_a_film_and_its_negative_is_black_and_grey_outside() -> None:
    film = spine_film(5, height=320, width=160).image
    first, second = sign_film(film), sign_film(255 - film)
    moved = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 32.0]])
    same = DuplicatePair(0, 1, Symmetry(inverted=True), np.eye(2, 3), 1.0, 1.0, 100, 100, 0, 0.0)
    assert difference(first, second, same).max() <= 2
    lower = difference(first, second, same._replace(affine=moved))
    assert (lower[-32:] == OUTSIDE).all()
