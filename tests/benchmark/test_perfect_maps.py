"""Maps without error, decoded, give the points back: at every size that a shipped matrix or a paper trains.

What a decoder loses here, no network can win back. Methods that decode no maps are left out.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import datamodules
import methods
from benchmark.cell import Budget, Cell
from benchmark.matrix import FOLDER, Matrix
from datamodules import DatasetRegistry
from datamodules.base import LandmarkSchema, Sample
from datamodules.components.samples import Case, collate
from datamodules.components.transforms import Box, InputSpec, invert_affine, to_image_affine, transform_points
from methods.base import Method
from methods.components.lengths import lengths

PAPER = "the papers' settings"
OWN = {path.stem: Matrix.load(path, DatasetRegistry()) for path in sorted(FOLDER.glob("*.yaml"))}
REDUCED = {name: matrix for name, matrix in OWN.items() if not matrix.smoke and matrix.budget.name != Budget.name}
MATRICES = {PAPER: Matrix(), **REDUCED}
"""A smoke matrix is left out: its inputs are too small to tell neighbours apart."""
DATASETS, REAL = ("aasce", "isbi2015", "hand", "buu"), ("aasce", "isbi2015")
SUB_PIXEL, WHOLE_PIXEL = 0.1, 0.75
"""What a decoder may err, in pixels of its heatmaps: a whole pixel is up to half a diagonal off."""
MAP_PIXELS, FILMS, PREPARED = 4e6, 12, 40
"""So many pixels of maps are drawn for a configuration, of one film at least; so many films prepare it."""


@pytest.fixture(scope="module")
def phantom_cases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Case]]:
    """The cases of tiny phantoms."""
    cases = {}
    for name in DATASETS:
        root = tmp_path_factory.mktemp(name)
        importlib.import_module(f"tests.data.{name}").write(root)
        cases[name] = list(datamodules.discover()[name](root, allow_missing=True).inventory.cases.values())
    return cases


@pytest.fixture(scope="module")
def real_cases(real_data: Path) -> Mapping[str, list[Case]]:
    """The cases of the real datasets that are there."""
    cases = {}
    for name in REAL:
        data = datamodules.discover()[name]
        for folder in [real_data / known for known in data.folders if (real_data / known).is_dir()][:1]:
            cases[name] = list(data(folder).inventory.cases.values())
    return cases or pytest.skip(f"no real films in {real_data}")


@pytest.mark.parametrize("matrix", MATRICES)
def test_maps_without_error_give_phantom_points_back(matrix: str, phantom_cases: Mapping[str, list[Case]]) -> None:
    assert _failures(matrix, phantom_cases) == []


@pytest.mark.parametrize("matrix", [name for name in MATRICES if not name.startswith("phantom")])
def test_maps_without_error_give_real_points_back(matrix: str, real_cases: Mapping[str, list[Case]]) -> None:
    assert _failures(matrix, real_cases) == []


def test_every_kind_of_decoder_is_among_them() -> None:
    decoding = {name for name, method in methods.discover().items() if method.perfect is not Method.perfect}
    assert len(decoding) >= 10


def _failures(matrix: str, cases: Mapping[str, list[Case]]) -> list[str]:
    """Check every size once and name those that lose points."""
    seen, failures = set(), []
    registry = DatasetRegistry()
    for cell in MATRICES[matrix].cells(methods.discover(), registry):
        kind, schema = methods.discover()[cell.method], registry[cell.dataset].schema
        sizes = (cell.dataset, cell.method, *(pair for pair in cell.hparams if pair[0] in _sizes(kind, cell)))
        if cell.dataset not in cases or sizes in seen or kind.unsupported(schema):
            continue
        seen.add(sizes)
        if kind.perfect is not Method.perfect and (worst := _worst(_built(cell, schema), cases[cell.dataset])) > 1:
            failures.append(f"{cell} errs {worst:.1f} times what it may")
    assert seen
    return failures


def _sizes(kind: type[Method], cell: Cell) -> set[str]:
    named = {name for name, _ in cell.hparams if name.endswith("_size") or name == "codec"}
    return named | {*lengths(kind), *lengths(kind).values()} - {"batch_size"}


def _built(cell: Cell, schema: LandmarkSchema) -> Method:
    """Construct a method with the cell's sizes and lengths and the smallest networks."""
    kind, hparams = methods.discover()[cell.method], dict(cell.hparams)
    small = {name: value for name, value in kind.smoke.items() if name not in _sizes(kind, cell)}
    offline = {name: "none" for name in hparams if name == "weights"}
    return kind(schema, **hparams | offline | small).eval()


@torch.no_grad()
def _worst(method: Method, cases: Sequence[Case]) -> float:
    """Return the largest error in original pixels, in shares of what it may be; 0 for a method without maps."""
    spec = method.input_spec
    count = max(1, min(FILMS, int(MAP_PIXELS / (spec.size[0] * spec.size[1] * len(method.schema)))))
    chosen = [cases[i] for i in np.unique(np.linspace(0, len(cases) - 1, count).astype(int))]
    method.prepare([_sample(case, spec) for case in [*chosen, *cases[:: 1 + len(cases) // PREPARED]]])
    allowed = (WHOLE_PIXEL if getattr(method, "codec", "") == "argmax" else SUB_PIXEL) * getattr(method, "stride", 1)
    return max(_error(method, case, spec) / allowed for case in chosen)


def _error(method: Method, case: Case, spec: InputSpec) -> float:
    batch = collate([_sample(case, spec)])
    found = method.perfect(batch)
    if found is None:
        return 0.0
    errors = (found.transform(batch.to_image).points - torch.from_numpy(case.points)).norm(dim=-1)
    per_network_pixel = batch.to_image[0, :, :2].diagonal().max()
    inside = ((batch.points > -0.5) & (batch.points < torch.tensor(spec.size[::-1]) - 0.5)).all(dim=-1)
    within: Tensor = errors[inside].nan_to_num(torch.inf) / per_network_pixel
    return float(within.max()) if within.numel() else 0.0


def _sample(case: Case, spec: InputSpec) -> Sample:
    """Return a case in network pixels, as the datamodule does, with a black film."""
    to_image = to_image_affine(Box(0, 0, case.size[1], case.size[0]), spec)
    points = torch.from_numpy(transform_points(invert_affine(to_image), case.points)).float()
    image = torch.zeros(1, 1, 1, dtype=torch.uint8).expand(1, *spec.size)
    visible = points.isfinite().all(dim=-1)
    return Sample(case.name, image, points, visible, torch.tensor(case.spacing), torch.from_numpy(to_image).float())
