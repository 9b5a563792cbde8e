"""Cards on the command line and in a matrix: named by their file, they do what a dataset of the package does."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import methods
from benchmark.cell import Cell, Context
from benchmark.cli.main import main
from benchmark.engines.local import LocalEngine
from benchmark.matrix import Matrix
from benchmark.store import RunRecord, RunStore
from benchmark.training.run_cell import run_cell
from datamodules import DatasetRegistry
from datamodules.phantom.card_formats import write_private


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a set in `cards/knee`, its card called knee, and cells that run in this process."""

    def run(self: LocalEngine, jobs: list, context: Context, watch: Callable) -> Iterator[RunRecord]:
        for job in jobs:
            yield run_cell(job.cell, context, lambda progress, job=job: watch(job, progress))

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
