"""A tiny AASCE phantom in the challenge's layout: 12 training and 4 test films of 128 px height."""

from pathlib import Path

from datamodules.phantom.spine import write_aasce


def write(root: Path) -> None:
    """Write the dataset into `root`."""
    write_aasce(root, train=12, test=4, seed=0, height=128)
