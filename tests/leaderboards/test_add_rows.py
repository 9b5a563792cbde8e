"""Rows added to published leaderboards: the folder is what a store with all rows would have published."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.cli.main import main
from leaderboards.boards.published import read_published
from leaderboards.build import rewrite_published
from leaderboards.robustness.scores import read_stress

from ..stored_runs import Skull, predictions, skull, write_run

__all__ = ["skull"]

GENERATOR = np.random.default_rng(3)
ERRORS = {
    name: GENERATOR.uniform(0, size, (12, 3))
    for name, size in (("mean_shape", 9.0), ("unet", 5.0), ("fpn", 4.0), ("scn", 3.0))
}


def published(store: Path, out: Path) -> Path:
    assert main(["leaderboard", "--store", str(store), "--out", str(out), "--publish"]) == 0
    rewrite_published(out)
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_added_rows_give_what_one_store_of_all_rows_gives(skull: type[Skull], tmp_path: Path) -> None:
    del skull
    for store, names in (("all", ERRORS), ("first", ("mean_shape", "unet", "fpn")), ("second", ("fpn", "scn"))):
        for name in names:
            errors = 2 * ERRORS[name] if (store, name) == ("first", "fpn") else ERRORS[name]  # trained again later
            write_run(tmp_path / store, predictions(errors), name)
    expected = content(published(tmp_path / "all", tmp_path / "expected"))
    folder = published(tmp_path / "first", tmp_path / "published")
    assert content(folder) != expected
    assert main(["leaderboard", "--store", str(tmp_path / "second"), "--add-to", str(folder)]) == 0
    assert content(folder) == expected
    (board,) = read_published(folder)
    assert [row.variant for row in board.ranked] == ["scn", "fpn", "unet", "mean_shape"]


def test_rows_of_other_films_are_refused_and_nothing_is_written(
    skull: type[Skull], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del skull
    write_run(tmp_path / "first", predictions(ERRORS["unet"]), "unet")
    write_run(tmp_path / "second", predictions(ERRORS["fpn"]), "fpn", content="others")
    folder = published(tmp_path / "first", tmp_path / "published")
    before = content(folder)
    assert main(["leaderboard", "--store", str(tmp_path / "second"), "--add-to", str(folder)]) == 2
    assert "has no board of skull, official, films others, test" in capsys.readouterr().err
    assert content(folder) == before
    shutil.rmtree(tmp_path / "second")


def stressed(folder: Path, errors: dict[str, float], cases: int = 12) -> None:
    """Write what `osteomark stress` leaves of the skulls, for one corruption of one severity."""
    rows = [
        {"dataset": "skull", "protocol": "official", "content": "films", "test_set": "test", "variant": variant}
        | {"config": "c", "budget": "reduced", "badges": "", "corruption": "noise" if severity else "clean"}
        | {"severity": severity, "level": "sd 1" if severity else "", "cases": cases, "metric": "radial_error"}
        | {"column": "mre_mm", "title": "MRE", "unit": "mm", "higher_is_better": "False"}
        | {"value": error + severity, "low": error, "high": error + 9}
        for variant, error in errors.items()
        for severity in (0, 1)
    ]
    pd.DataFrame(rows).to_csv(folder / "stress.csv", index=False)


@pytest.mark.parametrize(
    ("own", "cases", "expected"),
    [
        ({}, 12, {"unet": 5.0}),
        ({"fpn": 2.0, "mean_shape": 7.0}, 12, {"fpn": 2.0, "unet": 5.0}),
        ({"fpn": 2.0}, 4, {"unet": 5.0}),
    ],
)
def test_corrupted_films_are_of_the_runs_that_are_published(
    skull: type[Skull], tmp_path: Path, own: dict[str, float], cases: int, expected: dict[str, float]
) -> None:
    """What a replaced run scored on them is dropped, and the store's taken where it is of as many films."""
    del skull
    for store, names in (("first", ("unet", "fpn")), ("second", ("fpn",))):
        for name in names:
            write_run(tmp_path / store, predictions(ERRORS[name] if store == "second" else 2 * ERRORS[name]), name)
    folder = published(tmp_path / "first", tmp_path / "published")
    stressed(folder, {"fpn": 4.0, "unet": 5.0})
    if own:
        stressed(tmp_path / "second", own, cases)
    assert main(["leaderboard", "--store", str(tmp_path / "second"), "--add-to", str(folder)]) == 0
    (board,) = read_stress(folder)
    assert {row.variant: row.clean.value for row in board.rows} == expected
    assert all(name in (folder / f"{board.page}.md").read_text() for name in expected)
