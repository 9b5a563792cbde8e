"""Cards: one YAML file makes a dataset, a mistake in it is one sentence, and a first card writes itself."""

import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from datamodules import DatasetRegistry, discover
from datamodules.audit.check import check
from datamodules.components.cards.card import Card, SplitRule
from datamodules.components.cards.new_card import write_card
from datamodules.components.cards.splits import SplitMember, deal, split_members
from datamodules.components.errors import DataError
from datamodules.phantom.card_formats import NAMES, Labelled
from datamodules.private import Private, dataset_of, read_description, write_description
from tests import card_files

SIZE = (60, 50)
WRITERS = {
    "wide-csv": ("points.csv", lambda root, films: card_files.write_wide(root / "points.csv", films, NAMES)),
    "long-csv": ("points.csv", lambda root, films: card_files.write_long(root / "points.csv", films, NAMES)),
    "coco": ("points.json", lambda root, films: card_files.write_coco(root / "points.json", films, NAMES)),
    "labelme": ("labels/*.json", lambda root, films: card_files.write_labelme(root / "labels", films, NAMES)),
    "cvat": ("points.xml", lambda root, films: card_files.write_cvat(root / "points.xml", films, NAMES)),
    "text": ("labels/*.txt", lambda root, films: card_files.write_text(root / "labels", films)),
}
Make = Callable[..., Private]


