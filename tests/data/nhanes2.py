"""A tiny NHANES II phantom in its layout: one raw film at full size, two tif and nine jpg films 96 px high."""

from pathlib import Path

from datamodules.phantom.lumbar.files import write_nhanes2


def write(root: Path) -> None:
    """Write the dataset into `root`."""
    write_nhanes2(root, nh2=1, tif8=2, jpg=9, seed=0, height=96)
