import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmark.cell import Budget, Cell
from benchmark.scoring.bootstrap import CONFIDENCE, RESAMPLES
from benchmark.scoring.score import score
from leaderboards.boards.board import ScoreColumn
from leaderboards.boards.read import read_boards
from leaderboards.boards.reported import Reported
from leaderboards.build import build, read_leaderboards, write_leaderboards
from leaderboards.pages.board_page import HOW_TO_READ
from leaderboards.pages.scores import score_tables
from leaderboards.text.terminal import show
from tests.leaderboards.conftest import markdown_rows
from tests.stored_runs import Skull, predictions, skull, write_run

__all__ = ["skull"]

URL = "https://example.org/paper"


def shifted(error_mm: float, cases: int = 4, first: int = 0) -> pd.DataFrame:
    """Predictions that are all off by the same distance, so that every score is known without computing."""
    return predictions(np.full((cases, 3), error_mm / 0.5), first=first)


def printed(method: str, value: float, variant: str = "", protocol: str = "official") -> Reported:
    return Reported("skull", protocol, "test", method, variant, {"mre_mm": value}, "Doe 2020", URL, "3", "a note")


def lines(path: Path, start: str) -> list[str]:
    return [line for line in path.read_text().splitlines() if line.startswith(start)]


def test_a_reported_row_names_its_table_or_its_place(store: Path) -> None:
    rows = [printed("A", 1.0), printed("B", 2.0)._replace(table="Fig. 9")]
    (board,) = read_boards(store, rows)
    assert [row.paper for row in board.rows if row.status == "reported"] == ["Doe 2020, Table 3", "Doe 2020, Fig. 9"]


@pytest.fixture
def store(skull: type[Skull], tmp_path: Path) -> Path:
    """A method that is good, the floor, one that is worse, one that failed and one that does not apply."""
    store = tmp_path / "runs"
    write_run(store, shifted(3.0))
    write_run(store, shifted(1.0), variant="posenet")
    write_run(store, shifted(5.0), variant="mnv2")
    write_run(store, None, variant="res50", reason="RuntimeError: out of memory")
    write_run(store, None, variant="res50-hm", status="unsupported", reason="it needs vertebrae")
    score(store)
    return store


def table(path: Path, heading: str) -> list[dict[str, str]]:
    """The first table whose heading contains a text, as one dictionary per row."""
    return markdown_rows(path.read_text(), heading)


def row_of(path: Path, method: str, heading: str = "Budget") -> dict[str, str]:
    """The one row of a method in that table."""
    (row,) = (row for row in table(path, heading) if row["Method"].split(" ")[0] == method)
    return row


def test_the_ranking_holds_scores_effort_and_status(store: Path, tmp_path: Path) -> None:
    build(store, tmp_path, [printed("Rival", 0.9)])
    rows = {row["Method"].split(" ")[0]: row for row in table(tmp_path / "skull-official.md", "Budget")}
    names = ("Rank", "MRE (mm) ↓", "SD (mm) ↓", "SDR 4 mm (%) ↑", "Tied with rank", "Seeds", "Folds")
    exact, hits, misses = "0.00 [0.00, 0.00]", "100.00 [100.00, 100.00]", "0.00 [0.00, 0.00]"
    assert {method: [row[name] for name in names] for method, row in rows.items()} == {
        "posenet": ["1", "1.00 [1.00, 1.00]", exact, hits, "not tested", "1 (0)", "1/1"],
        "mean_shape": ["2", "3.00 [3.00, 3.00]", exact, hits, "not tested", "1 (0)", "1/1"],
        "mnv2": ["3", "5.00 [5.00, 5.00]", exact, misses, "not tested", "1 (0)", "1/1"],
        "res50": ["-", "-", "-", "-", "-", "0", "0/1"],
        "res50-hm": ["-", "-", "-", "-", "-", "0", "0/1"],
        f"[Rival]({URL})": ["-", "0.90", "-", "-", "-", "-", "-"],
    }
    assert [row["Budget"] for row in rows.values()] == ["reduced (2 epochs/stage)"] * 5 + ["paper"]
    marks = [row["Method"].partition(" ")[2] for row in rows.values()]
    assert marks[3:] == ["*failed*", "*not supported*", "(Doe 2020, Table 3) *reported*"]


