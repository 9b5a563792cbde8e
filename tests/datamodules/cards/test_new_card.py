"""A first card looks at every label file, film and PatientID, and is tried before it is written."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from datamodules.components.cards.card import Card
from datamodules.components.cards.new_card import write_card
from datamodules.components.errors import DataError
from datamodules.phantom.card_formats import Labelled
from datamodules.private import dataset_of
from tests import card_files

NAMES = ("apex-left", "apex-right", "middle")
SIZE = (60, 50)


def labelled(root: Path, images: list[str]) -> list[Labelled]:
    """Write grey films and return their points."""
    rng = np.random.default_rng(0)
    for image in images:
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / image), rng.integers(0, 255, SIZE).astype(np.uint8))
    return [Labelled(image, rng.uniform(5, 44, (3, 2)).round(2), SIZE) for image in images]


def written(root: Path) -> dict[str, object]:
    write_card(root, root / "card.yaml")
    return dict(yaml.safe_load((root / "card.yaml").read_text()))


@pytest.mark.parametrize("name", ["{0}{1:02d}.png", "{1:03d}.png"])
def test_coco_files_in_folders_become_the_published_split(name: str, tmp_path: Path) -> None:
    counts, films = {"train": 8, "valid": 2, "test": 3}, {}
    for part, count in counts.items():
        films[part] = labelled(tmp_path, [f"{part}/{name.format(part, index)}" for index in range(count)])
        inside = [film._replace(image=Path(film.image).name) for film in films[part]]
        card_files.write_coco(tmp_path / part / "_annotations.coco.json", inside, NAMES)
    card = written(tmp_path)
    assert card["annotations"] == {"format": "coco", "path": "*/_annotations.coco.json"}
    assert card["split"] == {"pattern": "^(test|train|valid)/", "val": ["valid"]}
    data = dataset_of(Card.load(tmp_path / "card.yaml"))(tmp_path)
    assert (len(data.split.train), len(data.split.val), len(data.split.tests["test"])) == (8, 2, 3)
    expected = sorted(film.points.tolist() for part in films.values() for film in part)
    assert sorted(case.points.tolist() for case in data.inventory.cases.values()) == expected


def test_coco_files_named_by_their_part_become_the_published_split(tmp_path: Path) -> None:
    films = labelled(tmp_path, [f"images/{index}.png" for index in range(6)])
    (tmp_path / "annotations").mkdir()
    card_files.write_coco(tmp_path / "annotations/person_keypoints_train2017.json", films[:4], NAMES)
    card_files.write_coco(tmp_path / "annotations/person_keypoints_test2017.json", films[4:], NAMES)
    assert written(tmp_path)["annotations"]["path"] == "annotations/*.json"  # type: ignore[index]
    split = dataset_of(Card.load(tmp_path / "card.yaml"))(tmp_path).split
    assert (len(split.train) + len(split.val), len(split.tests["test"])) == (4, 2)


def test_every_table_of_points_is_read(tmp_path: Path) -> None:
    films = labelled(tmp_path, [f"films/{index}.png" for index in range(6)])
    card_files.write_wide(tmp_path / "train.csv", films[:4], NAMES)
    card_files.write_wide(tmp_path / "test.csv", films[4:], NAMES)
    (tmp_path / "notes.csv").write_text("finding,film\n" + "".join(f"none,{index}.PNG\n" for index in range(6)))
    assert sorted(written(tmp_path)["annotations"]["path"]) == ["test.csv", "train.csv"]  # type: ignore[index]
    assert "# table: {path: notes.csv, case: film}   # its columns: finding" in (tmp_path / "card.yaml").read_text()
    assert len(dataset_of(Card.load(tmp_path / "card.yaml"))(tmp_path).split.tests["test"]) == 2


def test_decimal_commas_and_hidden_files(tmp_path: Path) -> None:
    films = labelled(tmp_path, [f"films/{index}.png" for index in range(6)])
    card_files.write_wide(tmp_path / "points.csv", films, NAMES)
    text = (tmp_path / "points.csv").read_text().replace(",", ";").replace(".", ",").replace(",png", ".png")
    (tmp_path / "points.csv").write_text(text)
    for hidden in ("._points.csv", "films/._0.png", ".trash/old.json"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"\0\5\x16\7")
    assert written(tmp_path)["annotations"]["decimal"] == ","  # type: ignore[index]
    data = dataset_of(Card.load(tmp_path / "card.yaml"))(tmp_path)
    assert sorted(c.points.tolist() for c in data.inventory.cases.values()) == sorted(f.points.tolist() for f in films)


def test_suffixes_in_capitals_and_of_several_formats_are_all_found(tmp_path: Path) -> None:
    films = labelled(tmp_path, ["films/0.png", "films/1.PNG", "films/2.png"])
    card_files.write_wide(tmp_path / "points.csv", films, NAMES)
    assert written(tmp_path)["images"] == "films/*.png"
    (tmp_path / "card.yaml").unlink()
    labelled(tmp_path, ["films/3.jpg"])
    assert written(tmp_path)["images"] == "films/*"


@pytest.mark.parametrize(("patients", "expected"), [("x" * 6, None), ("aabbcc", {"dicom": "PatientID"})])
def test_one_patient_id_for_all_films_tells_nothing(
    patients: str, expected: dict[str, str] | None, tmp_path: Path
) -> None:
    films = [Labelled(f"films/{i}.dcm", np.arange(6.0).reshape(3, 2) + i, SIZE) for i in range(6)]
    for film, patient in zip(films, patients, strict=True):
        card_files.write_dicom(tmp_path / film.image, np.zeros(SIZE, np.uint8), patient=patient)
    card_files.write_wide(tmp_path / "points.csv", films, NAMES)
    said = write_card(tmp_path, tmp_path / "card.yaml")
    assert yaml.safe_load((tmp_path / "card.yaml").read_text()).get("patient") == expected
    assert any("all 6 films have one PatientID" in line for line in said) == (expected is None)


def test_a_card_that_would_not_work_is_not_written_and_no_salt_stands_in_one_that_is(tmp_path: Path) -> None:
    films = labelled(tmp_path, [f"films/{index}.png" for index in range(6)])
    elsewhere = [film._replace(image=f"gone/x{index}.png") for index, film in enumerate(films)]
    card_files.write_wide(tmp_path / "points.csv", elsewhere, NAMES)
    with pytest.raises(DataError, match=r"names the image 'gone/x0\.png', which is not there"):
        write_card(tmp_path, tmp_path / "card.yaml")
    assert not (tmp_path / "card.yaml").exists()
    card_files.write_wide(tmp_path / "points.csv", films, NAMES)
    assert "salt" not in written(tmp_path)


def test_the_reason_why_labels_cannot_be_read_is_said(tmp_path: Path) -> None:
    films = labelled(tmp_path, ["films/0.png"])
    card_files.write_wide(tmp_path / "points.csv", films, NAMES)
    text = (tmp_path / "points.csv").read_text()
    (tmp_path / "points.csv").write_text(text, encoding="utf-16")
    with pytest.raises(DataError, match=r"points\.csv, line 1 cannot be read as text .* save it as UTF-8"):
        write_card(tmp_path, tmp_path / "card.yaml")
    (tmp_path / "points.csv").unlink()
    (tmp_path / "video.xml").write_text("<annotations><track id='0'/></annotations>")
    with pytest.raises(DataError, match="CVAT for images"):
        write_card(tmp_path, tmp_path / "card.yaml")


def test_flawed_labels_are_counted_and_do_not_stop_the_card(tmp_path: Path) -> None:
    films = labelled(tmp_path, [f"films/{index}.png" for index in range(6)])
    card_files.write_labelme(tmp_path / "labels", films, NAMES)
    (tmp_path / "labels/2.json").write_text(json.dumps({"shapes": [{"label": "middle", "points": []}]}))
    assert "1 label files or entries cannot be used: data check --reveal names them" in write_card(
        tmp_path, tmp_path / "card.yaml"
    )
