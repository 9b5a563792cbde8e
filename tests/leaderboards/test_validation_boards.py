"""Ranks on validation films: boards that nobody takes for those of test films."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmark.predictions import PREDICTIONS, VALIDATION
from benchmark.scoring.score import score
from benchmark.store import RunStore
from leaderboards.boards.read import read_boards
from leaderboards.boards.reported import Reported
from leaderboards.build import read_leaderboards, write_leaderboards
from leaderboards.pages.leaderboards import Leaderboards
from leaderboards.site.build import build_site
from leaderboards.text.terminal import show
from tests.stored_runs import predictions, skull, write_run

__all__ = ["skull"]

RIVAL = Reported("skull", "3-fold", "test", "Rival", "", {"mre_mm": 0.9}, "Doe 2020", "https://x.org", "3", "a note")


@pytest.fixture
def store(skull: object, tmp_path: Path) -> Path:
    """Two runs, of which the better on test films is the worse on validation films, and one that tunes."""
    root = tmp_path / "runs"
    for variant, tested, validated in (("posenet", 1.0, 6.0), ("mnv2", 2.0, 4.0), ("scn", 9.0, 2.0)):
        record = write_run(
            root, predictions(np.full((6, 3), tested)), variant, "3-fold", "fold1", badges=("leaked pairs",)
        )
        if variant == "scn":
            (record.folder / PREDICTIONS).unlink()
            (record.folder / "run.json").unlink()
            cell = replace(record.cell, purpose="tune")
            record = RunStore(root).write(replace(record, cell=cell, test_sets={}))
        frame = predictions(np.full((4, 3), validated), "validation", first=50)
        frame.to_parquet(record.folder / VALIDATION, index=False)
    return root


def ranked(store: Path, on: str) -> Leaderboards:
    score(store, on=on)  # type: ignore[arg-type]
    return read_leaderboards(store, [RIVAL], on)  # type: ignore[arg-type]


def test_runs_are_ranked_by_their_validation_films(store: Path) -> None:
    (test,), (validation,) = ranked(store, "test").boards, ranked(store, "validation").boards
    assert [(row.variant, row.value("mre_mm")) for row in test.ranked] == [("posenet", 0.5), ("mnv2", 1.0)]
    found = [(row.variant, row.value("mre_mm"), row.cases) for row in validation.ranked]
    assert found == [("scn", 1.0, 4), ("mnv2", 2.0, 4), ("posenet", 3.0, 4)]
    assert [row.variant for row in validation.compared] == ["scn", "mnv2", "posenet"]


def test_no_number_of_a_test_film_or_of_a_paper_is_on_a_validation_board(store: Path, tmp_path: Path) -> None:
    score(store)
    paths = write_leaderboards(ranked(store, "validation"), tmp_path / "out")
    texts = {path.name: path.read_text() for path in paths}
    assert {"skull-3-fold-validation.md", "skull-3-fold-validation.json"} <= texts.keys()
    assert "skull-3-fold.md" not in texts
    assert not any("Rival" in text or "leaked pairs" in text for text in texts.values())
    assert not any("0.50" in line for line in texts["skull-3-fold-validation.md"].splitlines() if "posenet" in line)


def test_every_format_says_that_the_films_are_those_that_validate(store: Path, tmp_path: Path) -> None:
    content = ranked(store, "validation")
    paths = write_leaderboards(content, tmp_path / "out")
    texts = {path.name: path.read_text() for path in paths}
    shown = StringIO()
    show(content, [], Console(file=shown, width=120))
    assert "no test film was looked at" in texts["index.md"]
    assert "ranks on validation films" in texts["index.md"].splitlines()[0]
    caveat = "validation films, on which checkpoints and settings are chosen"
    assert f"Caveats: **{caveat}**." in texts["skull-3-fold-validation.md"]
    assert caveat in texts["skull-3-fold-validation.json"]
    assert ",validation," in texts["skull-3-fold-validation.csv"]
    assert "alidation films" in texts["skull-3-fold-validation.tex"]
    assert "validation films" in shown.getvalue()


def test_the_boards_of_test_films_say_that_runs_that_tune_are_left_out(store: Path, tmp_path: Path) -> None:
    content = ranked(store, "test")
    build_site(store, tmp_path / "site")
    sentence = "1 runs that tune are left out: no test film was predicted"
    assert any(sentence in text for text in content.overview.lead)
    assert sentence in (tmp_path / "site" / "index.html").read_text()
    assert not any(row.variant == "scn" for board in content.boards for row in board.rows)


def test_a_run_that_tunes_and_failed_is_on_no_board_of_test_films(store: Path) -> None:
    failed = write_run(store, None, "farnet", "3-fold", "fold1", reason="RuntimeError: out of memory")
    (failed.folder / "run.json").unlink()
    RunStore(store).write(replace(failed, cell=replace(failed.cell, purpose="tune")))
    score(store)
    score(store, on="validation")
    (test,), (validation,) = read_boards(store, []), read_boards(store, [], "validation")
    assert "farnet" not in {row.variant for row in test.rows}
    assert {row.variant: row.status for row in validation.rows}["farnet"] == "failed"
