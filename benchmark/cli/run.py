"""The command `osteomark run`: train a matrix, then write its leaderboards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmark.cell import Purpose
from benchmark.cli.console import INTERRUPTED, console
from benchmark.cli.leaderboards import leaderboard

if TYPE_CHECKING:
    from datamodules import DatasetRegistry


def run(
    *,
    matrix: str = "",
    data_root: Path | None = None,
    store: Path = Path("runs"),
    engine: str = "",
    slots: int | None = None,
    plugin: Sequence[Path] = (),
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    card: Sequence[str] = (),
    seeds: Sequence[int] = (),
    epochs: int | None = None,
    set_: Sequence[str] = (),
    purpose: Purpose | None = None,
    allow_missing: bool = False,
    wandb: bool = False,
    wandb_artifacts: bool = False,
    force: bool = False,
) -> int:
    """Train a matrix of methods and datasets; what is finished is not run again.

    Args:
        matrix: One of the package's matrices (quick, real-quick, smoke), or a YAML file; quick if not given, and for
            cards own-data, or own-data-cpu without a GPU: equal input sizes, batches and epochs for all methods.
        data_root: Folder with the datasets' folders; without it phantoms are written and used.
        store: Folder for the runs.
        engine: Where cells run: local, ray or slurm, with the settings that the matrix has for it; if not given, the
            matrix says it, else local.
        slots: Of the local engine, cells at a time; if not given, one per GPU, or up to four that share the cores.
        plugin: Python files with methods of your own.
        methods: Run these instead of the matrix' methods.
        datasets: Run these instead of the matrix' datasets; names, or files of cards.
        card: The same, for files of cards.
        seeds: Run these instead of the matrix' seeds.
        epochs: Train every stage so many epochs.
        set_: Values over everything in the matrix: posenet.lr=0.01 (a star instead of the method's name means every
            method that has it), budget.epochs=20, engine.num_gpus=0.5; the last one wins.
        purpose: "tune" to choose settings: no test film is predicted, and runs are ranked on their validation films;
            the matrix says it if not given.
        allow_missing: Go on without the cases whose files are missing or unreadable.
        wandb: Track with Weights & Biases, offline without a key; with a key runs are tracked anyway, those of private
            sets only if this is given.
        wandb_artifacts: Send it the predicted points and the chosen weights of each run, too; never of private sets.
        force: Run finished cells again.
    """
    from benchmark.cell import Context
    from benchmark.dataset_folders import CACHE
    from benchmark.engines import engine_settings, make_engine
    from benchmark.lookup import discover_methods
    from benchmark.matrix import Matrix
    from benchmark.runner import run_matrix
    from benchmark.settings import apply_settings
    from benchmark.tracking.push import Push, is_trial, push_trial
    from benchmark.training.processes import TERMINATED, Terminated, ended_by_sigterm
    from datamodules import DatasetRegistry

    known, known_methods = DatasetRegistry(), discover_methods(plugin)
    names = [known.name_of(name) for name in (*datasets, *card)]
    chosen = Matrix.load(matrix or _preset([*datasets, *card]), known).narrow(methods, names, seeds, epochs, purpose)
    chosen = apply_settings(replace(chosen, engine=engine_settings(chosen.engine, engine, slots)), set_, known_methods)
    runs_on, cells = make_engine(chosen.engine), chosen.cells(known_methods, known)
    trial = is_trial(len(cells))
    names = list(dict.fromkeys(cell.dataset for cell in cells))
    roots, files = _folders(names, known, data_root), tuple(map(Path.resolve, plugin))
    tracking: Literal["wandb", "auto"] = "wandb" if wandb else "auto"
    context = Context(store, roots, CACHE, files, allow_missing, tracking, wandb_artifacts, known)
    try:
        with ended_by_sigterm():
            records = run_matrix(chosen, context, runs_on, console, force=force)
    except (KeyboardInterrupt, Terminated) as stop:
        console.print(runs_on.farewell)
        return TERMINATED if isinstance(stop, Terminated) else INTERRUPTED
    if trial and not records:
        push_trial(Push(store, data_root, artifacts=wandb_artifacts, private=wandb), cells[0])
    leaderboard(store=store, plugin=plugin, on="validation" if chosen.purpose == "tune" else "test")
    return 1 if any(record.status == "failed" for record in records) else 0


def _folders(names: Iterable[str], known: DatasetRegistry, data_root: Path | None) -> dict[str, Path]:
    """Return the folder of each dataset; phantoms are written where there is no data root."""
    from benchmark import dataset_folders

    roots = {}
    for name in names:
        if data_root is None and known[name].home is None:
            console.print(f"[dim]phantom of {name}: {dataset_folders.PHANTOMS / name}[/]")
        roots[name] = dataset_folders.films(name, known[name], data_root)
    return roots


def _preset(datasets: Sequence[str]) -> str:
    """Return the matrix of datasets that are named without one."""
    import torch

    from datamodules import is_card

    if not datasets or not all(map(is_card, datasets)):
        return "quick"
    return "own-data" if torch.cuda.is_available() else "own-data-cpu"
