"""A tiny BUU-LSPINE phantom in its layout: lateral films of 16 patients, 96 px high."""

from pathlib import Path

from datamodules.phantom.lumbar.files import write_buu


def write(root: Path) -> None:
    """Write the dataset into `root`."""
    write_buu(root, 16, seed=0, views=("LA",), height=96)
