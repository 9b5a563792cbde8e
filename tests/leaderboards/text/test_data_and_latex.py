"""A page as JSON and LaTeX."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest

from benchmark.cell import Budget
from benchmark.scoring.score import score
from leaderboards.boards.board import Board
from leaderboards.boards.read import read_boards
from leaderboards.boards.reported import Reported
from leaderboards.build import build
from leaderboards.pages.board_page import SCHEMA
from leaderboards.pages.leaderboards import assemble
from leaderboards.text.data import VERSION, page_json, schema_text
from leaderboards.text.latex import escape, page_latex
from tests.stored_runs import Skull, predictions, skull, write_run

__all__ = ["skull"]

PRINTED = Reported(
    *("skull", "official", "test", "R&D_net 100 %", "posenet", {"mre_mm": 0.9, "parameters": 1e6}, "Doe {2020}"),
    *("https://example.org/a_b#c", "3", "a note"),
)


def off_by(millimetres: float) -> pd.DataFrame:
    return predictions(np.full((3, 3), millimetres / 0.5))


@pytest.fixture
def store(skull: type[Skull], tmp_path: Path) -> Path:
    """A good method, the floor, one that failed, a person, and a method whose run has a covariance."""
    store = tmp_path / "runs"
    write_run(store, off_by(3.0))
    write_run(store, off_by(1.0), variant="posenet")
    write_run(store, off_by(2.0).assign(cov_xx=4.0, cov_xy=0.0, cov_yy=4.0), variant="posenet-l2")
    write_run(store, None, variant="res50", reason="RuntimeError: out of memory")
    write_run(store, off_by(0.5), variant="reader-senior", hparams=(("reader", "senior"),), human=True, weights="")
    score(store)
    return store


@pytest.fixture
def page(store: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(page_json(read_boards(store, [PRINTED])))
    return content


def test_a_page_follows_the_published_schema(page: dict[str, Any]) -> None:
    schema = json.loads(schema_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(page, schema, jsonschema.Draft202012Validator)
    assert re.match(schema["properties"]["schema_version"]["pattern"], VERSION)


@pytest.mark.parametrize(
    "edit",
    [
        lambda page: page.pop("truth"),
        lambda page: page.update(more=1),
        lambda page: page["boards"][0]["rows"][0].update(status="best"),
        lambda page: page["boards"][0]["rows"][0]["scores"]["mre_mm"].update(value="1.0"),
    ],
)
def test_the_schema_refuses_what_is_not_a_page(page: dict[str, Any], edit: Callable[[dict[str, Any]], object]) -> None:
    edit(page)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(page, json.loads(schema_text()), jsonschema.Draft202012Validator)


def test_a_row_has_its_numbers_and_null_where_there_is_none(page: dict[str, Any]) -> None:
    (board,) = page["boards"]
    rows = {row["method"]: row for row in board["rows"]}
    assert board["ranked_by"] == "mre_mm"
    assert rows["posenet"]["scores"]["mre_mm"] == {
        "value": 1.0,
        "low": 1.0,
        "high": 1.0,
        "sd_seeds": None,
        "leak_free": {"value": 1.0, "low": 1.0, "high": 1.0},
        "reported": 0.9,
        "gap": 0.1,
    }
    assert (rows["posenet"]["rank"], rows["posenet"]["cases"], rows["posenet"]["input_size"]) == (1, 3, [256, 128])
    assert (rows["reader-senior"]["status"], rows["reader-senior"]["rank"]) == ("human", None)
    assert (rows["reader-senior"]["train_seconds"], rows["reader-senior"]["weights"]) == (None, None)
    assert (rows["res50"]["status"], rows["res50"]["scores"], rows["res50"]["cases"]) == ("failed", {}, None)
    assert (rows["R&D_net 100 %"]["parameters"], rows["R&D_net 100 %"]["rank"]) == (1e6, None)


def test_rebuilding_writes_the_same_bytes_with_the_schema_beside_them(store: Path, tmp_path: Path) -> None:
    first = {path.name: path.read_bytes() for path in build(store, tmp_path / "a", [PRINTED])}
    again = {path.name: path.read_bytes() for path in build(store, tmp_path / "b", [PRINTED])}
    assert first == again
    assert {"skull-official.json", "skull-official.tex", SCHEMA} <= first.keys()
    linked = re.findall(r"\]\(([^)#]+\.(?:csv|json|tex|svg))\)", first["skull-official.md"].decode())
    assert set(linked) <= first.keys()
    assert len(linked) >= 4


def test_a_page_without_any_score_is_data_too(skull: type[Skull], tmp_path: Path) -> None:
    write_run(tmp_path, None, variant="posenet", reason="RuntimeError: no memory")
    write_run(tmp_path, off_by(1.0), protocol="3-fold", split="fold1")
    score(tmp_path)
    board = next(board for board in read_boards(tmp_path, []) if board.protocol == "official")
    page = json.loads(page_json([board]))
    jsonschema.validate(page, json.loads(schema_text()), jsonschema.Draft202012Validator)
    assert page["boards"][0]["ranked_by"] is None
    assert r"\begin{table" not in page_tex([board])


def page_tex(boards: Sequence[Board]) -> str:
    (page,) = assemble(boards).pages
    return page_latex(page)


def unescaped(text: str) -> str:
    """A LaTeX text without its commands, escapes and mathematics: no special character may be left."""
    text = re.sub(r"\$[^$]*\$", "", text)
    return re.sub(r"\\(?:[A-Za-z]+\*?|.)", "", text)


def cells(tex: str, start: str) -> list[str]:
    line = next(line for line in tex.splitlines() if line.startswith(start))
    return [cell.strip() for cell in line.removesuffix(r" \\").split(" & ")]


def test_latex_is_balanced_and_escaped(store: Path) -> None:
    tex = page_tex(read_boards(store, [PRINTED]))
    body = "\n".join(line for line in tex.splitlines() if not line.startswith("%"))
    rows = [line for line in body.splitlines() if line.endswith(r" \\")]
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", body)
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    assert re.findall(r"\\begin\{(.+?)\}", body) == re.findall(r"\\end\{(.+?)\}", body)[::-1]
    assert columns
    assert {len(re.split(r"(?<!\\)&", line)) for line in rows} == {len(columns[1])}
    assert not set("#^_~$") & set(unescaped(body))
    assert r"R\&D\_net 100 \%" in body
    assert all(rule in body for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_latex_shows_the_numbers_with_the_best_in_bold(store: Path) -> None:
    tex = page_tex(read_boards(store, [PRINTED]))
    assert cells(tex, "1 & ")[2:6] == [r"\textbf{1.00}", "[1.00, 1.00]", r"\textbf{0.00}", r"\textbf{1.00}"]
    assert cells(tex, "2 & ")[2:6] == ["2.00", "[2.00, 2.00]", r"\textbf{0.00}", "2.00"]
    assert cells(tex, r" & \textit{human:}")[2] == "0.50"  # better, but not ranked
    assert cells(tex, r" & \textit{reported:}")[2:5] == ["0.90", "--", "--"]


def test_the_caption_says_what_the_numbers_are(store: Path) -> None:
    caption = next(line for line in page_tex(read_boards(store, [PRINTED])).splitlines() if "caption" in line)
    for part in (
        *("protocol official", "test set test: 3 cases", "Truth: mean of two readers", "Ranked by MRE (mm)"),
        *(r"95 \% percentile bootstrap", "Training budget of all rows: reduced (2 epochs/stage)"),
        "or reported are not ranked",
    ):
        assert part in caption


def test_different_budgets_are_letters_below_the_table(store: Path) -> None:
    write_run(store, off_by(0.7), variant="mnv2", budget=Budget("paper"))
    score(store)
    tex = page_tex(read_boards(store, []))
    assert cells(tex, "1 & ")[1] == r"mnv2\textsuperscript{a}"
    assert cells(tex, "2 & ")[1] == r"posenet\textsuperscript{b}"
    assert r"\textsuperscript{a}paper; \textsuperscript{b}reduced (2 epochs/stage)" in tex


def test_every_special_character_is_escaped() -> None:
    assert escape(r"a\b{c}$d$#e%f&g~h^i_j") == (
        r"a\textbackslash{}b\{c\}\$d\$\#e\%f\&g\textasciitilde{}h\textasciicircum{}i\_j"
    )
