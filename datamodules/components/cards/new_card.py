"""A first card from a look at a folder: its images, the format of its labels, the names and what they suggest."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from datamodules.components.cards.card import Card
from datamodules.components.cards.recognise import Findings, find_labels, pattern_of
from datamodules.components.errors import DataError
from datamodules.components.images.dicom import dicom_spacing, dicom_text, is_dicom
from datamodules.components.images.image_io import FILM_SUFFIXES

MIRRORED = (
    *(("left", "right"), ("l", "r"), ("lt", "rt"), ("sinister", "dexter"), ("sin", "dex"), ("links", "rechts")),
    *(("tl", "tr"), ("bl", "br"), ("ul", "ur"), ("ll", "lr"), ("gauche", "droite")),
)
"""Words of names that trade places when a film is mirrored."""
PATIENT = ("patient", "patient_id", "patientid", "subject", "subject_id", "pid")
SPLIT = ("split", "set", "subset", "partition")
SPACING = ("spacing", "pixel_spacing", "pixelspacing", "mm_per_pixel", "px_mm", "mm_px")
_WORD = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])")


def write_card(folder: Path, out: Path) -> list[str]:
    """Write a first card for a folder, marked private, with a salt of its own.

    Args:
        folder: With images and labels.
        out: The card; it must not exist.

    Returns:
        What was found, a sentence each, nothing private among them.

    Raises:
        DataError: The folder is not there, holds no images or no labels that are known, or the card exists.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give the folder with images and labels.")
    if out.exists():
        raise DataError(f"{out} is there already; delete it or choose another file with --out.")
    images = find_images(folder)
    found = find_labels(folder)
    content = _content(folder, out, images, found)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(_text(content, found), encoding="utf-8")
    Card.load(out)
    said = f"{found.annotations['format']} labels of {found.images} images, {len(found.names)} landmarks each"
    return [f"{len(images)} images", said, f"{len(content.get('flips', []))} left-right pairs among the names"]


def find_images(folder: Path) -> list[Path]:
    """Return the images below a folder.

    Raises:
        DataError: There is none.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    images = [path for path in files if path.suffix.lower() in FILM_SUFFIXES or (not path.suffix and is_dicom(path))]
    if not images:
        raise DataError(f"{folder} holds no image ({', '.join(FILM_SUFFIXES)}); give the folder with the films.")
    return images


def propose_flips(names: Sequence[str]) -> list[list[str]]:
    """Return pairs of names that differ in a word for left and right.

    Example:
        >>> propose_flips(["apex_left", "carina", "apex_right", "L1-TL", "L1-TR"])
        [['apex_left', 'apex_right'], ['L1-TL', 'L1-TR']]
    """
    words = {name: tuple(word.lower() for word in _WORD.split(name)) for name in names}
    known = {spelt: name for name, spelt in words.items()}
    pairs: list[list[str]] = []
    for name, spelt in words.items():
        for left, right in MIRRORED:
            for index in (index for index, word in enumerate(spelt) if word == left):
                other = known.get((*spelt[:index], right, *spelt[index + 1 :]))
                if other and not any(used in pair for pair in pairs for used in (name, other)):
                    pairs.append([name, other])
    return pairs


def _content(folder: Path, out: Path, images: Sequence[Path], found: Findings) -> dict[str, Any]:
    root = "." if out.parent.resolve() == folder.resolve() else str(folder.resolve())
    content: dict[str, Any] = {
        "name": _name(folder),
        "private": True,
        "salt": secrets.token_hex(16),
        "root": root,
        "images": pattern_of(folder, images),
        "annotations": found.annotations,
        "names": found.names,
    }
    flips = propose_flips(found.names)
    content |= {"flips": flips} if flips else {}
    return content | _spacing(images, found) | _patient(images, found) | _split(found)


def _name(folder: Path) -> str:
    """Return the folder's name as a dataset can have it, another one than those of this package."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", folder.resolve().name).strip("-").lower() or "films"
    return f"{name}-set" if (Path(__file__).parents[2] / f"{name}.py").is_file() else name


def _spacing(images: Sequence[Path], found: Findings) -> dict[str, Any]:
    if column := _column(found, SPACING):
        return {"spacing": {"column": column}}
    sound = is_dicom(images[0]) and dicom_spacing(images[0])[0] > 0
    return {"spacing": {"dicom": "PixelSpacing"}} if sound else {}


def _patient(images: Sequence[Path], found: Findings) -> dict[str, Any]:
    if column := _column(found, PATIENT):
        return {"patient": {"column": column}}
    known = is_dicom(images[0]) and dicom_text(images[0], "PatientID")
    return {"patient": {"dicom": "PatientID"}} if known else {}


def _split(found: Findings) -> dict[str, Any]:
    column = _column(found, SPLIT)
    values = set(found.columns.get(column, ()))
    if {"train", "test"} <= values <= {"train", "val", "test"}:
        return {"split": {"column": column}}
    return {"split": {"ratio": [0.7, 0.1, 0.2], "seed": 0}}


def _text(content: Mapping[str, Any], found: Findings) -> str:
    """Write the card with what its author has to decide said beside it."""
    missing = {
        "spacing": "spacing: {mm_per_pixel: 0.1}   # or column, dicom, between: without it all is scored in pixels",
        "patient": "patient: {column: patient}     # or pattern, dicom: without it every film is a patient of its own",
        "flips": "flips: [[apex-left, apex-right]]   # names that trade places when a film is mirrored",
    }
    lines = ["# A first card, written by a look at the folder: read every line. See docs/private-data.md."]
    lines += [_dumped(key, value) for key, value in content.items()]
    lines += ["", "# To be decided:"]
    lines += [f"# {text}" for key, text in missing.items() if key not in content]
    lines += ["# groups: {T1: [a, b, c, d]}     # structures, a vertebra's corners say", "# edges: [[a, b]]"]
    lines += ["# normalizer: [a, b]              # the pair whose distance normalises the NME"]
    lines += [f"# radii: {'[2, 2.5, 3, 4]' if 'spacing' in content else '[10, 20, 30, 40]'}"]
    if found.annotations["format"] in ("labelme", "cvat"):
        lines.append("# annotations: add `origin: corner` if the tool counts from the first pixel's corner")
    return "\n".join(lines) + "\n"


def _column(found: Findings, words: Sequence[str]) -> str:
    return next((name for name in found.columns if name.lower().replace(" ", "_") in words), "")


def _dumped(key: str, value: object) -> str:
    """Write a key with its value; lists of pairs in one line each."""
    if key == "flips":
        return "flips:\n" + "\n".join(f"- {_flow(pair)}" for pair in value)  # type: ignore[attr-defined]
    if isinstance(value, (dict, list)) and key != "names":
        return f"{key}: {_flow(value)}"
    return yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True).strip()


def _flow(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6).strip()