def test_the_costs_stand_in_a_table_of_their_own(store: Path, tmp_path: Path) -> None:
    build(store, tmp_path, [])
    row = row_of(tmp_path / "skull-official.md", "posenet", "FLOPs")
    names = ("Weights", "Input (h x w)", "Parameters", "FLOPs", "Time (ms per image)", "Training (per run)")
    assert [row[name] for name in names] == ["none", "256x128", "1.23 M", "2.50 G", "3.2", "1 min 0 s (2 epochs)"]


def test_the_caption_says_what_was_tested(store: Path, tmp_path: Path) -> None:
    build(store, tmp_path, [])
    text = (tmp_path / "skull-official.md").read_text()
    assert "Dataset skull, protocol official, test set test: 4 cases. Truth: mean of two readers." in text
    assert "Ranked by MRE (mm) ↓." in text
    assert "Times were measured on: one processor." in text


def test_rows_come_best_first_and_the_unfinished_last(store: Path) -> None:
    (board,) = read_boards(store, [])
    assert [(row.label, row.rank, row.status) for row in board.rows] == [
        ("posenet", 1, "done"),
        ("mean_shape", 2, "done"),
        ("mnv2", 3, "done"),
        ("res50", None, "failed"),
        ("res50-hm", None, "unsupported"),
    ]


def test_failed_and_unsupported_cells_are_shown_with_their_reason(store: Path, tmp_path: Path) -> None:
    build(store, tmp_path, [])
    failed, unsupported = (row_of(tmp_path / "skull-official.md", name) for name in ("res50", "res50-hm"))
    assert failed["Remarks"] == "failed: RuntimeError: out of memory"
    assert "*failed*" in failed["Method"]
    assert unsupported["Remarks"] == "unsupported: it needs vertebrae"
    assert "res50 (failed), res50-hm (unsupported)" in (tmp_path / "index.md").read_text()


def test_no_cell_of_a_table_is_blank(store: Path, tmp_path: Path) -> None:
    build(store, tmp_path, [printed("Rival", 0.9)])
    for line in lines(tmp_path / "skull-official.md", "|") + lines(tmp_path / "index.md", "|"):
        assert all(cell.strip() for cell in line.strip("|").split("|"))


def test_a_method_that_does_not_beat_the_mean_shape_is_marked(store: Path, tmp_path: Path) -> None:
    build(store, tmp_path, [printed("Old rival", 3.5), printed("New rival", 0.5)])
    page = tmp_path / "skull-official.md"
    assert "**not better than mean_shape**" in row_of(page, "mnv2")["Method"]
    assert "not better" not in row_of(page, "posenet")["Method"]
    old, new = (row["Method"] for row in table(page, "Budget")[-2:])
    assert ("Old rival" in old, "its MRE is not better than mean_shape's here" in old) == (True, True)
    assert ("New rival" in new, "not better" in new) == (True, False)
    (leader,) = table(tmp_path / "index.md", "Floor")
    assert (leader["Floor"], leader["Better than the floor"]) == ("3.00 (rank 2 of 3)", "not tested")


def test_reported_numbers_stand_only_under_their_own_protocol_and_unranked(store: Path) -> None:
    (board,) = read_boards(store, [printed("Rival", 0.1), printed("Elsewhere", 0.1, protocol="3-fold")])
    reported = [row for row in board.rows if row.status == "reported"]
    assert [(row.label, row.rank, row.paper) for row in reported] == [("Rival", None, "Doe 2020, Table 3")]
    assert board.ranked[0].label == "posenet"


def test_an_oracle_crop_is_a_visible_badge_of_its_row(store: Path, tmp_path: Path) -> None:
    write_run(store, shifted(0.5), variant="posenet-l2", badges=("oracle crop",))
    score(store)
    build(store, tmp_path, [])
    page = tmp_path / "skull-official.md"
    assert "**oracle crop**" in row_of(page, "posenet-l2")["Method"]
    assert "oracle crop" not in row_of(page, "posenet")["Method"]


def test_drawn_films_are_not_compared_with_papers(skull: type[Skull], tmp_path: Path) -> None:
    write_run(tmp_path, shifted(1.0), variant="posenet", badges=("phantom films",))
    score(tmp_path)
    (board,) = read_boards(tmp_path, [printed("PoseNet", 1.12, variant="posenet")])
    assert [(row.label, dict(row.reported), row.badges) for row in board.rows] == [("posenet", {}, ("phantom films",))]


