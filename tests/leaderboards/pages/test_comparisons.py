"""How the statistics stand in the pages: ties, paired comparisons, average ranks and their diagrams."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.stats import studentized_range, wilcoxon

from benchmark.predictions import PATIENTS, PREDICTIONS
from benchmark.scoring.score import score
from benchmark.store import SCORES, RunRecord
from leaderboards.boards.average_ranks import average_ranks
from leaderboards.boards.numbers import p_text
from leaderboards.boards.read import read_boards
from leaderboards.build import build
from leaderboards.pages.board_page import SEEDS
from leaderboards.pages.comparisons import HOW_TO_TELL
from leaderboards.pages.overview import overview_page
from leaderboards.pages.rank_diagram import rank_diagram
from leaderboards.text.markdown import page_markdown
from tests.leaderboards.conftest import markdown_rows as table
from tests.stored_runs import Skull, predictions, skull, write_run

__all__ = ["skull"]

MM = 0.5  # of every film in `predictions`
REPOSITORY = Path(__file__).resolve().parents[3]


def errors(seed: int, scale: float = 1.0, cases: int = 20) -> np.ndarray:
    """Errors in pixels of three points on films that are not equally hard."""
    films = np.random.default_rng(0).gamma(2, 2, (cases, 1))
    return scale * (films + np.random.default_rng(seed).uniform(0, 1, (cases, 3)))


@pytest.fixture
def store(skull: type[Skull], tmp_path: Path) -> Path:
    """Two methods that cannot be told apart, one that is clearly worse, and one that failed."""
    store = tmp_path / "runs"
    write_run(store, predictions(errors(1)), variant="posenet")
    write_run(store, predictions(errors(2)), variant="mnv2")
    write_run(store, predictions(errors(3, scale=3)))
    write_run(store, None, variant="res50", reason="RuntimeError: out of memory")
    score(store)
    return store


def built(store: Path, out: Path, file: str = "skull-official.md") -> str:
    build(store, out, [])
    return (out / file).read_text()


def name_patients(record: RunRecord, patients: dict[str, str]) -> None:
    file = record.folder / PREDICTIONS
    content = pq.read_table(file)
    metadata = {**content.schema.metadata, PATIENTS: json.dumps(patients)}
    pq.write_table(content.replace_schema_metadata(metadata), file)


def test_rows_that_no_test_can_tell_apart_are_shown_as_ties(store: Path, tmp_path: Path) -> None:
    rows = table(built(store, tmp_path), "Budget")
    assert [(row["Rank"], row["Method"].split(" ")[0], row["Tied with rank"]) for row in rows] == [
        ("1", "mnv2", "2"),
        ("2", "posenet", "1"),
        ("3", "mean_shape", "none"),
        ("-", "res50", "-"),
    ]
    frame = pd.read_csv(tmp_path / "skull-official.csv", dtype=str).set_index("method")
    assert frame["tied_with"].to_dict()["posenet"] == "1"


def test_a_pair_is_compared_as_by_hand(store: Path, tmp_path: Path) -> None:
    pair = pd.read_csv(build_and_find(store, tmp_path)).set_index(["first", "second"]).loc[("mnv2", "mean_shape")]
    differences = MM * (errors(2).mean(axis=1) - errors(3, scale=3).mean(axis=1))
    assert pair["mean"] == pytest.approx(differences.mean(), rel=1e-6)
    assert pair["median"] == pytest.approx(np.median(differences), rel=1e-6)
    assert pair["p"] == pytest.approx(wilcoxon(differences).pvalue, rel=1e-6)
    assert pair["p_holm"] == pytest.approx(3 * pair["p"], rel=1e-6)
    assert (pair["first_better"], pair["second_better"], pair["tied"]) == (20, 0, False)
    assert pair["mean_low"] < pair["mean"] < pair["mean_high"] < 0


def build_and_find(store: Path, out: Path) -> Path:
    return next(path for path in build(store, out, []) if path.name == "comparisons.csv")


def test_the_page_compares_every_row_with_the_leader_and_every_pair(store: Path, tmp_path: Path) -> None:
    text = built(store, tmp_path)
    leader, tied, worse = table(text, "Mean difference")
    assert (leader["Method"], leader["Mean difference"], leader["p"]) == ("mnv2", "leader", "-")
    assert worse["Mean difference"].startswith("+")
    assert (worse["Better on (row : leader)"], worse["Corrected p"]) == ("0 : 20", "< 0.001")
    assert float(tied["Corrected p"]) >= 0.05
    matrix = table(text, "1 mnv2")
    difference = worse["Mean difference"].split(" ")[0]
    assert matrix[0]["3 mean_shape"] == f"-{difference.removeprefix('+')} (p < 0.001)"
    assert matrix[2]["1 mnv2"] == f"{difference} (p < 0.001)"
    assert "(tie, p " in matrix[0]["2 posenet"]


def test_seeds_are_averaged_film_by_film_and_folds_are_put_together(skull: type[Skull], tmp_path: Path) -> None:
    for fold in (1, 2):
        for seed in (0, 1):
            off = errors(10 * fold + seed, cases=10)
            write_run(tmp_path, predictions(off, first=100 * fold), protocol="3-fold", split=f"fold{fold}", seed=seed)
        off = errors(7 + fold, cases=10)
        write_run(tmp_path, predictions(off, first=100 * fold), "posenet", protocol="3-fold", split=f"fold{fold}")
    score(tmp_path)
    (board,) = read_boards(tmp_path, [])
    (pair,) = board.comparison.pairs
    averaged = np.concatenate([(errors(10 * f, cases=10) + errors(10 * f + 1, cases=10)) / 2 for f in (1, 2)])
    other = np.concatenate([errors(7 + f, cases=10) for f in (1, 2)])
    expected = MM * (averaged - other).mean()
    assert board.comparison.cases == 20
    assert abs(pair.mean.value) == pytest.approx(abs(expected))


def test_nobody_knows_whose_films_these_are(store: Path, tmp_path: Path) -> None:
    text = built(store, tmp_path)
    assert "It is not known which films are of one patient" in text
    assert "on the differences of the films." in text


def test_films_of_one_patient_are_one_and_the_page_says_by_what_they_are_known(
    skull: type[Skull], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Skull, "patient_rule", "The name tells the patient.")
    monkeypatch.setattr(Skull, "patient_of", staticmethod(lambda case: str(int(case[4:]) // 2)))
    for variant in ("posenet", "mnv2", "mean_shape"):
        write_run(tmp_path, predictions(errors(len(variant))), variant=variant)
    score(tmp_path)
    text = built(tmp_path, tmp_path / "out")
    assert "The name tells the patient. These 20 films count as 10 patients, the units of intervals and tests." in text
    assert "on the differences of the patients, each with the mean of its films." in text
    (board,) = read_boards(tmp_path, [])
    values = {row.variant: errors(len(row.variant)).mean(axis=1).reshape(10, 2).mean(axis=1) for row in board.ranked}
    first, second = (values[row.variant] for row in board.compared[:2])
    assert board.comparison.pair(0, 1).p == pytest.approx(wilcoxon(first - second).pvalue)


def test_of_a_private_set_not_even_the_number_of_patients_is_told(skull: type[Skull], tmp_path: Path) -> None:
    patients = {f"case{i:03d}": f"case{i // 2:03d}" for i in range(20)}
    for variant in ("posenet", "mean_shape"):
        run = write_run(tmp_path, predictions(errors(len(variant))), variant=variant, badges=("private data",))
        name_patients(run, patients)
    score(tmp_path)
    text = built(tmp_path, tmp_path / "out")
    assert "Intervals and tests take the films of a patient as one." in text
    assert "10 patients" not in text
    assert pd.read_csv(tmp_path / "out" / "comparisons.csv")["patients"].isna().all()


@pytest.mark.parametrize(
    ("cases", "said", "tied"),
    [
        (5, "With fewer than 6 films no test", {"not tested"}),
        (6, "With only 6 films and 3 pairs", {"2, 3", "1, 3", "1, 2"}),
    ],
)
def test_too_few_films_are_said_to_be_too_few(
    skull: type[Skull], tmp_path: Path, cases: int, said: str, tied: set[str]
) -> None:
    for scale, variant in enumerate(("posenet", "mnv2", "mean_shape"), 1):
        write_run(tmp_path, predictions(errors(scale, 10**scale, cases)), variant=variant)
    score(tmp_path)
    text = built(tmp_path, tmp_path / "out")
    assert said in text
    assert {row["Tied with rank"] for row in table(text, "Budget")} == tied


def test_a_row_without_case_scores_is_named_and_the_others_are_compared(store: Path, tmp_path: Path) -> None:
    (board,) = read_boards(store, [])
    (board.ranked[1].runs[0].folder / SCORES).unlink()
    text = built(store, tmp_path)
    assert "Not compared, as too low in rank or without scores of single films: posenet." in text
    assert [row["Tied with rank"] for row in table(text, "Budget")] == ["none", "not tested", "none", "-"]


def test_case_scores_without_patients_are_read(store: Path, tmp_path: Path) -> None:
    whole = built(store, tmp_path)
    for path in store.rglob(SCORES):
        pd.read_parquet(path).drop(columns="patient").to_parquet(path, index=False)
    assert built(store, tmp_path) == whole


def test_how_to_read_ranks_that_disagree_with_tests_is_said(store: Path, tmp_path: Path) -> None:
    text = built(store, tmp_path)
    assert HOW_TO_TELL in text
    assert "Holm's rule for all 3 pairs" in text


def test_plus_minus_is_explained_in_the_overview_too(store: Path, tmp_path: Path) -> None:
    assert "±" not in built(store, tmp_path, "index.md")
    write_run(store, predictions(errors(4, 0.5)), variant="mnv2", seed=1)
    score(store)
    text = built(store, tmp_path, "index.md")
    assert table(text, "Leader")[0]["Leader"].startswith("mnv2")
    assert "±" in table(text, "Leader")[0]["Score (95 % interval)"]
    assert SEEDS in text


def test_p_values_are_never_rounded_to_zero_or_hidden() -> None:
    assert [p_text(p) for p in (0.0, 0.0009, 0.001, 0.5)] == ["< 0.001", "< 0.001", "0.001", "0.500"]


def svg_texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_diagram_names_every_row_with_its_rank(store: Path, tmp_path: Path) -> None:
    text = built(store, tmp_path)
    assert "](skull-official-test.svg)" in text
    texts = svg_texts((tmp_path / "skull-official-test.svg").read_text())
    (board,) = read_boards(store, [])
    for row, rank in zip(board.compared, board.comparison.average_ranks, strict=True):
        assert any(row.label in shown and f"({rank:.2f})" in shown for shown in texts)


def bars(svg: str) -> int:
    """How many bars the diagram has: they alone are that wide."""
    return svg.count("stroke-width: 3;")


def test_bars_join_what_cannot_be_told_apart() -> None:
    p = np.array([[1, 0.5, 0.01, 0.01], [0.5, 1, 0.3, 0.01], [0.01, 0.3, 1, 0.01], [0.01, 0.01, 0.01, 1]])
    names, ranks = ["a", "b", "c", "d"], [1.2, 1.9, 2.4, 3.9]
    assert bars(rank_diagram(names, ranks, p)) == 2
    assert bars(rank_diagram(names, ranks, np.full((4, 4), 0.001))) == 0
    assert bars(rank_diagram(names, ranks, np.ones((4, 4)))) == 1


def test_diagrams_are_the_same_bytes_whatever_the_order_of_sets(store: Path, tmp_path: Path) -> None:
    program = "import sys; from leaderboards.build import build; build(sys.argv[1], sys.argv[2], [])"
    for seed in ("1", "2"):
        given = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)}
        subprocess.run([sys.executable, "-c", program, str(store), str(tmp_path / seed)], env=given, check=True)
    files = [{path.name: path.read_bytes() for path in (tmp_path / seed).iterdir()} for seed in ("1", "2")]
    assert files[0] == files[1]
    assert "skull-official-test.svg" in files[0]


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four datasets with three methods in the same order, and one method that is on a single one."""
    kinds = {name: type(name, (Skull,), {"title": name}) for name in ("arm", "foot", "hand", "skull")}
    monkeypatch.setattr("datamodules.discover", lambda: kinds)
    for number, name in enumerate(kinds):
        for scale, variant in enumerate(("posenet", "mnv2", "mean_shape"), 1):
            write_run(tmp_path, predictions(errors(number, scale)), variant=variant, dataset=name)
    write_run(tmp_path, predictions(errors(9)), variant="res50")
    score(tmp_path)
    return tmp_path


