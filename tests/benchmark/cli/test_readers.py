"""Runs whose predictions are what a person marked."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.scoring.readers import write_readers
from benchmark.scoring.score import score
from benchmark.store import RUN, RunStore
from datamodules.hand import Hand
from datamodules.isbi2015 import ISBI2015
from datamodules.phantom.skull.films import write_isbi
from leaderboards.boards.board import RowCost
from leaderboards.boards.read import read_boards
from leaderboards.publish import publish
from tests.stored_runs import predictions, write_run

READERS = ("senior", "junior")


@pytest.fixture(scope="module")
def isbi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("isbi")
    write_isbi(root, train=4, test1=3, test2=2)
    return root


@pytest.fixture(scope="module")
def store(isbi: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The readers' runs of the official protocols, scored."""
    store = tmp_path_factory.mktemp("runs")
    write_readers("isbi2015", ISBI2015, isbi, store, ["official", "official-senior", "official-junior"])
    score(store)
    return store


def marks(root: Path, reader: str, case: str) -> np.ndarray:
    """A reader's points in millimetres: a pixel of the official frame is .1 mm, whatever the film's size."""
    return 0.1 * np.loadtxt(root / f"AnnotationsByMD/400_{reader}/{case}.txt", delimiter=",", max_rows=19)


def distances(root: Path, cases: list[str]) -> np.ndarray:
    return np.array([np.linalg.norm(marks(root, "senior", c) - marks(root, "junior", c), axis=1) for c in cases])


def value(store: Path, protocol: str, variant: str, column: str, test_set: str = "test1") -> float:
    rows = pd.read_csv(store / "scores.csv").set_index(["protocol", "variant", "test_set", "column"])
    return float(rows.loc[(protocol, variant, test_set, column), "value"])


def test_every_protocol_has_the_readers_who_are_not_its_truth(store: Path) -> None:
    found = [(run.cell.protocol, run.cell.variant) for run in RunStore(store).runs()]
    assert sorted(found) == [
        ("official", "reader-junior"),
        ("official", "reader-senior"),
        ("official-junior", "reader-senior"),
        ("official-senior", "reader-junior"),
    ]


def test_a_reader_is_as_far_from_the_other_as_their_files_say(isbi: Path, store: Path) -> None:
    expected = distances(isbi, ["151", "152", "153"]).round(9)  # of whole pixels: some are exactly 2 mm
    assert (expected == 2).any()
    for protocol, variant in (("official-senior", "reader-junior"), ("official-junior", "reader-senior")):
        assert value(store, protocol, variant, "mre_mm") == pytest.approx(expected.mean(), rel=1e-6)
        assert value(store, protocol, variant, "sdr_2mm") == pytest.approx(100 * (expected <= 2).mean())


def test_a_reader_is_half_as_far_from_the_mean(isbi: Path, store: Path) -> None:
    expected = distances(isbi, ["301", "302"]) / 2
    for reader in READERS:
        assert value(store, "official", f"reader-{reader}", "mre_mm", "test2") == pytest.approx(
            expected.mean(), rel=1e-6
        )


def test_people_are_shown_without_a_rank_a_budget_and_costs(store: Path) -> None:
    board = next(b for b in read_boards(store, []) if (b.protocol, b.test_set) == ("official", "test1"))
    assert [(row.label, row.status, row.rank) for row in board.rows] == [
        ("reader-junior", "human", None),
        ("reader-senior", "human", None),
    ]
    assert board.ranked == board.measured == ()
    assert board.rows[0].notes == (
        "one of the 2 readers whose mean is the truth: 1/2 of its distance to the other one, by construction",
    )
    assert board.rows[0].cost == RowCost()
    assert board.rows[0].parameters is None


def test_against_a_single_reader_the_note_names_the_truth(store: Path) -> None:
    board = next(b for b in read_boards(store, []) if b.protocol == "official-senior")
    assert board.rows[0].notes == ("against the senior reader",)


def test_what_people_marked_is_never_published(store: Path, tmp_path: Path) -> None:
    publish(store, read_boards(store, []), tmp_path)
    assert list(tmp_path.rglob("*.parquet")) == []
    assert all("reader" not in path.read_text() for path in (tmp_path / "cases").iterdir())


def test_writing_again_replaces_the_same_folders(isbi: Path, tmp_path: Path) -> None:
    first = write_readers("isbi2015", ISBI2015, isbi, tmp_path, ["4-fold"])
    again = write_readers("isbi2015", ISBI2015, isbi, tmp_path, ["4-fold"])
    assert [run.folder for run in again] == [run.folder for run in first]
    assert {run.cell.split for run in first} == {"fold1", "fold2", "fold3", "fold4"}


def test_a_record_without_the_mark_is_a_methods(store: Path, tmp_path: Path) -> None:
    record = write_run(tmp_path, predictions(np.ones((2, 3))))
    content = json.loads((record.folder / RUN).read_text())
    del content["human"]  # as runs of earlier versions
    (record.folder / RUN).write_text(json.dumps(content))
    assert not RunStore(tmp_path).runs()[0].human
    assert all(run.human for run in RunStore(store).runs())


def test_a_dataset_with_one_truth_has_no_readers_to_compare(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hand publishes no reader apart from the truth"):
        write_readers("hand", Hand, tmp_path, tmp_path)


def test_on_all_400_real_films_the_readers_differ_by_2_15_mm(real_data: Path) -> None:
    found = [ISBI2015(real_data / "isbi_ceph", f"official-{reader}").scan().cases for reader in READERS]
    gaps = np.array(
        [
            np.linalg.norm((case.points - found[1][name].points) * case.spacing, axis=1)
            for name, case in found[0].items()
        ]
    )
    assert len(gaps) == 400
    assert gaps.mean() == pytest.approx(2.15, abs=0.005)
    assert 100 * (gaps <= 2).mean() == pytest.approx(62, abs=0.5)
