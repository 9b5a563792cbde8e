"""Measures how long a network takes for one film in torch and in onnxruntime, for docs/trained.md.

`python -m tests.scale.latency` prints a line of its table per method: the first variant at its own input size, at 22
landmarks of a lumbar spine where it can. The weights are untrained, on which the time does not depend; what is fitted
instead of trained (shapes, forests, support vectors) is fitted to 16 drawn films. Both run in one thread, and that
thread's processor time is measured, so that other work on the machine hardly counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch

import datamodules
from benchmark.contract.tiny_films import make_samples
from benchmark.trained.export import LandmarkGraph, example, export
from benchmark.trained.model import Model
from benchmark.training.arithmetic import lay_out
from benchmark.training.model_file import ModelFacts
from methods import discover
from methods.base import Method

CALLS = 20
DATASETS = ("buu", "aasce", "isbi2015", "hand")


def main() -> None:
    """Export and time every method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=sorted(discover()), help="methods")
    names = parser.parse_args().names
    torch.set_num_threads(1)
    for name in names:
        print(_line(name, discover()[name]), flush=True)


def _line(name: str, kind: type[Method]) -> str:
    """Return a method's line."""
    known = datamodules.discover()
    dataset = next(each for each in DATASETS if not kind.unsupported(known[each].schema))
    torch.manual_seed(0)
    schema, variant = known[dataset].schema, next(iter(kind.variants))
    method = kind(schema, **kind.variants[variant])
    method.prepare(make_samples(method, 16, missing=0))
    lay_out(method)
    spec = method.input_spec
    values = (name, variant, 1, dict(method.hparams), schema, dataset, "p", "s", 0, "f", "t", "l", False, "32-true")
    model = Model(name, method.eval(), ModelFacts(*values, spec.size, spec.fit))
    image, graph = example(model, 1), LandmarkGraph(method).eval()
    with torch.inference_mode():
        found = [_times(lambda: graph(image))]
    with TemporaryDirectory() as folder:
        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(export(model, Path(folder, "model.onnx"), "onnx"), options)
            found.append(_times(lambda: session.run(None, {"image": image.numpy()})))
        except ValueError:
            found.append("-")
    height, width = spec.size
    return " | ".join(["", f"`{variant}`", f"{height} x {width}", *found, ""]).strip()


def _times(call: Callable[[], object]) -> str:
    """Return the median and the 95th percentile of the milliseconds of this thread that a call takes."""
    call()
    spent = []
    for _ in range(CALLS):
        start = time.thread_time()
        call()
        spent.append(1000 * (time.thread_time() - start))
    return f"{np.median(spent):.3g} / {np.percentile(spent, 95):.3g}"


if __name__ == "__main__":
    main()
