"""A phantom to run on."""

from pathlib import Path

import pytest

import datamodules


@pytest.fixture
def hand_phantom(tmp_path: Path) -> Path:
    """A folder with the phantom of the hand dataset."""
    datamodules.discover()["hand"].write_phantom(tmp_path / "data" / "hand")
    return tmp_path / "data"
