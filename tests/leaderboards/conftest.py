"""A small store with everything that the site shows, and the site built from it, once for all tests."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pandas as pd
import pytest

import datamodules
from benchmark.predictions import VALIDATION
from benchmark.scoring.score import score
from benchmark.store import HISTORY, RunRecord
from benchmark.thumbnails import DatasetRequest, FilmRequest, thumbnail_size
from datamodules.base import LandmarkSchema
from leaderboards.boards.reported import Reported
from leaderboards.site.build import build_site
from tests.stored_runs import NAMES, Skull, predictions, write_run

CASES = 12
REPORTED = (
    Reported("skull", "official", "test", "Rival <b>", "", {"mre_mm": 0.9}, "Doe 2020", "https://x.org", "3", "a note"),
)


def markdown_rows(text: str, heading: str) -> list[dict[str, str]]:
    """The first Markdown table whose heading contains a text, as one dictionary per row."""
    blocks = (block.splitlines() for block in text.split("\n\n") if block.startswith("|"))
    head, _, *rows = next(block for block in blocks if heading in block[0])
    names = [cell.strip() for cell in head.strip("|").split("|")]
    return [dict(zip(names, (cell.strip() for cell in row.strip("|").split("|")), strict=True)) for row in rows]


class Grouped(Skull):
    """The skull with two structures."""

    schema = LandmarkSchema(NAMES, groups={"base": NAMES[:2], "jaw": NAMES[2:]}, normalizer=NAMES[:2])


class Hidden(Skull):
    """A private set."""

    title = "clinic"
    private: ClassVar = True


class Drawn:
    """Gives grey films for all but private sets, which it must never be asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[DatasetRequest] = []

    def __call__(self, place: DatasetRequest, films: Sequence[FilmRequest]) -> Mapping[str, Path]:
        self.asked.append(place)
        return {film.case: self.film(film) for film in films}

    def film(self, film: FilmRequest) -> Path:
        path = self.folder / f"{film.case}.jpg"
        cv2.imwrite(str(path), np.full(thumbnail_size(film.size), 90, np.uint8))
        return path


def noisy(scale: float, seed: int = 0, first: int = 0, cases: int = CASES) -> pd.DataFrame:
    """Predictions whose errors vary over films and landmarks."""
    errors = scale * (1 + np.random.default_rng(seed).uniform(0, 1, (cases, len(NAMES))))
    return predictions(errors, first=first)


def certain(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(cov_xx=4.0, cov_xy=1.0, cov_yy=9.0)


def _complete(record: RunRecord, validation: pd.DataFrame) -> None:
    validation.assign(test_set="validation").to_parquet(record.folder / VALIDATION, index=False)
    epochs = pd.DataFrame({"stage": 0, "epoch": range(4), "val/radial_error": [9.0, 4.0, 3.0, 3.5]})
    epochs.to_csv(record.folder / HISTORY, index=False)


def write_store(store: Path) -> Path:
    """A leader with a covariance, ties, seeds, folds, the floor, what failed, films of people and of a clinic."""
    _complete(write_run(store, certain(noisy(1.0)), "posenet", badges=("oracle crop",)), certain(noisy(1.0, 9, 50)))
    write_run(store, noisy(2.0, 1), "mnv2")
    write_run(store, noisy(2.1, 2), "mnv2", seed=1)
    write_run(store, noisy(2.05, 3), "res50")
    write_run(store, noisy(6.0, 4))
    write_run(store, None, "farnet", reason="RuntimeError: out of memory")
    for number in range(3):
        for variant, scale in (("posenet", 1.0), ("mnv2", 2.0), ("mean_shape", 5.0)):
            frame = noisy(scale, number, 100 * number, cases=4)
            write_run(store, frame, variant, protocol="3-fold", split=f"fold{number + 1}")
    for variant, scale in (("posenet", 1.0), ("mean_shape", 4.0)):
        frame = noisy(scale, 7).assign(case=lambda table: "case-" + table["case"].str[-3:])
        write_run(store, frame, variant, dataset="clinic", content="secret", badges=("private data",))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datamodules, "discover", lambda: {"skull": Grouped, "clinic": Hidden})
        score(store)
    _write_stress(store)
    _write_external(store)
    return store


def _write_stress(store: Path) -> None:
    """What `osteomark stress` leaves, for one corruption."""
    common = {"dataset": "skull", "protocol": "official", "content": "films", "test_set": "test", "config": "c"}
    common |= {"budget": "reduced", "badges": "", "column": "mre_mm", "title": "MRE", "unit": "mm"}
    common |= {"higher_is_better": "False", "cases": CASES, "metric": "radial_error"}
    rows = [
        common
        | {"variant": variant, "corruption": "noise" if severity else "clean", "severity": severity}
        | {"level": f"sd {severity}" if severity else "", "value": value + severity, "low": value, "high": value + 9}
        for variant, value in (("posenet", 1.0), ("mean_shape", 4.0))
        for severity in range(6)
    ]
    pd.DataFrame(rows).to_csv(store / "stress.csv", index=False)


def _write_external(store: Path) -> None:
    """What `osteomark test` leaves: two methods, 1.5 and 1.1 times as far off at another site."""
    common = {"home_dataset": "skull", "home_protocol": "official", "home_content": "films", "config": "c"}
    common |= {"away_dataset": "elsewhere", "away_protocol": "all", "away_content": "other", "away_title": "Skulls <b>"}
    common |= {"landmarks": 4, "left_out": "", "readers": "a and b: 0.8 mm", "badges": "", "folds": "main"}
    common |= {"budget": "reduced", "seeds": "0", "higher_is_better": "False", "column": "mre_mm", "title": "MRE"}
    columns = ("growth", "growth_low", "growth_high")
    rows = [
        common
        | {"unit": "mm", "variant": variant, "method": variant, "test_set": test_set, "cases": CASES}
        | {"value": value * times, "low": value * times - 0.1, "high": value * times + 0.2}
        | dict(zip(columns, growth if test_set == "test" else [np.nan] * 3, strict=True))
        for variant, value, growth in (("posenet", 1.0, (1.5, 1.3, 1.7)), ("mean_shape", 4.0, (1.1, 0.9, 1.3)))
        for test_set, times in (("test", 1.0), ("away", growth[0]))
    ]
    pd.DataFrame(rows).to_csv(store / "external.csv", index=False)


@pytest.fixture(scope="session")
def site_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store."""
    return write_store(tmp_path_factory.mktemp("site") / "runs")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """What gives the films, and remembers which ones it was asked for."""
    return Drawn(tmp_path_factory.mktemp("thumbnails"))


@pytest.fixture(scope="session")
def site(site_store: Path, drawn: Drawn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The site."""
    out = tmp_path_factory.mktemp("built") / "site"
    build_site(site_store, out, drawn, REPORTED)
    return out
