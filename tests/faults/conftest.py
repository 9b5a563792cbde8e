"""A phantom to run on."""

from pathlib import Path

import pytest

from datamodules.phantom.hand.films import write_hand


@pytest.fixture
def hand_phantom(tmp_path: Path) -> Path:
    """A folder with a small phantom of the hand dataset."""
    write_hand(tmp_path / "data" / "hand", films=24)
    return tmp_path / "data"
