"""Lateral cervical spine, 29 landmarks in three poses, as in Fard et al., IEEE Access 2022 (a private set).

The paper's 24,419 films are not to be had and neither its files nor its landmarks are described: the layout and the
names are ours, so that anyone who has such films can run them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import numpy as np

from datamodules.base import Case, DataError, Inventory, LandmarkDataModule, LandmarkSchema, Protocol
from datamodules.components.images.image_io import film_sizes
from datamodules.components.labels.point_table import TABLE, PointRow, outside, read_point_table
from datamodules.components.protocols import SHARED_PATIENTS, Split, hold_out

TEST_SHARES = {"LC": 0.10, "LCE": 0.05, "LCF": 0.05}
"""Neutral, extension, flexion: the share of each view's films that tests (Sec. IV-A, Table 1)."""
VERTEBRAE = ("C3", "C4", "C5", "C6", "C7", "T1")
CORNERS = ("TL", "TR", "BL", "BR")
SEED = 0

_FIRST = ("C2-dens", "C1-L", "C1-R", "C2-BL", "C2-BR")
_RULE = "10 % of the neutral films and 5 % of the extension and flexion films test, "


def _edges() -> Iterator[tuple[str, str]]:
    yield from (("C1-L", "C1-R"), ("C2-BL", "C2-dens"), ("C2-dens", "C2-BR"), ("C2-BR", "C2-BL"))
    for vertebra in VERTEBRAE:
        for a, b in pairwise(("TL", "TR", "BR", "BL", "TL")):
            yield f"{vertebra}-{a}", f"{vertebra}-{b}"


