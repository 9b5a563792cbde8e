"""The example card's set, tiny: 12 DICOM films of 96 px height of 6 patients."""

from pathlib import Path

from datamodules.phantom.card_formats import write_private


def write(root: Path) -> None:
    """Write the dataset into `root`."""
    write_private(root, films=12, seed=0, height=96)
