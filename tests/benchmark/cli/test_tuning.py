"""A matrix that tunes trains and ranks on validation films, and nothing of a test film is predicted or printed."""

from pathlib import Path

import pandas as pd
import pytest

from benchmark.cli.main import main
from benchmark.predictions import PREDICTIONS, VALIDATION
from benchmark.store import RunStore
from datamodules.components import protocols
from tests.benchmark.cli.test_cli import PLUGINS, here, in_process

__all__ = ["here", "in_process"]

LINE = f"run --matrix folds.yaml --methods mean_shape steady --epochs 1 --plugin {PLUGINS / 'steady.py'}"


@pytest.fixture
def tuned(here: Path, in_process: None, capsys: pytest.CaptureFixture[str]) -> str:
    (here / "folds.yaml").write_text("{purpose: tune, datasets: [{name: hand, splits: [fold1]}]}")
    assert main([*LINE.split(), "--set", "steady.batch_size=4"]) == 0
    return capsys.readouterr().out


def test_nothing_of_a_test_film_is_predicted_scored_or_printed(tuned: str, here: Path) -> None:
    for run in RunStore(here / "runs").runs():
        assert (run.status, run.test_sets, run.cell.purpose) == ("done", {}, "tune")
        assert (run.folder / VALIDATION).is_file()
        assert not list(run.folder.rglob(f"*{PREDICTIONS}"))
        assert not list(run.folder.rglob("scores.parquet"))
    assert not (here / "runs" / "scores.csv").exists()
    assert not (here / "runs" / "leaderboards").exists()
    assert "hand / 3-fold / validation films, which chose the checkpoints" in tuned
    assert "steady" in tuned.split("validation films")[1]
    assert "/ test" not in tuned


def test_commands_about_test_films_say_what_such_a_store_lacks(
    tuned: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run, *_) = RunStore(here / "runs").runs()
    lines = {
        "leaderboard": "all of them tune; `osteomark leaderboard --on validation` ranks them",
        "stress": "no trained run that was tested",
        f"leaderboard submit {run.folder}": "is of a matrix that tunes",
        "leaderboard --on validation --publish": "points and scores of test films are published",
    }
    for line, sentence in lines.items():
        assert main(line.split()) == 2
        assert sentence in capsys.readouterr().err


def test_the_same_cells_are_trained_and_tested_once_the_purpose_changes(
    tuned: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*LINE.split(), "--purpose", "compare", "--set", "steady.batch_size=4"]) == 0
    assert "2 cells, 0 finished before" in (printed := capsys.readouterr().out)
    assert "hand / 3-fold / test" in printed
    runs = {(run.cell.variant, run.cell.purpose): run for run in RunStore(here / "runs").runs()}
    assert len(runs) == 4
    for variant in ("mean_shape", "steady"):
        tables = [pd.read_parquet(runs[variant, purpose].folder / VALIDATION) for purpose in ("tune", "compare")]
        pd.testing.assert_frame_equal(*tables)
    assert main(["leaderboard", "--on", "validation"]) == 0
    table = pd.read_csv(here / "runs" / "leaderboards-validation" / "hand-3-fold-validation.csv")
    assert sorted(table["variant"]) == ["mean_shape", "steady"]  # the twins, which differ in their purpose, are one row


def test_a_purpose_that_does_not_exist_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "folds.yaml").write_text("{purpose: tuning, datasets: [hand]}")
    assert main(LINE.split()) == 2
    assert "purpose is 'tuning'; it is one of compare, tune." in capsys.readouterr().err


def test_a_protocol_without_validation_films_cannot_be_tuned_on(
    here: Path, in_process: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "hold_out", lambda cases, patients=None, **_: (tuple(cases), ()))
    assert main([*LINE.split(), "--purpose", "tune"]) == 2
    assert "has no validation films, so nothing can be tuned there" in capsys.readouterr().err
