"""BUU-LSPINE, AP: lumbar films of 3,600 patients with 20 landmarks (Klinwichit et al. 2023).

`AP/NNNN-S-AAAY0.jpg` is the film of patient NNNN, sex S (F or M), AAA years old; the csv beside it has 10 lines
`x1,y1,x2,y2,label`, the end plates from L1's upper one to L5's lower one.
"""

from __future__ import annotations

from pathlib import Path

from datamodules.components.labels.end_plates import end_plate_schema
from datamodules.families.buu_view import BUUView


class BUUAP(BUUView):
    """The AP films of BUU-LSPINE. Pixels, and millimetres where version 2's table of spacings is there."""

    view_folder, digit, view = "AP", 0, "AP"
    title = "BUU-LSPINE AP (lumbar spine)"
    layout = """
AP/0001-F-037Y0.jpg     patient 0001, F or M, 37 years, 0: AP
AP/0001-F-037Y0.csv     10 lines x1,y1,x2,y2,label: L1 upper, L1 lower, ... L5 lower end plate
"""
    schema = end_plate_schema(sacrum=False)

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write the AP films of 48 patients, 512 px high."""
        from datamodules.phantom.lumbar.files import write_buu

        write_buu(root, cls.phantom_films * scale, seed, views=("AP",))
