"""`osteomark profile`: what it measures and what it advises."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmark.cli.main import main
from benchmark.profiling.step import StepProfile, measured_peak

PLUGIN = Path(__file__).parents[1] / "plugins" / "steady.py"
SECONDS = {"loader": 0.01, "forward": 0.3, "backward": 0.6, "optimiser": 0.09}
BUSY = StepProfile(4, "32-true", SECONDS, 99, 100.0, 500.0, {"network.head": 60}, {"aten::convolution_backward": 0.8})


def test_a_step_is_measured_and_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The operations are those of the two layers, three times as many as forwards where the film needs no gradient."""
    assert main(["data", "phantom", "hand", "--root", str(tmp_path)]) == 0
    capsys.readouterr()
    words = ["profile", "steady", "--plugin", str(PLUGIN), "--dataset", "hand", "--data-root", str(tmp_path)]
    assert main([*words, "--set", "batch_size=6", "--steps", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["method"], found["dataset"], found["batch_size"]) == ("steady", "hand", 6)
    assert set(found["seconds"]) == {"loader", "forward", "backward", "optimiser"}
    assert all(seconds > 0 for seconds in found["seconds"].values())
    conv, linear = 2 * 6 * 4 * 4 * 4 * 9, 2 * 6 * 64 * 74
    assert found["flops"] == 2 * conv + 3 * linear
    assert found["modules"] == {"network.5": 3 * linear, "network.0": 2 * conv}
    assert found["peak_memory_mb"] > 10
    assert main([*words, "--steps", "1"]) == 0
    assert "part of the network" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mean_shape"], "not trained by gradients"),
        (["posenet", "--set", "lrr=1"], "lr"),
        (["posenet", "--steps", "0"], "--steps is 0"),
        (["posnet"], "did you mean 'posenet'"),
    ],
)
def test_bad_input_is_answered_in_a_sentence(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["profile", *words]) == 2
    assert told in capsys.readouterr().err


def test_the_advice_names_the_largest_cost() -> None:
    """What waits comes before what is slow, and what is slow before what is large."""
    waiting = replace(BUSY, seconds={**SECONDS, "loader": 1.0})
    stepping = replace(BUSY, seconds={**SECONDS, "optimiser": 1.0})
    copying = replace(BUSY, operations={"aten::copy_": 0.4, "aten::convolution_backward": 0.3})
    assert "waits for films" in waiting.advice and "50%" in waiting.advice
    assert stepping.advice.startswith("The optimiser takes 52%")
    assert copying.advice.startswith("aten::copy_ takes 40%")
    assert "reaches 1% of what" in replace(BUSY, peak=10_000.0).advice
    assert BUSY.advice.endswith("only less work in network.head makes it faster.")


def test_the_peak_is_a_speed() -> None:
    assert measured_peak(torch.device("cpu"), "32-true", rounds=1) > 1e8
