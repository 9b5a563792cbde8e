"""The one schema of stored predictions: file names, columns, their writer and their reader; no torch.

A file of predictions is a parquet table with one row per test set, case and landmark, in pixels of the original film:

| columns | type | |
|---|---|---|
| `test_set`, `case`, `landmark` | text | the key of a row; an old file may number the landmarks |
| `x`, `y` | float64 | the predicted point |
| `true_x`, `true_y`, `visible` | float64, bool | the label; NaN and false where it is missing |
| `spacing_x`, `spacing_y` | float64 | millimetres per pixel; NaN where unknown |
| `height`, `width` | int64 | of the film |
| `cov_xx`, `cov_xy`, `cov_yy` | float64 | the point's covariance in square pixels; NaN where none is predicted |
| `centre_x`, `centre_y` | float64 | the centre of its structure that an earlier stage found; NaN where there is none |
| `crop_side_x`, `crop_side_y` | float64 | sides of the crop that the point was read from; NaN where there is none |

Published files have the key and the points alone, in single precision. The metadata name the cell and, where patients
are known, the first film of each case's patient.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int

from benchmark.cell import Cell, On
from benchmark.store import SCORE_TABLE, SCORES, RunRecord, write_atomically

if TYPE_CHECKING:
    from datamodules.base import Case

PREDICTIONS: Final = "predictions.parquet"
VALIDATION: Final = "validation.parquet"
"""Like `PREDICTIONS`, of the validation cases: conformal regions are fitted on them."""
VALIDATION_SET: Final = "validation"
"""Stands for the name of the test set there."""


class ScoredFilms(NamedTuple):
    """Where the predictions of some films lie and where their scores go.

    Attributes:
        on: Which films.
        predictions: The run's file of predictions.
        scores: The run's file with each case's scores.
        table: The file in the store's root with the scores of all rows.
        boards: The folder in the store's root with the leaderboards.
    """

    on: On
    predictions: str
    scores: str
    table: str
    boards: str

    def has(self, run: RunRecord) -> bool:
        """Tell whether a run finished with predictions of these films; what a person marked is of test films."""
        if run.status != "done" or self.on == "test":
            return run.status == "done" and not run.cell.tunes
        return not run.human and (run.folder / self.predictions).is_file()


SCORED: Final[Mapping[On, ScoredFilms]] = {
    "test": ScoredFilms("test", PREDICTIONS, SCORES, SCORE_TABLE, "leaderboards"),
    "validation": ScoredFilms(
        "validation", VALIDATION, "scores-validation.parquet", "scores-validation.csv", "leaderboards-validation"
    ),
}

KEY: Final = ("test_set", "case", "landmark")
POINT: Final = ("x", "y")
TRUTH: Final = ("true_x", "true_y")
VISIBLE: Final = "visible"
SPACING: Final = ("spacing_x", "spacing_y")
SIZE: Final = ("height", "width")
COVARIANCE: Final = ("cov_xx", "cov_xy", "cov_yy")
CENTRE: Final = ("centre_x", "centre_y")
CROP: Final = ("crop_side_x", "crop_side_y")
ANSWER: Final = (*POINT, *COVARIANCE, *CENTRE, *CROP)
"""What the method predicts."""
LABELS: Final = (*TRUTH, VISIBLE, *SPACING, *SIZE)
"""What the dataset says."""
PUBLISHED: Final = (*KEY, *POINT)
PATIENTS: Final = "patients"
"""The entry of the metadata with the first film of each case's patient, as JSON."""
CALIBRATING: Final = "calibrating"
"""The entry of the metadata of `VALIDATION` with the cases that did not choose the checkpoint, as a JSON list."""

_NUMBERS: Final = (*POINT, *TRUTH, *SPACING, *SIZE, *COVARIANCE, *CENTRE, *CROP)


