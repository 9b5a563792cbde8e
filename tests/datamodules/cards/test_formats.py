"""The six annotation formats: what is written is read, and what is broken is named with file, place and value."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from datamodules.components.cards.card import Annotations
from datamodules.components.cards.formats import Labels, ParsedLabels, Source, parse_labels
from datamodules.phantom.card_formats import Labelled
from tests import card_files

NAMES = ("apex left", "apex.right", "carina-ä", "T4")
WRITERS: dict[str, tuple[str, Callable[[Path, list[Labelled]], object]]] = {
    "wide-csv": ("points.csv", lambda path, films: card_files.write_wide(path, films, NAMES)),
    "long-csv": ("points.csv", lambda path, films: card_files.write_long(path, films, NAMES)),
    "coco": ("points.json", lambda path, films: card_files.write_coco(path, films, NAMES)),
    "labelme": ("*.json", lambda path, films: card_files.write_labelme(path.parent, films, NAMES)),
    "cvat": ("points.xml", lambda path, films: card_files.write_cvat(path, films, NAMES)),
    "text": ("*.txt", lambda path, films: card_files.write_text(path.parent, films)),
}
coordinates = st.floats(-5000, 5000, width=32) | st.just(float("nan"))
points = st.lists(st.tuples(coordinates, coordinates), min_size=4, max_size=4)


def parse(folder: Path, form: str, path: str, **keys: object) -> ParsedLabels:
    spec = Annotations(form, (path,), **keys)
    return parse_labels(Source(folder, sorted(folder.glob(path)), spec, NAMES, len(NAMES)))


def read(folder: Path, form: str, path: str, **keys: object) -> list[Labels]:
    labels, flaws = parse(folder, form, path, **keys)
    assert not flaws
    return labels


def as_array(labels: Labels) -> np.ndarray:
    return np.array([labels.points.get(name, (np.nan, np.nan)) for name in NAMES])


@pytest.mark.parametrize("form", WRITERS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(films=st.lists(points, min_size=1, max_size=3))
def test_every_format_gives_back_the_points_that_were_written(
    form: str, films: list[list[tuple[float, float]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    arrays = [np.array(film) for film in films]
    for array in arrays:
        array[np.isnan(array).any(axis=1)] = np.nan
    arrays[0][0] = 1.5  # a long table without any line says nothing at all
    path, write = WRITERS[form]
    write(folder / path, [Labelled(f"films/{i}.png", array, (90, 80)) for i, array in enumerate(arrays)])
    found = {Path(labels.entry.image).stem: labels for labels in read(folder, form, path)}
    for index, array in enumerate(arrays):
        if str(index) in found:  # CVAT and long tables do not know films without a point
            np.testing.assert_allclose(as_array(found[str(index)]), array, atol=1e-3)
        else:
            assert np.isnan(array).all()


@given(text=st.text(max_size=80))
@pytest.mark.parametrize("form", WRITERS)
def test_any_text_is_read_or_refused_as_a_data_error(
    form: str, text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    path = WRITERS[form][0].replace("*", "one")
    (folder / path).write_text(text, encoding="utf-8")
    labels, flaws = parse(folder, form, path)
    assert all(isinstance(item, Labels) for item in labels)
    assert all(path in flaw for flaw in flaws)


BROKEN = [
    ("wide-csv", "a.csv", "film,T4_x,T4_y\n1,2,3\n", "line 2: there is no column 'apex left_x'"),
    ("long-csv", "a.csv", "film,landmark,x,y\n1,T4,2,3\n1,T4,two,3\n", "line 3 holds 'two'"),
    ("long-csv", "a.csv", "film,landmark,x,y\n1,T4,2,3\n1,T4,2,3\n", "'T4' twice"),
    ("long-csv", "a.csv", "film,landmark,x,y\n1,T4,2\n", "line 2 holds 3 values instead of 4"),
    ("long-csv", "a.csv", "film,label,x,y\n1,T4,2,3\n", "no column 'landmark' for the label"),
    ("coco", "a.json", '{"images": [],\n "annotations": [}', "line 2 is not JSON"),
    ("coco", "a.json", '{"images": [], "annotations": [{"image_id": 7}]}', "annotations[0] is of image 7"),
    ("labelme", "a.json", '{"shapes": [{"label": "T4", "points": [["a", 2]]}]}', "shapes[0] holds 'a'"),
    ("labelme", "a.json", '{"shapes": [{"label": "T4", "points": [[1, 2], [3, 4]]}]}', "one point is needed"),
    ("cvat", "a.xml", '<a>\n<image name="1">\n<points label="T4" points="1,2,3"/></image></a>', "line 3 has '1,2,3'"),
    ("cvat", "a.xml", "<a>\n<image></a>", "line 2 is not XML"),
    ("text", "a.txt", "1 2\n3 4\n5 6\n", "has 3 points, but the card has 4 names"),
    ("text", "a.txt", "1 2\n3 4 5 6\n", "line 2 holds '3 4 5 6'"),
]


@pytest.mark.parametrize(("form", "path", "text", "sentence"), BROKEN)
def test_a_broken_file_is_named_with_place_and_value(
    form: str, path: str, text: str, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / path).write_text(text)
    flaw = parse(tmp_path, form, path).flaws[0]
    assert path in flaw
    assert sentence in flaw


def test_tables_of_hospitals_may_have_semicolons_decimal_commas_and_columns_of_any_name(tmp_path: Path) -> None:
    header = ";".join(["Bild", *(f"X({name});Y({name})" for name in NAMES), "Befund"])
    (tmp_path / "a.csv").write_text(f"\ufeff{header}\nfilm 1;1,5;2,5;;;3;4;NaN;5;o. B.\n", encoding="utf-8")
    (labels,) = read(tmp_path, "wide-csv", "a.csv", x="X({name})", y="Y({name})", decimal=",")
    expected = [(1.5, 2.5), (np.nan, np.nan), (3, 4), (np.nan, np.nan)]
    np.testing.assert_array_equal(as_array(labels), expected)
    assert (labels.entry.image, labels.entry.columns["Befund"]) == ("film 1", "o. B.")


def test_a_table_without_header_is_image_then_x_and_y_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("7,1,2,3,4,5,6,7,8\n")
    (labels,) = read(tmp_path, "wide-csv", "a.csv", header=False)
    assert labels.entry.image == "7"
    assert as_array(labels).ravel().tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_cvat_skeletons_and_shapes_of_several_points_are_read(tmp_path: Path) -> None:
    skeleton = '<skeleton label="s"><points label="T4" points="1,2" outside="0"/></skeleton>'
    (tmp_path / "a.xml").write_text(
        f'<annotations><image name="f.png" width="9" height="8">{skeleton}<points label="a" points="3,4;5,6"/>'
        f'<points label="gone" points="0,0" outside="1"/></image></annotations>'
    )
    (labels,) = read(tmp_path, "cvat", "a.xml")
    assert labels.points == {"T4": (1, 2), "a-1": (3, 4), "a-2": (5, 6)}
    assert labels.entry.size == (8, 9)


def test_coco_points_of_visibility_0_are_missing_and_names_come_from_the_category(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 3, "file_name": "b/f.png", "height": 8, "width": 9}],
        "categories": [{"id": 1, "keypoints": ["T4", "apex left"]}],
        "annotations": [{"image_id": 3, "category_id": 1, "keypoints": [1, 2, 2, 5, 5, 0]}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    (labels,) = read(tmp_path, "coco", "a.json")
    np.testing.assert_array_equal(as_array(labels)[[0, 3]], [(np.nan, np.nan), (1, 2)])
