"""The command line that W&B's own agent makes of the documented sweep drives a cell."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from wandb import wandb_agent

import datamodules
import methods
from benchmark.cli.main import main
from benchmark.matrix import Matrix
from benchmark.store import RunStore
from datamodules import DatasetRegistry
from tests.benchmark.tracking.offline_runs import offline_runs

REPOSITORY = Path(__file__).resolve().parents[3]
TRIAL = {"posenet.lr": 0.0031, "posenet.batch_size": 4, "budget.epochs": 1}
MATRIX = """
smoke: true
purpose: tune
budget: {name: search, epochs: 20, train_cases: 4}
methods: [posenet]
datasets: [{name: hand, splits: [fold1]}]
"""


def documented(name: str) -> dict[str, Any]:
    """A YAML block of the documentation, found by the file name in its first line."""
    text = (REPOSITORY / "docs" / "wandb.md").read_text()
    (block,) = re.findall(rf"```yaml\n# {re.escape(name)}\n(.*?)```", text, flags=re.DOTALL)
    return dict(yaml.safe_load(block))


@pytest.fixture
def here(offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search.yaml").write_text(MATRIX)
    return tmp_path


def agents_call(trial: dict[str, Any], run_id: str) -> tuple[list[str], dict[str, str]]:
    """Let the agent start a trial of the documented sweep, without its server; return its command and environment."""
    started: list[dict[str, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_SWEEP_ID", "sweep1")
        for name in ("WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
            patch.setenv(name, "set by the agent")
        patch.setattr(wandb_agent, "AgentProcess", lambda **given: started.append(given) or SimpleNamespace())
        agent = wandb_agent.Agent.__new__(wandb_agent.Agent)
        agent._sweep_command, agent._function = list(documented("sweep.yaml")["command"]), None
        agent._in_jupyter, agent._forward_signals, agent._run_processes = False, False, {}
        arguments = {name: {"value": value} for name, value in trial.items()}
        agent._command_run({"type": "run", "run_id": run_id, "args": arguments, "program": "osteomark"})
    (given,) = started
    assert given["command"][:6] == ["osteomark", "run", "--matrix", "search.yaml", "--wandb", "--set"]
    return given["command"], given["env"]


def run_here(trial: dict[str, Any], run_id: str, patch: pytest.MonkeyPatch) -> int:
    """Run a trial in this process."""
    command, environment = agents_call(trial, run_id)
    for name in ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH"):
        patch.setenv(name, environment[name])
    return main(command[1:])


@pytest.mark.slow
def test_a_trial_is_one_cell_with_its_values_under_the_id_of_the_sweep(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, environment = agents_call(TRIAL, "trial7")
    python = [sys.executable, "-m", "benchmark", *command[1:]]
    done = subprocess.run(
        python, env=environment | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = RunStore(here / "runs").runs()
    found = dict(run.cell.hparams)
    assert (found["lr"], found["batch_size"], run.cell.budget.epochs, run.cell.tunes) == (0.0031, 4, 1, True)
    (tracked,) = offline_runs(here / "runs", 1)
    assert (tracked.run.run_id, tracked.run.sweep_id) == ("trial7", "sweep1")
    assert documented("sweep.yaml")["metric"]["name"] in tracked.summary
    assert (tracked.config["posenet.lr"], tracked.config["hparams"]["lr"]) == (0.0031, 0.0031)
    assert run_here(TRIAL, "trial8", monkeypatch) == 0  # the sweep proposes the same values again
    assert "1 cells, 1 finished before" in capsys.readouterr().out
    _, second = offline_runs(here / "runs", 2)
    assert second.run.run_id == "trial8"
    assert second.summary["validation/mre_px"] == pytest.approx(tracked.summary["validation/mre_px"])


def test_a_mistyped_trial_ends_with_the_nearest_name(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here({"posenet.batchsize": 4}, "trial9", monkeypatch) == 2
    assert "no hyper-parameter of posenet 'batchsize'; did you mean 'batch_size'?" in capsys.readouterr().err
    (here / "search.yaml").write_text(MATRIX.replace("[posenet]", "[posenet, mnv2]"))
    assert run_here({"posenet.lr": 0.1}, "trial9", monkeypatch) == 2
    assert "a trial of a sweep is one cell, but these are 2" in capsys.readouterr().err
    assert not (here / "runs").exists()


def test_the_documented_matrix_is_one_cell(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(documented("search.yaml")))
    cells = Matrix.load(path, DatasetRegistry()).cells(methods.discover(), datamodules.discover())
    assert [cell.tunes for cell in cells] == [True]