def test_methods_are_ranked_over_datasets(datasets: Path) -> None:
    (ranks,) = average_ranks(read_boards(datasets, []))
    assert ranks.datasets == ("arm", "foot", "hand", "skull")
    assert ranks.methods == ("posenet", "mnv2", "mean_shape")
    assert ranks.averages.tolist() == [1, 2, 3]
    assert ranks.left_out == ("res50",)
    assert ranks.friedman.statistic == pytest.approx(8.0)  # 12 / (4 * 3 * 4) * (4^2 + 8^2 + 12^2) - 3 * 4 * 4
    assert ranks.critical_difference == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 4)), abs=1e-3)  # Demšar's Table 5


def test_nemenyis_p_follows_the_studentised_range(datasets: Path) -> None:
    (ranks,) = average_ranks(read_boards(datasets, []))
    statistic = 2 / np.sqrt(3 * 4 / (6 * 4)) * np.sqrt(2)
    assert ranks.p_values[0, 2] == pytest.approx(studentized_range.sf(statistic, 3, np.inf), rel=1e-3)


def test_the_overview_ranks_methods_and_says_that_the_datasets_are_few(datasets: Path, tmp_path: Path) -> None:
    text = built(datasets, tmp_path / "out", "index.md")
    assert re.search(r"Average ranks: \S+ 1\.00, \S+ 2\.00, \S+ 3\.00\.", text)
    assert "Not on all of them, and left out: res50." in text
    assert "4 datasets are too few for the test to mean much" in text
    assert "](average-ranks-4-datasets.svg)" in text
    assert "CD = " in (tmp_path / "out" / "average-ranks-4-datasets.svg").read_text()