def test_the_papers_own_number_stands_beside_the_measured_one(store: Path, tmp_path: Path) -> None:
    build(store, tmp_path, [printed("PoseNet", 1.12, variant="posenet")])
    page = tmp_path / "skull-official.md"
    assert row_of(page, "posenet")["MRE (mm) ↓"] == "1.00 [1.00, 1.00] (paper 1.12, gap -0.12)"
    frame = pd.read_csv(tmp_path / "skull-official.csv").set_index("method")
    assert frame.loc["posenet", "mre_mm_paper"] == 1.12


def test_equal_scores_share_a_rank(store: Path, tmp_path: Path) -> None:
    write_run(store, shifted(1.0), variant="posenet-l2")
    score(store)
    build(store, tmp_path, [])
    page = tmp_path / "skull-official.md"
    ranks = [row_of(page, name)["Rank"] for name in ("posenet", "posenet-l2", "mean_shape")]
    assert ranks == ["1=", "1=", "3"]


def test_a_row_with_fewer_folds_keeps_its_numbers_but_has_no_rank(skull: type[Skull], tmp_path: Path) -> None:
    for number, fold in enumerate(("fold1", "fold2", "fold3")):
        write_run(tmp_path, shifted(3.0, first=10 * number), protocol="3-fold", split=fold)
        if fold != "fold2":
            write_run(tmp_path, shifted(1.0, first=10 * number), "posenet", protocol="3-fold", split=fold)
    write_run(tmp_path, None, "posenet", protocol="3-fold", split="fold2", reason="ValueError: diverged")
    score(tmp_path)
    (board,) = read_boards(tmp_path, [])
    whole, part = board.rows
    assert (whole.label, whole.rank) == ("mean_shape", 1)
    assert (part.label, part.rank, part.status, part.cases) == ("posenet", None, "incomplete", 8)
    assert part.notes == ("fold2, seed 0 failed: ValueError: diverged", "2 of 3 folds (fold1, fold3)")


def test_folds_that_nobody_ran_are_said_in_the_caption(skull: type[Skull], tmp_path: Path) -> None:
    write_run(tmp_path, shifted(1.0), protocol="3-fold", split="fold2")
    score(tmp_path)
    build(tmp_path, tmp_path / "out", [])
    text = (tmp_path / "out" / "skull-3-fold.md").read_text()
    assert "**Only 1 of the 3 folds were run (fold2).**" in text
    assert "Caveats: **leaked pairs**" in text
    row = row_of(tmp_path / "out" / "skull-3-fold.md", "mean_shape")
    assert [row[name] for name in ("Rank", "Seeds", "Folds")] == ["1", "1 (0)", "1/3"]


def test_protocols_have_pages_of_their_own_and_films_tables_of_their_own(store: Path, tmp_path: Path) -> None:
    write_run(store, shifted(2.0), protocol="3-fold", split="fold1")
    write_run(store, shifted(0.1), content="phantoms", fingerprint="f", badges=("phantom films",))
    score(store)
    build(store, tmp_path, [])
    text = (tmp_path / "skull-official.md").read_text()
    assert (tmp_path / "skull-3-fold.md").is_file()
    assert text.index("## Test set test, films films") < text.index("## Test set test, films phantoms")
    assert "All rows: **phantom films**." in text
    assert [board.ranked[0].value("mre_mm") for board in read_boards(store, [])] == pytest.approx([2.0, 1.0, 0.1])


def test_different_budgets_are_never_mixed_silently(store: Path, tmp_path: Path) -> None:
    build(store, tmp_path, [])
    same = (tmp_path / "skull-official.md").read_text()
    write_run(store, shifted(0.5), variant="posenet", budget=Budget("paper"))
    score(store)
    build(store, tmp_path, [])
    mixed = (tmp_path / "skull-official.md").read_text()
    assert "Training budget of all rows: reduced (2 epochs/stage)." in same
    assert "**Budgets differ between rows (paper; reduced (2 epochs/stage))" in mixed
    row = next(row for row in table(tmp_path / "skull-official.md", "Budget") if row["Rank"] == "1")
    assert row["Method"].startswith("posenet")
    assert row["Budget"] == "paper"


def test_rows_of_one_variant_are_told_apart_by_what_differs(store: Path) -> None:
    write_run(store, shifted(2.0), variant="farnet", hparams=(("alpha", 40), ("lr", 0.1)))
    write_run(store, shifted(2.5), variant="farnet", hparams=(("alpha", 40), ("lr", 0.2)))
    score(store)
    (board,) = read_boards(store, [])
    assert {"farnet (lr=0.1)", "farnet (lr=0.2)"} < {row.label for row in board.rows}


