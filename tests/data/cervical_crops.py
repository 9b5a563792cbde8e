"""A tiny set of cervical crops in its layout: six patients of five crops, cut from films of 128 px height."""

from pathlib import Path

from datamodules.cervical_crops import CervicalCrops
from datamodules.phantom.cervical.crops import write_cervical_crops


def write(root: Path) -> None:
    """Write the dataset into `root`."""
    write_cervical_crops(root, 6, CervicalCrops.schema.names, height=128)
