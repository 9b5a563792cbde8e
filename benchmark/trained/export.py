"""A trained network for other programs: one file with the graph from the network's input to its landmarks.

The graph takes films that are already resized to the network's input, 8-bit grey, `image` (batch, 1, height, width),
and answers `points` (batch, landmark, 2), (x, y) in pixels of that input with centres at integers, and where the method
states it their `covariance` (batch, landmark, 2, 2). Decoding is inside. What a program must know beside it, how a film
is resized and how points lead back to it, stands in the file's metadata.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.lookup import pip_line
from benchmark.store import write_atomically
from benchmark.trained.model import Model
from benchmark.training.model_file import ENTRY
from methods.base import Batch, Method

Format = Literal["onnx", "pt2"]
INPUT: Final = "image"
OUTPUTS: Final = ("points", "covariance")
TOLERANCE: Final = 0.01
"""Pixels of the network's input by which the exported graph may answer otherwise than torch."""
TIMINGS: Final = 30


class Latency(NamedTuple):
    """Milliseconds of one film at a time.

    Attributes:
        runtime: What ran it.
        p50: The median.
        p95: The 95th percentile.
    """

    runtime: str
    p50: float
    p95: float


class LandmarkGraph(nn.Module):
    """A method's whole prediction as a function of the resized film alone.

    A method that lets a film's name choose between two orders of channels reads every film in the first one.

    Args:
        method: With its weights.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return points and, where the method states it, their covariance."""
        films, landmarks = image.shape[0], len(self.method.schema)
        batch = Batch(
            ("",),
            image,
            image.new_zeros((films, landmarks, 2), dtype=torch.float32),
            image.new_zeros((films, landmarks), dtype=torch.bool),
            image.new_ones((films, 2), dtype=torch.float32),
            torch.eye(2, 3, device=image.device).expand(films, 2, 3),
        )
        prediction = self.method.predict(batch)
        if prediction.covariance is None:
            return prediction.points.float()
        return prediction.points.float(), prediction.covariance.float()


def export(model: Model, path: Path, kind: Format) -> Path:
    """Write a network as ONNX, or as torch's own exported program.

    Args:
        model: The trained network.
        path: The file.
        kind: `onnx` or `pt2`.

    Raises:
        ValueError: The method cannot be exported, or a package is missing.
        RuntimeError: The ONNX graph answers otherwise than torch.
    """
    if reason := model.method.not_exported:
        raise ValueError(f"{model.facts.variant} cannot be exported: {reason}")
    if model.method.input_spec.is_oracle:
        raise ValueError(f"{model.name} is told where the true landmarks are, which no program can tell it.")
    graph = LandmarkGraph(model.method).eval().float()
    WRITERS[kind](graph, example(model, 2), path, metadata(model))
    return path


def example(model: Model, films: int) -> Tensor:
    """Return films of noise for a network's input."""
    height, width = model.method.input_spec.size
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (films, 1, height, width), dtype=torch.uint8, generator=generator)


def metadata(model: Model) -> dict[str, str]:
    """Return what a program must know beside the graph, as JSON texts."""
    spec = model.method.input_spec
    how = {
        "size": list(spec.size),
        "fit": spec.fit,
        "interpolation": "area where the film is larger, else bilinear",
        "preprocess": [repr(step) for step in spec.preprocess],
        "to_film": "x_film = (x + 0.5 - offset_x) * film_width / drawn_width - 0.5, y alike; stretch: offset 0",
    }
    return {ENTRY: json.dumps(model.facts.as_entry()), "input": json.dumps(how)}


def latencies(model: Model, onnx_file: Path | None = None) -> list[Latency]:
    """Time one film at a time in torch and, where there is a file, in onnxruntime."""
    image, graph = example(model, 1), LandmarkGraph(model.method).eval()
    with torch.inference_mode():
        found = [_latency("torch", lambda: graph(image))]
    if onnx_file is not None:
        session, feed = _session(onnx_file.read_bytes()), {INPUT: image.numpy()}
        found.append(_latency("onnxruntime", lambda: session.run(None, feed)))
    return found


