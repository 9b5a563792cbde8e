"""The command `osteomark profile`: where a training step's time and memory go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.table import Table

from benchmark.cli.console import console, print_json

if TYPE_CHECKING:
    from benchmark.profiling.step import StepProfile

USUAL = ("aasce", "isbi2015", "hand")
"""Datasets whose phantoms serve where none is named."""


def profile(
    method: str,
    *,
    dataset: str = "",
    data_root: Path | None = None,
    precision: Literal["32-true", "bf16-mixed"] = "32-true",
    steps: int = 8,
    set_: Sequence[str] = (),
    plugin: Sequence[Path] = (),
    json: bool = False,
) -> int:
    """Show where a training step's time and memory go, and what to do first about it.

    Args:
        method: A method's or variant's name.
        dataset: Whose films are trained on; if not given, the first of aasce, isbi2015 and hand that it supports.
        data_root: Folder with the datasets' folders; without it phantoms are written and used.
        precision: The arithmetic.
        steps: That are measured, after two others.
        set_: Hyper-parameters of its own, NAME=VALUE.
        plugin: Python files with methods of your own.
        json: Print JSON.
    """
    from benchmark import dataset_folders
    from benchmark.lookup import choose, discover_methods, effective_hparams, find_variant
    from benchmark.profiling.step import profile_method
    from benchmark.settings import parse_setting
    from datamodules import DatasetRegistry

    if steps < 1:
        raise ValueError(f"--steps is {steps}; give at least 1.")
    variant, datasets = find_variant(method, discover_methods(plugin)), DatasetRegistry()
    refuses = variant.method_class.unsupported
    supported = (name for name in USUAL if not refuses(datasets[name].schema))
    name = choose(dataset, datasets, "dataset") if dataset else next(supported, USUAL[0])
    if reason := refuses(datasets[name].schema):
        raise ValueError(f"{variant.name} does not run on {name}: {reason}")
    given = {setting.name: setting.value for setting in (parse_setting(f"{variant.name}.{text}") for text in set_)}
    hparams = dict(effective_hparams(variant, given))
    data = datasets[name](dataset_folders.films(name, datasets[name], data_root))
    found = profile_method(variant.method_class(data.schema, **hparams), data, precision, steps)
    if json:
        more = {"step": found.step, "share_of_peak": found.share_of_peak, "advice": found.advice}
        return print_json({"method": variant.name, "dataset": name, **asdict(found), **more})
    _show(variant.name, name, found)
    return 0


def _show(variant: str, dataset: str, found: StepProfile) -> None:
    console.print(f"{variant} on {dataset}: {found.batch_size} films a step, {found.precision}", markup=False)
    phases = ", ".join(f"{phase} {seconds / found.step:.0%}" for phase, seconds in found.seconds.items())
    console.print(f"step: {found.step:.3f} s ({phases}), peak memory {found.peak_memory_mb:,.0f} MB")
    console.print(
        f"work: {found.flops / 1e9:,.1f} GFLOP a step, {found.share_of_peak:.0%} of the "
        f"{found.peak / 1e9:,.0f} GFLOP/s that a matrix product reaches here"
    )
    parts = [(name, f"{flops / max(found.flops, 1):.0%}") for name, flops in found.modules.items()]
    for titles, rows in (
        (("part of the network", "of the work"), parts),
        (("operation", "of the time"), [(name, f"{share:.0%}") for name, share in found.operations.items()]),
    ):
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(titles[0])
        table.add_column(titles[1], justify="right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(found.advice, markup=False)
