"""Rows are scored on several cores to the same bytes as on one."""

from pathlib import Path

import numpy as np
import pytest

from benchmark.scoring import score as scoring
from benchmark.scoring.score import score
from tests.scale import fake_store


@pytest.mark.slow
def test_several_processes_score_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fake_store, "DATASETS", ("lumbar_crops",))
    monkeypatch.setattr(fake_store, "VARIANTS", ("mean_shape", "posenet"))
    monkeypatch.setattr(fake_store, "FILMS", 6)
    fake_store.write_store(tmp_path, seeds=1)
    next(tmp_path.rglob("mean_shape/*/predictions.parquet")).write_bytes(b"cut")
    alone = score(tmp_path).read_bytes()
    assert "mean_shape" in caplog.text and "could not be scored" in caplog.text
    (tmp_path / ".scores.json").unlink()
    caplog.clear()
    started = np.array([path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("scores.parquet"))])
    monkeypatch.setattr(scoring, "GROUPS_PER_WORKER", 1)
    monkeypatch.setattr(scoring, "cpu_count", lambda: 2)
    assert score(tmp_path).read_bytes() == alone
    assert "could not be scored" in caplog.text
    again = np.array([path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("scores.parquet"))])
    assert (again > started).any()
