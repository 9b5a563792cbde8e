"""`osteomark predict`: new films in, landmarks out, in every format, with nothing but the checkpoint."""

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from benchmark.cell import Cell, Context
from benchmark.cli.main import main
from benchmark.predictions import PREDICTIONS, VALIDATION, read_predictions
from benchmark.store import RunRecord
from benchmark.trained import films as films_module
from benchmark.trained.films import FilmStream, find_films
from benchmark.trained.model import load_model
from benchmark.trained.predict import FilmAnswer, answer_films, combine, predict_films
from benchmark.training.model_file import ENTRY, ModelFacts, film_scale, numbered
from benchmark.training.run_cell import run_cell
from datamodules.base import LandmarkSchema
from datamodules.components.cards.card import Card
from datamodules.components.images.image_io import read_film
from datamodules.components.transforms import InputSpec
from datamodules.phantom.card_formats import write_dicom
from datamodules.private import dataset_of
from metrics.conformal import LEVELS

from ..conftest import PLUGINS

MakeCell = Callable[..., Cell]
NAN = float("nan")


@pytest.fixture(scope="module")
def runs(phantoms: Path, make_cell: MakeCell, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunRecord]:
    """Trained runs of a regressor, of two seeds, and of the mean shape."""
    context = Context(tmp_path_factory.mktemp("trained"), {"hand": phantoms / "hand"}, plugins=PLUGINS)
    cells = {
        "steady": make_cell("steady", epochs=1),
        "other": make_cell("steady", seed=1, epochs=1),
        "mean_shape": make_cell("mean_shape"),
    }
    return {name: run_cell(cell, context) for name, cell in cells.items()}


@pytest.fixture
def films(phantoms: Path, runs: dict[str, RunRecord]) -> list[Path]:
    """The films of the run's test set, in the order of the stored predictions."""
    (stored,) = read_predictions(runs["steady"].folder / PREDICTIONS).values()
    return [next((phantoms / "hand").rglob(f"{case}.*")) for case in stored.cases]


def checkpoint(run: RunRecord) -> Path:
    return run.folder / "checkpoints" / str(run.checkpoint["file"])


def osteomark(*words: object) -> int:
    return main([*map(str, words), "--plugin", *map(str, PLUGINS)])


