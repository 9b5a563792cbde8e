"""Whole cells, tracked offline and read back by other code than W&B's."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import wandb

from benchmark.cell import Cell, Context
from benchmark.cli.main import main
from benchmark.predictions import PUBLISHED, VALIDATION, read_predictions
from benchmark.store import HISTORY
from benchmark.tracking.overlay import PREDICTED_COLOUR, TRUE_COLOUR, draw_overlay
from benchmark.tracking.results import landmark_errors
from benchmark.tracking.tracker import Identity, Tracker
from benchmark.training.progress import Progress
from benchmark.training.run_cell import run_cell
from tests.benchmark.tracking.offline_runs import OfflineRun, offline_runs

MakeCell = Callable[..., Cell]


class Killed(BaseException):
    """Ends a run as a signal would: nothing on its way records it."""


@pytest.fixture
def tracked(context: Context, offline: Path) -> Context:
    return replace(context, tracking="wandb", artifacts=True)


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What W&B was asked for at each start."""
    asked: list[dict[str, Any]] = []
    start = wandb.init
    monkeypatch.setattr(wandb, "init", lambda **given: asked.append(given) or start(**given))
    return asked


def rows(run: OfflineRun) -> list[dict[str, float]]:
    names = ("stage", "epoch", "train/loss", "val/radial_error", "lr", "seconds")
    return [{name: row[name] for name in names} for _, row in run.history]


def test_a_run_tells_its_curves_scores_landmarks_films_and_files(tracked: Context, make_cell: MakeCell) -> None:
    cell = make_cell("steady", epochs=2)
    record = run_cell(cell, tracked)
    assert record.status == "done", record.traceback
    (found,) = offline_runs(tracked.store, 1)
    history = pd.read_csv(record.folder / HISTORY)
    assert found.steps == [1, 2, 3, 4]
    pd.testing.assert_frame_equal(pd.DataFrame(rows(found)), history[list(rows(found)[0])], check_dtype=False)
    assert found.summary["val/radial_error"]["min"] == pytest.approx(history["val/radial_error"].min())
    predicted = read_predictions(record.folder / VALIDATION)["validation"]
    assert found.summary["validation/mre_px"] == pytest.approx(np.nanmean(predicted.errors("px")))
    assert {"test/mre_px", "cost/parameters", "cost/fit_seconds"} <= found.summary.keys()
    last = found.history[-1][1]
    table = json.loads((found.folder / "files" / last["landmarks/validation_table/path"]).read_text())
    assert [line[0] for line in table["data"]] == list(predicted.landmarks)
    assert [line[2] for line in table["data"]] == pytest.approx(np.nanmean(predicted.errors("mm"), axis=0))
    shown = [last[f"validation_films/{place}/caption"].split(":")[0] for place in (1, 2)]
    assert shown == list(predicted.cases)
    assert (found.folder / "files" / last["validation_films/1/path"]).is_file()
    ours = {kind: name for name, kind in found.artifacts if kind in ("predictions", "model")}
    own = Identity.of(cell, record.fingerprint, private=False).id
    assert ours == {"predictions": f"predictions-{own}", "model": f"checkpoint-{own}"}


def test_a_resumed_run_goes_on_under_its_id_and_its_steps_go_on(
    tracked: Context, make_cell: MakeCell, starts: list[dict[str, Any]]
) -> None:
    def stop(progress: Progress) -> None:
        if progress.epoch >= 4:
            raise Killed

    cell = make_cell("steady")  # two stages of three epochs
    with pytest.raises(Killed):
        run_cell(cell, tracked, stop)
    record = run_cell(cell, tracked)
    first, second = offline_runs(tracked.store, 2)
    assert first.run.run_id == second.run.run_id == Identity.of(cell, record.fingerprint, private=False).id
    assert first.run.display_name == second.run.display_name
    assert (first.steps, second.steps) == ([1, 2, 3], [4, 5, 6])
    assert [start["resume"] for start in starts] == [None, "allow"]
    found = pd.DataFrame([*rows(first), *rows(second)])
    pd.testing.assert_frame_equal(found, pd.read_csv(record.folder / HISTORY)[list(found)], check_dtype=False)


def test_a_run_that_tunes_tells_nothing_of_a_test_film(tracked: Context, make_cell: MakeCell) -> None:
    record = run_cell(replace(make_cell("steady", epochs=1), purpose="tune"), tracked)
    assert record.status == "done", record.traceback
    (found,) = offline_runs(tracked.store, 1)
    assert "validation/mre_px" in found.summary
    assert not [name for name in (*found.summary, *found.history[-1][1]) if "test" in name.split("/")[0]]
    assert not list(found.folder.rglob("*test*.table.json"))
    assert "tune" in found.run.tags