class Cervical(LandmarkDataModule):
    """Lateral cervical films, scored apart for the neutral (LC), extension (LCE) and flexion (LCF) view, in pixels.

    The paper predicts 29 "anatomical locations on vertebral bodies", to measure the atlas plane and angles of posterior
    tangents, and does not list them. Taken here: the tubercles of C1's arches, the dens and the lower corners of C2,
    and the corners of C3 to T1; L and R are the sides of the image, whichever way the patient faces. The NME is
    normalised by points 0 and 4, as in the paper: here from the dens to C2's lower right corner.
    """

    title = "Cervical lateral, 29 landmarks (LC, LCE, LCF)"
    licence = "the films of the paper are private; yours stay where they are."
    obtain = "The films of Fard et al. 2022 cannot be had: bring your own in this layout, or write phantoms."
    layout = """
images/<film>                            (png, jpg, bmp, tif or mha)
landmarks.csv                            one line per film under a header:
    image,view,patient,C2-dens-x,C2-dens-y,C1-L-x,C1-L-y, ... T1-BR-x,T1-BR-y
    view is LC, LCE or LCF; points are pixels of the film, x right, y down; an empty cell is a missing point
"""
    schema = LandmarkSchema(
        names=(*_FIRST, *(f"{vertebra}-{corner}" for vertebra in VERTEBRAE for corner in CORNERS)),
        groups={
            "C1": ("C1-L", "C1-R"),
            "C2": ("C2-dens", "C2-BL", "C2-BR"),
            **{vertebra: tuple(f"{vertebra}-{corner}" for corner in CORNERS) for vertebra in VERTEBRAE},
        },
        flips=(
            *(("C1-L", "C1-R"), ("C2-BL", "C2-BR")),
            *((f"{v}-{side}L", f"{v}-{side}R") for v in VERTEBRAE for side in "TB"),
        ),
        edges=tuple(_edges()),
        normalizer=("C2-dens", "C2-BR"),
        structure="vertebra",
    )
    protocols = (
        Protocol(
            "published",
            _RULE + "drawn at random by film, as in the paper.",
            caveats=(SHARED_PATIENTS,),
            leaks="patients",
        ),
        Protocol("patients", _RULE + "whole patients at a time."),
    )
    radii = (2.0, 4.0, 8.0, 16.0)
    patient_rule = "The table names the patient of each film; a film without one counts as a patient of its own."
    folders: ClassVar[tuple[str, ...]] = ("cervical", "cervical_lateral")
    phantom_films = 48

    def scan(self) -> Inventory:
        """Read the table and the headers of its films."""
        films = {name: self.root / "images" / row.facts["image"] for name, row in self._rows.items()}
        found = film_sizes(self.root, films)
        cases, oddities = {}, []
        for name, size in found.sizes.items():
            facts, points = self._rows[name].facts, self._rows[name].points
            patient = facts["patient"] or name
            cases[name] = Case(name, films[name], points, size, patient=patient, view=facts["view"])
            oddities += [f"{name}: {text}" for text in outside(points, self.schema.names, size)]
        return Inventory(cases, found.missing, tuple(oddities), unreadable=found.unreadable)

    def splits(self) -> tuple[Split, ...]:
        """Draw the test films of every view by the protocol's rule, once for everybody."""
        views = {name: row.facts["view"] for name, row in self._rows.items()}
        patients = {name: row.facts["patient"] or name for name, row in self._rows.items()}
        whole_patients = self.protocol.name == "patients"
        tests = draw_tests(views, patients if whole_patients else {name: name for name in views})
        tested = {name for cases in tests.values() for name in cases}
        train, val = hold_out([name for name in views if name not in tested], patients)
        return (Split("main", train, val, tests),)

    @classmethod
    def write_phantom(cls, root: Path, seed: int = 0, scale: int = 1) -> None:
        """Write 24 patients: 24 neutral films, 12 in extension and 12 in flexion, of 512 px height."""
        from datamodules.phantom.cervical.films import write_cervical

        write_cervical(root, {"LC": 24 * scale, "LCE": 12 * scale, "LCF": 12 * scale}, cls.schema.names, seed=seed)

    @cached_property
    def _rows(self) -> Mapping[str, PointRow]:
        """The table's line of every film, by the film's stem."""
        path = self.root / TABLE
        if not path.is_file():
            raise self.foreign_folder(f"{TABLE} is not there")
        rows: dict[str, PointRow] = {}
        for row in read_point_table(path, ("image", "view", "patient"), self.schema.names):
            name = Path(row.facts["image"]).stem
            if row.facts["view"] not in TEST_SHARES:
                known = ", ".join(TEST_SHARES)
                raise DataError(f"{path}, line {row.line} names the view {row.facts['view']!r}; a view is {known}.")
            if not name or name in rows:
                raise DataError(f"{path}, line {row.line} names no film of its own ({row.facts['image']!r}); name one.")
            rows[name] = row
        return rows


def draw_tests(views: Mapping[str, str], patients: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Draw the test films of every view, whole patients at a time, by a seed that belongs to the protocol.

    Patients are drawn one after another, those with an extension or a flexion film first, and test with all their films
    unless one of their views has its share already. Every view has one test film at least.

    Args:
        views: Film -> view.
        patients: Film -> patient.

    Returns:
        View -> its test films; a view without films is left out.
    """
    films: dict[str, list[str]] = {}
    for film in sorted(views):
        films.setdefault(patients[film], []).append(film)
    total = {view: sum(found == view for found in views.values()) for view in TEST_SHARES}
    wanted = {view: max(1, round(share * total[view])) for view, share in TEST_SHARES.items()}
    tests: dict[str, list[str]] = {view: [] for view, count in total.items() if count}
    order = np.random.default_rng(SEED).permutation(sorted(films))
    for patient in sorted(order, key=lambda patient: {views[film] for film in films[patient]} <= {"LC"}):
        seen = {views[film] for film in films[patient]}
        if all(len(tests[view]) < wanted[view] for view in seen):
            for film in films[patient]:
                tests[views[film]].append(film)
    return {view: tuple(sorted(found)) for view, found in tests.items()}