def test_a_checkpoint_alone_answers_as_the_run_did(
    runs: dict[str, RunRecord], films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = Path(shutil.copy(checkpoint(runs["steady"]), tmp_path / "model.ckpt"))
    assert osteomark("predict", alone, *films, "--out", tmp_path / "points.csv") == 0
    table = pd.read_csv(tmp_path / "points.csv")
    (stored,) = read_predictions(runs["steady"].folder / PREDICTIONS).values()
    points = table[["x", "y"]].to_numpy().reshape(stored.points.shape)
    np.testing.assert_allclose(points, stored.points, rtol=1e-5, atol=1e-2)
    assert table["landmark"].iloc[: len(stored.landmarks)].tolist() == list(stored.landmarks)
    assert table["x_mm"].isna().all(), "nothing says how large a pixel of these pictures is"
    assert "licence" in capsys.readouterr().out


def test_the_checkpoint_holds_no_path_no_case_and_reads_with_weights_only(
    runs: dict[str, RunRecord], phantoms: Path
) -> None:
    stored = torch.load(checkpoint(runs["steady"]), weights_only=True)
    text = json.dumps(stored[ENTRY])
    assert "optimizer_states" not in stored and "callbacks" not in stored
    assert str(phantoms) not in text and str(runs["steady"].folder) not in text
    (tested,) = read_predictions(runs["steady"].folder / PREDICTIONS).values()
    assert not any(f'"{case}"' in text for case in tested.cases)
    facts = load_model(checkpoint(runs["steady"]), PLUGINS).facts
    assert (facts.variant, facts.dataset, facts.split, facts.seed) == ("steady", "hand", "fold1", 0)
    assert dict(facts.hparams) == dict(runs["steady"].cell.hparams)


def test_the_conformal_radius_is_the_order_statistic_of_the_validation_errors(
    runs: dict[str, RunRecord], films: list[Path]
) -> None:
    model = load_model(runs["steady"].folder, PLUGINS)
    (stored,) = read_predictions(runs["steady"].folder / VALIDATION).values()
    scale = [film_scale((int(h), int(w)), model.method.input_spec) for h, w in stored.size]
    errors = np.sort(stored.errors("px") / np.array(scale)[:, None], axis=0)
    rank = int(np.ceil((len(errors) + 1) * 0.5))
    predicted = predict_films([model], films[:1], level=0.5)
    (film,) = predicted.films
    expected = errors[rank - 1] * film_scale(film.film.size, model.method.input_spec)
    np.testing.assert_allclose(film.answer.radius, expected, rtol=1e-6)


def test_a_bad_film_is_named_and_the_others_are_done(
    runs: dict[str, RunRecord], films: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    shutil.copy(films[0], folder / f"b{films[0].suffix}")
    (folder / "a.png").write_text("no picture")
    out = tmp_path / "points.json"
    assert osteomark("predict", runs["steady"].folder, folder, "--out", out) == 1
    assert f"left out: {folder / 'a.png'} cannot be read" in capsys.readouterr().out
    content = json.loads(out.read_text())
    assert [Path(film["film"]).stem for film in content["films"]] == ["b"]
    assert [Path(film["film"]).name for film in content["unread"]] == ["a.png"]


def test_a_dicom_film_brings_its_spacing_and_others_are_told(
    runs: dict[str, RunRecord], films: list[Path], tmp_path: Path
) -> None:
    pixels = np.asarray(Image.open(films[0]).convert("L")) if films[0].suffix != ".mha" else np.full((60, 50), 9)
    write_dicom(tmp_path / "a.dcm", pixels.astype(np.uint8), spacing=(0.3, 0.2))
    cv2.imwrite(str(tmp_path / "b.png"), pixels.astype(np.uint8))
    out = tmp_path / "points.csv"
    assert osteomark("predict", runs["steady"].folder, tmp_path / "*.[dp]*", "--out", out, "--spacing", 0.5) == 0
    table = pd.read_csv(out).groupby("film").first()
    assert table[["spacing_x", "spacing_y"]].to_numpy().tolist() == [[0.3, 0.2], [0.5, 0.5]]
    np.testing.assert_allclose(table["x_mm"], table["x"] * table["spacing_x"], rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "out", "card"),
    [
        ("coco", "points.json", "{format: coco, path: points.json}"),
        ("labelme", "labels", "{format: labelme, path: labels/*.json, origin: corner}"),
    ],
)
def test_annotation_formats_read_back_to_the_same_points(
    runs: dict[str, RunRecord], films: list[Path], tmp_path: Path, kind: str, out: str, card: str
) -> None:
    shown = tmp_path / "films"
    shown.mkdir()
    for film in films[:2]:
        shutil.copy(film, shown)
    assert osteomark("predict", runs["steady"].folder, shown, "--out", tmp_path / out, "--format", kind) == 0
    assert osteomark("predict", runs["steady"].folder, shown, "--out", tmp_path / "points.csv") == 0
    schema = load_model(runs["steady"].folder, PLUGINS).facts.schema
    text = f"name: own\nimages: films/*\nannotations: {card}\nnames: {json.dumps(list(schema.names))}\n"
    (tmp_path / "card.yaml").write_text(text)
    cases = dataset_of(Card.load(tmp_path / "card.yaml"))(tmp_path).scan().cases
    table = pd.read_csv(tmp_path / "points.csv")
    expected = table[["x", "y"]].to_numpy().reshape(2, len(schema), 2)
    read = [cases[name].points for name in sorted(cases)]
    np.testing.assert_allclose(np.stack(read), expected, atol=5e-3)


def test_pictures_are_films_with_points_and_have_names_on_demand(
    runs: dict[str, RunRecord], films: list[Path], tmp_path: Path
) -> None:
    run = runs["mean_shape"].folder
    for folder, more in (("plain", []), ("named", ["--names"])):
        out = ["--out", tmp_path / "points.csv", "--overlay", tmp_path / folder]
        assert osteomark("predict", run, films[0], *out, *more) == 0
    plain, named = (np.asarray(Image.open(next((tmp_path / f).iterdir()))) for f in ("plain", "named"))
    assert plain.shape == named.shape
    table = pd.read_csv(tmp_path / "points.csv")
    scale = plain.shape[0] / table["height"][0]
    column, row = ((table[["x", "y"]].to_numpy()[0] + 0.5) * scale - 0.5).round().astype(int)
    red, _, blue = plain[row, column].astype(int)
    assert red - blue > 60, "the dot is yellow, films are grey"
    assert (plain != named).any()


def test_an_average_weighs_by_certainty_and_keeps_the_spread() -> None:
    sharp, blurred = np.diag([1.0, 4.0]), np.diag([4.0, 1.0])
    one, other = (
        FilmAnswer(np.array([point]), cov[None], np.array([1.0]))
        for point, cov in (((0.0, 0.0), sharp), ((5.0, 5.0), blurred))
    )
    mean = combine([one, other])
    np.testing.assert_allclose(mean.points, [[1.0, 4.0]])
    spread = np.array([[(1 + 16) / 2, (4 - 4 * 1) / 2 + 4.0 - 0.0], [0, (16 + 1) / 2]])
    np.testing.assert_allclose(np.diag(mean.covariance[0]), [2.5 + spread[0, 0], 2.5 + spread[1, 1]])
    assert np.isnan(mean.radius).all()
    unknown = one._replace(covariance=np.full((1, 2, 2), NAN))
    np.testing.assert_allclose(combine([unknown, other]).points, [[2.5, 2.5]])
    assert combine([one]) is one


def test_runs_of_two_seeds_are_averaged(runs: dict[str, RunRecord], films: list[Path], tmp_path: Path) -> None:
    both = [load_model(runs[name].folder, PLUGINS) for name in ("steady", "other")]
    alone = [predict_films([model], films[:3]).films for model in both]
    together = predict_films(both, films[:3]).films
    for one, other, mean in zip(*alone, together, strict=True):
        np.testing.assert_allclose(mean.answer.points, (one.answer.points + other.answer.points) / 2, atol=1e-9)


def test_a_film_is_decoded_once_for_all_networks_and_views_of_one_input(
    runs: dict[str, RunRecord], films: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Path] = []

    def read(path: Path, *, exif: bool) -> np.ndarray:
        decoded.append(path)
        return read_film(path, exif=exif)

    monkeypatch.setattr(films_module, "read_film", read)
    both = [load_model(runs[name].folder, PLUGINS) for name in ("steady", "other")]
    shown: list[int] = []
    found = answer_films(both, films[:5], flip=True, batch_size=2, advance=shown.append)
    assert sorted(decoded) == sorted(films[:5]) and sum(shown) == 5 * 2 * 2
    for model, answers in zip(both, found.answers, strict=True):
        alone = predict_films([model], films[:5]).films
        assert list(answers) == films[:5] and all(len(views) == 2 for views in answers.values())
        for film in alone:
            np.testing.assert_allclose(answers[film.film.path][0].points, film.answer.points, rtol=1e-5, atol=1e-3)
    decoded.clear()
    other = both[1]._replace(facts=replace(both[1].facts, precision="bf16-mixed"))
    answer_films([both[0], other], films[:2])
    assert len(decoded) == 4, "another arithmetic, another pass"


def test_the_next_films_are_read_while_a_network_works(films: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = [threading.Event() for _ in range(6)]

    def read(path: Path, *, exif: bool) -> np.ndarray:
        decoded[films.index(path)].set()
        return read_film(path, exif=exif)

    monkeypatch.setattr(films_module, "read_film", read)
    samples = iter(FilmStream(films[:6], InputSpec((20, 30)), 2))
    next(samples)  # the network now has its first film and nobody asks for another
    assert all(event.wait(60) for event in decoded)
    assert len(list(samples)) == 5


def test_mirrored_films_come_back_in_the_films_own_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.tile(np.arange(50, dtype=np.uint8), (40, 1)))
    for mirrored in (False, True):
        stream = FilmStream([tmp_path / "a.png"], InputSpec((20, 30), "pad"), 2, mirrored=(mirrored,))
        (sample,) = stream
        columns = np.where(sample.image[0].numpy().max(axis=0) > 0)[0]
        bright = int(sample.image[0].numpy().max(axis=0).argmax())
        x = float(sample.to_image[0, 0] * bright + sample.to_image[0, 2])
        assert x > 45, "the film is brightest at its right edge, mirrored or not"
        assert len(columns) > 20


def test_films_must_not_be_mirrored_where_no_left_and_right_trade_places(
    runs: dict[str, RunRecord], films: list[Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = load_model(runs["steady"].folder, PLUGINS)
    if model.facts.schema.flips:
        pytest.skip("hands have left and right")
    assert osteomark("predict", runs["steady"].folder, films[0], "--flip", "--out", tmp_path / "a.csv") == 2
    assert "must not be mirrored; leave out --flip" in capsys.readouterr().err
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["STEADY", "nowhere.png"], "nowhere.png names no film"),
        (["nowhere", "FILM"], "nowhere is not there; give a run's folder"),
        (["FILM", "FILM"], "is no checkpoint that can be read"),
        (["STEADY", "FILM", "--level", "0.8"], "levels 0.5, 0.9, 0.95, not 0.8"),
        (["STEADY", "FILM", "--spacing", "-1"], "--spacing is one positive number"),
        (["STEADY", "FILM", "--out", "points.xls"], "points.xls names no format"),
        (["STEADY", "FILM", "--also", "MEAN"], ""),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    runs: dict[str, RunRecord],
    films: list[Path],
    words: list[str],
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    known = {"FILM": films[0], "STEADY": runs["steady"].folder}
    known |= {"MEAN": runs["mean_shape"].folder}
    code = osteomark("predict", *(known.get(word, word) for word in words))
    assert code == (2 if sentence else 0)
    assert sentence in capsys.readouterr().err
    assert (tmp_path / "points.csv").exists() == (not sentence)


def test_a_network_that_is_told_where_to_look_is_refused(runs: dict[str, RunRecord], films: list[Path]) -> None:
    model = load_model(runs["mean_shape"].folder, PLUGINS)
    model.method.oracle_crop = 0.1
    with pytest.raises(ValueError, match="is told where the true landmarks are"):
        predict_films([model], films[:1])


def test_points_that_are_not_finite_are_never_written(runs: dict[str, RunRecord], films: list[Path]) -> None:
    model = load_model(runs["steady"].folder, PLUGINS)
    for weight in model.method.parameters():
        torch.nn.init.constant_(weight, NAN)
    with pytest.raises(ValueError, match="with points that are not finite"):
        predict_films([model], films[:1])


def test_a_changed_method_refuses_its_old_checkpoints(
    runs: dict[str, RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(runs["mean_shape"].folder, PLUGINS)
    monkeypatch.setattr(type(model.method), "version", 2)
    with pytest.raises(ValueError, match=r"version 1 of mean_shape, and version 2 is here"):
        load_model(runs["mean_shape"].folder, PLUGINS)


def test_a_checkpoint_of_an_older_version_is_used_with_its_run_only(
    runs: dict[str, RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(runs["steady"].folder.parents[4], tmp_path / "runs"))
    run = folder / runs["steady"].folder.relative_to(runs["steady"].folder.parents[4])
    file = run / "checkpoints" / checkpoint(runs["steady"]).name
    stored = torch.load(file, weights_only=True)
    facts = ModelFacts.from_entry(stored.pop(ENTRY), file)
    torch.save(stored, file)
    assert load_model(run, PLUGINS).facts == facts
    with monkeypatch.context() as patch:
        patch.setattr("benchmark.training.model_file.FIRST_VERSION", 0)  # the method has changed since
        with pytest.raises(ValueError, match="version 0 of steady, and version 1 is here"):
            load_model(run, PLUGINS)
    alone = Path(shutil.copy(file, tmp_path / "alone.ckpt"))
    with pytest.raises(ValueError, match="older than self-contained checkpoints; give its run's folder"):
        load_model(alone, PLUGINS)


def test_a_later_format_is_refused_in_a_sentence(runs: dict[str, RunRecord], tmp_path: Path) -> None:
    stored = torch.load(checkpoint(runs["steady"]), weights_only=True)
    stored[ENTRY]["format"] = 99
    torch.save(stored, tmp_path / "a.ckpt")
    with pytest.raises(ValueError, match=r"checkpoint format 99, and this Osteomark reads 1"):
        load_model(tmp_path / "a.ckpt", PLUGINS)


def test_names_of_a_private_set_come_from_its_card_only() -> None:
    schema = LandmarkSchema(("left", "right", "tip"), {"knee": ("left", "right")}, (("left", "right"),))
    assert numbered(schema).groups == {"1": ("1", "2")}
    assert "left" not in str(numbered(schema))
    values = ("m", "v", 1, {}, schema, "d", "p", "s", 0, "f", "t", "l", True, "32-true", (8, 8), "pad")
    facts = ModelFacts(*values).without_names()
    assert facts.with_names(schema).schema == schema
    with pytest.raises(ValueError, match="these 1 landmarks are not the 3"):
        facts.with_names(LandmarkSchema(("tip",)))


def test_folders_patterns_and_files_name_each_film_once(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.jpg", "b/notes.txt", "b/.hidden.png", "a.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = find_films([tmp_path / "b", tmp_path / "b" / "1.jpg", tmp_path / "*.dcm"])
    assert [str(path.relative_to(tmp_path)) for path in found] == ["b/1.jpg", "b/2.png", "a.dcm"]
    assert LEVELS == (0.5, 0.9, 0.95), "the command's help names them"
