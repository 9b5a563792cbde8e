"""What W&B is told of a run that is done: scores, costs, errors of each landmark, pictures of a few films, files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from jaxtyping import Float, UInt8

from benchmark.cell import On
from benchmark.predictions import (
    PUBLISHED,
    SCORED,
    VALIDATION_SET,
    Predictions,
    read_predictions,
    read_table,
)
from benchmark.scoring.score import score_run
from benchmark.store import CHECKPOINTS, RunRecord
from benchmark.tracking.overlay import LEGEND, draw_overlay
from benchmark.tracking.tracker import Tracker
from datamodules import DatasetRegistry
from datamodules.base import LandmarkDataModule
from datamodules.components.images.image_io import read_film

if TYPE_CHECKING:
    import wandb

Films = Callable[[Predictions], Mapping[str, UInt8[np.ndarray, "height width"]]]
"""Gives films, whole or smaller, by case; a film that it lacks is not shown."""
PICTURES: Final = 4
"""So many validation films are shown: the first by their names, the same ones for all runs of a split."""
LANDMARK_COLUMNS: Final = ("landmark", "films", "mean", "median", "sd", "largest")


def tell_results(
    tracker: Tracker,
    record: RunRecord,
    folder: Path,
    datasets: DatasetRegistry,
    films: Films | None = None,
    *,
    artifacts: bool = False,
) -> None:
    """Tell everything of a finished run; what cannot be told is logged. Of a private set no picture and file is sent.

    Args:
        tracker: Of the run.
        record: What `run.json` says, or will say.
        folder: Of the run.
        datasets: Every dataset by name.
        films: Where films come from; no picture is sent without it.
        artifacts: Send the predicted points and the weights.
    """
    tracker.attempt(lambda: _tell(tracker, record, folder, datasets, films, artifacts=artifacts))


def films_of(data: LandmarkDataModule) -> Films:
    """Return what reads a dataset's films."""

    def read(shown: Predictions) -> dict[str, UInt8[np.ndarray, "height width"]]:
        cases = [data.inventory.cases[name] for name in shown.cases]
        return {case.name: read_film(case.film, exif=case.exif) for case in cases}

    return read


def _tell(
    tracker: Tracker,
    record: RunRecord,
    folder: Path,
    datasets: DatasetRegistry,
    films: Films | None,
    *,
    artifacts: bool,
) -> None:
    private = tracker.identity.private
    protocol = datasets.find(record.cell.dataset).find_protocol(record.cell.protocol)
    tracker.summarize(_costs(record))
    found = [on for on, scored in SCORED.items() if (folder / scored.predictions).is_file()]
    for on in found:
        tracker.summarize(score_run(folder, datasets, on))
        predicted = read_predictions(folder / SCORED[on].predictions)
        for name, predictions in predicted.items():
            tracker.log(record.epochs, _landmarks(name, predictions, protocol.unit))
        if on == "validation" and films is not None and not private:
            validation = predicted[VALIDATION_SET]
            shown = validation.only(validation.cases[:PICTURES])
            tracker.log(record.epochs, _pictures(shown, films(shown)))
    if artifacts and not private:
        _keep_files(tracker, record, folder, found)


def landmark_errors(predictions: Predictions, unit: str) -> list[tuple[Any, ...]]:
    """Return the rows of the table of landmarks, see `LANDMARK_COLUMNS`; a landmark that no film shows is left out.

    Args:
        predictions: Of some films.
        unit: `mm` or `px`.
    """
    rows: list[tuple[Any, ...]] = []
    for name, errors in zip(predictions.landmarks, predictions.errors(unit).T, strict=True):
        known: Float[np.ndarray, " film"] = errors[np.isfinite(errors)]
        if len(known):
            spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
            rows.append((name, len(known), float(known.mean()), float(np.median(known)), spread, float(known.max())))
    return rows


def _landmarks(name: str, predictions: Predictions, unit: str) -> dict[str, Any]:
    import wandb

    table = wandb.Table(columns=list(LANDMARK_COLUMNS), data=[list(row) for row in landmark_errors(predictions, unit)])
    title = f"Mean radial error of each landmark in {unit}: {name}"
    return {f"landmarks/{name}": wandb.plot.bar(table, LANDMARK_COLUMNS[0], LANDMARK_COLUMNS[2], title=title)}


def _pictures(shown: Predictions, films: Mapping[str, UInt8[np.ndarray, "height width"]]) -> dict[str, Any]:
    """Return the pictures of the films that are there, each under its own name: a panel shows one film of all runs."""
    pictures = {}
    errors = shown.errors("px")
    for place, case in enumerate(shown.cases):
        if case in films:
            size = (float(shown.size[place][0]), float(shown.size[place][1]))
            drawn = draw_overlay(films[case], size, shown.points[place], shown.truth[place])
            mean = float(np.nanmean(errors[place])) if np.isfinite(errors[place]).any() else float("nan")
            pictures[f"validation_films/{place + 1}"] = _image(drawn, f"{case}: mean error {mean:.3g} px; {LEGEND}")
    return pictures


def _image(picture: UInt8[np.ndarray, "rows columns 3"], caption: str) -> wandb.Image:
    import wandb

    return wandb.Image(picture, caption=caption)


def _costs(record: RunRecord) -> dict[str, Any]:
    facts = {
        "parameters": record.parameters.get("trainable"),
        **{key: getattr(record, key) for key in ("flops", "latency_ms", "peak_memory_mb", "epochs")},
        **{f"{name}_seconds": value for name, value in record.seconds.items()},
        "checkpoint_epoch": record.checkpoint.get("epoch"),
    }
    return {f"cost/{name}": value for name, value in facts.items() if value is not None}


def _keep_files(tracker: Tracker, record: RunRecord, folder: Path, found: list[On]) -> None:
    """Send the points without the films' labels, which are not ours to pass on, and the weights that were chosen."""
    with tempfile.TemporaryDirectory() as place:
        files = []
        for on in found:
            files.append(Path(place) / SCORED[on].predictions)
            read_table(folder / SCORED[on].predictions, PUBLISHED).to_parquet(files[-1], index=False)
        tracker.keep(f"predictions-{tracker.identity.id}", "predictions", files)
    weights = folder / CHECKPOINTS / str(record.checkpoint.get("file"))
    if weights.is_file():
        tracker.keep(f"checkpoint-{tracker.identity.id}", "model", [weights])
