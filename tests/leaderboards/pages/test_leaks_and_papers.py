"""What a board says about how far its numbers can be trusted."""

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

import datamodules
import methods
from benchmark.cell import Budget, Cell
from benchmark.scoring.score import score
from benchmark.store import RunRecord
from datamodules.base import Protocol
from leaderboards.boards.badges import board_badges, memory_badges, run_badges
from leaderboards.boards.board import Board
from leaderboards.boards.read import read_boards
from leaderboards.boards.reported import Reported, load_reported
from leaderboards.build import build
from leaderboards.pages.leaks import leak_free_section
from leaderboards.pages.model import Paragraph, Section
from leaderboards.pages.papers import paper_section
from tests.leaderboards.conftest import markdown_rows
from tests.stored_runs import Skull, predictions, write_run


class Leaky(Skull):
    """The skull with a truth of two readers; cases 1 and 3 repeat training films."""

    protocols = (
        Protocol("official", "Train and test.", unit="mm", truth="mean", leaks="films"),
        Protocol("senior", "The same.", unit="mm", truth="senior"),
        Protocol("random", "By film.", unit="mm", truth="mean", leaks="patients"),
    )
    repeats: ClassVar = re.compile("00[13]$")
    readers: ClassVar = {"mean": ("senior", "junior"), "senior": ("senior",)}


@pytest.fixture(autouse=True)
def leaky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datamodules, "discover", lambda: {"skull": Leaky})


def off_by(*millimetres: float) -> pd.DataFrame:
    """Predictions whose points are all off by so many millimetres, case by case."""
    return predictions(np.repeat(np.array(millimetres)[:, None] / 0.5, 3, axis=1))


def printed(method: str, variant: str = "", badges: tuple[str, ...] = (), **changes: str) -> Reported:
    place = {"dataset": "skull", "protocol": "official", "test_set": "test"} | changes
    values = {"mre_mm": 1.5, "sdr_2mm": 90.0}
    return Reported(*place.values(), method, variant, values, "Doe 2020", "https://example.org", "3", "", badges)


def text_of(section: Section) -> str:
    return " ".join(" ".join(block.sentences) for block in section.blocks if isinstance(block, Paragraph))


def boards(store: Path, reported: tuple[Reported, ...] = ()) -> list[Board]:
    score(store)
    return read_boards(store, reported)


def test_the_ranking_score_stands_beside_itself_without_leaks(tmp_path: Path) -> None:
    write_run(tmp_path, off_by(4, 1, 4, 1), variant="posenet")
    write_run(tmp_path, off_by(3, 3, 3, 3))
    (board,) = boards(tmp_path)
    build(tmp_path, tmp_path / "out", [])
    text = (tmp_path / "out" / "skull-official.md").read_text()
    assert board.leaked
    (row,) = (row for row in markdown_rows(text, "Budget") if row["Rank"] == "1")
    assert row["Method"].startswith("posenet")
    assert row["MRE (mm) ↓"].startswith("2.50 [")
    assert row["MRE leak-free (mm) ↓"] == "4.00 [4.00, 4.00]"
    frame = pd.read_csv(tmp_path / "out" / "skull-official.csv").set_index("method")
    assert frame.loc["posenet", ["mre_mm", "mre_mm_leak_free", "sdr_2mm_leak_free"]].tolist() == [2.5, 4.0, 0.0]
    assert frame.loc["posenet", ["cases", "cases_leak_free"]].tolist() == [4, 2]


def test_a_method_that_is_best_on_leaked_films_loses_its_place_without_them(tmp_path: Path) -> None:
    write_run(tmp_path, off_by(4, 1, 4, 1), variant="posenet")
    write_run(tmp_path, off_by(3, 3, 3, 3))
    (board,) = boards(tmp_path)
    places = {row.label: (row.rank, board.leak_free_ranks[row.key]) for row in board.ranked}
    assert places == {"posenet": (1, 2), "mean_shape": (2, 1)}
    section = leak_free_section(board, "s1")
    assert "2 of the 4 test films" in text_of(section)
    assert "ranks change for 2 rows: posenet 1 to 2, mean_shape 2 to 1" in text_of(section)
    assert [[cell.text for cell in row.cells[:4]] for row in section.blocks[1].rows] == [
        ["1", "mean_shape", "2", "3.00"],
        ["2", "posenet", "1", "4.00"],
    ]


