"""CSV tables as people have them: any delimiter, a byte order mark, empty columns at the end."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datamodules.components.cards.formats.common import read_text, shown
from datamodules.components.cards.values import nearest
from datamodules.components.errors import DataError

DELIMITERS = ";\t|,"
"""The commonest in the first line is the table's; of equally common ones the first here: `1,5` may be a number."""
EXCEL_DELIMITER = "sep="
IMAGE = "the image"
"""What messages call the column that names the image."""


class CsvRow(NamedTuple):
    """A line of a table.

    Attributes:
        location: File and line.
        values: Column to value, stripped.
    """

    location: str
    values: Mapping[str, str]


def read_table(path: Path, delimiter: str = "", *, header: bool = True) -> list[CsvRow | DataError]:
    """Return a CSV file's lines; without a header the columns are called 0, 1, 2 ...

    Returns:
        A row per line, or the error of a line that has more or fewer values than the first.

    Raises:
        DataError: It is no text or no table, a column's name stands twice, or there is no line.
    """
    lines = list(_lines(path, delimiter))
    if not lines:
        raise DataError(f"{path}, line 1: the table is empty; give it a line per image.")
    first, names = lines[0]
    _refuse_deeplabcut(path, lines)
    if not header:
        names = [str(index) for index in range(len(names))]
    used = [i for i, name in enumerate(names) if name or any(i < len(values) and values[i] for _, values in lines[1:])]
    if len({names[index] for index in used}) < len(used):
        raise DataError(f"{path}, line {first} names a column twice; rename one of them.")
    rows = [_row(path, names, used, line, values) for line, values in lines[1 if header else 0 :]]
    if not rows:
        raise DataError(f"{path}, line 1: the table is empty; give it a line per image.")
    return rows


def table_rows(path: Path, delimiter: str = "", *, header: bool = True) -> list[CsvRow]:
    """Return a CSV file's lines as `read_table` does.

    Raises:
        DataError: Any line is flawed.
    """
    rows = []
    for row in read_table(path, delimiter, header=header):
        if isinstance(row, DataError):
            raise row
        rows.append(row)
    return rows


def column(row: CsvRow, name: str, what: str) -> str:
    """Return a value of a line; an empty `name` means the first column.

    Raises:
        DataError: There is no such column.
    """
    name = name or next(iter(row.values))
    if name not in row.values:
        raise DataError(f"{row.location}: there is no column {name!r} for {what}; {nearest(name, list(row.values))}")
    return row.values[name]


def _lines(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the stripped values of every line that holds something."""
    lines = read_text(path).splitlines()
    skipped = 0
    if lines and lines[0].lower().startswith(EXCEL_DELIMITER) and len(lines[0]) == len(EXCEL_DELIMITER) + 1:
        delimiter, skipped = delimiter or lines[0][-1], 1
    first = lines[skipped] if len(lines) > skipped else ""
    reader = csv.reader(lines[skipped:], delimiter=delimiter or max(DELIMITERS, key=first.count))
    try:
        for values in reader:
            if any(value.strip() for value in values):
                yield reader.line_num + skipped, [value.strip() for value in values]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num + skipped} is no line of a table ({error}).") from error


def _row(path: Path, names: Sequence[str], used: Sequence[int], line: int, values: Sequence[str]) -> CsvRow | DataError:
    location = f"{path}, line {line}"
    if any(values[len(names) :]) or len(values) <= max(used):
        return DataError(f"{location} holds {len(values)} values instead of {len(names)}; correct the line.")
    return CsvRow(location, {names[index]: values[index] for index in used})


def _refuse_deeplabcut(path: Path, lines: Sequence[tuple[int, list[str]]]) -> None:
    """Refuse the three header lines of DeepLabCut."""
    if [values[0].lower() for _, values in lines[:3]] == ["scorer", "bodyparts", "coords"]:
        raise DataError(
            f"{path}, line 1 is of a DeepLabCut table ({shown('scorer')}); replace its three header lines by one with "
            f"`image` and `<name>_x`, `<name>_y` of each body part, and remove likelihoods."
        )
