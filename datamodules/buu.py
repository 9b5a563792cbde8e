"""BUU-LSPINE, lateral: lumbar films of 3,600 patients with 22 landmarks (Klinwichit et al. 2023).

`LA/NNNN-S-AAAY1.jpg` is the film of patient NNNN, sex S (F or M), AAA years old; the csv beside it has 11 lines
`x1,y1,x2,y2,label`, the end plates from L1's upper one to S1's.
"""

from __future__ import annotations

from pathlib import Path

from datamodules.components.labels.end_plates import end_plate_schema
from datamodules.families.buu_view import BUUView


class BUU(BUUView):
    """The lateral films of BUU-LSPINE. Pixels, and millimetres where version 2's table of spacings is there.

    Films are of many sizes and, where the patient faces the other way, mirrored: corner names are those of the image.
    """

    view_folder, digit, view = "LA", 1, "lateral"
    title = "BUU-LSPINE lateral (lumbar spine)"
    layout = """
LA/0001-F-037Y1.jpg     patient 0001, F or M, 37 years, 1: lateral
LA/0001-F-037Y1.csv     11 lines x1,y1,x2,y2,label: L1 upper, L1 lower, ... L5 lower, S1 upper end plate
"""
    schema = end_plate_schema(sacrum=True)

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write the lateral films of 48 patients, 512 px high."""
        from datamodules.phantom.lumbar.files import write_buu

        write_buu(root, cls.phantom_films * scale, seed, views=("LA",))
