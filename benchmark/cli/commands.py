"""What the commands of `osteomark` do. Heavy libraries are imported by the commands that need them."""

from __future__ import annotations

import json as to_json
import logging
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from benchmark.cell import Cell
    from benchmark.engines.local import Job
    from benchmark.store import RunRecord
    from benchmark.training.run_cell import Context
    from methods.base import Method

INTERRUPTED = 130
TEMPLATE = Path(__file__).parent / "templates" / "method.txt"

console = Console(highlight=False, soft_wrap=True)


def run(
    *,
    matrix: str = "quick",
    data_root: Path | None = None,
    store: Path = Path("runs"),
    slots: int | None = None,
    plugin: list[Path] = [],  # noqa: B006  # never changed
    methods: list[str] = [],  # noqa: B006
    datasets: list[str] = [],  # noqa: B006
    card: list[str] = [],  # noqa: B006
    seeds: list[int] = [],  # noqa: B006
    epochs: int | None = None,
    allow_missing: bool = False,
    wandb: bool = False,
    force: bool = False,
) -> int:
    """Train a matrix of methods and datasets; what is finished is not run again.

    Args:
        matrix: One of the package's matrices (quick, real-quick, smoke), or a YAML file.
        data_root: Folder with the datasets' folders; without it phantoms are written and used.
        store: Folder for the runs.
        slots: Cells at a time; if not given, one per GPU, or up to four that share the cores.
        plugin: Python files with methods of your own.
        methods: Run these instead of the matrix' methods.
        datasets: Run these instead of the matrix' datasets; names, or files of cards.
        card: The same, for files of cards.
        seeds: Run these instead of the matrix' seeds.
        epochs: Train every stage so many epochs.
        allow_missing: Go on without the cases whose files are missing or unreadable.
        wandb: Track with Weights & Biases, offline without a key; with a key runs are tracked anyway.
        force: Run finished cells again.
    """
    from benchmark import dataset_folders as data
    from benchmark.matrix import Matrix
    from benchmark.store import CARDS
    from benchmark.training.run_cell import Context
    from datamodules import card_files
    from datamodules.private import remember

    names = [added(name) for name in (*datasets, *card)]
    chosen = Matrix.load(matrix).narrow(methods, names, seeds, epochs)
    known = _datasets()
    cells = chosen.cells(_methods(plugin), known)
    roots = {}
    for name in dict.fromkeys(cell.dataset for cell in cells):
        if data_root is None and known[name].home is None:
            console.print(f"[dim]phantom of {name}: {data.PHANTOMS / name}[/]")
        roots[name] = data.films(name, known[name], data_root)
    files = tuple(path.resolve() for path in plugin)
    tracking: Literal["wandb", "auto"] = "wandb" if wandb else "auto"
    context = Context(store, roots, data.CACHE, files, allow_missing, tracking, card_files())
    for name in roots:
        if known[name].home is not None:
            remember(known[name], store / CARDS / f"{name}.json")
    return _run_jobs(_check(cells, context), context, slots, force=force)


def _check(cells: Sequence[Cell], context: Context) -> list[Job]:
    """Read every dataset once before anything is trained, so that bad data stops nothing half-way."""
    from benchmark.engines.local import Job

    fingerprints: dict[tuple[str, str, str], str] = {}
    told: set[str] = set()
    for cell in cells:
        key = (cell.dataset, cell.protocol, cell.split)
        if key in fingerprints:
            continue
        data = context.datamodule(cell)
        fingerprints[key] = data.fingerprint
        if cell.dataset not in told:
            told.add(cell.dataset)
            _introduce(cell.dataset, data.folder, data.inventory)
    return [Job(cell, fingerprints[cell.dataset, cell.protocol, cell.split]) for cell in cells]


def _introduce(name: str, place: str, found: Any) -> None:  # noqa: ANN401
    notes = [f"{len(found.cases)} films in {place}"]
    absent = len(found.missing) + len(found.unreadable)
    notes += [f"files missing or unreadable, their cases left out: {absent}"] if absent else []
    notes += [f"odd labels kept: {len(found.oddities)} (osteomark data check {name})"] if found.oddities else []
    console.print(f"{name}: {', '.join(notes)}")
    for note in found.notes:
        console.print(f"  {note}", markup=False)


