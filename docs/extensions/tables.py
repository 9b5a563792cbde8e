"""The tables of the documentation, as Markdown made from what the packages themselves say; needs no Sphinx."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import datamodules
import methods
import metrics
from benchmark.scoring.score import anatomy_of
from datamodules.base import LandmarkDataModule
from methods.base import Method, Paper
from metrics.base import Column

DIRECTIONS: Final = {True: "higher", False: "lower", None: "neither"}


def methods_table() -> str:
    """Return one row per method: what it is, its paper, and its variants."""
    rows = (
        [_link(name, f"method-{name}"), _text(_summary(kind)), _cite(kind.paper), len(kind.variants)]
        for name, kind in methods.discover().items()
    )
    return _table(("method", "what it is", "source", "variants"), rows)


def method_sections() -> str:
    """Return one section per method: its variants with what each sets, and its differences from the paper."""
    return "\n\n".join(_method_section(name, kind) for name, kind in methods.discover().items())


def datasets_table() -> str:
    """Return one row per dataset: what it is, its landmarks, units and protocols."""
    rows = (
        [_link(name, f"dataset-{name}"), _text(data.title), len(data.schema), _codes(p.name for p in data.protocols)]
        for name, data in datamodules.discover().items()
    )
    return _table(("dataset", "what it is", "landmarks", "protocols"), rows)


def dataset_sections() -> str:
    """Return one section per dataset: licence, source, folder, landmarks, radii and patients."""
    return "\n\n".join(_dataset_section(name, data) for name, data in datamodules.discover().items())


def protocols_table() -> str:
    """Return one row per protocol of every dataset: who uses it, unit, truth, splits and known leaks."""
    rows = (
        [
            f"`{name}`",
            f"`{protocol.name}`",
            _text(protocol.description),
            protocol.unit,
            _text(protocol.truth),
            len(protocol.splits),
            protocol.leaks or "none known",
            _text("; ".join(protocol.caveats)) or "-",
        ]
        for name, data in datamodules.discover().items()
        for protocol in data.protocols
    )
    return _table(("dataset", "protocol", "what it is", "unit", "truth", "splits", "leak", "shown beside it"), rows)


def metrics_table() -> str:
    """Return one row per metric: its title, and what it needs of the dataset and of the run."""
    rows = (
        [_link(kind.title, f"metric-{name}"), f"`{name}`", ", ".join(sorted(kind.requires)) or "-", len(_columns(name))]
        for name, kind in metrics.discover().items()
    )
    return _table(("metric", "file", "needs", "columns"), rows)


def columns_table(metric: str) -> str:
    """Return one row per column that a metric has on any dataset and protocol of the suite."""
    rows = (
        [f"`{name}`", _text(column.title), column.unit or "-", DIRECTIONS[column.higher_is_better]]
        for name, column in _columns(metric).items()
    )
    return _table(("column", "heading", "unit", "better"), rows)


TABLES: Final[Mapping[str, Callable[..., str]]] = {
    "methods": methods_table,
    "method-sections": method_sections,
    "datasets": datasets_table,
    "dataset-sections": dataset_sections,
    "protocols": protocols_table,
    "metrics": metrics_table,
    "columns": columns_table,
}
"""What a page can ask for by name."""


def _method_section(name: str, kind: type[Method]) -> str:
    variants = _table(
        ("variant", "sets"),
        (
            [f"`{variant}`", _codes(f"{key}={value!r}" for key, value in sets.items()) or "-"]
            for variant, sets in kind.variants.items()
        ),
    )
    weights = f"Its paper starts from {_text(kind.paper.weights)}." if kind.paper.weights else ""
    differs = "\n".join(f"- {_text(sentence)}" for sentence in kind.paper.differs)
    parts = [
        f"(method-{name})=\n## `{name}`",
        _text(_summary(kind)),
        f"{_cite(kind.paper)}. {weights}".strip(),
        variants,
        f"Differences from the paper:\n\n{differs}" if differs else "",
    ]
    return "\n\n".join(part for part in parts if part)


def _dataset_section(name: str, data: type[LandmarkDataModule]) -> str:
    units = {protocol.unit for protocol in data.protocols}
    radii = ", ".join(f"{radius:g}" for radius in data.radii)
    parts = [
        f"(dataset-{name})=\n## `{name}`",
        f"{_text(data.title)}, {len(data.schema)} landmarks.",
        f"Licence\n: {_text(data.licence)}",
        f"How to get it\n: {_text(data.obtain)}",
        f"Patients\n: {_text(data.patient_rule) or 'Nothing tells whose films they are: each counts as a patient.'}",
        f"SDR radii\n: {radii} {' or '.join(sorted(units))}",
        f"```text\n{inspect.cleandoc(data.layout)}\n```",
    ]
    return "\n\n".join(parts)


def _columns(metric: str) -> dict[str, Column]:
    """Return the columns of a metric on every dataset and protocol that can have it."""
    kind = metrics.discover()[metric]
    found: dict[str, Column] = {}
    for data in datamodules.discover().values():
        for protocol in data.protocols:
            anatomy = anatomy_of(data, protocol.name)
            if kind.unsupported(anatomy) is None:
                found |= kind(anatomy).columns()
    return found


def _summary(kind: type[Method]) -> str:
    """Return the summary of a class' docstring."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0]


def _cite(paper: Paper) -> str:
    cited = _text(", ".join(filter(None, [paper.authors, paper.title, str(paper.year or "")])))
    return f"[{cited}]({paper.url})" if paper.url else cited


def _link(text: str, target: str) -> str:
    return f"[{_text(text)}](#{target})"


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _text(text: str) -> str:
    r"""Escape what Markdown would take for markup, except `code`.

    Example:
        >>> print(_text("a_b * `c_d`"))
        a\_b \* `c_d`
    """
    parts = " ".join(text.split()).split("`")
    return "`".join(
        part if index % 2 else re.sub(r"([\\*_\[\]<>$|~])", r"\\\1", part) for index, part in enumerate(parts)
    )


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    head = tuple(head)
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)
