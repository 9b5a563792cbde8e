"""A tiny Digital Hand Atlas phantom in its layout: 9 films of 128 px height, in the published and the reduced folds."""

import shutil
from pathlib import Path

from datamodules.phantom.hand.films import write_hand


def write(root: Path) -> None:
    """Write the dataset into `root`."""
    write_hand(root, films=9, seed=0, height=128)
    shutil.copytree(root / "cv", root / "cv_reduced")
