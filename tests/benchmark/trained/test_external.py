"""`osteomark test`: a run at another site, whose error there is known by construction."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.cell import Cell, Context
from benchmark.cli.main import main
from benchmark.predictions import PREDICTIONS, read_predictions
from benchmark.store import RunRecord
from benchmark.trained import films
from benchmark.trained.external import LandmarkPair, match
from benchmark.training.run_cell import run_cell
from datamodules.base import LandmarkSchema
from leaderboards.external.scores import AWAY, read_external

from ..conftest import PLUGINS

MakeCell = Callable[..., Cell]
SHIFT = 3.0
SPACING = 0.5


@pytest.fixture
def run(phantoms: Path, make_cell: MakeCell, tmp_path: Path) -> RunRecord:
    context = Context(tmp_path / "runs", {"hand": phantoms / "hand"}, plugins=PLUGINS)
    return run_cell(make_cell("steady", epochs=1), context)


def osteomark(*words: object) -> int:
    return main([*map(str, words), "--plugin", *map(str, PLUGINS)])


@pytest.fixture
def card(run: RunRecord, phantoms: Path, tmp_path: Path) -> Path:
    """A site whose truth lies `SHIFT` pixels beside what the run answers; one name differs and one is missing."""
    site = tmp_path / "site"
    (site / "films").mkdir(parents=True)
    for film in sorted((phantoms / "hand" / "images").iterdir())[:6]:
        shutil.copy(film, site / "films")
    assert osteomark("predict", run.folder, site / "films", "--out", site / "points.json", "--format", "coco") == 0
    content = json.loads((site / "points.json").read_text())
    names = content["categories"][0]["keypoints"]
    for annotation in content["annotations"]:
        values = np.reshape(annotation["keypoints"], (-1, 3))
        values[:, 0] += SHIFT
        annotation["keypoints"] = values[1:].ravel().tolist()
    content["categories"][0]["keypoints"] = ["other", *names[2:]]
    (site / "points.json").write_text(json.dumps(content))
    text = "name: elsewhere\nimages: films/*\nannotations: {format: coco, path: points.json}\n"
    text += f"names: {json.dumps(['other', *names[2:]])}\nspacing: {{mm_per_pixel: {SPACING}}}\n"
    (site / "card.yaml").write_text(text)
    return site / "card.yaml"


def test_the_error_away_and_its_growth_are_what_they_were_made(
    run: RunRecord, card: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = (run.folder / PREDICTIONS).read_bytes()
    (stored,) = read_predictions(run.folder / PREDICTIONS).values()
    first, second = json.loads((card.parent / "points.json").read_text())["categories"][0]["keypoints"][:2]
    names = list(_home_names(run))
    assert osteomark("test", run.folder, "--card", card, "--rename", f"{names[1]}={first}") == 0
    assert second == names[2]
    assert (run.folder / PREDICTIONS).read_bytes() == before, "the run itself is not touched"
    text = capsys.readouterr().out
    assert f"{len(names) - 1} landmarks; not compared: {names[0]}" in text
    (board,) = read_external(run.folder.parents[4])
    (row,) = board.rows
    away = row.scores[board.columns[0].name][AWAY]
    assert board.columns[0].unit == "mm"
    assert away.value == pytest.approx(SHIFT * SPACING, abs=1e-3)
    kept = [stored.landmarks.index(name) for name in names[1:]]
    errors = stored.errors("mm")[:, kept]
    (home,) = (scores for name, scores in row.scores[board.columns[0].name].items() if name != AWAY)
    assert home.value == pytest.approx(np.nanmean(errors), rel=1e-6)
    (growth,) = row.growth.values()
    assert growth.value == pytest.approx(away.value / home.value, rel=1e-5)
    assert growth.low < growth.value < growth.high
    table = pd.read_csv(run.folder.parents[4] / "leaderboards" / f"{board.name}.csv")
    assert set(table["test_set"]) == {AWAY, *board.tests}
    page = (run.folder.parents[4] / "leaderboards" / f"{board.name}.md").read_text()
    assert "Trained on hand, tested on elsewhere" in page and "Growth" in page


def test_several_runs_are_tested_on_films_that_are_decoded_once(
    run: RunRecord, card: Path, phantoms: Path, make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    context = Context(tmp_path / "runs", {"hand": phantoms / "hand"}, plugins=PLUGINS)
    other = run_cell(make_cell("steady", seed=1, epochs=1), context)
    decoded: list[Path] = []
    read = films.read_film
    monkeypatch.setattr(films, "read_film", lambda path, exif: (decoded.append(path), read(path, exif=exif))[1])
    assert osteomark("test", run.folder, other.folder, "--card", card) == 0
    assert len(decoded) == 6
    stored = [read_predictions(next((each.folder / "external").iterdir())) for each in (run, other)]
    found = [points for tables in stored for points in tables.values()]
    assert found[0].points.shape == found[1].points.shape and not np.allclose(found[0].points, found[1].points)
    (board,) = read_external(tmp_path / "runs")
    assert board.rows[0].seeds == "0 1"


def test_runs_of_another_store_and_of_the_same_dataset_are_refused(
    run: RunRecord,
    card: Path,
    phantoms: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert osteomark("test", run.folder, "--dataset", "hand", "--data-root", phantoms) == 2
    assert "was trained on hand itself" in capsys.readouterr().err
    alone = shutil.copy(run.folder / "checkpoints" / str(run.checkpoint["file"]), tmp_path / "alone.ckpt")
    assert osteomark("test", alone, "--card", card) == 2
    assert "is no run of a store" in capsys.readouterr().err
    assert osteomark("test", run.folder) == 2
    assert "on which films?" in capsys.readouterr().err
    assert osteomark("test", run.folder, "--card", card, "--rename", "thumb") == 2
    assert "--rename takes home=away, not 'thumb'" in capsys.readouterr().err


def _home_names(run: RunRecord) -> tuple[str, ...]:
    from datamodules import DatasetRegistry

    return DatasetRegistry()["hand"].schema.names


def test_landmarks_are_paired_by_name_by_map_and_by_choice() -> None:
    home, away = LandmarkSchema(("a", "b", "c")), LandmarkSchema(("c", "x"))
    assert match(home, away, {}) == (LandmarkPair("c", "c"),)
    assert match(home, away, {"a": "x"}) == (LandmarkPair("a", "x"), LandmarkPair("c", "c"))
    assert match(home, away, {"a": "x"}, ["a"]) == (LandmarkPair("a", "x"),)
    for renamed, only, sentence in (
        ({"z": "x"}, [], "no landmark 'z' home"),
        ({"a": "z"}, [], "no landmark 'z' away"),
        ({}, ["b"], "no landmark 'b'; say what it is called"),
    ):
        with pytest.raises(ValueError, match=sentence):
            match(home, away, renamed, only)
    with pytest.raises(ValueError, match="no landmark has the same name in both"):
        match(LandmarkSchema(("a",)), LandmarkSchema(("b",)), {})
