"""`osteomark data check`: what it says and what it exits with, for sets as people have them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.cli.main import main
from datamodules.audit.check import check, concerns
from datamodules.base import DataError, LandmarkDataModule
from datamodules.components.cards.card import Card
from datamodules.private import dataset_of
from tests.card_files import Labelled, write_labelme

NAMES = ("apex-left", "apex-right", "base")
SIZE = (60, 48)
CARD = """
name: clinic
images: films/*
annotations: {{format: labelme, path: labels/*.json}}
names: [apex-left, apex-right, base]
flips: [[apex-left, apex-right]]
split: {split}
{more}
"""


@pytest.fixture
def clinic(tmp_path: Path) -> Callable[..., Path]:
    """Write a set of LabelMe films with a disc at every landmark and return its card."""

    def write(films: int = 10, split: str = "{ratio: [0.6, 0.2, 0.2]}", more: str = "") -> Path:
        (tmp_path / "films").mkdir()
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
        labelled = []
        for index in range(films):
            draw = np.random.default_rng(index)
            points = np.array([[12.0, 12.0], [36.0, 12.0], [24.0, 48.0]]) + draw.uniform(-4, 4, (3, 2))
            film = 60 + rows + draw.integers(0, 20, SIZE)
            for x, y in points:
                film[np.hypot(columns - x, rows - y) < 3] = 230
            name = f"film{index:02d}"
            Image.fromarray(film.astype(np.uint8)).save(tmp_path / "films" / f"{name}.png")
            labelled.append(Labelled(f"films/{name}.png", points, SIZE))
        write_labelme(tmp_path / "labels", labelled, NAMES)
        (tmp_path / "card.yaml").write_text(CARD.format(split=split, more=more))
        return tmp_path / "card.yaml"

    return write


def loaded(card: Path) -> LandmarkDataModule:
    dataset = dataset_of(Card.load(card))
    return dataset(card.parent, allow_missing=True)


def test_json_has_every_number(clinic: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    card = clinic()
    assert main(["data", "check", str(card), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cases"], found["patients"], found["usable"], found["odd_cases"]) == (10, None, True, [])
    film = found["films"]["film03"]
    pixels = np.asarray(Image.open(card.parent / "films" / "film03.png"))
    assert (film["height"], film["width"], film["landmarks"]) == (*SIZE, 3)
    assert film["levels"] == len(np.unique(pixels))
    assert film["mean"] == pytest.approx(pixels.mean(), abs=0.01)
    assert film["spacing"] == [None, None]
    (split,) = found["protocols"]["ratio"].values()
    assert (split["verdict"], split["films"]) == ("complete", {"train": [6, 6], "val": [2, 2], "test": [2, 2]})


def test_when_most_films_are_odd_the_verdict_and_the_exit_code_say_so(
    clinic: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    card = clinic()
    for index in range(6):
        Image.fromarray(np.full(SIZE, 90, np.uint8)).save(card.parent / "films" / f"film{index:02d}.png")
    assert main(["data", "check", str(card)]) == 2
    said = capsys.readouterr().out
    assert "most films are odd: 6 of 10" in said
    assert "complete" not in said
    assert "film05: the film shows next to nothing: it has 1 grey level only" in said


@pytest.mark.parametrize("private", [True, False])
def test_unreadable_films_are_listed_with_reason_and_cure_also_when_all_are(
    private: bool, clinic: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    card = clinic(more=f"private: {str(private).lower()}")
    for film in (card.parent / "films").iterdir():
        film.write_bytes(film.read_bytes()[:60])
    assert main(["data", "check", str(card)]) == 2
    said = capsys.readouterr().out
    assert "Unreadable films and labels (10):" in said
    assert main(["data", "check", str(card), "--reveal"]) == 2
    revealed = capsys.readouterr().out
    for text, clear in ((said, not private), (revealed, True)):
        assert ("film07.png cannot be read as a film (it is damaged" in text) == clear
        assert ("mend or restore the file" in text) == clear
    with pytest.raises(DataError, match=r"no film of .* can be read; the first: "):
        _ = loaded(card).inventory


def test_a_film_without_a_landmark_is_named_and_neither_trains_nor_validates(clinic: Callable[..., Path]) -> None:
    plain = loaded(clinic(split="{ratio: [0.7, 0.1, 0.2]}"))
    (validates,) = plain.split.val
    label = plain.root / "labels" / f"{validates}.json"
    content = json.loads(label.read_text())
    label.write_text(json.dumps(content | {"shapes": []}))
    data = loaded(plain.root / "card.yaml")
    assert data.split.val == ()
    assert data.val_dataloader() == []
    assert data.split.train == plain.split.train
    assert any(text.startswith(f"{validates}: no landmark is labelled") for text in data.inventory.oddities)
    (concern,) = concerns(data)
    assert concern == "no film with a landmark validates (drawn for it: 1): the last epoch is kept instead of the best."
    assert concern in check(type(data), data.root).text


def test_one_training_film_is_said_before_training(clinic: Callable[..., Path]) -> None:
    data = loaded(clinic(films=3))
    assert any("only one film trains" in concern for concern in concerns(data))


def test_patients_are_counted(clinic: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(clinic(more="patient: {pattern: '/film(0[0-4]|0)'}"))]) == 0
    assert "Patients: 6" in capsys.readouterr().out  # film05 to film09 share the 0 that the pattern finds
