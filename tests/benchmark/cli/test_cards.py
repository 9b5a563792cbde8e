"""Cards on the command line and in a matrix: named by their file, they do what a dataset of the package does."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import methods
from benchmark.cell import Cell, Context
from benchmark.cli.main import main
from benchmark.engines.base import Outcome
from benchmark.engines.local import LocalEngine
from benchmark.matrix import Matrix
from benchmark.store import RunStore
from benchmark.training.run_cell import run_cell
from datamodules import DatasetRegistry
from tests.card_files import Labelled, write_dicom, write_labelme, write_private


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a set in `cards/knee`, its card called knee, and cells that run in this process."""

    def run(self: LocalEngine, jobs: list, context: Context, watch: Callable) -> Iterator[Outcome]:
        for job in jobs:
            yield job, run_cell(job.cell, context, lambda progress, job=job: watch(job, progress))

    monkeypatch.setattr(LocalEngine, "run", run)
    monkeypatch.chdir(tmp_path)
    write_private(tmp_path / "cards" / "knee", films=8, height=64)
    card = tmp_path / "cards" / "knee" / "private.yaml"
    card.with_name("knee.yaml").write_text(card.read_text().replace("name: private", "name: knee"))
    return tmp_path


def cells(matrix: Path) -> list[Cell]:
    datasets = DatasetRegistry()
    return Matrix.load(matrix, datasets).cells(methods.discover(), datasets)


def test_a_matrix_names_cards_relative_to_itself_or_to_the_working_folder(here: Path) -> None:
    (here / "cards" / "m.yaml").write_text(
        """
        methods: [mean_shape]
        datasets: [{name: knee/knee.yaml, protocols: [3-fold]}]
        overrides: [{datasets: [knee/knee.yaml], budget: {epochs: 3}}]
        """
    )
    (here / "n.yaml").write_text("{methods: [mean_shape], datasets: [cards/knee/knee.yaml]}")
    found = cells(here / "cards" / "m.yaml")
    assert [(c.dataset, c.split, c.budget.epochs) for c in found] == [("knee", f"fold{i}", 3) for i in (1, 2, 3)]
    assert [(c.dataset, c.protocol) for c in cells(here / "n.yaml")] == [("knee", "split")]


def test_a_card_runs_resumes_and_has_a_leaderboard_that_can_be_rebuilt_without_it(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["run", "--datasets", "cards/knee/knee.yaml", "--methods", "mean_shape"]
    assert main(line) == 0
    assert [run.cell.dataset for run in RunStore(here / "runs").runs()] == ["knee"]
    assert main(line) == 0
    assert "1 cells, 1 finished before" in capsys.readouterr().out
    page = (here / "runs" / "leaderboards" / "knee-split.md").read_text()
    (here / "runs" / ".scores.json").unlink()
    assert main(["leaderboard"]) == 0
    assert (here / "runs" / "leaderboards" / "knee-split.md").read_text() == page
    assert "mean_shape" in page


def test_commands_that_describe_take_cards(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = "cards/knee/knee.yaml"
    assert main(["list", "datasets", "--json", "--card", card]) == 0
    assert {"name": "knee", "landmarks": 12}.items() <= json.loads(capsys.readouterr().out)[-1].items()
    assert main(["describe", "vertebra-focused", "--json", "--card", card]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == 12
    assert main(["data", "check", card]) == 0
    assert "Cases with both film and labels: 8" in capsys.readouterr().out


def test_a_method_that_cannot_have_a_cards_landmarks_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = here / "cards" / "knee" / "knee.yaml"
    content = yaml.safe_load(card.read_text())
    card.write_text(yaml.safe_dump({key: value for key, value in content.items() if key != "groups"}))
    assert main(["describe", "two-stage-lumbar", "--card", str(card)]) == 2
    assert "two-stage-lumbar cannot have these 12 landmarks" in capsys.readouterr().err


def test_what_is_wrong_with_a_private_card_is_told_by_reveal_only(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = here / "cards" / "knee" / "knee.yaml"
    content = yaml.safe_load(card.read_text())
    card.write_text(yaml.safe_dump({**content, "private": True, "flips": [["Smith-left", "Smith-right"]]}))
    assert main(["data", "check", str(card)]) == 2
    assert "Smith" not in capsys.readouterr().err
    assert main(["data", "check", str(card), "--reveal"]) == 2
    assert "Smith-left" in capsys.readouterr().err


def test_two_readers_of_a_card_have_rows_of_their_own(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here / "cards" / "ward"
    rng = np.random.default_rng(0)
    names = ("a", "b", "c")
    films = [Labelled(f"films/{i}.dcm", rng.uniform(5, 40, (3, 2)), (60, 50)) for i in range(10)]
    for film in films:
        write_dicom(folder / film.image, rng.integers(0, 255, film.size).astype(np.uint8), patient=film.image)
    for reader in ("senior", "junior"):
        moved = [film._replace(points=film.points + rng.normal(0, 2, (3, 2))) for film in films]
        write_labelme(folder / "labels" / reader, moved, names)
    assert main(["data", "new-card", str(folder)]) == 0
    assert "labelme labels of 10 images by 2 readers, 3 landmarks each" in capsys.readouterr().out
    card = str(folder / "card.yaml")
    assert main(["data", "readers", card]) == 0
    assert main(["run", "--card", card, "--methods", "mean_shape"]) == 0
    rows = {run.cell.variant: run.status for run in RunStore(here / "runs").runs()}
    assert rows == {"reader-reader1": "done", "reader-reader2": "done", "mean_shape": "done"}


def test_a_first_card_is_written_and_can_be_checked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "cards" / "knee" / "private.yaml").unlink()
    assert main(["data", "new-card", "cards/knee", "--out", "first.yaml"]) == 0
    assert "wide-csv labels of 8 images, 12 landmarks each" in capsys.readouterr().out
    assert main(["data", "check", "first.yaml"]) == 0
    assert str(here) not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("run --card gone.yaml", "there is no card gone.yaml; `osteomark data new-card FOLDER` writes one."),
        ("run --datasets wrong.yaml", "the card wrong.yaml: there is no key 'imags'; did you mean 'images'?"),
        ("data check hand", "where is hand? Give its folder with --root."),
        ("data new-card gone", "there is no folder gone"),
        ("data new-card cards --out wrong.yaml", "wrong.yaml is there already"),
    ],
)
def test_bad_input_is_one_sentence(line: str, sentence: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "wrong.yaml").write_text("imags: x")
    assert main(line.split()) == 2
    assert sentence in capsys.readouterr().err