def test_scores_that_nobody_has_without_the_leaks_have_no_column_there(tmp_path: Path) -> None:
    write_run(tmp_path, off_by(4, 1, 4, 1))
    (board,) = boards(tmp_path)
    (row,) = board.ranked
    unknown = row.score("sdr_2mm")._replace(value_leak_free=np.nan, low_leak_free=np.nan, high_leak_free=np.nan)
    board = replace(board, rows=(replace(row, scores={**row.scores, "sdr_2mm": unknown}),))
    section = leak_free_section(board, "s1")
    titles = {column.title for table in section.blocks[1:] for column in table.columns}
    assert "SDR 2 mm" not in titles
    assert titles >= {"MRE", "SDR 4 mm"}


def test_a_dataset_without_a_known_leak_says_so(tmp_path: Path) -> None:
    write_run(tmp_path, off_by(1, 2), protocol="senior")
    (board,) = boards(tmp_path)
    assert not board.leaked
    assert "No film of this test set is known to stand in training" in text_of(leak_free_section(board, "s1"))


def test_leaks_that_cannot_be_left_out_are_said(tmp_path: Path) -> None:
    write_run(tmp_path, off_by(1, 2), protocol="random")
    (board,) = boards(tmp_path)
    assert board_badges(board) == ("leaked test set",)
    assert "patients stand in both training and test" in text_of(leak_free_section(board, "s1"))


def test_leaks_and_another_truth_are_badges_of_the_board(tmp_path: Path) -> None:
    for protocol in ("official", "senior"):
        write_run(tmp_path, off_by(1, 2), protocol=protocol)
    found = {board.protocol: board_badges(board) for board in boards(tmp_path)}
    assert found == {"official": ("leaked test set",), "senior": ("other truth: senior instead of mean",)}
    build(tmp_path, tmp_path / "out", [])
    assert "**other truth: senior instead of mean**" in (tmp_path / "out" / "skull-senior.md").read_text()
    assert "leaked test set" in (tmp_path / "out" / "index.md").read_text()


def test_the_gap_is_ours_minus_the_papers_with_its_budget(tmp_path: Path) -> None:
    write_run(tmp_path, off_by(4, 1, 4, 1), variant="posenet")
    (board,) = boards(tmp_path, (printed("PoseNet", "posenet"),))
    section = paper_section(board, "s1")
    (cells,) = (row.cells for row in section.blocks[1].rows)
    shown = ["posenet", "reduced (2 epochs/stage)", "2.50 - 1.50 = +1.00 mm", "50.00 - 90.00 = -40.00 points"]
    assert [cell.text for cell in cells[:4]] == shown
    assert [mark.text for mark in cells[4].marks] == ["reduced budget"]
    assert "**reduced budget** was not trained as its paper says" in text_of(section)
    assert board.rows[-1].notes == ("our posenet: +1.00 mm in MRE, **reduced budget**",)
    build(tmp_path, tmp_path / "out", [printed("PoseNet", "posenet")])
    frame = pd.read_csv(tmp_path / "out" / "skull-official.csv").set_index("method")
    assert frame.loc["posenet", ["mre_mm_gap", "sdr_2mm_gap"]].tolist() == [1.0, -40.0]


def test_a_row_trained_as_published_has_no_badge_of_its_budget(tmp_path: Path) -> None:
    write_run(tmp_path, off_by(2, 2), variant="posenet", budget=Budget("paper"))
    (board,) = boards(tmp_path, (printed("PoseNet", "posenet"),))
    assert board.rows[0].badges == ()
    assert board.rows[-1].notes == ("our posenet: +0.50 mm in MRE",)
    section = paper_section(board, "s1")
    assert "reduced" not in text_of(section)
    assert section.blocks[1].rows[0].cells[-1].marks == ()


@pytest.mark.parametrize("elsewhere", [{"protocol": "senior"}, {"test_set": "test2"}, {"dataset": "isbi2015"}])
def test_numbers_of_another_protocol_or_test_set_are_not_compared(tmp_path: Path, elsewhere: dict[str, str]) -> None:
    write_run(tmp_path, off_by(2, 2), variant="posenet")
    (board,) = boards(tmp_path, (printed("PoseNet", "posenet", **elsewhere),))
    assert [row.status for row in board.rows] == ["done"]
    assert (board.rows[0].reported, board.rows[0].badges, paper_section(board, "s1")) == ({}, (), None)