def _run_jobs(jobs: Sequence[Job], context: Context, slots: int | None, *, force: bool) -> int:
    from benchmark.engines.local import LocalEngine, local_slots
    from benchmark.store import RunStore
    from benchmark.training.progress import Board

    store = RunStore(context.store)
    if force:
        for job in jobs:
            shutil.rmtree(store.path(*job), ignore_errors=True)
    open_jobs = [job for job in jobs if not store.is_done(*job)]
    places = local_slots(slots)
    where = "a GPU each" if places[0].device is not None else f"threads each: {places[0].threads}"
    done = len(jobs) - len(open_jobs)
    console.print(f"{len(jobs)} cells, {done} finished before; up to {len(places)} at a time, {where}")
    records = []
    try:
        with Board([job.cell for job in open_jobs], len(places), console) as board:
            for record in LocalEngine(places).run(open_jobs, context, lambda job, at: board.watch(job.cell, at)):
                records.append(record)
                board.finish(record)
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on from the last finished epochs.")
        return INTERRUPTED
    return _conclude(records)


def _conclude(records: Sequence[RunRecord]) -> int:
    """Name what could not run and why, and return the exit code."""
    from benchmark.store import LOG

    for record in records:
        if record.status == "unsupported":
            console.print(f"{record.cell} is not supported: {record.reason}", markup=False)
    failed = [record for record in records if record.status == "failed"]
    for record in failed:
        console.print(f"{record.cell} failed: {record.reason} (log: {record.folder / LOG})", markup=False)
    if failed:
        console.print(f"{len(failed)} of {len(records)} cells failed; the same command tries them again.")
    return 1 if failed else 0


def score(*, store: Path = Path("runs"), plugin: list[Path] = []) -> int:  # noqa: B006
    """Score every finished run from its stored predictions; new metrics are filled in for old runs.

    Args:
        store: Folder of the runs.
        plugin: Python files with methods of your own.
    """
    from benchmark.scoring.score import score

    console.print(f"scores: {score(store, plugin)}")
    return 0


def list_(
    what: Literal["methods", "datasets", "metrics"],
    *,
    json: bool = False,
    plugin: list[Path] = [],  # noqa: B006
    card: list[str] = [],  # noqa: B006
) -> int:
    """List what there is to choose from.

    Args:
        what: Which kind.
        json: Print JSON.
        plugin: Python files with methods of your own.
        card: Files of cards, whose datasets are listed, too.
    """
    from benchmark.cli import describe

    _ = [added(name) for name in card]
    found = {
        "methods": lambda: describe.list_methods(_methods(plugin)),
        "datasets": describe.list_datasets,
        "metrics": describe.list_metrics,
    }[what]()
    if json:
        return _print_json(found)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in found[0] if found else ():
        table.add_column(title, overflow="fold")
    for item in found:
        table.add_row(*(", ".join(value) if isinstance(value, list) else str(value) for value in item.values()))
    console.print(table, soft_wrap=False)
    return 0


def describe(
    method: str,
    *,
    points: int = 19,
    card: str = "",
    json: bool = False,
    plugin: list[Path] = [],  # noqa: B006
) -> int:
    """Describe a method or variant: parameters, FLOPs (2 x MAC) of one film, input size, paper.

    Args:
        method: Name of a method or variant.
        points: Number of landmarks.
        card: File of a card, for its landmarks instead.
        json: Print one JSON object.
        plugin: Python files with methods of your own.
    """
    from benchmark.cli.describe import describe_method

    schema = _datasets()[added(card)].schema if card else None
    found = describe_method(method, points, _methods(plugin), schema)
    if json:
        return _print_json(found)
    for key, value in found.items():
        lines = [f"{name}: {item}" for name, item in value.items()] if isinstance(value, dict) else value
        several = isinstance(lines, (list, tuple)) and key != "input_size"
        console.print(f"{key}:" if several else f"{key}: {lines}", markup=False)
        for line in lines if several else ():
            console.print(f"  {line}", markup=False)
    return 0


