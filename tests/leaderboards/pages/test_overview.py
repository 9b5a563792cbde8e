"""What the overview says of average ranks, by the number of datasets they rest on."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.scoring.score import score
from leaderboards.build import build
from tests.stored_runs import Skull, predictions, write_run


@pytest.mark.parametrize(("datasets", "rough"), [(10, True), (11, False)])
def test_up_to_ten_datasets_the_p_value_of_average_ranks_is_called_rough(
    datasets: int, rough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = {f"set{i:02d}": type(f"Set{i}", (Skull,), {"title": f"set {i}"}) for i in range(datasets)}
    monkeypatch.setattr("datamodules.discover", lambda: registry)
    monkeypatch.setattr("benchmark.scoring.score.GROUPS_PER_WORKER", 100)  # other processes lack the registry
    for dataset in registry:
        for error, variant in enumerate(("posenet", "mnv2", "mean_shape"), 1):
            write_run(tmp_path / "runs", predictions(np.full((2, 3), float(error))), variant=variant, dataset=dataset)
    score(tmp_path / "runs")
    build(tmp_path / "runs", tmp_path / "out", [])
    text = (tmp_path / "out" / "index.md").read_text()
    assert f"{datasets} datasets" in text
    assert ("rough approximation" in text) == rough
    assert "too few for" not in text
