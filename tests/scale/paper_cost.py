"""Works out what the rows of `matrices/paper.yaml` cost on a GPU, by `python -m tests.scale.paper_cost`.

Nothing is trained. The operations of predicting one film at the paper's input size are counted, three times as many are
taken for a training step, and a GPU is assumed to sustain `SUSTAINED` of them a second.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

import torch

import datamodules
import methods
from benchmark.contract.tiny_films import make_samples
from benchmark.lookup import find_variant
from benchmark.matrix import Matrix
from benchmark.training.measure import count_flops
from datamodules import DatasetRegistry
from datamodules.components.samples import collate

SUSTAINED = 20e12
"""Operations a second; data-centre GPUs are specified for 10 to 50 times as many in bf16."""
STEP = 3
"""Forward and backward pass together, in forward passes."""
TRAINING_FILMS = {"aasce": 431, "isbi2015": 135, "hand": 537}
"""Of one split under the papers' protocols, validation films left out."""


def costs(dataset: str) -> Iterator[tuple[str, float, int, float]]:
    """Yield each trained row of a dataset: its name, GFLOP of predicting a film, epochs, GPU hours of one run."""
    known, data = methods.discover(), datamodules.discover()
    cells = Matrix.load("paper", DatasetRegistry()).cells(known, data)
    rows = {cell.variant: cell for cell in cells if cell.dataset == dataset and cell.seed == 0}
    for name, cell in rows.items():
        method_class = find_variant(name, known).method_class
        hparams = dict(cell.hparams)
        if "weights" in hparams:
            hparams["weights"] = "none"  # they cost nothing, and the hub may not be at hand
        if method_class.unsupported(data[dataset].schema):
            continue
        method = method_class(data[dataset].schema, **hparams).eval()
        epochs = sum(stage.epochs for stage in method.stages)
        if epochs:
            samples = make_samples(method, 2, missing=0)
            method.prepare(samples)
            flops = count_flops(method, collate(samples[:1]))
            yield name, flops / 1e9, epochs, STEP * flops * epochs * TRAINING_FILMS[dataset] / SUSTAINED / 3600


def main() -> None:
    """Print one table per dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="*", default=list(TRAINING_FILMS))
    for dataset in parser.parse_args().datasets:
        print(f"| {dataset} | GFLOP a film | epochs | GPU hours a run |\n|---|---|---|---|")
        for name, gflops, epochs, hours in costs(dataset):
            print(f"| `{name}` | {gflops:.1f} | {epochs} | {hours:.2f} |", flush=True)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    sys.exit(main())
