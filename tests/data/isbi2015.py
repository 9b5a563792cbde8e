"""A tiny ISBI 2015 phantom in the challenge's layout: 6 + 3 + 3 films of 120 px height."""

from pathlib import Path

from datamodules.phantom.skull.films import write_isbi


def write(root: Path) -> None:
    """Write the dataset into `root`."""
    write_isbi(root, train=6, test1=3, test2=3, seed=0, height=120)