def test_two_datasets_are_described_and_not_tested(datasets: Path) -> None:
    boards = [board for board in read_boards(datasets, []) if board.dataset in {"arm", "foot"}]
    (ranks,) = average_ranks(boards)
    assert ranks.friedman is None
    assert "2 datasets are too few for a test" in page_markdown(overview_page(boards, [ranks]))
    assert average_ranks(boards[:1]) == []


def test_test_sets_of_one_dataset_count_once(datasets: Path) -> None:
    for scale, variant in zip((3, 2, 1), ("posenet", "mnv2", "mean_shape"), strict=True):
        write_run(datasets, predictions(errors(1, scale)), variant, "3-fold", "fold1", dataset="arm")
    score(datasets)
    (ranks,) = average_ranks(read_boards(datasets, []))
    assert len(ranks.boards) == 5
    assert dict(zip(ranks.methods, ranks.ranks[:, 0], strict=True)) == {"posenet": 2, "mnv2": 2, "mean_shape": 2}


def test_drawn_films_are_never_ranked_with_real_ones(datasets: Path) -> None:
    for name in ("arm", "foot"):
        for scale, variant in enumerate(("mean_shape", "posenet"), 1):
            drawn = {"content": "drawn", "fingerprint": "drawn", "badges": ("phantom films",)}
            write_run(datasets, predictions(errors(1, scale)), variant=variant, dataset=name, **drawn)
    score(datasets)
    real, drawn = average_ranks(read_boards(datasets, []))
    assert (real.drawn, drawn.drawn) == (False, True)
    assert (real.methods[0], drawn.methods[0]) == ("posenet", "mean_shape")
    assert drawn.datasets == ("arm", "foot")


def test_more_datasets_are_ranked_apart_where_fewer_methods_are_on_them(datasets: Path) -> None:
    for variant in ("scn", "unet", "farnet", "fpn"):
        for name in ("arm", "foot", "hand"):
            write_run(datasets, predictions(errors(3, 7)), variant=variant, dataset=name)
    score(datasets)
    wide, long = average_ranks(read_boards(datasets, []))
    assert (wide.datasets, len(wide.methods)) == (("arm", "foot", "hand"), 7)
    assert (long.datasets, len(long.methods)) == (("arm", "foot", "hand", "skull"), 3)
