"""The command `osteomark stress`: how trained methods do on corrupted test films."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import track

from benchmark.cli.console import console

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

    from benchmark.cell import Context
    from benchmark.engines.local import Slot
    from benchmark.store import RunRecord
    from benchmark.stress.predict import Outcome, Plan


def stress(
    *,
    store: Path = Path("runs"),
    data_root: Path | None = None,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    card: Sequence[str] = (),
    corruptions: Sequence[str] = (),
    severities: Sequence[int] = (),
    cases: int | None = None,
    slots: int | None = None,
    plugin: Sequence[Path] = (),
    allow_missing: bool = False,
    out: Path | None = None,
) -> int:
    """Score trained methods on corrupted test films; what was predicted before is not predicted again.

    Args:
        store: Folder of the runs, with their checkpoints.
        data_root: Folder with the datasets' folders; without it their phantoms are used.
        methods: Variants; all that were trained if not given.
        datasets: Datasets; all that the runs were trained on if not given.
        card: Files of cards that describe datasets.
        corruptions: Some of polarity, exposure, noise, blur, collimation, rotation, metal and downscaling, or all.
        severities: Some of 1 to 5, or all.
        cases: So many test cases of each test set and fold, the same for all methods; all if not given.
        slots: Runs at a time; if not given, one per GPU, or up to four that share the cores.
        plugin: Python files with methods of your own.
        allow_missing: Go on without the cases whose files are missing or unreadable.
        out: Folder for tables and plots; `leaderboards` in the store if not given.
    """
    from benchmark.engines.local import local_slots
    from benchmark.stress.predict import Plan
    from benchmark.stress.score import score_stress
    from leaderboards.robustness.page import show_stress, write_stress
    from leaderboards.robustness.scores import read_stress

    plan = Plan.of(corruptions, severities, cases)
    runs, context = _chosen(store, data_root, methods, [*datasets, *card], plugin, allow_missing=allow_missing)
    console.print(f"{len(runs)} runs, {len(plan.parts)} corruptions and severities each")
    failed = 0
    outcomes = zip(runs, _run_all(runs, plan, context, local_slots(slots)), strict=True)
    quiet = not console.is_terminal
    for run, outcome in track(outcomes, "Runs", len(runs), console=console, transient=True, disable=quiet):
        console.print(f"{run.cell}: {outcome.predicted} predicted, {outcome.kept} there before", markup=False)
        for problem in outcome.problems:
            console.print(f"  {problem}", markup=False)
        failed += outcome.failed
    console.print(f"scores: {score_stress(store)}")
    show_stress(read_stress(store))
    for path in write_stress(store, out or store / "leaderboards"):
        console.print(f"  {path}", markup=False)
    return 1 if failed else 0


def _chosen(
    store: Path,
    data_root: Path | None,
    variants: Sequence[str],
    datasets: Sequence[str],
    plugins: Sequence[Path],
    *,
    allow_missing: bool,
) -> tuple[list[RunRecord], Context]:
    """Find the runs to test and their films."""
    from benchmark import dataset_folders
    from benchmark.cell import Context
    from benchmark.lookup import choose
    from benchmark.predictions import SCORED
    from benchmark.store import RunStore
    from datamodules import DatasetRegistry

    known = DatasetRegistry()
    named = [known.name_of(name) for name in datasets]
    runs = [run for run in RunStore(store).runs() if SCORED["test"].has(run) and run.checkpoint]
    if not runs:
        raise FileNotFoundError(
            f"{store} holds no trained run that was tested; `osteomark run --store {store}` makes some."
        )
    wanted = {choose(name, [run.cell.variant for run in runs], "trained method") for name in variants}
    tested = {choose(name, [run.cell.dataset for run in runs], "dataset with a trained run") for name in named}
    runs = [run for run in runs if _is_one(run.cell.variant, wanted) and _is_one(run.cell.dataset, tested)]
    for name in sorted({run.cell.dataset for run in runs} - known.keys()):
        console.print(f"{name} is left out: a card describes it; give the card's file with --card.", markup=False)
    runs = [run for run in runs if run.cell.dataset in known]
    roots = {
        name: dataset_folders.films(name, known[name], data_root) for name in sorted({run.cell.dataset for run in runs})
    }
    files = tuple(path.resolve() for path in plugins)
    return runs, Context(store, roots, dataset_folders.CACHE, files, allow_missing, datasets=known)


def _is_one(name: str, wanted: Iterable[str]) -> bool:
    return not wanted or name in wanted


def _run_all(runs: Sequence[RunRecord], plan: Plan, context: Context, slots: Sequence[Slot]) -> Iterator[Outcome]:
    """Yield what came of each run, in their order; in this process where there is one slot."""
    from benchmark.stress.predict import stress_run

    if len(slots) == 1 or len(runs) < 2:
        yield from (stress_run(run, plan, context) for run in runs)
        return
    processes = get_context("spawn")
    free: SimpleQueue[Slot] = processes.SimpleQueue()
    for slot in slots:
        free.put(slot)
    pool = ProcessPoolExecutor(len(slots), processes, initializer=_take_slot, initargs=(free,))
    with pool:
        yield from pool.map(stress_run, runs, [plan] * len(runs), [context] * len(runs))


def _take_slot(free: SimpleQueue[Slot]) -> None:
    """Limit a worker process to a slot."""
    from benchmark.engines.local import take

    take([free.get()])
