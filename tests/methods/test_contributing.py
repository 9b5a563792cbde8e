"""The method that CONTRIBUTING prints is the one that `osteomark new method` writes, and it learns."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from benchmark.cli.new import TEMPLATE
from benchmark.contract.tiny_films import build, make_samples
from datamodules.base import LandmarkSchema
from datamodules.components.samples import collate
from methods import discover

CONTRIBUTING = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


def _example() -> str:
    code = re.search(r"```python\n(.*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    assert code
    return code[1]


def test_contributing_prints_the_template() -> None:
    assert _example() == TEMPLATE.read_text().replace("TEMPLATE_NAME", "my_net").replace("TemplateName", "MyNet")


def test_the_example_of_contributing_loads_as_a_plugin_and_learns(schema: LandmarkSchema, tmp_path: Path) -> None:
    file = tmp_path / "my_net.py"
    file.write_text(_example())
    method = build(discover([file])["my_net"], schema)
    batch = collate(make_samples(method))
    losses = []
    optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
    for _ in range(12):
        loss = method.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert all(p.grad is not None and p.grad.any() for p in method.parameters())
    assert losses[-1] < 0.8 * losses[0]
    assert method.predict(batch).points.shape == batch.points.shape
