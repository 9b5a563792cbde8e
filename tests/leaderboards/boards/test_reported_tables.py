"""The papers' tables against the suite: what they name must be there, so that they stand beside measured numbers."""

import importlib
from collections import defaultdict
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

import datamodules
import methods
from benchmark.lookup import all_variants
from benchmark.scoring.score import anatomy_of, applicable
from leaderboards.boards.reported import PARAMETERS, PATH, Reported, load_reported

HEAD: Mapping[str, Mapping[str, str]] = yaml.safe_load(PATH.read_text(encoding="utf-8"))
ROWS = load_reported()
TABLES = {
    "Ao and Wu 2023": {"1", "2", "3", "4", "5"},
    "Wang et al. 2022": {"II", "III"},
    "Fard et al. 2022": {"5", "6", "7", "8", "Fig. 9"},
    "An et al. 2022": {"2", "3", "4", "5", "6", "7", "8", "9", "10", "11"},
    "Upadhyay et al. 2020": {"text of Sec. 4"},
}
ROWS_WITHOUT_VARIANT = {
    *("Ibragimov et al.", "Lindner et al.", "Arik et al.", "Qian et al.", "Oh et al. (DACFL)", "Chen et al."),
    *("Zhong et al.", "Urschler et al.", "Štern et al.", "Ebner et al."),
    *("Tencent", "iFLYTEK", "XMU", "ErasmusMC", "XDU"),
}
"""Rivals that the suite does not implement."""


def boards() -> list[tuple[str, str]]:
    return sorted({(row.dataset, row.protocol) for row in ROWS})


def on_a_board(row: Reported) -> bool:
    return "/".join(row[:3]) not in HEAD["not_ours"]


def test_every_table_with_results_is_there() -> None:
    found = defaultdict(set)
    for row in ROWS:
        found[row.paper].add(row.table)
    assert found == TABLES


def test_every_variant_exists_and_only_known_rivals_have_none() -> None:
    assert {row.variant for row in ROWS} - {""} <= all_variants(methods.discover()).keys()
    assert {row.method for row in ROWS if not row.variant} == ROWS_WITHOUT_VARIANT


@pytest.mark.parametrize(("dataset", "protocol"), boards())
def test_every_column_is_one_of_its_board_or_said_to_be_the_papers_own(dataset: str, protocol: str) -> None:
    known = {
        c
        for metric in applicable(anatomy_of(datamodules.discover()[dataset], protocol)).values()
        for c in metric.columns()
    }
    printed = {column for row in ROWS if row[:2] == (dataset, protocol) for column in row.values} - {PARAMETERS}
    own = {column for column in printed if any(fnmatch(column, name) for name in HEAD["paper_only"])}
    assert not own & known
    assert printed - own <= known


@pytest.mark.parametrize(("dataset", "protocol"), boards())
def test_every_test_set_is_one_of_its_protocol_or_said_not_to_be(dataset: str, protocol: str, tmp_path: Path) -> None:
    importlib.import_module(f"tests.data.{dataset}").write(tmp_path)
    data = datamodules.discover()[dataset](tmp_path, protocol, allow_missing=True)
    ours = {name for split in data.published for name in split.tests}
    named = {row.test_set for row in ROWS if row[:2] == (dataset, protocol)}
    assert {name for name in named if f"{dataset}/{protocol}/{name}" not in HEAD["not_ours"]} <= ours
    assert not {f"{dataset}/{protocol}/{name}" for name in ours} & HEAD["not_ours"].keys()


def test_every_exception_of_the_file_is_used() -> None:
    sets, columns = {"/".join(row[:3]) for row in ROWS}, {column for row in ROWS for column in row.values}
    assert HEAD["not_ours"].keys() <= sets
    assert all(any(fnmatch(column, name) for column in columns) for name in HEAD["paper_only"])


def test_two_tables_never_disagree_about_a_variant() -> None:
    values = defaultdict(set)
    for row in ROWS:
        for column, value in row.values.items():
            values[row[:3], row.variant, column].add(value)
    assert [key for key, found in values.items() if key[1] and len(found) > 1] == []


@pytest.mark.parametrize(("view", "films", "listed"), [("LC", 1949, 1960), ("LCE", 120, 124), ("LCF", 112, 116)])
def test_failure_rates_are_whole_films_of_the_test_set_that_their_note_names(
    view: str, films: int, listed: int
) -> None:
    rows = [row for row in ROWS if row.dataset == "cervical" and row.test_set == view and "fr" in row.values]
    assert len(rows) == 11
    for row in rows:
        assert all(f"{count:,}" in row.note for count in (films, listed))
        nearest = 100 * round(row.values["fr"] * films / 100) / films
        fits = row.values["fr"] == pytest.approx(nearest, abs=0.0101)  # printed with two digits, some of them cut off
        assert fits != (row.method == "res50" and view != "LC")


def test_variants_of_a_hyper_parameter_are_those_that_the_paper_varies() -> None:
    variants = methods.discover()["posenet"].variants
    printed = {row.method: variants[row.variant]["beta"] for row in ROWS if row.table == "Fig. 9"}
    assert printed == {"PoseNet (beta 1)": 1, "PoseNet (beta 3)": 3}


def test_a_five_fold_paper_stands_beside_five_folds_and_svr_is_the_method_that_it_cites() -> None:
    rows = {row.method: row for row in ROWS if (row.paper, row.table) == ("Ao and Wu 2023", "5")}
    assert {row.protocol for row in rows.values()} == {"consistent-5-fold"}
    assert rows["SVR"].variant == next(row.variant for row in ROWS if row.method == "S2VR")


def test_every_reported_percentage_is_one() -> None:
    shares = [(row, c) for row in ROWS for c in row.values if c.startswith(("sdr_", "within_", "rd_out", "centre_out"))]
    wrong = [(row.method, c) for row, c in shares if not c.endswith("_sd") and not 0 <= row.values[c] <= 100]
    assert shares
    assert wrong == []


def test_ablations_of_the_two_stage_method_are_its_variants() -> None:
    rows = {(row.table, row.method): row for row in ROWS if row.dataset == "lumbar" and on_a_board(row)}
    hparams = methods.discover()["two-stage-lumbar"].variants
    for (_, name), row in rows.items():
        if name.startswith("random spine cutout 0"):
            assert hparams[row.variant].get("cutout_ratio", 0.6) == float(name.split()[-1])
        if name.startswith("PAF width"):
            assert hparams[row.variant].get("paf_width", 4.0) == float(name.split()[-1])
    assert rows["11", "Kim et al."].values["d_L1"] == 29.3115
    assert rows["3", "random spine cutout 0.8"].values["centre_outliers"] == pytest.approx(700 / 304, abs=1e-4)


def test_rows_whose_test_films_are_not_ours_say_so() -> None:
    unpublished = (
        "aasce/consistent",
        "aasce/consistent-5-fold",
        "cervical/published",
        "cervical_crops/patients",
        "lumbar/an2022",
    )
    rows = [row for row in ROWS if "/".join(row[:2]) in unpublished and on_a_board(row)]
    assert rows
    assert {row.badges for row in rows} == {("other test films",), ("oracle crop", "other test films")}
