"""Label files as people have them: names, structures, flaws, tables from Excel, and hostile files."""

import base64
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np
import pytest
import yaml

from datamodules.components.cards.card import Annotations, Card
from datamodules.components.cards.film_index import FilmIndex
from datamodules.components.cards.formats import ParsedLabels, Source, parse_labels
from datamodules.components.cards.left_right import propose_flips
from datamodules.components.errors import DataError
from datamodules.phantom.card_formats import Labelled
from datamodules.private import Private, dataset_of
from tests import card_files

NAMES = ("apex-left", "apex-right", "base-left", "base-right", "middle")
SIZE = (160, 120)
FLIPS = [list(NAMES[:2]), list(NAMES[2:4])]
PIXELS = {"unit": "px"}
BASE = np.array([[30, 30], [90, 32], [32, 125], [88, 128], [60, 80]], float)


def drawn(root: Path, count: int = 6, suffix: str = ".png") -> list[Labelled]:
    """Write grey films that differ from each other and return their points."""
    rng = np.random.default_rng(1)
    (root / "films").mkdir(parents=True, exist_ok=True)
    films = []
    for index in range(count):
        image = f"films/f{index}{suffix}"
        cv2.imwrite(str(root / image), rng.integers(0, 255, SIZE).astype(np.uint8))
        films.append(Labelled(image, (BASE + rng.uniform(-6, 6, BASE.shape)).round(2), SIZE))
    return films


