import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import datamodules
import methods
from benchmark import catalogue
from benchmark.cell import Budget, Cell, Context
from benchmark.cli.main import main
from benchmark.engines.base import Outcome
from benchmark.engines.local import LocalEngine
from benchmark.store import RunStore
from benchmark.training.run_cell import run_cell

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a matrix of three folds of one dataset."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folds.yaml").write_text("{datasets: [hand]}")
    return tmp_path


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run cells without the worker processes, which test_engines tests."""

    def run(self: LocalEngine, jobs: list, context: Context, watch: Callable) -> Iterator[Outcome]:
        for job in jobs:
            yield job, run_cell(job.cell, context, lambda progress, job=job: watch(job, progress))

    monkeypatch.setattr(LocalEngine, "run", run)


def osteomark(line: str) -> int:
    return main(line.split())


def run_json(line: str, capsys: pytest.CaptureFixture[str]) -> list | dict:
    assert osteomark(line) == 0
    return json.loads(capsys.readouterr().out)


def test_a_larger_phantom_has_so_many_times_the_films(here: Path) -> None:
    assert osteomark("data phantom hand --root many --scale 2") == 0
    hand = datamodules.discover()["hand"]
    assert len(hand(here / "many" / "hand").inventory.cases) == 2 * hand.phantom_films


def test_run_writes_phantoms_trains_and_shows_leaderboards(
    here: Path, in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"run --matrix folds.yaml --methods mean_shape steady --epochs 1 --plugin {PLUGINS / 'steady.py'}"
    assert osteomark(line) == 0
    printed = capsys.readouterr().out
    assert "6/6 cells" in printed
    assert "mean_shape" in printed.split("scores.csv")[1]
    assert (here / "data" / "phantom" / "hand").is_dir()
    assert len(RunStore(here / "runs").runs()) == 6
    assert len(list((here / "runs" / "leaderboards").glob("hand*.md"))) == 1
    assert osteomark(line) == 0
    assert "6 cells, 6 finished before" in capsys.readouterr().out


def test_force_runs_finished_cells_again(here: Path, in_process: None) -> None:
    line = "run --matrix folds.yaml --methods mean_shape"
    assert osteomark(line) == 0
    before = {path: path.stat().st_mtime_ns for path in here.glob("runs/**/run.json")}
    assert osteomark(line) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert osteomark(f"{line} --force") == 0
    assert all(path.stat().st_mtime_ns > time_ns for path, time_ns in before.items())


def test_a_failing_method_gives_exit_code_1_and_the_others_finish(
    here: Path, in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    plugins = " ".join(str(PLUGINS / name) for name in ("broken.py", "groups_only.py"))
    assert osteomark(f"run --matrix folds.yaml --methods broken groups-only mean_shape --plugin {plugins}") == 1
    statuses = [run.status for run in RunStore(here / "runs").runs()]
    assert sorted(statuses) == ["done"] * 3 + ["failed"] * 3 + ["unsupported"] * 3
    printed = capsys.readouterr().out
    assert "broken/seed0 failed: RuntimeError: mat1 and mat2" in printed
    assert "needs landmarks grouped into vertebrae" in printed
    assert "3 of 9 cells failed" in printed


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("run --methods posnet", "there is no method 'posnet'; did you mean 'posenet'?"),
        ("run --datasets asce", "there is no dataset 'asce'; did you mean 'aasce'?"),
        ("run --matrix smok", "there is no matrix file 'smok'; did you mean 'smoke'?"),
        ("run --matrix gone.yaml", "there is no matrix file 'gone.yaml'"),
        ("run --datasets hand --data-root nowhere", "nowhere has no folder hand or"),
        ("run --plugin gone.py", "there is no plugin file gone.py"),
        ("score --store nowhere", "nowhere holds no run"),
        ("describe posnet", "there is no method 'posnet'"),
        ("describe posenet --points 0", "--points is 0"),
        ("data check hnd --root x", "there is no dataset 'hnd'; did you mean 'hand'?"),
        ("data check hand --root nowhere", "nowhere"),
        ("data phantom hnd --root x", "did you mean 'hand'?"),
        ("new method 1st", "'1st' cannot name a Python file"),
        ("new method posenet", "there is a method 'posenet' already"),
        ("check-method gone.py", "there is no plugin file gone.py"),
        ("check-method folds.yaml", "folds.yaml is not a Python file"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    line: str, sentence: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert osteomark(line) == 2
    printed = capsys.readouterr()
    assert sentence in printed.err
    assert "Traceback" not in printed.err
    assert not (here / "runs").exists()


def test_debug_shows_the_traceback(here: Path) -> None:
    with pytest.raises(ValueError, match="posnet"):
        osteomark("run --methods posnet --debug")


def test_a_half_missing_folder_names_the_files_and_runs_only_when_asked(
    here: Path, phantoms: Path, in_process: None, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(phantoms, here / "films")
    images = sorted(path for path in (here / "films").rglob("*") if path.suffix in {".jpg", ".mha"})
    images[0].unlink()
    images[1].write_bytes(images[1].read_bytes()[:200])
    line = "run --matrix folds.yaml --methods mean_shape --data-root films"
    assert osteomark(line) == 2
    error = capsys.readouterr().err
    assert images[0].name in error or images[1].name in error
    assert not (here / "runs").exists()
    assert osteomark(f"{line} --allow-missing") == 0
    assert "files missing or unreadable, their cases left out: 2" in capsys.readouterr().out


def test_labels_with_the_wrong_number_of_points_name_file_and_line(
    here: Path, phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(phantoms, here / "films")
    (labels,) = (here / "films").rglob("all.csv")
    lines = labels.read_text().splitlines()
    labels.write_text("\n".join([*lines[:2], lines[2].rsplit(",", 1)[0], *lines[3:]]))
    assert osteomark("run --matrix folds.yaml --methods mean_shape --data-root films") == 2
    assert "all.csv" in (error := capsys.readouterr().err)
    assert "3" in error


def test_lists_are_json_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue, "user_cache_path", lambda name: tmp_path / name)
    assert {item["name"] for item in run_json("list methods --json", capsys)} == set(methods.discover())
    assert {"aasce", "isbi2015", "hand"} <= {item["name"] for item in run_json("list datasets --json", capsys)}
    assert "radial_error" in {item["name"] for item in run_json("list metrics --json", capsys)}
    assert osteomark("list methods") == 0
    assert "posenet-l2" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "keras"), [("posenet-l2", 23_226_269), ("mnv2_hm", 6_398_045)])
def test_describe_counts_parameters_and_flops(name: str, keras: int, capsys: pytest.CaptureFixture[str]) -> None:
    found = run_json(f"describe {name} --points 29 --json", capsys)
    assert found.keys() >= {"parameters", "flops", "input_size", "variants", "paper", "differs"}
    assert found["parameters"]["keras"] == keras
    assert found["input_size"] == [256, 128]
    if found["method"] == "posenet":
        smoothing = 2 * 29 * 2 * 64 * 32 * 13  # two passes of DARK's kernel over 29 maps, beside the paper's network
        assert found["flops"] == pytest.approx(2 * 595.7e6 + smoothing, rel=1e-4)


def test_data_check_says_what_is_there_and_what_is_missing(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert osteomark(f"data check hand --root {phantoms}") == 0
    whole = capsys.readouterr().out
    assert "both film and labels: 24" in whole
    assert "Licence" in whole
    shutil.copytree(phantoms / "hand", tmp_path / "hand")
    image = next(path for path in (tmp_path / "hand").rglob("*") if path.suffix in {".jpg", ".mha"})
    image.unlink()
    assert osteomark(f"data check hand --root {tmp_path / 'hand'}") == 2
    part = capsys.readouterr().out
    assert image.name in part
    assert "How to get it" in part


def test_phantoms_are_written_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert osteomark(f"data phantom hand --root {tmp_path}") == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert osteomark(f"data phantom hand --root {tmp_path}") == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_new_method_is_a_working_method(here: Path, context: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert osteomark("new method my_net") == 0
    assert osteomark("new method my_net") == 2
    assert osteomark("new method my_net --out others") == 0
    plugin = here / "my_net.py"
    assert (here / "others" / "my_net.py").read_text() == plugin.read_text()
    assert osteomark("check-method my_net.py") == 0
    assert "0 failed, 0 skipped" in capsys.readouterr().out
    hparams = (("input_size", (64, 64)), ("width", 8))
    cell = Cell("hand", "3-fold", "fold1", "my_net", "my_net", hparams=hparams, budget=Budget("test", epochs=40))
    record = run_cell(cell, replace(context, plugins=(plugin,)))
    assert record.status == "done", record.traceback
    history = pd.read_csv(record.folder / "history.csv")
    assert history["train/loss"].iloc[-1] < history["train/loss"].iloc[0] / 2


def test_a_method_that_breaks_its_contract_gives_exit_code_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert osteomark(f"check-method {PLUGINS / 'broken.py'}") == 1
    assert "FAIL  learns one batch: broken.py, line" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\nimport no_such_module", "mine.py:2 cannot be imported: ModuleNotFoundError: No module named"),
        ("x = 1\n\ndef", "mine.py:3 cannot be imported: SyntaxError"),
        ("x = 1", "mine.py must define a Method with `variants`, but defines none"),
    ],
)
def test_a_plugin_that_cannot_be_imported_is_named_with_its_line(
    text: str, sentence: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "mine.py").write_text(text)
    for line in ("check-method mine.py", "run --plugin mine.py"):
        assert osteomark(line) == 2
        assert sentence in capsys.readouterr().err


def test_help_is_quick_and_names_every_command() -> None:
    code = "import sys; from benchmark.cli.main import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PLUGINS.parents[2]
    )
    assert all(
        f"    {name}" in printed.stdout for name in ("run", "score", "leaderboard", "list", "describe", "data", "new")
    )
    assert not {"torch", "lightning", "pandas"} & set(printed.stdout.split())
