"""The numbers that papers print, from `reported.yaml`: shown beside ours, never ranked with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml

PATH = Path(__file__).parent / "reported.yaml"
PARAMETERS = "parameters"
"""The one column that is not a score."""


class Reported(NamedTuple):
    """One row of a paper's table.

    Attributes:
        dataset: Our name of the dataset.
        protocol: Our name of the protocol that the paper follows.
        test_set: Our name of the test set.
        method: As the paper calls it.
        variant: Our variant that implements it; empty where there is none.
        values: Column name to the printed number.
        paper: Short citation of the paper that prints it, which is not always the method's own.
        url: Of that paper.
        table: Its number, or the place in words.
        note: What must be known to compare.
        badges: The same in a word or two: an oracle crop, other test films.
    """

    dataset: str
    protocol: str
    test_set: str
    method: str
    variant: str
    values: Mapping[str, float]
    paper: str
    url: str
    table: str
    note: str
    badges: tuple[str, ...] = ()


def load_reported(path: Path = PATH) -> tuple[Reported, ...]:
    """Read a file of reported tables.

    Args:
        path: The YAML file; its head comment explains the format.

    Returns:
        One entry per row of each table, in the file's order.

    Raises:
        ValueError: A table lacks a key or has a wrong one, or a row has not one value per column.
    """
    return _load(path, path.stat().st_mtime_ns)


def own_numbers(reported: Sequence[Reported], variant: str, board: tuple[str, str, str]) -> dict[str, float]:
    """Return what papers print for a variant on a board.

    Args:
        reported: All reported rows.
        variant: The variant.
        board: Dataset, protocol and test set.

    Returns:
        Column name to value.
    """
    rows = [row for row in reported if row.variant == variant and row[:3] == board]
    return {column: value for row in rows for column, value in row.values.items()}


@cache
def _load(path: Path, modified: int) -> tuple[Reported, ...]:
    del modified  # part of the cache's key only
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return tuple(row for paper in content["papers"] for row in _paper(path, paper))


def _paper(path: Path, paper: Mapping[str, Any]) -> Iterator[Reported]:
    for table in paper["tables"]:
        where = f"{path}: table {table.get('table', '?')} of {paper.get('paper', '?')}"
        known = {"table", "dataset", "protocol", "test_set", "columns", "rows", "variants", "note", "notes", "badges"}
        if unknown := sorted(table.keys() - known):
            raise ValueError(f"{where} has the unknown key {unknown[0]!r}; the keys are {', '.join(sorted(known))}.")
        if lacking := sorted({"table", "dataset", "protocol", "test_set", "columns", "rows"} - table.keys()):
            raise ValueError(f"{where} lacks the key {lacking[0]!r}.")
        badges = table.get("badges", ())
        for method, values in table["rows"].items():
            if len(values) != len(table["columns"]):
                raise ValueError(
                    f"{where} has {len(values)} values for {method!r}, but {len(table['columns'])} columns."
                )
            yield Reported(
                str(table["dataset"]),
                str(table["protocol"]),
                str(table["test_set"]),
                str(method),
                str(table.get("variants", {}).get(method, "")),
                {c: float(v) for c, v in zip(table["columns"], values, strict=True) if v is not None},
                str(paper["paper"]),
                str(paper["url"]),
                str(table["table"]),
                " ".join(filter(None, (table.get("note"), table.get("notes", {}).get(method)))),
                tuple(badges.get(method, ()) if isinstance(badges, dict) else badges),
            )
