"""Crops of lumbar vertebrae L1 to L5 with five points, as in Upadhyay et al. 2020 (a private set)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from datamodules.families.vertebra_crop import VertebraCrops, crop_layout, crop_protocol

_LEVELS = ("L1", "L2", "L3", "L4", "L5")


class LumbarCrops(VertebraCrops):
    """Crops of L1 to L5; of the paper's 55,000 vertebrae 5,000 validate and 5,000 test."""

    title = "Lumbar vertebra crops, L1 to L5 (4 corners and spinous process)"
    layout = crop_layout(_LEVELS)
    protocols = crop_protocol(_LEVELS, "the paper (5 validate and 5 of 55 test)")
    levels = _LEVELS
    shares = (5 / 55, 5 / 55)
    folders: ClassVar[tuple[str, ...]] = ("lumbar_crops",)

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write 40 patients of five crops, cut from films of 512 px height."""
        from datamodules.phantom.cervical.crops import write_lumbar_crops

        write_lumbar_crops(root, 40 * scale, cls.schema.names, seed=seed)
