"""A store's runs told to W&B afterwards: those that were tracked offline, interrupted, or not tracked at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from jaxtyping import UInt8

from benchmark.cell import Cell
from benchmark.predictions import Predictions
from benchmark.store import CARDS, HISTORY, RunRecord, RunStore
from benchmark.thumbnails import DatasetRequest, FilmRequest, Thumbnails
from benchmark.tracking.results import Films, tell_results
from benchmark.tracking.tracker import SWEEP, Identity, Tracker
from datamodules import DatasetRegistry
from datamodules.components.badges import PHANTOM, PRIVATE


def is_trial(cells: int) -> bool:
    """Tell whether an agent of a W&B sweep started this process.

    Args:
        cells: How many cells there are to run.

    Raises:
        ValueError: They are several, and a trial has one run at W&B.
    """
    trial = SWEEP in os.environ
    if trial and cells != 1:
        raise ValueError(
            f"a trial of a sweep is one cell, but these are {cells}; name one method, one dataset with one split, "
            f"and one seed in the matrix file or by options."
        )
    return trial


class Push(NamedTuple):
    """What is sent.

    Attributes:
        store: The run store.
        data_root: Folder with the datasets' folders, for pictures of real films; without it only phantoms are shown.
        artifacts: Send predicted points and weights, too; never those of a private set.
        private: Send runs on private sets, without pictures and files.
    """

    store: Path
    data_root: Path | None = None
    artifacts: bool = False
    private: bool = False

    def runs(self) -> list[RunRecord]:
        """Return the runs that can be sent: done or failed, of a dataset that is known, by nobody's hand.

        Raises:
            FileNotFoundError: There is none.
        """
        known = DatasetRegistry(descriptions=self.store / CARDS)
        ended = [run for run in RunStore(self.store).runs() if run.status != "unsupported" and not run.human]
        found = [run for run in ended if run.cell.dataset in known and (self.private or not is_private(run, known))]
        if not found:
            rest = "; those of private sets need --private" if ended else f"; `osteomark run --store {self.store}`"
            raise FileNotFoundError(f"{self.store} holds no run to push{rest}.")
        return found


def is_private(run: RunRecord, known: DatasetRegistry) -> bool:
    """Tell whether a run is on a private set."""
    return PRIVATE in run.badges or known[run.cell.dataset].private


def push_runs(push: Push) -> Iterator[RunRecord]:
    """Send the runs of a store one by one; what W&B has of them is written anew.

    Yields:
        Each run that was sent.

    Raises:
        FileNotFoundError: There is no run to send.
        ConnectionError: W&B did not take a run.
    """
    for run in push.runs():
        push_run(push, run)
        yield run


def push_trial(push: Push, cell: Cell) -> None:
    """Send the newest finished run of a cell, which a trial of a sweep asked for again.

    Raises:
        ValueError: There is none: the method cannot run on the dataset, or another run has the cell at the moment.
        ConnectionError: W&B did not take it.
    """
    done = [run for run in push.runs() if run.cell == cell and run.status == "done"]
    if not done:
        raise ValueError(f"{cell} has no finished run yet that the sweep could be told of.")
    push_run(push, max(done, key=lambda run: run.finished))


def push_run(push: Push, run: RunRecord) -> None:
    """Send one run: its curves from `history.csv`, then what `tell_results` tells.

    Raises:
        ConnectionError: W&B did not take it.
    """
    known = DatasetRegistry(descriptions=push.store / CARDS)
    identity = Identity.of(run.cell, run.fingerprint, private=is_private(run, known))
    with Tracker(push.store, identity) as tracker:
        if (run.folder / HISTORY).is_file():
            for place, row in enumerate(pd.read_csv(run.folder / HISTORY).to_dict("records"), 1):
                tracker.log(place, {str(name): value for name, value in row.items()})
        if run.status == "done":
            tell_results(tracker, run, run.folder, known, _films(push, run), artifacts=push.artifacts)
        tracker.finish(failed=run.status == "failed")
    if tracker.failure:
        raise ConnectionError(f"W&B did not take {identity.name}: {tracker.failure}. The same command starts anew.")


def _films(push: Push, run: RunRecord) -> Films:
    """Return what gives the thumbnails of a run's films, where these may be shown."""
    request = DatasetRequest(run.cell.dataset, run.cell.protocol, run.content, PHANTOM in run.badges)

    def read(shown: Predictions) -> dict[str, UInt8[np.ndarray, "height width"]]:
        lines = zip(shown.cases, shown.truth, shown.size.astype(int).tolist(), strict=True)
        films = [FilmRequest(case, truth, (height, width)) for case, truth, (height, width) in lines]
        paths = Thumbnails(push.store, push.data_root)(request, films)
        return {case: np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for case, path in paths.items()}

    return read
