"""Crops of cervical vertebrae C3 to C7 with five points, as in Upadhyay et al. 2020 (a private set)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from datamodules.families.vertebra_crop import VertebraCrops, crop_layout, crop_protocol

_LEVELS = ("C3", "C4", "C5", "C6", "C7")


class CervicalCrops(VertebraCrops):
    """Crops of C3 to C7; of the paper's 130,000 vertebrae 10,000 validate and 20,000 test."""

    title = "Cervical vertebra crops, C3 to C7 (4 corners and spinous process)"
    layout = crop_layout(_LEVELS)
    protocols = crop_protocol(_LEVELS, "the paper (10 validate and 20 of 130 test)")
    levels = _LEVELS
    shares = (10 / 130, 20 / 130)
    folders: ClassVar[tuple[str, ...]] = ("cervical_crops",)

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write 40 patients of five crops, cut from films of 512 px height."""
        from datamodules.phantom.cervical.crops import write_cervical_crops

        write_cervical_crops(root, 40 * scale, cls.schema.names, seed=seed)
