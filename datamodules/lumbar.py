"""The lumbar set of An et al. (Sensors 2022): lateral films of BUU-LSPINE and NHANES II together, 22 landmarks.

The folder holds both datasets in their own layouts, see `buu.py` and `nhanes2.py`. Which of their films the paper took
is not published, only how many: 1524, of which 976 train, 244 validate and 304 test.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.base import Case, DataError, Inventory, LandmarkDataModule, Protocol
from datamodules.buu import BUU
from datamodules.components.labels.end_plates import end_plate_schema
from datamodules.components.protocols import Split, hold_out
from datamodules.nhanes2 import NHANES2

PAPER = {"train": 976, "val": 244, "test": 304}
"""Films of each part in the paper."""
SEED = 0
SOURCES: Mapping[str, type[BUU | NHANES2]] = {"buu": BUU, "nhanes2": NHANES2}
CROSSINGS = {"buu-to-nhanes2": ("buu", "nhanes2"), "nhanes2-to-buu": ("nhanes2", "buu")}


class Lumbar(LandmarkDataModule):
    """BUU-LSPINE (lateral) and NHANES II together. Pixels: the spacing is known for NHANES II only.

    The paper's case lists are unpublished, so its numbers are drawn here by a seed, whole patients at a time: from all
    films where there are more than 1524, in the paper's proportions where there are fewer, which the notes say.
    """

    title = "An et al. 2022 (lateral lumbar spine: BUU-LSPINE and NHANES II)"
    licence = f"BUU-LSPINE: {BUU.licence} NHANES II: {NHANES2.licence}"
    obtain = f"{BUU.obtain} {NHANES2.obtain}"
    layout = f"""
buu/        (or {", ".join(BUU.folders[1:])})
{BUU.layout.strip()}
nhanes2/    (or {", ".join(NHANES2.folders[1:])})
{NHANES2.layout.strip()}
"""
    schema = end_plate_schema(sacrum=True)
    protocols = (
        Protocol(
            "an2022",
            "976 films train, 244 validate and 304 test as in An et al. (or in proportion), drawn once for everybody.",
        ),
        Protocol("cross-source", "All films of one source train, all of the other test.", splits=tuple(CROSSINGS)),
    )
    radii = (10.0, 20.0, 30.0, 40.0)
    patient_rule = "The number at the start of a film's name is its patient's, and NHANES II has one film a patient."
    folders: ClassVar[tuple[str, ...]] = ("lumbar",)
    phantom_films = 60

    def scan(self) -> Inventory:
        """Read both sources."""
        cases: dict[str, Case] = {}
        missing: list[str] = []
        oddities: list[str] = []
        notes: list[str] = []
        unreadable: list[str] = []
        for source, data in self._sources.items():
            found = data.scan()
            folder = data.root.relative_to(self.root)
            cases |= {
                name: case._replace(patient=f"{source}-{case.patient}", view=source)
                for name, case in found.cases.items()
            }
            missing += [str(folder / file) for file in found.missing]
            oddities += found.oddities
            notes += [f"{folder}: {note}" for note in found.notes]
            unreadable += found.unreadable
        missing += [f"{source}, the whole folder" for source in SOURCES if source not in self._sources]
        return Inventory(cases, tuple(missing), tuple(oddities), (*notes, *self._size_note()), tuple(unreadable))

    def splits(self) -> tuple[Split, ...]:
        """Draw the paper's numbers, or train on one source and test on the other."""
        if self.protocol.name == "cross-source":
            return tuple(self._crossing(name, *ends) for name, ends in CROSSINGS.items())
        drawn = draw_parts(self._patients, PAPER, SEED)
        return (Split("main", drawn["train"], drawn["val"], {"test": drawn["test"]}),)

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write 40 films of BUU-LSPINE and 20 of NHANES II."""
        from datamodules.phantom.lumbar.files import write_buu, write_nhanes2

        write_buu(root / "buu", 40 * scale, seed, views=("LA",))
        write_nhanes2(root / "nhanes2", nh2=2 * scale, tif8=2 * scale, jpg=16 * scale, seed=seed + 1)

    @cached_property
    def _sources(self) -> Mapping[str, BUU | NHANES2]:
        """Each source that has a folder here.

        Raises:
            DataError: There is none.
        """
        found: dict[str, BUU | NHANES2] = {}
        for source, dataset in SOURCES.items():
            folder = next((self.root / name for name in dataset.folders if (self.root / name).is_dir()), None)
            if folder is not None:
                found[source] = dataset(folder, allow_missing=True)
        if not found:
            raise self.foreign_folder(f"neither {' nor '.join(SOURCES)} is there")
        return found

    @cached_property
    def _patients(self) -> dict[str, str]:
        """Each film's patient, of both sources."""
        patients: dict[str, str] = {}
        for source, data in self._sources.items():
            patients |= {stem: f"{source}-{patient}" for stem, patient in data.patients.items()}
        return patients

    def _crossing(self, name: str, source: str, target: str) -> Split:
        """Train on `source` and test on `target`."""
        stems = {end: self._sources[end].stems if end in self._sources else () for end in (source, target)}
        train, val = hold_out(stems[source], self._patients)
        return Split(name, train, val, {target: stems[target]})

    def _size_note(self) -> tuple[str, ...]:
        """Say how the paper's numbers were met."""
        films, wanted = len(self._patients), sum(PAPER.values())
        if films == wanted:
            return ()
        if films > wanted:
            return (f"{wanted} of the {films} films here were drawn by seed {SEED}, as many as An et al. have.",)
        parts = ", ".join(f"{count} {part}" for part, count in scaled(PAPER, films).items())
        return (f"{films} films are here instead of the {wanted} of An et al.: split in their proportions ({parts}).",)


