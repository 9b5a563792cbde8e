"""A first card from a look at a folder: its films, the format of its labels, the names and what they suggest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from datamodules.components.cards.card import Card
from datamodules.components.cards.formats.tables import table_rows
from datamodules.components.cards.label_detection import LabelFindings, find_labels, pattern_of, patterns_of
from datamodules.components.cards.left_right import propose_flips
from datamodules.components.cards.records import CardFolder
from datamodules.components.errors import DataError
from datamodules.components.images.dicom import dicom_spacing, dicom_text, is_dicom
from datamodules.components.images.image_io import FILM_SUFFIXES

PATIENT = ("patient", "patient_id", "patientid", "subject", "subject_id", "pid")
SPLIT = ("split", "set", "subset", "partition")
SPACING = ("spacing", "pixel_spacing", "pixelspacing", "mm_per_pixel", "px_mm", "mm_px")
PARTS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}
"""What people call the parts of a split."""


def write_card(folder: Path, out: Path) -> list[str]:
    """Write a first card for a folder, marked private, once it has read the folder with it.

    Args:
        folder: With films and labels.
        out: The card; it must not exist.

    Returns:
        What was found, a sentence each, nothing private among them.

    Raises:
        DataError: The folder is not there, holds no films or no labels that are known, or the card exists.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give the folder with images and labels.")
    if out.exists():
        raise DataError(f"{out} is there already; delete it or choose another file with --out.")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _is_hidden(path, folder))
    films = [path for path in files if path.suffix.lower() in FILM_SUFFIXES or (not path.suffix and is_dicom(path))]
    if not films:
        raise DataError(f"{folder} holds no image ({', '.join(FILM_SUFFIXES)}); give the folder with the films.")
    findings = find_labels(folder, files)
    notes: list[str] = []
    content = _content(folder, out, films, findings, notes)
    text = _text(content, findings, _tables(folder, files, films, findings))
    described = _try(text, out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    form, landmarks, flaws = findings.annotations["format"], len(findings.names), len(described.flaws)
    readers = len(content["annotations"].get("readers", ()))
    by = f" by {readers} readers" if readers else ""
    said = f"{form} labels of {len(described.records)} images{by}, {landmarks} landmarks each"
    said_pairs = f"{len(content.get('flips', []))} left-right pairs among the names"
    notes += [f"{flaws} label files or entries cannot be used: data check --reveal names them"] if flaws else []
    return [f"{len(films)} images", said, said_pairs, *notes]


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)


def _try(text: str, out: Path) -> CardFolder:
    """Return the folder read with a card that is not written yet.

    Raises:
        DataError: The card does not fit the folder.
    """
    try:
        card = Card.parse(yaml.safe_load(text), out)
    except ValueError as error:
        raise DataError(f"no card can be written: {error}") from error
    described = CardFolder(card, card.folder)
    try:
        for rule in card.rules.values():
            described.members(rule)
    except LookupError as error:
        raise DataError(f"no card can be written: {error}.") from error
    if not described.records:
        raise DataError(described.flaws[0])
    return described


def _content(
    folder: Path, out: Path, films: Sequence[Path], findings: LabelFindings, notes: list[str]
) -> dict[str, Any]:
    """Return the card's keys; what is left to be decided, and why, is added to `notes`."""
    root = "." if out.parent.resolve() == folder.resolve() else str(folder.resolve())
    content: dict[str, Any] = {
        "name": _name(folder),
        "private": True,
        "root": root,
        "images": pattern_of(folder, films),
        "annotations": _annotations(folder, findings),
        "names": findings.names,
    }
    flips = propose_flips(findings.names)
    content |= {"flips": flips} if flips else {}
    return content | _spacing(films, findings) | _patient(films, findings, notes) | _split(folder, films, findings)


def _annotations(folder: Path, findings: LabelFindings) -> dict[str, Any]:
    """Return the card's annotations, by reader where folders hold label files of the same names."""
    by_folder: dict[Path, list[Path]] = {}
    for path in findings.files:
        by_folder.setdefault(path.parent, []).append(path)
    names = [{path.stem for path in files} for files in by_folder.values()]
    per_film = findings.annotations["format"] in ("labelme", "text")
    published = {part for path in by_folder if (part := _part(path.name))}
    if not per_film or len(names) < 2 or published or len(set.intersection(*names)) < max(map(len, names)) / 2:
        return findings.annotations
    spec = {key: value for key, value in findings.annotations.items() if key != "path"}
    readers = {re.sub(r"[^A-Za-z0-9-]+", "-", path.name): files for path, files in by_folder.items()}
    return spec | {"readers": {name: patterns_of(folder, files) for name, files in readers.items()}}