class Predictions(NamedTuple):
    """The predictions of one test set beside its labels, in pixels of the original films.

    Attributes:
        cases: Case ids, sorted.
        landmarks: Names, in the dataset's order.
        points: (x, y), predicted.
        truth: (x, y); NaN where a landmark is missing.
        visible: Whether the landmark is labelled.
        spacing: Millimetres per pixel in (x, y); NaN where unknown.
        size: (height, width) of the film in pixels; NaN where unknown.
        covariance: In square pixels; NaN where unknown.
        centres: (x, y) of each landmark's structure, as an earlier stage of the method found it; NaN where there is
            none.
        crops: (width, height) in pixels of the crop that each landmark was read from; NaN where there is none.
    """

    cases: tuple[str, ...]
    landmarks: tuple[str, ...]
    points: Float[np.ndarray, "case landmark 2"]
    truth: Float[np.ndarray, "case landmark 2"]
    visible: Bool[np.ndarray, "case landmark"]
    spacing: Float[np.ndarray, "case 2"]
    size: Float[np.ndarray, "case 2"]
    covariance: Float[np.ndarray, "case landmark 2 2"]
    centres: Float[np.ndarray, "case landmark 2"]
    crops: Float[np.ndarray, "case landmark 2"]

    def errors(self, unit: str) -> Float[np.ndarray, "case landmark"]:
        """Return radial errors in `mm` or `px`; NaN where the truth is missing."""
        scale = self.spacing[:, None] if unit == "mm" else 1.0
        return np.asarray(np.sqrt(np.square((self.points - self.truth) * scale).sum(-1)))

    def only(self, cases: Collection[str]) -> Predictions:
        """Return the predictions of some cases."""
        kept = [place for place, name in enumerate(self.cases) if name in cases]
        names = tuple(self.cases[place] for place in kept)
        return Predictions(names, self.landmarks, *(array[kept] for array in self[2:]))

    def sigma(self, unit: str) -> Float[np.ndarray, "case landmark"]:
        """Return sigma_p = sqrt(var_x + var_y) (Upadhyay et al., Eq. 17); NaN where there is no covariance.

        Args:
            unit: `mm`, `px`, or `crop` for fractions of the sides of each landmark's crop, NaN where there is none.
        """
        pixels = np.ones(2)
        scale = {"mm": self.spacing[:, None], "crop": 1 / self.crops}.get(unit, pixels)
        return np.asarray(np.sqrt((np.diagonal(self.covariance, axis1=-2, axis2=-1) * np.square(scale)).sum(-1)))


def case_rows(
    test_set: str,
    case: Case,
    landmarks: Sequence[str],
    points: Float[np.ndarray, "landmark 2"],
    covariance: Float[np.ndarray, "landmark 2 2"] | None = None,
    centres: Float[np.ndarray, "landmark 2"] | None = None,
    crops: Float[np.ndarray, "landmark 2"] | None = None,
) -> pd.DataFrame:
    """Return one case's rows: the prediction beside the label.

    Args:
        test_set: Name of the set the case is predicted for.
        case: With its labels, as the dataset's inventory has it.
        landmarks: Names, in the dataset's order.
        points: The prediction, in original pixels.
        covariance: Of each point; unknown if None.
        centres: Of each point's structure; unknown if None.
        crops: (width, height) of the crop that each point was read from; unknown if None.
    """
    spread = np.full((*points.shape, 2), np.nan) if covariance is None else covariance
    around, sides = (np.full(points.shape, np.nan) if pair is None else pair for pair in (centres, crops))
    values = (test_set, case.name, list(landmarks))
    labels = (*case.points.T.astype(np.float64), case.visible, *map(float, case.spacing), *case.size)
    entries = (spread[:, 0, 0], spread[:, 0, 1], spread[:, 1, 1])
    columns = (*KEY, *POINT, *LABELS, *COVARIANCE, *CENTRE, *CROP)
    found = (*values, *points.T, *labels, *entries, *around.T, *sides.T)
    return pd.DataFrame(dict(zip(columns, found, strict=True)))


