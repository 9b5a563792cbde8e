"""Every method as a graph for other programs, or its reason why not."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from benchmark.cell import Cell, Context
from benchmark.cli.main import main
from benchmark.contract.tiny_films import SCHEMA, build, make_samples
from benchmark.trained.export import LandmarkGraph, export, latencies, metadata
from benchmark.trained.model import Model, load_model
from benchmark.training.model_file import ENTRY, ModelFacts
from benchmark.training.run_cell import run_cell
from datamodules.components.samples import collate
from methods import discover

from ..conftest import PLUGINS


def model_of(name: str) -> Model:
    method = build(discover()[name], SCHEMA)
    method.prepare(make_samples(method))
    spec = method.input_spec
    values = (name, name, 1, dict(method.hparams), SCHEMA, "d", "p", "s", 0, "f", "t", "l", False, "32-true")
    return Model(name, method.eval(), ModelFacts(*values, spec.size, spec.fit))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about its own insides
@pytest.mark.parametrize("name", sorted(discover()))
def test_every_method_answers_in_onnx_as_in_torch_or_says_why_it_cannot(name: str, tmp_path: Path) -> None:
    if discover()[name].unsupported(SCHEMA):
        pytest.skip("the schema is not for it")
    model, path = model_of(name), tmp_path / "model.onnx"
    if reason := model.method.not_exported:
        with pytest.raises(ValueError, match="cannot be exported") as raised:
            export(model, path, "onnx")
        assert str(raised.value).endswith(reason) and not path.exists()
        return
    export(model, path, "onnx")
    onnx.checker.check_model(str(path))
    session = onnxruntime.InferenceSession(str(path))
    for films in (1, 4):
        image = collate(make_samples(model.method, films)).image
        with torch.inference_mode():
            answer = LandmarkGraph(model.method)(image)
        expected = answer if isinstance(answer, tuple) else (answer,)
        found = session.run(None, {"image": image.numpy()})
        assert [output.name for output in session.get_outputs()] == ["points", "covariance"][: len(expected)]
        np.testing.assert_allclose(found[0], expected[0].numpy(), atol=0.01)
        if len(expected) == 2:
            np.testing.assert_allclose(found[1], expected[1].numpy(), atol=0.05, rtol=1e-3)


@pytest.fixture(scope="module")
def run(phantoms: Path, make_cell: Callable[..., Cell], tmp_path_factory: pytest.TempPathFactory) -> Path:
    context = Context(tmp_path_factory.mktemp("trained"), {"hand": phantoms / "hand"}, plugins=PLUGINS)
    return run_cell(make_cell("steady", epochs=1), context).folder


@pytest.mark.filterwarnings("ignore")
def test_the_command_writes_the_graph_its_facts_and_times(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "steady.onnx"
    assert main(["export", str(run), "--out", str(out), "--plugin", *map(str, PLUGINS)]) == 0
    text = capsys.readouterr().out
    assert "onnxruntime" in text and "p95" in text and "8-bit grey" in text
    stored = {entry.key: json.loads(entry.value) for entry in onnx.load(out).metadata_props}
    model = load_model(run, PLUGINS)
    assert stored[ENTRY]["variant"] == "steady"
    assert stored["input"]["size"] == list(model.facts.input_size)
    assert all(row.p50 <= row.p95 for row in latencies(model, out))
    assert set(metadata(model)) == set(stored)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_without_its_packages_onnx_is_refused_with_the_line_that_installs_them(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    out = tmp_path / "steady.onnx"
    assert main(["export", str(run), "--out", str(out), "--plugin", *map(str, PLUGINS)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"ONNX needs {package}, not installed here" in said
    assert "pip install --editable '.[export]'" in said
    assert not out.exists()


def test_torchs_own_program_and_a_checkpoint_are_written_too(run: Path, tmp_path: Path) -> None:
    plugins = ["--plugin", *map(str, PLUGINS)]
    program, checkpoint = tmp_path / "a.pt2", tmp_path / "a.ckpt"
    assert main(["export", str(run), "--format", "pt2", "--out", str(program), *plugins]) == 0
    assert main(["export", str(run), "--format", "checkpoint", "--out", str(checkpoint), *plugins]) == 0
    model = load_model(run, PLUGINS)
    image = torch.zeros(3, 1, *model.facts.input_size, dtype=torch.uint8)
    there = torch.export.load(program).module()(image)
    with torch.inference_mode():
        torch.testing.assert_close(there, LandmarkGraph(model.method)(image))
    assert load_model(checkpoint, PLUGINS).facts == model.facts
