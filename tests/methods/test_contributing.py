"""The method that CONTRIBUTING prints is a method."""

from __future__ import annotations

import re
from pathlib import Path

from datamodules.base import LandmarkSchema
from datamodules.components.samples import collate
from methods import discover

from .conftest import build, make_samples

CONTRIBUTING = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"


def test_the_example_of_contributing_loads_as_a_plugin_and_learns(schema: LandmarkSchema, tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", CONTRIBUTING.read_text(), re.DOTALL)
    assert code
    file = tmp_path / "my_net.py"
    file.write_text(code[1])
    method = build(discover([file])["my_net"], schema)
    batch = collate(make_samples(method))
    loss = method.loss(batch)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in method.parameters())
    assert method.predict(batch).points.shape == batch.points.shape