def dataset(root: Path, form: str, path: object, *, allow_missing: bool = False, **keys: object) -> Private:
    """Return the set of a card of some keys."""
    annotations = {"format": form, "path": path, **keys.pop("annotations", {})}  # type: ignore[dict-item]
    card = {"name": "set", "images": "films/*", "annotations": annotations, "names": list(NAMES), **keys}
    (root / "card.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    return dataset_of(Card.load(root / "card.yaml"))(root, allow_missing=allow_missing)


def parsed(folder: Path, form: str, pattern: str) -> ParsedLabels:
    return parse_labels(Source(folder, sorted(folder.glob(pattern)), Annotations(form, (pattern,)), NAMES, len(NAMES)))  # type: ignore[arg-type]


def test_the_stem_of_a_labelme_file_wins_over_a_contradicting_image_path(tmp_path: Path) -> None:
    films = drawn(tmp_path)
    card_files.write_labelme(tmp_path / "labels", films, NAMES)
    for index, film in enumerate(films):
        path = tmp_path / f"labels/f{index}.json"
        path.write_text(path.read_text().replace(film.image, films[(index + 1) % 6].image))
    inventory = dataset(tmp_path, "labelme", "labels/*.json").inventory
    for index, film in enumerate(films):
        np.testing.assert_allclose(inventory.cases[f"f{index}"].points, film.points)
    assert sum("names '../films/f" in oddity for oddity in inventory.oddities) == 6


def test_the_image_in_a_labelme_file_decides_which_film_it_is_about(tmp_path: Path) -> None:
    films = drawn(tmp_path)
    card_files.write_labelme(tmp_path / "labels", films[:1], NAMES)
    path = tmp_path / "labels/f0.json"
    content = json.loads(path.read_text())
    content |= {"imagePath": "../films/f3.png"}
    content["imageData"] = base64.b64encode((tmp_path / "films/f3.png").read_bytes()).decode()
    path.write_text(json.dumps(content))
    assert list(dataset(tmp_path, "labelme", "labels/*.json").inventory.cases) == ["f3"]


def test_all_flawed_files_are_listed_with_their_line_and_the_others_are_used(tmp_path: Path) -> None:
    films = drawn(tmp_path)
    card_files.write_labelme(tmp_path / "labels", films, NAMES)
    (tmp_path / "labels/f1.json").write_text("{\n broken")
    (tmp_path / "labels/f4.json").write_text('{"shapes": [{"label": "middle", "points": [["a", 1]]}]}')
    with pytest.raises(DataError, match=r"f1\.json, line 2 is not JSON"):
        _ = dataset(tmp_path, "labelme", "labels/*.json").inventory
    inventory = dataset(tmp_path, "labelme", "labels/*.json", allow_missing=True).inventory
    assert list(inventory.cases) == ["f0", "f2", "f3", "f5"]
    assert "f1.json, line 2 is not JSON" in inventory.unreadable[0]
    assert "f4.json, shapes[0] holds 'a'" in inventory.unreadable[1]


def test_a_line_with_too_many_values_is_listed_and_the_others_are_used(tmp_path: Path) -> None:
    card_files.write_wide(tmp_path / "points.csv", drawn(tmp_path), NAMES)
    table = tmp_path / "points.csv"
    rows = table.read_text().splitlines()
    table.write_text("\n".join([*rows[:3], rows[3] + ",7", *rows[4:]]))
    inventory = dataset(tmp_path, "wide-csv", "points.csv", allow_missing=True).inventory
    assert len(inventory.cases) == 5
    assert inventory.unreadable == (f"{table}, line 4 holds 12 values instead of 11; correct the line.",)


def test_two_entries_about_one_film_are_both_left_out(tmp_path: Path) -> None:
    films = drawn(tmp_path)
    card_files.write_wide(tmp_path / "points.csv", [*films, films[2]], NAMES)
    inventory = dataset(tmp_path, "wide-csv", "points.csv", allow_missing=True).inventory
    assert "f2" not in inventory.cases
    assert "line 8 is about f2, as" in inventory.unreadable[0]


@pytest.mark.parametrize(
    "spelling",
    [
        "f{}.PNG",
        "F{}.png",
        "8c1f-f{}.png",
        "/data/local-files/?d=films/f{}.png",
        "upload/1/0a2b3c4d-f{}.png",
        "C:\\export\\f{}.bmp",
    ],
)
def test_films_are_found_whatever_a_tool_made_of_their_names(spelling: str, tmp_path: Path) -> None:
    films = [film._replace(image=spelling.format(index)) for index, film in enumerate(drawn(tmp_path))]
    card_files.write_wide(tmp_path / "points.csv", films, NAMES)
    data = dataset(tmp_path, "wide-csv", "points.csv")
    np.testing.assert_allclose(data.inventory.cases["f4"].points, films[4].points)
    noted = any(note.startswith("Films whose names the labels spell otherwise") for note in data.inventory.notes)
    assert noted == (spelling not in ("f{}.PNG", "/data/local-files/?d=films/f{}.png", "C:\\export\\f{}.bmp"))


def test_composed_and_decomposed_unicode_are_one_name(tmp_path: Path) -> None:
    (tmp_path / unicodedata.normalize("NFD", "Müller.png")).write_bytes(b"")
    index = FilmIndex(tmp_path, "*.png")
    assert index.find(unicodedata.normalize("NFC", "Müller"), "here") == index.paths[0]


def test_a_prefix_that_fits_two_films_or_an_inner_part_fits_none(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png", "ex.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    index = FilmIndex(tmp_path, "**/*.png")
    assert index.nearly("task-1.png") is None
    assert index.nearly("apex.png") is None


def test_hidden_files_and_suffixes_in_capitals(tmp_path: Path) -> None:
    for name in ("a.png", "b.PNG", "._a.png", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in FilmIndex(tmp_path, "*.png").paths] == ["a.png", "b.PNG"]


def structured(form: str, folder: Path, groups: dict[str, list[str]]) -> str:
    """Write one image whose structures all have the same labels; return the pattern of the files."""
    if form == "coco":
        categories = [{"id": i, "name": name, "keypoints": labels} for i, (name, labels) in enumerate(groups.items())]
        annotations = [
            {"image_id": 1, "category_id": i, "keypoints": [v for k in range(len(c["keypoints"])) for v in (i, k, 2)]}
            for i, c in enumerate(categories)
        ]
        annotations.append({"image_id": 1, "category_id": 9, "bbox": [1, 1, 2, 2]})
        content = {"images": [{"id": 1, "file_name": "f.png"}], "categories": categories, "annotations": annotations}
        (folder / "a.json").write_text(json.dumps(content))
        return "a.json"
    if form == "labelme":
        shapes = [
            {"label": label, "points": [[i, k]], "group_id": i, "shape_type": "point"}
            for i, labels in enumerate(groups.values())
            for k, label in enumerate(labels)
        ]
        boxes = [
            {"label": n, "points": [[0, 0], [9, 9]], "group_id": i, "shape_type": "rectangle"}
            for i, n in enumerate(groups)
        ]
        (folder / "f.json").write_text(json.dumps({"shapes": [*shapes, *boxes]}))
        return "*.json"
    skeletons = "".join(
        f"<skeleton label={quoteattr(name)}>"
        + "".join(f'<points label={quoteattr(label)} points="{i},{k}"/>' for k, label in enumerate(labels))
        + "</skeleton>"
        for i, (name, labels) in enumerate(groups.items())
    )
    (folder / "a.xml").write_text(f'<annotations><image name="f.png">{skeletons}</image></annotations>')
    return "a.xml"


@pytest.mark.parametrize("form", ["coco", "labelme", "cvat"])
def test_an_instance_per_structure_names_its_landmarks(form: str, tmp_path: Path) -> None:
    pattern = structured(form, tmp_path, {"A>B": ["1", "2"], "base": ["1", "2"]})
    (labels,), flaws = parsed(tmp_path, form, pattern)
    assert labels.points == {"A>B-1": (0, 0), "A>B-2": (0, 1), "base-1": (1, 0), "base-2": (1, 1)}
    assert not flaws


@pytest.mark.parametrize("form", ["coco", "labelme", "cvat"])
def test_structures_with_labels_of_their_own_keep_them(form: str, tmp_path: Path) -> None:
    pattern = structured(form, tmp_path, {"apex": ["a", "b"], "base": ["c", "d"]})
    assert list(parsed(tmp_path, form, pattern).labels[0].points) == ["a", "b", "c", "d"]


def test_tables_of_excel(tmp_path: Path) -> None:
    films = drawn(tmp_path)
    card_files.write_wide(tmp_path / "points.csv", films, NAMES)
    text = (tmp_path / "points.csv").read_text()
    (tmp_path / "points.csv").write_text("".join(f"{line},,\n" for line in text.splitlines()))
    assert len(dataset(tmp_path, "wide-csv", "points.csv").inventory.cases) == 6
    (tmp_path / "points.csv").write_text("sep=;\n" + text.replace(",", ";").replace(".", ",").replace(",png", ".png"))
    with pytest.raises(DataError, match="write `decimal: ','` under the card's annotations"):
        _ = dataset(tmp_path, "wide-csv", "points.csv").inventory
    data = dataset(tmp_path, "wide-csv", "points.csv", annotations={"decimal": ","})
    np.testing.assert_allclose(data.inventory.cases["f3"].points, films[3].points)
    (tmp_path / "points.csv").write_text(text, encoding="utf-16")
    with pytest.raises(DataError, match="save it as UTF-8"):
        _ = dataset(tmp_path, "wide-csv", "points.csv").inventory


FOREIGN = [
    ("wide-csv", "a.csv", "scorer,me,me\nbodyparts,apex,apex\ncoords,x,y\nf0.png,1,2\n", "DeepLabCut"),
    ("cvat", "a.xml", "<annotations>\n<track id='0'/></annotations>", "export the task as `CVAT for images 1.1`"),
    ("cvat", "a.xml", '<!DOCTYPE a [<!ENTITY b "c">]>\n<annotations/>', "line 1 declares an XML entity"),
    ("labelme", "a.json", "[" * 100_000, "nested too deeply"),
    ("coco", "a.json", '{"images": ' + "1" * 10_000 + "}", "too many digits"),
    ("wide-csv", "a.csv", "film\0\n", "save it as UTF-8"),
    ("long-csv", "a.csv", 'film,landmark,x,y\n"' + "a" * 200_000 + '",b,1,2\n', "is no line of a table"),
]


@pytest.mark.parametrize(("form", "path", "text", "sentence"), FOREIGN)
def test_foreign_and_hostile_files_end_in_a_sentence(
    form: str, path: str, text: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / path).write_text(text)
    (flaw,) = parsed(tmp_path, form, path).flaws
    assert sentence in flaw
    assert len(flaw) < 600


BOMB = "".join(f"{c}: &{c} [{', '.join([f'*{p}'] * 6)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True))
HOSTILE_CARDS = [
    (f"a: &a [x, x, x]\n{BOMB}", "aliases"),
    ("names: &n [*n]\n", "an alias holds itself"),
    ("[" * 50_000, "nested too deeply"),
    ("names: [a]\nnames: [b]\n", "the key 'names' stands twice"),
    ("names: [a\n", "line 2 is not YAML"),
    ("images: ../*.png\nnames: [a]\nannotations: {format: coco, path: a.json}\n", "leaves the folder"),
    ("images: '*.png'\nnames: [a]\nannotations: {format: coco, path: /etc/a.json}\n", "leaves the folder"),
    ("images: '**.png'\nnames: [a]\nannotations: {format: coco, path: a.json}\n", "no pattern of files"),
]


@pytest.mark.parametrize(("text", "sentence"), HOSTILE_CARDS)
def test_a_hostile_card_ends_in_a_sentence(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text(text)
    with pytest.raises(DataError, match=sentence) as error:
        Card.load(tmp_path / "card.yaml")
    assert len(str(error.value)) < 600


def test_an_error_of_a_private_card_names_no_landmark_unless_it_is_revealed(tmp_path: Path) -> None:
    card = {"images": "*", "annotations": {"format": "coco", "path": "a"}, "names": ["T4", "Smith"], "private": True}
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(card | {"flips": [["T4", "Smiht"]]}))
    with pytest.raises(DataError) as error:
        Card.load(tmp_path / "card.yaml")
    assert "Smiht" not in str(error.value)
    assert "--reveal" in str(error.value)
    with pytest.raises(DataError, match="Smiht"):
        Card.load(tmp_path / "card.yaml", reveal=True)


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (["RL0", "LL0", "x"], [["LL0", "RL0"]]),
        (["lHip", "rHip"], [["lHip", "rHip"]]),
        (["leftapex", "rightapex"], [["leftapex", "rightapex"]]),
        (["L1", "L2", "R5"], []),
        (["LL", "LR", "UL", "UR"], [["LL", "LR"], ["UL", "UR"]]),
    ],
)
def test_left_and_right_in_names(names: list[str], pairs: list[list[str]]) -> None:
    assert propose_flips(names) == pairs


def with_points(tmp_path: Path, change: Callable[[int, np.ndarray], np.ndarray], **keys: object) -> Private:
    """Return a set of 12 films whose points are changed, film by film."""
    films = [film._replace(points=change(index, film.points)) for index, film in enumerate(drawn(tmp_path, 12))]
    card_files.write_wide(tmp_path / "points.csv", films, NAMES)
    return dataset(tmp_path, "wide-csv", "points.csv", **keys)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_placeholders_count_as_missing_and_are_named(value: float, tmp_path: Path) -> None:
    inventory = with_points(tmp_path, lambda i, p: np.vstack([p[:4], [[value] * 2]]) if i % 4 == 0 else p).inventory
    assert [name for name, case in sorted(inventory.cases.items()) if not case.visible[4]] == ["f0", "f4", "f8"]
    assert sum("middle at (0, 0) or (-1, -1) is a placeholder" in text for text in inventory.oddities) == 3


def test_the_same_exact_point_in_many_films_is_named(tmp_path: Path) -> None:
    inventory = with_points(tmp_path, lambda i, p: np.vstack([p[:4], [[5, 5]]]) if i % 4 == 0 else p).inventory
    assert sum("middle at (5, 5) is the same point in 3 films" in text for text in inventory.oddities) == 3


@pytest.mark.parametrize(("unit", "scale"), [("fraction", 1.0), ("percent", 100.0)])
def test_shares_and_per_cent_are_refused_with_the_key_that_scales_them(unit: str, scale: float, tmp_path: Path) -> None:
    shares = with_points(tmp_path, lambda _, p: p / (120, 160) * scale)
    with pytest.raises(DataError, match=f"write `unit: {unit}` under the card's annotations"):
        _ = shares.inventory
    data = dataset(tmp_path, "wide-csv", "points.csv", annotations={"unit": unit})
    np.testing.assert_allclose(data.inventory.cases["f3"].points, drawn(tmp_path, 12)[3].points, atol=0.02)
    assert len(dataset(tmp_path, "wide-csv", "points.csv", annotations={"unit": "px"}).inventory.cases) == 12


def test_exchanged_axes_are_named(tmp_path: Path) -> None:
    oddities = with_points(tmp_path, lambda i, p: p[:, ::-1] if i == 2 else p).inventory.oddities
    assert "f2: some points lie outside the film, but none would with x and y exchanged." in oddities
    assert any(text.startswith("f2: its points resemble the other films' once") for text in oddities)
    assert all(text.startswith("f2: ") for text in oddities)
    everywhere = with_points(tmp_path, lambda _, p: p[:, ::-1] * 0.7, flips=FLIPS, annotations=PIXELS)
    assert any(text.startswith("all films: the pairs of `flips` lie above") for text in everywhere.inventory.oddities)


def test_labels_of_another_size_films_without_landmarks_and_odd_spacings_are_named(tmp_path: Path) -> None:
    halved = with_points(
        tmp_path, lambda i, p: p * np.nan if i == 1 else p * 0.45, spacing={"mm_per_pixel": 35}, annotations=PIXELS
    )
    oddities = halved.inventory.oddities
    assert [text for text in oddities if text.startswith("f1: no landmark is labelled")] != []
    assert any(
        text.startswith("all films: no landmark of any film lies in its right or lower half") for text in oddities
    )
    assert sum("35 x 35 mm per pixel makes a film of 5600 mm" in text for text in oddities) == 12


def test_an_ordinary_set_has_no_oddity(tmp_path: Path) -> None:
    data = with_points(tmp_path, lambda _, p: p, flips=FLIPS, spacing={"mm_per_pixel": 1})
    assert not data.inventory.oddities


def test_a_name_that_no_label_has_is_named_with_the_nearest(tmp_path: Path) -> None:
    card_files.write_labelme(tmp_path / "labels", drawn(tmp_path), NAMES)
    data = dataset(tmp_path, "labelme", "labels/*.json", names=["apex-lefd", *NAMES[1:]])
    with pytest.raises(DataError, match=r"the card names 'apex-lefd', which no label .* did you mean 'apex-left'\?"):
        _ = data.inventory


def test_the_patients_rule(tmp_path: Path) -> None:
    card_files.write_wide(tmp_path / "points.csv", drawn(tmp_path), NAMES)
    found = dataset(tmp_path, "wide-csv", "points.csv", patient={"pattern": "f([0-3])"}).inventory
    assert "Films that the card's patient does not fit, each a patient of its own: 2." in found.notes
    with pytest.raises(DataError, match=r"patient \(pattern 'case\(.\)'\) fits no film, films/f0\.png for one"):
        _ = dataset(tmp_path, "wide-csv", "points.csv", patient={"pattern": "case(.)"}).inventory
    with pytest.raises(DataError, match=r"all 6 films are of one patient .*remove it if every film"):
        _ = dataset(tmp_path, "wide-csv", "points.csv", patient={"pattern": "(f)"}).split


def test_two_readers_are_their_mean_and_each_a_truth(tmp_path: Path) -> None:
    films = drawn(tmp_path)
    moved = [film._replace(points=film.points + 2) for film in films[:5]]
    card_files.write_labelme(tmp_path / "senior", films, NAMES)
    card_files.write_labelme(tmp_path / "junior", moved, NAMES)
    annotations = {"path": [], "readers": {"senior": "senior/*.json", "junior": "junior/*.json"}}
    data = dataset(tmp_path, "labelme", [], annotations=annotations)
    dataset_class = type(data)
    assert [protocol.name for protocol in data.protocols] == ["ratio", "ratio-senior", "ratio-junior"]
    for protocol, shift in (("ratio", 1), ("ratio-senior", 0), ("ratio-junior", 2)):
        truth = dataset_class(tmp_path, protocol)
        np.testing.assert_allclose(truth.inventory.cases["f2"].points, films[2].points + shift)
        assert truth.split == data.split
    assert "Films that not all readers labelled, not used: 1." in data.inventory.notes
    assert dataset_class.readers == {"mean": ("senior", "junior"), "senior": ("senior",), "junior": ("junior",)}