def check(name: str, *, root: Path | None = None, reveal: bool = False, json: bool = False) -> int:
    """Say what a dataset folder holds, what is missing and how to get it, and which labels are odd.

    The exit code is 2 where a file is missing or unreadable, or nothing can be trained and tested.

    Args:
        name: Of the dataset, or the file of a card.
        root: Its folder, or the folder that holds it; a card says it itself.
        reveal: Show the names, paths and errors of a private set, and which case has which hash.
        json: Print one JSON object.
    """
    from benchmark import dataset_folders as data
    from benchmark.lookup import choose
    from datamodules.audit import check as account
    from datamodules.base import DataError

    name, known = added(name), _datasets()
    kind = known[name := choose(name, known, "dataset")]
    folder = data.find(name, kind, root)
    if kind.home is None and not folder.is_dir():
        raise DataError(f"there is no folder {root}; pass --root the folder of {kind.title}, or the one that holds it.")
    if reveal and kind.private:
        return _reveal(kind, folder)
    report = account.check(kind, folder)
    code = 2 if report.absent or not report.usable else 0
    if json:
        facts = {"usable": report.usable, "absent": report.absent, "report": report.text.splitlines()}
        return _print_json(facts) or code
    console.print(report.text, markup=False)
    return code


def _reveal(kind: Any, folder: Path) -> int:  # noqa: ANN401
    """Print what a private set holds in clear text, for its owner's eyes."""
    from dataclasses import replace

    from datamodules.audit.check import check as account
    from datamodules.private import dataset_of

    report = account(dataset_of(replace(kind.card, private=False)), folder)
    console.print(report.text, markup=False)
    if report.usable:
        console.print("\nCases as they are shown elsewhere:")
        for shown, film in kind(folder, allow_missing=True).own_names().items():
            console.print(f"  {shown}: {film}", markup=False)
    return 2 if report.absent or not report.usable else 0


def new_card(folder: Path, *, out: Path | None = None) -> int:
    """Look at a folder of films and labels and write a first card, to correct and complete.

    Args:
        folder: With images and their labels.
        out: The card; card.yaml in the folder if not given.
    """
    from datamodules.components.cards.new_card import write_card

    path = out or folder / "card.yaml"
    for line in write_card(folder, path):
        console.print(line, markup=False)
    console.print(f"{path}\nnext: read it, then osteomark data check {path}", markup=False)
    return 0


def phantom(names: list[str] = [], *, root: Path, scale: int = 1) -> int:  # noqa: B006
    """Write phantom datasets, in the datasets' true layouts.

    Args:
        names: Of datasets; all of them if none is given.
        root: Folder for their folders.
        scale: How many times the usual number of films to draw, for studies with more power.
    """
    from benchmark import dataset_folders as data
    from benchmark.lookup import choose

    known = _datasets()
    for name in [choose(name, known, "dataset") for name in names] or known:
        console.print(f"{name}: {data.write_phantom(name, known[name], root, scale)}")
    return 0


def new_method(name: str) -> int:
    """Write methods/NAME.py, a small method that passes the contract tests, to start your own from.

    Args:
        name: Of the method: a Python name in lower case.
    """
    import methods

    stem = name.replace("-", "_")
    if not stem.isidentifier() or stem != stem.lower():
        raise ValueError(f"{name!r} cannot name a Python file; use lower-case letters, digits and `_`.")
    path = Path(methods.__path__[0]) / f"{stem}.py"
    title = "".join(part.capitalize() for part in stem.split("_"))
    text = TEMPLATE.read_text().replace("TEMPLATE_NAME", stem).replace("TemplateName", title)
    if path.exists():
        raise ValueError(f"{path} is there already; choose another name or delete it.")
    path.write_text(text)
    console.print(f"{path}\nnext: pytest tests/methods -k {stem}")
    return 0


def _methods(plugins: Sequence[Path]) -> dict[str, type[Method]]:
    import methods

    try:
        return methods.discover(plugins)
    except TypeError as error:  # a plugin file without a method: the message names it
        raise ValueError(str(error)) from error


def added(name: str) -> str:
    """Return a dataset's name; a card's file is read, and its name returned."""
    from datamodules import add_card, is_card

    return add_card(name) if is_card(name) else name


def _datasets() -> dict[str, Any]:
    import datamodules

    return datamodules.discover()


def _print_json(content: object) -> int:
    logging.getLogger(__name__).debug("printing JSON")
    sys.stdout.write(to_json.dumps(content, indent=2, default=str) + "\n")
    return 0