def test_a_row_names_what_it_set_differently_from_its_method(store: Path, tmp_path: Path) -> None:
    write_run(store, shifted(2.0), variant="farnet", hparams=(("alpha", 40.0), ("input_size", (800, 640)), ("lr", 0.1)))
    score(store)
    (board,) = read_boards(store, [])
    assert {row.variant: row.settings for row in board.rows}["farnet"] == ("lr=0.1",)
    build(store, tmp_path, [])
    row = row_of(tmp_path / "skull-official.md", "farnet", "FLOPs")
    assert row["Set differently from the method's own"] == "lr=0.1"


def test_columns_of_some_rows_stand_in_a_table_of_their_own(store: Path, tmp_path: Path) -> None:
    certain = shifted(2.0).assign(cov_xx=4.0, cov_xy=0.0, cov_yy=4.0)
    write_run(store, certain, variant="posenet-l2")
    score(store)
    build(store, tmp_path, [printed("Rival", 0.9)])
    rows = table(tmp_path / "skull-official.md", "Coverage of 50 % regions (%) |")
    assert [row["Method"].split(" ")[0] for row in rows] == ["posenet-l2", "res50", "res50-hm"]  # and those that failed
    columns = {f"Coverage of {p} % regions (%)" for p in (50, 90, 95)} | {"Calibration error (%) ↓"}
    assert columns < rows[0].keys()
    assert len(rows[0]) == 10


def test_a_wide_metric_is_spread_evenly(store: Path) -> None:
    (board,) = read_boards(store, [])
    wide = tuple(ScoreColumn(f"c{i}", f"C{i}", "", False, "wide") for i in range(17))
    tables = score_tables(replace(board, columns=(*board.columns[:3], *wide)), "key")
    shown = [[column for column in table.columns if column.title.startswith("C")] for table in tables]
    assert [len(row) for row in shown] == [0, 9, 8]


def test_a_column_without_a_direction_has_no_arrow() -> None:
    assert ScoreColumn("coverage_90", "Coverage", "%", None, "calibration").heading == "Coverage (%)"
    assert ScoreColumn("ause", "AUSE", "", False, "sparsification").heading == "AUSE ↓"


def test_several_seeds_show_their_spread_and_what_it_is(store: Path, tmp_path: Path) -> None:
    write_run(store, shifted(2.0), variant="posenet", seed=1)
    score(store)
    build(store, tmp_path, [])
    row = row_of(tmp_path / "skull-official.md", "posenet")
    assert (row["Seeds"], row["MRE (mm) ↓"]) == ("2 (0, 1)", "1.50 ± 0.71 [1.50, 1.50]")
    assert "s their sample standard deviation" in (tmp_path / "skull-official.md").read_text()


def test_the_legend_states_the_bootstrap_that_score_uses() -> None:
    assert f"{100 * CONFIDENCE:.0f} % interval, by {RESAMPLES:,} bootstrap resamples" in HOW_TO_READ[0]


def test_building_again_changes_no_byte_whatever_the_order_of_the_runs(skull: type[Skull], tmp_path: Path) -> None:
    jobs = [("posenet", 1.0), ("mean_shape", 3.0), ("mnv2", 3.0), ("res50", 2.0)]
    built = []
    for name, order in (("one", jobs), ("two", jobs[::-1]), ("one", [])):
        for variant, error in order:
            write_run(tmp_path / name, shifted(error), variant=variant)
        score(tmp_path / name)
        paths = build(tmp_path / name, tmp_path / f"{name}-out", [])
        built.append({path.name: path.read_bytes() for path in paths})
    assert built[0] == built[1] == built[2]


def test_the_csv_has_every_score_as_a_number_and_says_what_it_means(store: Path, tmp_path: Path) -> None:
    build(store, tmp_path, [])
    frame = pd.read_csv(tmp_path / "skull-official.csv").set_index("method")
    columns = pd.read_csv(tmp_path / "columns.csv", keep_default_na=False).set_index("name")
    assert frame.loc["posenet", ["mre_mm", "mre_mm_low", "mre_mm_high"]].tolist() == pytest.approx([1, 1, 1])
    assert frame.loc["posenet", "train_seconds"] == 60
    assert frame.loc["res50", "notes"] == "failed: RuntimeError: out of memory"
    assert columns.loc["sdr_2mm", ["unit", "higher_is_better"]].tolist() == ["%", True]