def _name(folder: Path) -> str:
    """Return the folder's name as a dataset can have it, another one than those of this package."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", folder.resolve().name).strip("-").lower() or "films"
    return f"{name}-set" if (Path(__file__).parents[2] / f"{name}.py").is_file() else name


def _spacing(films: Sequence[Path], findings: LabelFindings) -> dict[str, Any]:
    if column := _column(findings, SPACING):
        return {"spacing": {"column": column}}
    sound = any(is_dicom(film) and dicom_spacing(film)[0] > 0 for film in films)
    return {"spacing": {"dicom": "PixelSpacing"}} if sound else {}


def _patient(films: Sequence[Path], findings: LabelFindings, notes: list[str]) -> dict[str, Any]:
    """Return the card's patient; a patient that all films share tells nothing."""
    column = _column(findings, PATIENT)
    found = findings.columns[column] if column else [dicom_text(film, "PatientID") for film in films if is_dicom(film)]
    patients = set(found) - {""}
    if len(patients) == 1 and len(found) > 1:
        where = "one value in the patient column" if column else "one PatientID"
        notes.append(f"all {len(found)} films have {where}: decide the card's `patient` yourself")
    elif patients:
        return {"patient": {"column": column} if column else {"dicom": "PatientID"}}
    return {}


def _split(folder: Path, films: Sequence[Path], findings: LabelFindings) -> dict[str, Any]:
    """Return the card's split: the one that a column, the films' folders or the label files' names tell."""
    column = _column(findings, SPLIT)
    if (rule := _parts(findings.columns.get(column, ()))) is not None:
        return {"split": {"column": column, **rule}}
    paths = [film.relative_to(folder).parts[:-1] for film in films]
    for level in range(max(map(len, paths))):
        words = [parts[level] for parts in paths if len(parts) > level]
        if (rule := _parts(words)) is not None:
            return {"split": {"pattern": f"^{'[^/]+/' * level}({'|'.join(dict.fromkeys(words))})/", **rule}}
    words = [match[0] for path in findings.files if (match := re.search("[a-z]+", path.stem.rpartition("_")[2]))]
    if len(findings.files) > 1 and (rule := _parts(words)) is not None:
        alternatives = "|".join(dict.fromkeys(words))
        return {"split": {"pattern": rf"({alternatives})\d*\{findings.files[0].suffix}", **rule}}
    return {"split": {"ratio": [0.7, 0.1, 0.2], "seed": 0}}


def _parts(values: Sequence[str]) -> dict[str, Any] | None:
    """Return the words of a published split that are not the card's defaults; None where it is none."""
    by_part = {part: [v for v in dict.fromkeys(values) if v.lower() in words] for part, words in PARTS.items()}
    known = [value for words in by_part.values() for value in words]
    if not by_part["train"] or not by_part["test"] or set(values) - set(known) - {""}:
        return None
    keys = {"train": "train", "val": "val", "test": "tests"}
    return {keys[part]: words for part, words in by_part.items() if words and words != [part]}


def _part(word: str) -> str:
    return next((part for part, words in PARTS.items() if word.lower() in words), "")


def _tables(folder: Path, files: Sequence[Path], films: Sequence[Path], findings: LabelFindings) -> list[str]:
    """Return a line of a card per table that has a line for half of the films or more, and names its columns."""
    stems = {film.stem.casefold() for film in films}
    lines = []
    for path in files:
        if path.suffix.lower() not in (".csv", ".tsv") or path in findings.files:
            continue
        try:
            rows = table_rows(path)
        except DataError:
            continue
        for column in rows[0].values:
            if 2 * len(stems & {Path(row.values[column]).stem.casefold() for row in rows}) >= len(stems):
                others = ", ".join(name for name in rows[0].values if name != column)
                table = _flow({"path": path.relative_to(folder).as_posix(), "case": column})
                lines.append(f"table: {table}   # its columns: {others}")
                break
    return lines


def _text(content: Mapping[str, Any], findings: LabelFindings, tables: Sequence[str]) -> str:
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
    lines += [f"# {text}" for text in tables]
    lines += ["# groups: {T1: [a, b, c, d]}     # structures, a vertebra's corners say", "# edges: [[a, b]]"]
    lines += ["# normalizer: [a, b]              # the pair whose distance normalises the NME"]
    lines += [f"# radii: {'[2, 2.5, 3, 4]' if 'spacing' in content else '[10, 20, 30, 40]'}"]
    if findings.annotations["format"] in ("labelme", "cvat"):
        lines.append("# annotations: add `origin: corner` if the tool counts from the first pixel's corner")
    return "\n".join(lines) + "\n"


def _column(findings: LabelFindings, words: Sequence[str]) -> str:
    return next((name for name in findings.columns if name.lower().replace(" ", "_") in words), "")


def _dumped(key: str, value: object) -> str:
    """Write a key with its value; lists of pairs in one line each."""
    if key == "flips":
        return "flips:\n" + "\n".join(f"- {_flow(pair)}" for pair in value)  # type: ignore[attr-defined]
    if isinstance(value, (dict, list)) and key != "names":
        return f"{key}: {_flow(value)}"
    return yaml.safe_dump({key: value}, sort_keys=False, allow_unicode=True).strip()


def _flow(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10**6).strip()