def scaled(counts: Mapping[str, int], total: int) -> dict[str, int]:
    """Scale counts in proportion so that they add up to `total`; the largest remainders are rounded up.

    Example:
        >>> scaled({"train": 976, "val": 244, "test": 304}, 100)
        {'train': 64, 'val': 16, 'test': 20}
    """
    exact = {part: count * total / sum(counts.values()) for part, count in counts.items()}
    floors = {part: int(value) for part, value in exact.items()}
    by_remainder = sorted(exact, key=lambda part: floors[part] - exact[part])
    for part in by_remainder[: total - sum(floors.values())]:
        floors[part] += 1
    return floors


def draw_parts(patients: Mapping[str, str], counts: Mapping[str, int], seed: int) -> dict[str, tuple[str, ...]]:
    """Draw disjoint parts of `counts` films, whole patients at a time.

    Patients in random order go to the smallest part that still has room for all their films. Where there are fewer
    films than `counts` asks for, it is scaled down. Patients that fit nowhere stay out, so a part never exceeds its
    count.

    Args:
        patients: Each film's patient.
        counts: Films per part.
        seed: Of the draw.

    Returns:
        The films of each part, sorted.

    Raises:
        DataError: A part would be empty.
    """
    groups: dict[str, list[str]] = {}
    for film, patient in sorted(patients.items()):
        groups.setdefault(patient, []).append(film)
    wanted = scaled(counts, min(sum(counts.values()), len(patients)))
    order = sorted(wanted, key=lambda part: wanted[part])
    drawn: dict[str, list[str]] = {part: [] for part in counts}
    names = sorted(groups)
    for index in np.random.default_rng(seed).permutation(len(names)):
        films = groups[names[index]]
        part = next((part for part in order if len(drawn[part]) + len(films) <= wanted[part]), None)
        if part is not None:
            drawn[part] += films
    empty = [part for part, films in drawn.items() if not films]
    if empty:
        raise DataError(f"{len(patients)} films are too few to draw a {empty[0]} part of them; add films.")
    return {part: tuple(sorted(films)) for part, films in drawn.items()}