def test_what_stands_beside_a_papers_number_says_how_the_paper_got_it(tmp_path: Path) -> None:
    write_run(tmp_path, off_by(2, 2), variant="posenet")
    write_run(tmp_path, off_by(2, 2), variant="posenet-l2", badges=("oracle crop",))
    rows = (printed("A", "posenet", ("oracle crop",)), printed("B", "posenet-l2", ("oracle crop",)))
    (board,) = boards(tmp_path, rows)
    found = {row.label: row.badges for row in board.rows}
    assert found["A"] == ("oracle crop",)
    assert found["posenet"] == ("reduced budget", "the paper's number: oracle crop")
    assert found["posenet-l2"] == ("oracle crop", "reduced budget")


def test_weights_that_are_not_the_papers_are_a_badge() -> None:
    run = RunRecord("done", Cell("skull", "official", "main", "net", "net"), "f", "", "", weights="none")
    assert run_badges(run, {"weights": "imagenet"}, (), None) == (
        "other weights than the paper's: none instead of imagenet",
    )
    assert run_badges(run, {"weights": "none"}, (), None) == ()
    assert run_badges(run, {"weights": ""}, (), None) == ()  # the paper does not say


def test_runs_that_ran_out_of_memory_are_counted_in_a_badge() -> None:
    cell = Cell("skull", "official", "main", "net", "net")
    runs = [RunRecord("done", cell, "f", "", "", micro_batch=films) for films in (None, 2, 2)]
    failed = RunRecord("failed", cell, "f", "", "", micro_batch=2)
    assert memory_badges([*runs, failed]) == (
        "2 of 3 runs: 2 films at a time since memory ran out, for batch normalisation too",
    )
    assert memory_badges([runs[0], failed]) == ()


def test_a_protocols_caveats_give_way_to_what_it_says_now_where_that_is_known() -> None:
    cell = Cell("skull", "official", "main", "net", "net")
    run = RunRecord("done", cell, "f", "", "", badges=("15 films also in training", "oracle crop"))
    assert run_badges(run, {}, ("16 films also in training",), None) == ("oracle crop",)
    assert run_badges(run, {}, (), None) == run.badges


def test_the_papers_weights_reach_the_row_through_the_facts(tmp_path: Path) -> None:
    write_run(tmp_path, off_by(2, 2), variant="farnet")
    write_run(tmp_path, off_by(2, 2), variant="farnet", hparams=(("weights", "imagenet"),), weights="imagenet")
    (board,) = boards(tmp_path)
    assert sorted(len(row.badges) for row in board.rows) == [0, 1]
    assert {name for name, method in methods.discover().items() if method.paper.weights == "imagenet"} == {
        *("farnet", "fpn", "vertebra-focused"),
    }


def test_a_person_is_no_row_of_ours_and_changes_no_rank(tmp_path: Path) -> None:
    write_run(tmp_path, off_by(2, 2), variant="posenet")
    (alone,) = boards(tmp_path)
    write_run(tmp_path, off_by(1, 1), variant="reader-senior", hparams=(("reader", "senior"),), human=True, weights="")
    (board,) = boards(tmp_path)
    assert [(row.label, row.status, row.rank) for row in board.rows] == [
        ("posenet", "done", 1),
        ("reader-senior", "human", None),
    ]
    assert board.measured == board.ranked
    assert [row.label for row in alone.ranked] == [row.label for row in board.compared]
    build(tmp_path, tmp_path / "out", [])
    row = markdown_rows((tmp_path / "out" / "skull-official.md").read_text(), "Budget")[-1]
    assert (row["Rank"], row["Method"], row["MRE (mm) ↓"]) == (
        "-",
        "reader-senior *human readers*",
        "1.00 [1.00, 1.00]",
    )
    assert {row[name] for name in ("Tied with rank", "Budget", "Seeds", "Folds")} == {"-"}


def test_every_row_that_a_paper_cropped_by_its_truth_says_so() -> None:
    rows = [row for row in load_reported() if "oracle" in row.note or "draw of the paper's own" in row.note]
    assert len(rows) > 10
    assert all({"oracle crop", "other test films"} & set(row.badges) for row in rows)