def test_a_page_without_any_score_says_why(skull: type[Skull], tmp_path: Path) -> None:
    write_run(tmp_path, None, variant="posenet", reason="RuntimeError: no memory")
    write_run(tmp_path, shifted(1.0), protocol="3-fold", split="fold1")
    score(tmp_path)
    build(tmp_path, tmp_path / "out", [])
    text = (tmp_path / "out" / "skull-official.md").read_text()
    assert "## No run was scored" in text
    (row,) = table(tmp_path / "out" / "skull-official.md", "Why")
    assert list(row.values()) == ["posenet", "reduced (2 epochs/stage)", "failed", "failed: RuntimeError: no memory"]


def test_a_configuration_that_looks_like_a_number_stays_a_text(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numeric = {"posenet": "0012e345", "mean_shape": "00000123"}
    monkeypatch.setattr(Cell, "config", property(lambda cell: numeric.get(cell.variant, "99999999")))
    (store / ".scores.json").unlink()
    score(store)
    (board,) = read_boards(store, [])
    assert [row.label for row in board.ranked] == ["posenet", "mean_shape", "mnv2"]


def test_an_unscored_store_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="osteomark score --store"):
        build(tmp_path, tmp_path / "out")


def test_leaderboards_import_no_torch() -> None:
    code = "import sys, leaderboards.build; print(sorted({'torch', 'lightning', 'torchmetrics'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_terminal_shows_the_main_columns_within_its_width(store: Path, tmp_path: Path) -> None:
    write_run(store, shifted(2.0).assign(cov_xx=4.0, cov_xy=0.0, cov_yy=4.0), variant="posenet-l2")
    score(store)  # with columns that have no direction
    content = read_leaderboards(store, [printed("Rival", 0.9)])
    paths = write_leaderboards(content, tmp_path)
    text = io.StringIO()
    show(content, paths, Console(file=text, width=120))
    shown = text.getvalue()
    assert "(mm) ↓" in shown
    assert "(%) ↑" in shown
    assert "(mm) ↑" not in shown
    assert "skull / official / test\n" in "\n".join(line.rstrip() for line in shown.splitlines())
    assert "Budget: reduced (2 epochs/stage)." in shown
    assert "1.00 [1.00, 1.00]" in shown
    assert "res50 (failed)" in shown
    assert "Rival" not in shown
    assert str(paths[1]) in shown.replace("\n", "")
    assert max(len(line) for line in shown.splitlines() if "│" in line) <= 120


def test_the_terminal_cuts_no_column_off_where_budgets_differ(store: Path, tmp_path: Path) -> None:
    write_run(store, shifted(17.25), variant="posenet-l2", budget=Budget("long training on the films", epochs=1000))
    score(store)
    text = io.StringIO()
    show(read_leaderboards(store, []), [], Console(file=text, width=120))
    shown = text.getvalue()
    assert "training" in shown
    assert "Budget 2: long training on the films (1000 epochs/stage)." in shown
    assert all(
        line.rstrip().endswith(("┃", "┓", "┩", "│", "┘")) for line in shown.splitlines() if line[:1] in set("┃┏┡│└")
    )


@pytest.mark.parametrize(
    ("width", "left_out"),
    [
        (200, []),
        (100, ["ms per image"]),
        (80, ["params", "ms per image", "SD (mm) ↓"]),
        (60, ["Median (mm) ↓", "training"]),
    ],
)
def test_columns_are_left_out_by_importance_until_the_table_fits(store: Path, width: int, left_out: list[str]) -> None:
    score(store)
    text = io.StringIO()
    show(read_leaderboards(store, []), [], Console(file=text, width=width))
    drawn = [line.rstrip() for line in text.getvalue().splitlines() if line[:1] in set("┃┏┡│└")]
    assert drawn
    assert max(map(len, drawn)) <= width
    assert all(line.endswith(("┃", "┓", "┩", "│", "┘")) for line in drawn)
    note = " ".join(text.getvalue().split())
    assert ("Left out to fit" in note) == bool(left_out)
    assert [name for name in left_out if name not in note.split("Left out to fit: ")[-1]] == []
    assert "MRE" in drawn[1]


def test_a_store_in_which_every_cell_failed_is_printed_with_their_names(skull: type[Skull], tmp_path: Path) -> None:
    del skull
    for variant in ("mean_shape", "unet"):
        write_run(tmp_path, None, variant, reason="RuntimeError: out of memory")
    score(tmp_path)
    shown = io.StringIO()
    show(read_leaderboards(tmp_path), [], Console(file=shown, width=120))
    assert "no run was scored" in shown.getvalue()
    assert "mean_shape (failed)" in shown.getvalue() and "unet (failed)" in shown.getvalue()