def _latency(runtime: str, call: Callable[[], object]) -> Latency:
    call()
    seconds = []
    for _ in range(TIMINGS):
        start = time.perf_counter()
        call()
        seconds.append(1000 * (time.perf_counter() - start))
    return Latency(runtime, statistics.median(seconds), float(np.percentile(seconds, 95)))


def _write_onnx(graph: LandmarkGraph, image: Tensor, path: Path, facts: dict[str, str]) -> None:
    _require("onnx", "onnxscript", "onnxruntime")
    with _quiet(), torch.no_grad():
        names = OUTPUTS if isinstance(graph(image), tuple) else OUTPUTS[:1]
        program = torch.onnx.export(
            graph,
            (image,),
            dynamo=True,
            verbose=False,
            input_names=[INPUT],
            output_names=names,
            dynamic_shapes={INPUT: {0: _batch()}},
            custom_translation_table=_translations(),
        )
    assert program is not None, "with dynamo it is always given"
    content = program.model_proto
    for name, text in facts.items():
        entry = content.metadata_props.add()
        entry.key, entry.value = name, text
    data = content.SerializeToString()
    _compare(graph, data)
    write_atomically(path, lambda file: file.write_bytes(data))


def _write_program(graph: LandmarkGraph, image: Tensor, path: Path, facts: dict[str, str]) -> None:
    with _quiet(), torch.no_grad():
        program = torch.export.export(graph, (image,), dynamic_shapes={INPUT: {0: _batch()}})
        write_atomically(path, lambda file: _save(program, file, facts))


def _save(program: Any, file: Path, facts: dict[str, str]) -> None:  # noqa: ANN401  # torch's own class
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files=dict(facts))
    file.write_bytes(buffer.getvalue())


def _batch() -> Any:  # noqa: ANN401  # torch's own class
    return torch.export.Dim("batch", min=1)


def _compare(graph: LandmarkGraph, data: bytes) -> None:
    """Run the graph on another number of films than it was traced with, and refuse it where it answers otherwise."""
    height, width = graph.method.input_spec.size
    image = torch.randint(0, 256, (3, 1, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        answer = graph(image)
    points = answer[0] if isinstance(answer, tuple) else answer
    there = _session(data).run(OUTPUTS[:1], {INPUT: image.numpy()})[0]
    if (off := float(np.abs(there - points.numpy()).max())) > TOLERANCE:
        raise RuntimeError(f"the exported graph answers {off:.3g} px beside torch; no file was written.")


def _session(data: bytes) -> Any:  # noqa: ANN401  # onnxruntime has no types
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _translations() -> dict[Any, Callable[..., Any]]:
    """Say in ONNX what torch's exporter has no words for."""
    import onnxscript

    op: Any = onnxscript.opset18

    def hypot(one: Any, other: Any) -> Any:  # noqa: ANN401  # onnxscript's own class
        return op.Sqrt(op.Add(op.Mul(one, one), op.Mul(other, other)))

    def stable_sort(x: Any, stable: bool = False, dim: int = -1, descending: bool = False) -> Any:  # noqa: ANN401
        del stable
        length = op.Gather(op.Shape(x), op.Constant(value_ints=[dim]))
        return op.TopK(x, length, axis=dim, largest=int(descending))

    def distances(one: Any, other: Any, p: float, compute_mode: int | None = None) -> Any:  # noqa: ANN401
        del compute_mode
        assert p == 2, "only Euclidean distances are in use"
        apart = op.Sub(
            op.Unsqueeze(one, op.Constant(value_ints=[-2])), op.Unsqueeze(other, op.Constant(value_ints=[-3]))
        )
        return op.ReduceL2(apart, op.Constant(value_ints=[-1]), keepdims=0)

    return {
        torch.ops.prims.hypot.default: hypot,
        torch.ops.aten.sort.stable: stable_sort,
        torch.ops.aten._cdist_forward.default: distances,
    }


def _require(*names: str) -> None:
    from importlib.util import find_spec

    if missing := [name for name in names if find_spec(name) is None]:
        raise ValueError(f"ONNX needs {', '.join(missing)}, not installed here; {pip_line('export')}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' advice to themselves."""
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


WRITERS: Final = {"onnx": _write_onnx, "pt2": _write_program}