def write_predictions(
    path: Path,
    cell: Cell,
    rows: Iterable[pd.DataFrame],
    sets: Mapping[str, Sequence[str]],
    patients: Mapping[str, str],
    **metadata: str,
) -> None:
    """Write a file of predictions.

    Args:
        path: The file.
        cell: The run's key, for the metadata.
        rows: What `case_rows` made of each case.
        sets: Test set to the cases it must have.
        patients: Case to the first film of its patient; empty where patients are unknown.
        metadata: Further entries.

    Raises:
        RuntimeError: A case has no prediction, or a labelled landmark's is not finite.
    """
    table = pd.concat(rows, ignore_index=True)
    missing = {case for cases in sets.values() for case in cases} - set(table["case"])
    labelled = table[table[VISIBLE]]
    broken = labelled.loc[~np.isfinite(labelled[list(POINT)].to_numpy()).all(axis=1), "case"]
    if missing or len(broken):
        raise RuntimeError(
            f"{len(missing)} cases have no prediction and {broken.nunique()} have points that are not finite, "
            f"{next(iter(sorted(missing) or broken))} for one; the training has probably diverged."
        )
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    named = {name: str(getattr(cell, name)) for name in ("dataset", "protocol", "split", "variant", "seed")}
    named[PATIENTS] = json.dumps(patients)
    arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **named, **metadata})
    write_atomically(path, lambda file: pq.write_table(arrow, file, compression="zstd"))


def read_predictions(path: Path, landmarks: Sequence[str] = ()) -> dict[str, Predictions]:
    """Read a file of predictions; columns that it lacks are unknown.

    Args:
        path: Such as `predictions.parquet` or `validation.parquet`.
        landmarks: The dataset's, in order; those of the file, in its order, if empty.

    Returns:
        Test set to its predictions, both sorted by name, in double precision.

    Raises:
        ValueError: The file is damaged, or a case lacks a landmark, has one twice or has one that the dataset lacks.
    """
    with _whole(path):
        file = pq.ParquetFile(path, read_dictionary=list(KEY))
        wanted = [name for name in (*KEY, *_NUMBERS, VISIBLE) if name in file.schema_arrow.names]
        table = file.read(columns=wanted, use_threads=False)
    numbers = np.full((len(table), len(_NUMBERS)), np.nan)
    for place, name in enumerate(_NUMBERS):
        if name in wanted:
            numbers[:, place] = table.column(name).to_numpy()
    visible = table.column(VISIBLE).to_numpy() if VISIBLE in wanted else np.zeros(len(table))
    test_sets, cases, names = (_encoded(table.column(name)) for name in KEY)
    known = tuple(landmarks) or names.texts
    numbered = pa.types.is_integer(file.schema_arrow.field("landmark").type)
    positions = {str(place) if numbered and landmarks else name: place for place, name in enumerate(known)}
    columns = np.array([positions.get(text, -1) for text in names.texts], dtype=np.int64)[names.codes]
    found = {}
    for name in sorted(test_sets.texts):
        rows = test_sets.codes == test_sets.texts.index(name)
        found[name] = _test_set(path, known, _sorted(cases, rows), columns[rows], numbers[rows], visible[rows])
    return found


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a file of predictions as a table, some columns or all.

    Raises:
        ValueError: The file is damaged.
    """
    with _whole(path):
        return pd.read_parquet(path, columns=None if columns is None else list(columns))


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Say which file is damaged, and the cure."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}); `osteomark run` runs that cell again.") from error


def read_cases(path: Path) -> dict[str, list[str]]:
    """Return the cases of each test set in a file of predictions, in the file's order."""
    pairs = read_table(path, KEY[:2]).drop_duplicates()
    return {str(name): list(map(str, group["case"])) for name, group in pairs.groupby("test_set", sort=True)}


def read_entry(path: Path, name: str) -> Any:  # noqa: ANN401  # whatever JSON holds
    """Return what an entry of a file's metadata holds as JSON; None where there is no such entry."""
    return json.loads((pq.read_schema(path).metadata or {}).get(name.encode(), b"null"))


def read_patients(path: Path) -> Mapping[str, str]:
    """Return the first film of each case's patient as the metadata name it; nothing where patients are unknown."""
    return dict(read_entry(path, PATIENTS) or {})


