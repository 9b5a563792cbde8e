"""A tiny set of lumbar crops in its layout: six patients of five crops, cut from films of 128 px height."""

from pathlib import Path

from datamodules.lumbar_crops import LumbarCrops
from datamodules.phantom.cervical.crops import write_lumbar_crops


def write(root: Path) -> None:
    """Write the dataset into `root`."""
    write_lumbar_crops(root, 6, LumbarCrops.schema.names, height=128)
