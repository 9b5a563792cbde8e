"""The commands that say what there is: `osteomark list` and `osteomark describe`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.table import Table

from benchmark.cli.console import console, print_json


def list_(
    what: Literal["methods", "datasets", "metrics"],
    *,
    json: bool = False,
    plugin: Sequence[Path] = (),
    card: Sequence[str] = (),
) -> int:
    """List what there is to choose from.

    Args:
        what: Which kind.
        json: Print JSON.
        plugin: Python files with methods of your own.
        card: Files of cards, whose datasets are listed, too.
    """
    from benchmark.catalogue import list_plugins

    entries = list_plugins(what, plugin, card)
    if json:
        return print_json(entries)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in entries[0] if entries else ():
        table.add_column(title, overflow="fold")
    for item in entries:
        table.add_row(*(", ".join(value) if isinstance(value, list) else str(value) for value in item.values()))
    console.print(table, soft_wrap=False)
    return 0


def describe(
    method: str,
    *,
    points: int = 19,
    dataset: str = "",
    card: str = "",
    json: bool = False,
    plugin: Sequence[Path] = (),
) -> int:
    """Describe a method or variant: parameters, FLOPs (2 x MAC) of one film, input size, paper.

    Args:
        method: Name of a method or variant.
        points: Number of landmarks.
        dataset: Name of a dataset, or `dataset/protocol`: for its landmarks, and with the paper's settings there.
        card: File of a card, for its landmarks instead.
        json: Print one JSON object.
        plugin: Python files with methods of your own.
    """
    from benchmark.describe import describe_method
    from benchmark.lookup import choose, discover_methods
    from datamodules import DatasetRegistry

    datasets = DatasetRegistry()
    name, _, protocol = dataset.partition("/")
    name = datasets.name_of(card) if card else name and choose(name, datasets, "dataset")
    if protocol:
        protocol = choose(protocol, [known.name for known in datasets[name].protocols], f"protocol of {name}")
    schema = datasets[name].schema if name else None
    facts = describe_method(method, points, discover_methods(plugin), schema, name, protocol)
    if json:
        return print_json(facts)
    for key, value in facts.items():
        lines = [f"{name}: {item}" for name, item in value.items()] if isinstance(value, dict) else value
        several = isinstance(lines, (list, tuple)) and key != "input_size"
        console.print(f"{key}:" if several else f"{key}: {lines}", markup=False)
        for line in lines if several else ():
            console.print(f"  {line}", markup=False)
    return 0