def calibrating_cases(cases: Sequence[str], patients: Mapping[str, str]) -> tuple[str, ...]:
    """Return the validation cases that calibrate and do not choose the checkpoint: those of every second patient.

    Args:
        cases: That validate.
        patients: Case to the first film of its patient; each case counts as a patient where that is unknown.

    Raises:
        ValueError: They are of fewer than two patients.

    Example:
        >>> calibrating_cases(["a", "b", "c", "d"], {"a": "a", "b": "a", "c": "c", "d": "d"})
        ('c',)
    """
    kept = sorted({patients.get(case, case) for case in cases})[1::2]
    if not kept:
        raise ValueError(
            f"budget.calibrate needs validation films of at least two patients, and {len(cases)} validate; leave it "
            f"out or choose another protocol."
        )
    return tuple(case for case in cases if patients.get(case, case) in kept)


def read_calibration(path: Path, landmarks: Sequence[str] = ()) -> Predictions:
    """Return the validation cases that regions and covariances are calibrated on: those that chose no checkpoint.

    They are all of them where the run held none back.

    Args:
        path: A run's `validation.parquet`.
        landmarks: As of `read_predictions`.

    Raises:
        ValueError: As of `read_predictions`.
    """
    (validation,) = read_predictions(path, landmarks).values()
    kept = read_entry(path, CALIBRATING)
    return validation if kept is None else validation.only(kept)


class _Encoded(NamedTuple):
    """A column of texts: the distinct ones and which of them stands in each row."""

    texts: tuple[str, ...]
    codes: Int[np.ndarray, " row"]


def _encoded(column: Any) -> _Encoded:  # noqa: ANN401  # pyarrow has no types
    encoded = column.combine_chunks().dictionary_encode()
    return _Encoded(tuple(map(str, encoded.dictionary.to_pylist())), encoded.indices.to_numpy())


def _sorted(column: _Encoded, rows: Bool[np.ndarray, " row"]) -> _Encoded:
    """Return some rows of a column, its texts sorted; texts that are only in other rows drop out."""
    present, codes = np.unique(column.codes[rows], return_inverse=True)
    order = sorted(range(len(present)), key=lambda place: column.texts[present[place]])
    return _Encoded(tuple(column.texts[present[place]] for place in order), np.argsort(order)[codes])


def _test_set(
    path: Path,
    landmarks: tuple[str, ...],
    cases: _Encoded,
    columns: Int[np.ndarray, " row"],
    numbers: Float[np.ndarray, "row number"],
    visible: np.ndarray,
) -> Predictions:
    """Put one test set's rows into arrays; `columns` has each row's position in `landmarks`, -1 for a strange one."""
    counts = np.zeros((len(cases.texts), len(landmarks)), dtype=np.int64)
    known = columns >= 0
    np.add.at(counts, (cases.codes[known], columns[known]), 1)
    if not known.all() or (counts != 1).any():
        answered = (counts > 0).sum(axis=1)
        worst = int(answered.argmin())
        what = f"case {cases.texts[worst]} has {answered[worst]} of {len(landmarks)} landmarks"
        if answered[worst] == len(landmarks):
            what = "a case has a landmark twice, or one that its dataset lacks"
        raise ValueError(f"{path}: {what}; delete the run and repeat it.")
    grid, shown = np.empty((*counts.shape, numbers.shape[1])), np.empty(counts.shape, dtype=bool)
    grid[cases.codes, columns], shown[cases.codes, columns] = numbers, visible
    points, truth, spacing, size, entries, centres, crops = np.split(grid, [2, 4, 6, 8, 11, 13], axis=-1)
    covariance = entries[..., [0, 1, 1, 2]].reshape(*counts.shape, 2, 2)
    truth = np.where(shown[..., None], truth, np.nan)
    facts = (spacing[:, 0], size[:, 0])
    return Predictions(cases.texts, landmarks, points, truth, shown, *facts, covariance, centres, crops)
