"""Drawn films as a hospital has them: DICOM files, a table of points and a card."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from jaxtyping import Float, UInt8
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian, generate_uid

from datamodules.phantom.spine import spine_film

CARD = Path(__file__).parent / "private.yaml"
VERTEBRAE = {"T1": 0, "T7": 6, "L4": 15}
CORNERS = ("upper-left", "upper-right", "lower-left", "lower-right")
NAMES = tuple(f"{vertebra}-{corner}" for vertebra in VERTEBRAE for corner in CORNERS)
FILM_MM = 600.0
"""Height of a drawn film in the patient."""


class Labelled(NamedTuple):
    """A film's name with its points.

    Attributes:
        image: The file's path relative to the set's folder.
        points: Landmarks in the order of the names; NaN where missing.
        size: (height, width).
    """

    image: str
    points: Float[np.ndarray, "landmark 2"]
    size: tuple[int, int]


def write_private(root: Path, films: int, seed: int = 0, height: int = 384) -> None:
    """Write films as DICOM, `points.csv` and the example card, in the layout that the card describes.

    Every second film is MONOCHROME1; two films in a row show one patient; the last quarter of the patients is the test.
    """
    rows = []
    for index in range(films):
        film = spine_film(seed * 1000 + index, height)
        points = film.points.reshape(-1, 4, 2)[list(VERTEBRAE.values())].reshape(-1, 2)
        image = f"films/film{index:03d}.dcm"
        spacing = (FILM_MM / height, FILM_MM / height)
        photometric = "MONOCHROME1" if index % 2 else "MONOCHROME2"
        write_dicom(root / image, film.image, spacing=spacing, photometric=photometric, patient=f"P{index // 2}")
        part = "test" if index // 2 >= films // 2 * 3 // 4 else "train"
        columns = {"patient": f"P{index // 2}", "set": part, "sex": "FM"[index // 2 % 2]}
        rows.append((Labelled(image, points, film.image.shape), columns))
    write_wide(root / "points.csv", [labelled for labelled, _ in rows], NAMES, [columns for _, columns in rows])
    shutil.copyfile(CARD, root / "private.yaml")


def write_dicom(
    path: Path,
    image: UInt8[np.ndarray, "height width"],
    *,
    spacing: tuple[float, float] | None = None,
    photometric: str = "MONOCHROME2",
    bits: int = 12,
    window: tuple[float, float] | None = None,
    patient: str = "",
    **elements: object,
) -> None:
    """Write a film as uncompressed DICOM of 8 to 16 bits.

    Args:
        path: The file; its folder is made.
        image: White is high, whatever `photometric` says of the file.
        spacing: Millimetres per pixel in (x, y), written as PixelSpacing, rows first.
        photometric: MONOCHROME2, or MONOCHROME1, whose values are stored turned round.
        bits: Stored bits a pixel.
        window: Centre and width.
        patient: PatientID.
        elements: More elements by keyword.
    """
    top = 2**bits - 1
    stored = (image.astype(np.float64) / 255 * top).round()
    stored = (top - stored if photometric == "MONOCHROME1" else stored).astype(np.uint8 if bits == 8 else np.uint16)
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
    dataset.Modality, dataset.PatientID, dataset.PatientName = "CR", patient, ""
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, photometric, 0
    dataset.Rows, dataset.Columns = image.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8 if bits == 8 else 16, bits, bits - 1
    if spacing:
        dataset.PixelSpacing = [f"{spacing[1]:.8g}", f"{spacing[0]:.8g}"]
    if window:
        dataset.WindowCenter, dataset.WindowWidth = map(str, window)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = stored.tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)


def write_wide(
    path: Path, films: Sequence[Labelled], names: Sequence[str], columns: Sequence[Mapping[str, str]] = ()
) -> None:
    """Write a table with a line per film, `<name>_x` and `<name>_y` per landmark, and more columns."""
    more = list(columns) or [{}] * len(films)
    header = ["film", *(f"{name}_{axis}" for name in names for axis in "xy"), *more[0]]
    rows = [
        [film.image, *map(number_text, film.points.ravel()), *extra.values()]
        for film, extra in zip(films, more, strict=True)
    ]
    write_table(path, [header, *rows])


def write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def number_text(value: float) -> str:
    """Write a coordinate; nothing where it is NaN."""
    return f"{value:.4f}" if math.isfinite(value) else ""