def test_what_cannot_be_told_does_not_harm_the_run(
    tracked: Context, make_cell: MakeCell, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no picture today")

    monkeypatch.setattr("benchmark.tracking.results.draw_overlay", broken)
    record = run_cell(make_cell("steady", epochs=1), tracked)
    assert record.status == "done"
    assert caplog.text.count("no picture today") == 1


def test_a_store_is_pushed_afterwards_with_its_leaderboards(
    tracked: Context, make_cell: MakeCell, capsys: pytest.CaptureFixture[str]
) -> None:
    silent = replace(tracked, tracking="none")
    done = run_cell(make_cell("steady", epochs=2), silent)
    assert run_cell(make_cell("broken"), silent).status == "failed"
    plugins = [str(path) for path in tracked.plugins]
    assert main(["wandb", "push", str(tracked.store), "--artifacts", "--plugin", *plugins]) == 0
    found = {run.run.job_type: run for run in offline_runs(tracked.store, 3)}
    assert found["steady"].run.run_id == Identity.of(done.cell, done.fingerprint, private=False).id
    pd.testing.assert_frame_equal(
        pd.DataFrame(rows(found["steady"])), pd.read_csv(done.folder / HISTORY), check_dtype=False
    )
    assert "test/mre_px" in found["steady"].summary
    assert {"predictions", "model"} <= {kind for _, kind in found["steady"].artifacts}
    assert (found["broken"].exit_code, found["steady"].exit_code) == (1, 0)
    boards = found["leaderboards"].history[0][1]
    table = json.loads((found["leaderboards"].folder / "files" / boards["leaderboards/hand-3-fold/path"]).read_text())
    written = tracked.store / "leaderboards" / "hand-3-fold.csv"
    assert main(["leaderboard", "--store", str(tracked.store), "--plugin", *plugins]) == 0
    assert table["columns"] == list(pd.read_csv(written))
    assert "leaderboards/hand-3-fold-validation/path" in boards
    assert "`wandb sync`" in capsys.readouterr().out
    assert main(["wandb", "push", str(tracked.store / "nowhere")]) == 2
    assert "holds no run to push" in capsys.readouterr().err


def test_pushed_phantoms_show_their_films_and_published_points_have_no_labels(
    tracked: Context, make_cell: MakeCell, phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_cell(make_cell("mean_shape"), replace(tracked, tracking="none"))
    kept: dict[str, list[str]] = {}

    def keep(self: Tracker, name: str, kind: str, files: Sequence[Path]) -> None:
        kept.update({path.name: pq.read_schema(path).names for path in files if path.suffix == ".parquet"})

    monkeypatch.setattr(Tracker, "keep", keep)
    assert main(["wandb", "push", str(tracked.store), "--artifacts", "--data-root", str(phantoms)]) == 0
    found = {run.run.job_type: run for run in offline_runs(tracked.store, 2)}["mean_shape"]
    assert (found.folder / "files" / found.history[-1][1]["validation_films/1/path"]).is_file()
    assert kept == {"predictions.parquet": list(PUBLISHED), "validation.parquet": list(PUBLISHED)}


def test_an_overlay_has_both_points_where_they_are_at_any_size() -> None:
    film = np.full((50, 40), 90, np.uint8)
    points, truth = np.array([[80.0, 20.0], [10.0, 10.0]]), np.array([[20.0, 160.0], [np.nan, np.nan]])
    picture = draw_overlay(film, (200, 160), points, truth)
    assert picture.shape == (50, 40, 3)
    changed = np.argwhere((picture != 90).any(axis=2))
    assert changed.min(axis=0).tolist() == [0, 0]  # the ring round (10, 10) is cut by the corner

    def centre(colour: tuple[int, int, int]) -> list[float]:
        near = np.abs(picture.astype(int) - colour).sum(axis=2) < 90
        return np.argwhere(near[8:] if colour == TRUE_COLOUR else near)[:, ::-1].mean(axis=0).tolist()

    assert centre(TRUE_COLOUR) == pytest.approx([4.6, 31.6], abs=1.5)
    assert PREDICTED_COLOUR != TRUE_COLOUR


def test_landmark_errors_leave_out_what_is_not_labelled(tracked: Context, make_cell: MakeCell) -> None:
    record = run_cell(make_cell("mean_shape"), replace(tracked, tracking="none"))
    predicted = read_predictions(record.folder / VALIDATION)["validation"]
    truth = predicted.truth.copy()
    truth[:, 0] = np.nan
    found = landmark_errors(predicted._replace(truth=truth), "mm")
    assert [row[0] for row in found] == list(predicted.landmarks[1:])
    first = np.hypot(*((predicted.points - predicted.truth)[:, 1] * predicted.spacing).T)
    assert found[0][1:] == pytest.approx((len(first), first.mean(), np.median(first), first.std(ddof=1), first.max()))
