"""A tiny phantom of the combined lumbar set: 14 films of BUU-LSPINE and 8 of NHANES II, 96 px high."""

from pathlib import Path

from datamodules.phantom.lumbar.files import write_buu, write_nhanes2


def write(root: Path) -> None:
    """Write both sources into `root`."""
    write_buu(root / "buu", 14, seed=0, views=("LA",), height=96)
    write_nhanes2(root / "nhanes2", nh2=0, tif8=2, jpg=6, seed=1, height=96)
