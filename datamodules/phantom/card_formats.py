"""Drawn films in the formats that cards can describe: DICOM, tables, COCO, LabelMe, CVAT and text files."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

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
        [film.image, *map(_text, film.points.ravel()), *extra.values()] for film, extra in zip(films, more, strict=True)
    ]
    _write_table(path, [header, *rows])


def write_long(path: Path, films: Sequence[Labelled], names: Sequence[str]) -> None:
    """Write a table with a line per film and landmark; missing landmarks have none."""
    rows = [
        [film.image, name, _text(x), _text(y)]
        for film in films
        for name, (x, y) in zip(names, film.points, strict=True)
        if np.isfinite(x)
    ]
    _write_table(path, [["film", "landmark", "x", "y"], *rows])


def write_coco(path: Path, films: Sequence[Labelled], names: Sequence[str]) -> None:
    """Write COCO keypoints; missing ones have v = 0."""
    keypoints = [
        [value for x, y in film.points.tolist() for value in ((x, y, 2) if math.isfinite(x) else (0, 0, 0))]
        for film in films
    ]
    content = {
        "images": [
            {"id": index, "file_name": film.image, "height": film.size[0], "width": film.size[1]}
            for index, film in enumerate(films)
        ],
        "categories": [{"id": 1, "name": "film", "keypoints": list(names)}],
        "annotations": [
            {"id": index, "image_id": index, "category_id": 1, "keypoints": values}
            for index, values in enumerate(keypoints)
        ],
    }
    path.write_text(json.dumps(content))


def write_labelme(folder: Path, films: Sequence[Labelled], names: Sequence[str]) -> None:
    """Write a LabelMe file per film."""
    folder.mkdir(parents=True, exist_ok=True)
    for film in films:
        shapes = [
            {"label": name, "points": [point], "shape_type": "point"}
            for name, point in zip(names, film.points.tolist(), strict=True)
            if math.isfinite(point[0])
        ]
        content: dict[str, object] = {
            **{"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"../{film.image}", "imageData": None},
            **{"imageHeight": film.size[0], "imageWidth": film.size[1]},
        }
        (folder / f"{Path(film.image).stem}.json").write_text(json.dumps(content, indent=2))


def write_cvat(path: Path, films: Sequence[Labelled], names: Sequence[str]) -> None:
    """Write CVAT for images 1.1; missing landmarks are outside."""
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for index, film in enumerate(films):
        height, width = map(str, film.size)
        image = ElementTree.SubElement(root, "image", id=str(index), name=film.image, width=width, height=height)
        for name, (x, y) in zip(names, film.points, strict=True):
            there = bool(np.isfinite(x))
            text = f"{_text(x)},{_text(y)}" if there else "0,0"
            ElementTree.SubElement(image, "points", label=name, points=text, outside="0" if there else "1")
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def write_text(folder: Path, films: Sequence[Labelled]) -> None:
    """Write a text file per film, `x y` in the landmarks' order."""
    folder.mkdir(parents=True, exist_ok=True)
    for film in films:
        lines = [f"{_text(x) or 'nan'} {_text(y) or 'nan'}" for x, y in film.points]
        (folder / f"{Path(film.image).stem}.txt").write_text("\n".join(lines) + "\n")


def _write_table(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def _text(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else ""
