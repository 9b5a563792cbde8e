"""Where phantoms are written."""

from pathlib import Path

import pytest

import datamodules
from benchmark.dataset_folders import write_phantom


def test_two_commands_that_draw_one_phantom_at_a_time_both_find_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand = datamodules.discover()["hand"]

    def write(root: Path, seed: int = 0, scale: int = 1) -> None:
        """Draw while another process finishes the same phantom."""
        for folder in (root, tmp_path / "hand"):
            folder.mkdir()
            (folder / "all.csv").write_text(f"drawn from seed {seed} at scale {scale}")

    monkeypatch.setattr(hand, "write_phantom", write)
    found = write_phantom("hand", hand, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["hand"]
    assert (found / "all.csv").read_text() == "drawn from seed 0 at scale 1"