def drawn(root: Path, count: int = 8) -> list[Labelled]:
    """Write grey films as PNG and return their points."""
    rng = np.random.default_rng(0)
    (root / "films").mkdir(parents=True)
    for index in range(count):
        cv2.imwrite(str(root / f"films/f{index}.png"), rng.integers(0, 255, SIZE).astype(np.uint8))
    return [Labelled(f"films/f{i}.png", rng.uniform(0, 49, (len(NAMES), 2)).round(3), SIZE) for i in range(count)]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make a set with a card of some keys."""

    def made(columns: list[dict[str, str]] | None = None, form: str = "wide-csv", **keys: object) -> Private:
        films = drawn(tmp_path)
        path, write = WRITERS[form]
        if columns is None:
            write(tmp_path, films)
        else:
            card_files.write_wide(tmp_path / "points.csv", films, NAMES, columns)
        annotations = {"format": form, "path": path, **({"case": "film"} if "csv" in form else {})}
        card = {"name": "set", "images": "films/*.png", "annotations": annotations, "names": list(NAMES), **keys}
        (tmp_path / "card.yaml").write_text(yaml.safe_dump(card))
        return dataset_of(Card.load(tmp_path / "card.yaml"))(tmp_path)

    return made


@pytest.mark.parametrize("form", WRITERS)
def test_every_format_gives_the_files_points_to_a_hundredth_of_a_pixel(form: str, make: Make, tmp_path: Path) -> None:
    data = make(form=form)
    films = drawn(tmp_path / "again")
    found = np.array([data.inventory.cases[Path(film.image).stem].points for film in films])
    np.testing.assert_allclose(found, [film.points for film in films], atol=0.01)
    assert not data.inventory.oddities


@pytest.mark.parametrize("form", WRITERS)
def test_a_new_card_recognises_the_format_and_is_a_working_card(form: str, make: Make, tmp_path: Path) -> None:
    expected = make(form=form)
    said = write_card(tmp_path, tmp_path / "new.yaml")
    card = Card.load(tmp_path / "new.yaml")
    assert (card.annotations.format, card.annotations.path) == (form, (WRITERS[form][0],))
    assert card.images == "films/*.png"
    assert card.private
    assert "8 images" in said[0]
    if form != "text":
        assert card.names == NAMES
        assert len(card.flips) == 6
    data = dataset_of(card)(tmp_path)
    points = sorted(case.points.tolist() for case in data.inventory.cases.values())
    assert points == sorted(case.points.tolist() for case in expected.inventory.cases.values())
    with pytest.raises(DataError, match="is there already"):
        write_card(tmp_path, tmp_path / "new.yaml")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, (np.nan, np.nan)),
        ({"spacing": {"mm_per_pixel": 0.2}}, (0.2, 0.2)),
        ({"spacing": {"mm_per_pixel": [0.2, 0.3]}}, (0.2, 0.3)),
        ({"spacing": {"column": "mm"}}, (0.25, 0.25)),
        ({"spacing": {"column": ["mm", "mm_y"]}}, (0.25, 0.5)),
        ({"spacing": {"column": "none"}}, (np.nan, np.nan)),
        ({"spacing": {"dicom": "PixelSpacing"}}, (np.nan, np.nan)),
    ],
)
def test_spacing_comes_from_where_the_card_says(
    keys: dict[str, object], expected: tuple[float, float], make: Make
) -> None:
    data = make([{"mm": "0.25", "mm_y": "0.5", "none": "0"}] * 8, **keys)
    np.testing.assert_array_equal(data.inventory.cases["f0"].spacing, expected)
    assert data.protocol.unit == ("mm" if keys else "px")


def test_spacing_by_two_points_of_known_distance(make: Make) -> None:
    data = make(spacing={"between": list(NAMES[:2]), "mm": 30})
    case = data.inventory.cases["f3"]
    width = np.hypot(*(case.points[0] - case.points[1]))
    assert case.spacing == pytest.approx((30 / width, 30 / width))


def test_origin_shifts_points_to_pixel_centres_at_integers(make: Make, tmp_path: Path) -> None:
    plain = make().inventory.cases["f0"].points
    text = (tmp_path / "card.yaml").read_text()
    for origin, shift in (("corner", 0.5), ("one", 1.0)):
        (tmp_path / "card.yaml").write_text(text.replace("annotations:", f"annotations:\n  origin: {origin}"))
        moved = dataset_of(Card.load(tmp_path / "card.yaml"))(tmp_path).inventory.cases["f0"].points
        np.testing.assert_allclose(plain - moved, shift)


def test_a_column_splits_and_an_unknown_value_or_a_straddling_patient_is_refused(make: Make, tmp_path: Path) -> None:
    parts = ["train", "train", "train", "val", "test", "test2", "", "train"]
    columns = [{"set": part, "pid": str(index)} for index, part in enumerate(parts)]
    data = make(columns, split={"column": "set", "tests": ["test", "test2"]}, patient={"column": "pid"})
    assert data.split.train == ("f0", "f1", "f2", "f7")
    assert (data.split.val, dict(data.split.tests)) == (("f3",), {"test": ("f4",), "test2": ("f5",)})
    table = tmp_path / "points.csv"
    text = table.read_text()
    table.write_text(text.replace(",test2,", ",tset,"))
    with pytest.raises(DataError, match=r"points\.csv, line 7 has 'tset' in column 'set'"):
        _ = type(data)(tmp_path).split
    table.write_text(text.replace(",test,4", ",test,0"))
    with pytest.raises(DataError, match="1 patients into both training and test"):
        _ = type(data)(tmp_path).split


def test_patients_come_from_a_pattern_and_stay_together(make: Make) -> None:
    data = make(patient={"pattern": "f([0-3])"}, split={"folds": 2})
    assert [data.inventory.cases[f"f{i}"].patient for i in (0, 3, 5)] == ["0", "3", "f5"]


members = st.lists(st.tuples(st.integers(0, 15), st.sampled_from("ab")), min_size=12, max_size=60)


@given(members, st.integers(0, 3))
def test_dealing_keeps_patients_whole_uses_every_case_and_does_not_depend_on_the_order(
    drawn_members: list[tuple[int, str]], seed: int
) -> None:
    cases = [SplitMember(f"c{i:02d}", f"p{p}", stratum=s) for i, (p, s) in enumerate(drawn_members)]
    if len({case.patient for case in cases}) < 8:
        return
    parts = deal(cases, (0.6, 0.1, 0.3), seed)
    assert sorted(case for part in parts for case in part) == [case.case for case in cases]
    owners = [{case.patient for case in cases if case.case in part} for part in parts]
    assert not (owners[0] & owners[1] or owners[0] & owners[2] or owners[1] & owners[2])
    assert deal(cases[::-1], (0.6, 0.1, 0.3), seed) == parts


def test_dealing_is_stratified_and_folds_test_every_case_once() -> None:
    cases = [SplitMember(f"c{i:03d}", f"p{i:03d}", stratum="rare" if i % 10 == 0 else "common") for i in range(100)]
    train, val, test = deal(cases, (0.7, 0.1, 0.2), 0)
    assert [len(part) for part in (train, val, test)] == [70, 10, 20]
    rare = {case.case for case in cases if case.stratum == "rare"}
    assert [len(rare & set(part)) for part in (train, val, test)] == [7, 1, 2]
    folds = split_members(SplitRule(folds=5, stratify="x"), cases)
    assert sorted(case for fold in folds for case in fold.tests["test"]) == [case.case for case in cases]
    assert {len(rare & set(fold.tests["test"])) for fold in folds} == {2}


BROKEN = [
    ({"nmes": ["a"]}, "there is no key 'nmes'; did you mean 'names'?"),
    ({"annotations": {"format": "wide-csv", "paht": "x"}}, "no key 'paht' in annotations; did you mean 'path'?"),
    ({"annotations": {"format": "wide", "path": "x"}}, "format 'wide' is not known; did you mean 'wide-csv'?"),
    ({"annotations": {"format": "coco"}}, "needs exactly one of path, readers, but has none"),
    ({"images": None}, "lacks the key 'images'"),
    ({"names": ["a", "a"]}, "the same label"),
    ({"names": [True]}, "write it in quotes"),
    ({"flips": [["a", "c"]]}, "flips name landmarks that the schema does not have: c"),
    ({"spacing": {"column": "mm", "mm_per_pixel": 1}}, "exactly one of"),
    ({"spacing": {"mm_per_pixel": 0}}, "positive"),
    ({"spacing": {"dicom": "PixlSpacing"}}, "did you mean 'PixelSpacing'?"),
    ({"split": {"folds": 1}}, "give at least 2"),
    ({"split": {"ratio": [0.5, 0.5]}}, "three shares"),
    ({"split": {"folds": 2}, "protocols": {"x": {"folds": 2}}}, "both split and protocols"),
    ({"patient": {"pattern": "(["}}, "no regular expression"),
    ({"radii": ["two"]}, "radii has 'two' where a number is needed"),
    ({"private": "yes"}, "write true or false"),
    ({"name": "a/b"}, "letters, digits"),
]


@pytest.mark.parametrize(("keys", "sentence"), BROKEN)
def test_a_mistake_in_a_card_is_one_sentence_with_the_nearest_key(
    keys: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    card = {"images": "*.png", "annotations": {"format": "coco", "path": "a.json"}, "names": ["a", "b"], **keys}
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card))
    with pytest.raises(DataError) as error:
        Card.load(tmp_path / "card.yaml")
    assert sentence in str(error.value)
    assert "card.yaml" in str(error.value)


def test_images_are_found_by_name_with_or_without_folder_and_suffix(make: Make, tmp_path: Path) -> None:
    data = make()
    table = tmp_path / "points.csv"
    text = table.read_text()
    for spelling in (r"\1", r"\1.png", r"C:\\export\\\1.PNG", r"elsewhere/\1.jpg"):
        table.write_text(re.sub(r"films/(f\d)\.png", spelling, text))
        assert len(type(data)(tmp_path).inventory.cases) == 8


def test_labels_without_any_image_name_both_spellings(make: Make, tmp_path: Path) -> None:
    data = make()
    table = tmp_path / "points.csv"
    table.write_text(table.read_text().replace("films/f", "films/g"))
    with pytest.raises(DataError, match=r"line 2 names the image 'films/g0\.png'.*names like films/f0\.png"):
        _ = type(data)(tmp_path).inventory


def test_odd_labels_and_images_are_kept_and_told(make: Make, tmp_path: Path) -> None:
    data = make()
    table = tmp_path / "points.csv"
    rows = table.read_text().splitlines()
    rows[1] = rows[1].replace(rows[1].split(",")[1], "777", 1)
    table.write_text("\n".join(rows[:-1]))
    inventory = type(data)(tmp_path).inventory
    assert inventory.oddities[0].startswith("f0: T1-upper-left at (777, ")
    assert "Images without labels, not used: 1." in inventory.notes


def test_a_cards_dataset_travels_to_loader_processes(make: Make) -> None:
    data = make(private=True)
    name = data.split.train[0]
    again = pickle.loads(pickle.dumps(data))
    assert np.array_equal(again.sample(name).image, data.sample(name).image)
    assert again.private


def test_what_a_store_remembers_scores_like_the_card_and_holds_nothing_private(make: Make, tmp_path: Path) -> None:
    kind = type(make(private=True, title="Smith", groups={"Smith": list(NAMES[:4])}))
    write_description(kind, tmp_path / "store" / "set.json")
    again = read_description(tmp_path / "store" / "set.json")
    assert (again.schema, again.protocols, again.radii) == (kind.schema, kind.protocols, kind.radii)
    assert again.private
    assert not any(word in (tmp_path / "store" / "set.json").read_text() for word in ("Smith", "upper", str(tmp_path)))


def test_a_private_sets_names_depend_on_the_salt_alone(make: Make, tmp_path: Path) -> None:
    data = make(private=True)
    names = list(data.inventory.cases)
    assert (tmp_path / "card.salt").stat().st_mode & 0o077 == 0
    assert list(type(data)(tmp_path).inventory.cases) == names
    (tmp_path / "card.salt").write_text("another")
    assert not set(type(data)(tmp_path).inventory.cases) & set(names)


def test_a_change_of_the_cards_schema_changes_the_fingerprint(make: Make, tmp_path: Path) -> None:
    before = make().fingerprint
    (tmp_path / "card.yaml").write_text((tmp_path / "card.yaml").read_text() + f"\nflips: [[{NAMES[0]}, {NAMES[1]}]]")
    assert dataset_of(Card.load(tmp_path / "card.yaml"))(tmp_path).fingerprint != before


def test_a_card_is_registered_once_read_and_may_not_take_a_datasets_name(make: Make, tmp_path: Path) -> None:
    make()
    card, datasets = tmp_path / "card.yaml", DatasetRegistry()
    assert datasets.add_card(card) == datasets.add_card(card) == datasets.name_of(str(card)) == "set"
    assert datasets["set"].home == tmp_path.resolve()
    assert list(datasets) == [*discover(), "set"]
    card.with_name("other.yaml").write_text(card.read_text().replace("name: set", "name: hand"))
    with pytest.raises(DataError, match="called hand, as another dataset is"):
        datasets.add_card(tmp_path / "other.yaml")


def test_a_registry_travels_with_its_cards_and_a_card_goes_before_a_stores_description(
    make: Make, tmp_path: Path
) -> None:
    write_description(type(make()), tmp_path / "store" / "set.json")
    described = pickle.loads(pickle.dumps(DatasetRegistry(descriptions=tmp_path / "store")))
    assert described.find("set").home is None
    datasets = pickle.loads(pickle.dumps(DatasetRegistry([tmp_path / "card.yaml"], tmp_path / "store")))
    assert datasets.find("set").home == tmp_path.resolve()
    with pytest.raises(ValueError, match="'gone' of a stored run is not among"):
        datasets.find("gone")


def test_the_card_in_the_documentation_describes_a_chest_set(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "private-data.md").read_text(encoding="utf-8")
    (tmp_path / "card.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    card = Card.load(tmp_path / "card.yaml")
    rows = ["film,patient,sex,set"]
    rng = np.random.default_rng(0)
    films = [Labelled(f"films/{i:04d}.dcm", rng.uniform(5, 40, (5, 2)), SIZE) for i in range(12)]
    for index, film in enumerate(films):
        image = rng.integers(0, 255, SIZE).astype(np.uint8)
        card_files.write_dicom(tmp_path / film.image, image, spacing=(0.14, 0.15), patient="x")
        rows.append(f"{Path(film.image).stem},{index // 2},{'fm'[index % 4 // 2]},{'test' if index > 7 else 'train'}")
    card_files.write_labelme(tmp_path / "labels", films, card.names)
    (tmp_path / "patients.csv").write_text("\n".join(rows))
    report = check(dataset_of(replace(card, private=False)), tmp_path)
    assert report.usable
    assert report.text.count("complete (") == 6
    case = dataset_of(replace(card, private=False))(tmp_path).inventory.cases["0003"]
    assert (case.patient, case.spacing) == ("1", (0.14, 0.15))
    np.testing.assert_allclose(case.points, films[3].points - 0.5)
