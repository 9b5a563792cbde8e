"""Commands that use trained runs on films of one's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import rich.table
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmark.cli.console import console

if TYPE_CHECKING:
    from benchmark.trained.films import Spacing
    from benchmark.trained.model import Model
    from datamodules.base import LandmarkDataModule


def predict(
    run: Path,
    films: Sequence[Path],
    *,
    out: Path = Path("points.csv"),
    format: Literal["csv", "json", "coco", "labelme"] | None = None,
    also: Sequence[Path] = (),
    flip: bool = False,
    spacing: Sequence[float] = (),
    level: float = 0.9,
    overlay: Path | None = None,
    names: bool = False,
    batch_size: int | None = None,
    card: Path | None = None,
    plugin: Sequence[Path] = (),
) -> int:
    """Predict the landmarks of films with a trained run; films need no labels.

    Args:
        run: A run's folder in a store, or its checkpoint.
        films: Films, folders of films, or patterns in quotation marks.
        out: File to write, or for LabelMe the folder; its suffix chooses CSV or JSON, none chooses LabelMe.
        format: The format, where the name of the file does not say it.
        also: More runs with the same landmarks, of other seeds or folds: their answers are averaged.
        flip: Show the mirrored film too, and average; only for landmarks that have a left and a right.
        spacing: Millimetres per pixel of films that do not say it: one number, or x and y.
        level: Coverage of the conformal regions: 0.5, 0.9 or 0.95.
        overlay: Folder for pictures of the films with the points.
        names: Write the landmarks' names into the pictures.
        batch_size: Films at a time; if not given, as in training.
        card: Card of the private set that the run was trained on; its checkpoint has numbers for the landmarks' names.
        plugin: Python files with methods of your own.
    """
    from benchmark.trained.films import find_films
    from benchmark.trained.formats import format_of, write_landmarks
    from benchmark.trained.measures import measures
    from benchmark.trained.overlay import write_overlays
    from benchmark.trained.predict import predict_films

    kind = format or format_of(out)
    paths = find_films(films)
    models = _models([run, *also], card, plugin)
    shown = len(paths) * len(models) * (1 + flip)
    with _progress() as progress:
        task = progress.add_task(f"{len(paths)} films", total=shown)
        predicted = predict_films(
            models,
            paths,
            spacing=_spacing(spacing),
            flip=flip,
            batch_size=batch_size,
            level=level,
            advance=lambda count: progress.advance(task, count),
        )
    for problem in predicted.problems.values():
        console.print(f"left out: {problem}", markup=False)
    if not predicted.films:
        raise ValueError("none of the films could be read.")
    for path in write_landmarks(out, predicted, measures(predicted), kind):
        console.print(f"landmarks of {len(predicted.films)} films: {path}", markup=False)
    if overlay is not None:
        console.print(f"pictures: {len(write_overlays(overlay, predicted, names=names))} in {overlay}", markup=False)
    for note in _notes(models):
        console.print(note, markup=False)
    return 1 if predicted.problems else 0


def test(
    runs: Sequence[Path],
    *,
    dataset: str = "",
    card: Path | None = None,
    protocol: str = "",
    data_root: Path | None = None,
    rename: Sequence[str] = (),
    landmarks: Sequence[str] = (),
    allow_missing: bool = False,
    plugin: Sequence[Path] = (),
    out: Path | None = None,
) -> int:
    """Test trained runs on another site's films with the same landmarks, and show home against away.

    Args:
        runs: Folders of runs in one store.
        dataset: The other dataset, by name.
        card: The other dataset, by the file of its card.
        protocol: Whose truth counts; the dataset's first if not given.
        data_root: Folder with the datasets' folders; without it the phantom is used.
        rename: `home=away` for landmarks that are called otherwise there.
        landmarks: Compare these only, by their names at home; all that both have if not given.
        allow_missing: Go on without the cases whose files are missing or unreadable.
        plugin: Python files with methods of your own.
        out: Folder for the tables; `leaderboards` in the store if not given.
    """
    from benchmark.trained.external import Tested, match, site_of, test_away
    from benchmark.trained.external_score import score_external
    from benchmark.trained.model import load_model, record_of
    from leaderboards.external.page import show_external, write_external
    from leaderboards.external.scores import read_external

    name, data = _away(dataset, card, protocol, data_root, allow_missing=allow_missing)
    tested = []
    for path in runs:
        model, record = load_model(path, plugin), record_of(path)
        if record is None:
            raise ValueError(f"{path} is no run of a store, and its scores at home are needed; give the run's folder.")
        if record.cell.dataset == name:
            raise ValueError(f"{path} was trained on {name} itself; its own board shows it.")
        site = site_of(
            name, data, model.facts.schema, match(model.facts.schema, data.schema, _pairs(rename), landmarks)
        )
        tested.append(Tested(record, model, site))
    with _progress() as progress:
        films = len(data.inventory.cases)
        task = progress.add_task(f"{films} films, {len(tested)} runs", total=films * len(tested))
        test_away(tested, data, lambda count: progress.advance(task, count))
    for run, _, site in tested:
        left_out = f"; not compared: {', '.join(site.left_out)}" if site.left_out else ""
        console.print(f"{run.cell} on {name}: {len(site.pairs)} landmarks{left_out}", markup=False)
    for store in sorted({each.run.folder.parents[4] for each in tested}):
        score_external(store)
        show_external(read_external(store))
        for path in write_external(store, out or store / "leaderboards"):
            console.print(f"  {path}", markup=False)
    return 0


def export(
    run: Path,
    *,
    format: Literal["onnx", "pt2", "checkpoint"] = "onnx",
    out: Path | None = None,
    card: Path | None = None,
    plugin: Sequence[Path] = (),
) -> int:
    """Write a trained network for other programs, with decoding inside, and time it.

    Args:
        run: A run's folder in a store, or its checkpoint.
        format: ONNX, torch's exported program, or a checkpoint that can be passed on alone.
        out: File to write; named after the method if not given.
        card: Card of the private set that the run was trained on; only with it the file names the landmarks.
        plugin: Python files with methods of your own.
    """
    from benchmark.trained.export import export as write_graph
    from benchmark.trained.export import latencies
    from benchmark.trained.model import write_checkpoint

    (model,) = _models([run], card, plugin)
    suffix = {"checkpoint": "ckpt"}.get(format, format)
    path = out or Path(f"{model.facts.variant}.{suffix}")
    if format == "checkpoint":
        write_checkpoint(model, path)
        console.print(f"{model.facts.variant}: {path}", markup=False)
        return 0
    write_graph(model, path, format)
    height, width = model.facts.input_size
    console.print(f"{model.facts.variant}: {path}, input image (batch, 1, {height}, {width}), 8-bit grey", markup=False)
    table = rich.table.Table(title="Milliseconds a film, one at a time", title_justify="left")
    for title in ("runtime", "p50", "p95"):
        table.add_column(title, justify="left" if title == "runtime" else "right")
    for row in latencies(model, path if format == "onnx" else None):
        table.add_row(row.runtime, f"{row.p50:.1f}", f"{row.p95:.1f}")
    console.print(table)
    return 0


def _away(
    dataset: str, card: Path | None, protocol: str, data_root: Path | None, *, allow_missing: bool
) -> tuple[str, LandmarkDataModule]:
    """Open the other dataset."""
    from benchmark import dataset_folders
    from benchmark.lookup import choose
    from datamodules import DatasetRegistry
    from datamodules.components.images.cache import FilmCache

    if bool(dataset) == bool(card):
        raise ValueError("on which films? Give another dataset with --dataset, or a card with --card.")
    known = DatasetRegistry()
    name = known.add_card(card) if card else choose(dataset, known, "dataset")
    root = dataset_folders.films(name, known[name], data_root)
    data = known[name](root, protocol, allow_missing=allow_missing)
    data.films = FilmCache(dataset_folders.CACHE, name)
    return name, data


def _pairs(renamed: Sequence[str]) -> dict[str, str]:
    """Read `home=away`."""
    for text in renamed:
        if text.count("=") != 1:
            raise ValueError(f"--rename takes home=away, not {text!r}.")
    return dict(text.split("=") for text in renamed)


def _models(paths: Sequence[Path], card: Path | None, plugins: Sequence[Path]) -> list[Model]:
    from benchmark.trained.model import load_model
    from datamodules import DatasetRegistry

    known = DatasetRegistry()
    names = None if card is None else known[known.add_card(card)].schema
    return [load_model(path, plugins, names) for path in paths]


def _notes(models: Sequence[Model]) -> list[str]:
    """Say what a reader of the numbers must know."""
    facts = models[0].facts
    notes = [f"trained on {facts.title} ({facts.dataset}, {facts.protocol}); its films' licence: {facts.licence}"]
    if len(models) > 1:
        notes.append(f"mean of {len(models)} networks; no conformal region is calibrated for a mean")
    elif facts.quantiles:
        notes.append(
            f"conformal regions were fitted on {facts.calibration_films} validation films; they hold for films like "
            f"those, not for another machine's or another hospital's"
        )
    else:
        notes.append("no films validated, so that there are no conformal regions")
    return notes


def _spacing(given: Sequence[float]) -> Spacing:
    if len(given) > 2 or any(not 0 < value < math.inf for value in given):
        raise ValueError(f"--spacing is one positive number of millimetres per pixel, or two, not {list(given)}.")
    return (given[0], given[-1]) if given else (math.nan, math.nan)


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
