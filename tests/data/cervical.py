"""A tiny cervical phantom in its layout: ten patients of 128 px height, 10 neutral, 6 extension and 5 flexion films."""

from pathlib import Path

from datamodules.cervical import Cervical
from datamodules.phantom.cervical.films import write_cervical


def write(root: Path) -> None:
    """Write the dataset into `root`."""
    write_cervical(root, {"LC": 10, "LCE": 6, "LCF": 5}, Cervical.schema.names, height=128)
