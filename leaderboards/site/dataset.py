"""The page of a dataset and protocol: one section per test set with its tables, charts and films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.store import HISTORY
from leaderboards.boards.board import Board, Row
from leaderboards.robustness.tables import StressBoard
from leaderboards.site import curves, figures, films, ranking
from leaderboards.site.figures import Series
from leaderboards.site.html import Cell, Figure, Head, Line, Table
from leaderboards.site.overview import caveats_of
from leaderboards.site.predicted import Reader
from leaderboards.site.robustness import Robustness, robustness_of
from leaderboards.site.statistics import Statistics, statistics_of
from leaderboards.text.caveats import leak_free_ranks
from leaderboards.text.comparisons import diagram_name, resampling_text
from leaderboards.text.pages import legend, page_name
from leaderboards.text.tables import heading

EXPORTS = "exports"
"""Folder of the Markdown, CSV and other tables in the site."""
MONITOR = "val/radial_error"
SHOWN_GALLERIES = 3
"""How many rows' films the page of a dataset shows; others stand on the methods' pages."""
GALLERIES = 12
"""How many rows of a board have films at all: they are the larger part of a site."""


class Section(NamedTuple):
    """A test set.

    Attributes:
        key: Prefix of all ids in it.
        board: Its board.
        title: Its heading.
        cases: How many were tested, as text.
        facts: Sentences about it.
        caveats: What a reader must know before believing a number.
        tables: The ranking, then further scores.
        figures: Charts.
        galleries: Films, of the rows that the page shows.
        gallery_note: Why there are no films.
        statistics: What separates the rows.
        robustness: How they do on corrupted films.
    """

    key: str
    board: Board
    title: str
    cases: str
    facts: tuple[str, ...]
    caveats: tuple[str, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    galleries: tuple[films.Gallery, ...]
    gallery_note: str
    statistics: Statistics | None
    robustness: Robustness | None


@dataclass(frozen=True)
class Page:
    """A page with what the methods' pages take over from it.

    Args:
        name: File stem.
        title: Of the dataset.
        boards: Its boards.
        sections: One per board.
        legend: How to read the tables.
        galleries: Films of every drawn row, by board and row label.
        images: Thumbnails that the page's films need: path in the site to file.
    """

    name: str
    title: str
    boards: tuple[Board, ...]
    sections: tuple[Section, ...]
    legend: tuple[str, ...]
    galleries: Mapping[tuple[str, str], films.Gallery]
    images: Mapping[str, Path]


class Sources(NamedTuple):
    """What a page takes from beside its boards.

    Attributes:
        groups: The dataset's structures with the names of their landmarks.
        draw: Gives thumbnails of films; None leaves the gallery out.
        stressed: What `osteomark stress` left.
        exports: The tables and diagrams in the site, from its root.
    """

    groups: Mapping[str, Sequence[str]]
    draw: films.Draw | None
    stressed: Sequence[StressBoard]
    exports: frozenset[str]


def dataset_page(boards: Sequence[Board], sources: Sources) -> Page:
    """Assemble the page of one dataset and protocol.

    Args:
        boards: All of its boards.
        sources: What else it shows.
    """
    first, reader = boards[0], Reader()
    several = len({board.content for board in boards}) > 1
    sections: list[Section] = []
    drawn: dict[tuple[str, str], films.Gallery] = {}
    images: dict[str, Path] = {}
    for place, board in enumerate(boards, 1):
        section, galleries, found = _section(f"s{place}", board, sources, reader, named_films=several)
        sections.append(section)
        drawn |= {(section.key, label): gallery for label, gallery in galleries.items()}
        images |= found
    return Page(page_name(first), first.title, tuple(boards), tuple(sections), tuple(legend(boards)), drawn, images)


def _section(
    key: str, board: Board, sources: Sources, reader: Reader, *, named_films: bool
) -> tuple[Section, dict[str, films.Gallery], dict[str, Path]]:
    unit = board.facts.get("unit", "px")
    series = _series(board, reader, unit)
    galleries, images, note = _galleries(board, series, reader, unit, sources.draw)
    title = f"Test set {board.test_set}" if board.test_set else "No run was scored"
    counts = sorted({row.cases for row in board.ranked})
    picture = f"{EXPORTS}/{diagram_name(board, page_name(board), named_films=named_films)}"
    section = Section(
        key,
        board,
        f"{title}, films {board.content}" if named_films else title,
        " or ".join(map(str, counts)),
        tuple(_facts(board)),
        caveats_of(board),
        tuple(ranking.score_tables(board, key)) if board.columns else (_unscored(board, key),),
        tuple(_figures(key, board, series, unit, sources.groups)),
        tuple(galleries.values())[:SHOWN_GALLERIES],
        note,
        statistics_of(board, key, picture if picture in sources.exports else ""),
        robustness_of(board, sources.stressed, key),
    )
    return section, galleries, images


def _series(board: Board, reader: Reader, unit: str) -> list[Series]:
    """Return what is drawn of a board: its best rows and the floor, as far as their predictions are there."""
    rows = list(board.ranked[: figures.MOST])
    if board.floor and board.floor not in rows:
        rows[-1] = board.floor
    found = []
    for place, row in enumerate(rows):
        predicted = reader.row(row, board.test_set)
        if predicted is not None:
            colour, dash = figures.style(place, row)
            found.append(Series(row, colour, dash, predicted, predicted.errors(unit)))
    found = [item for item in found if np.isfinite(item.errors).any()]
    names = found[0].predicted.landmarks if found else ()
    return [item for item in found if item.predicted.landmarks == names]


def _figures(
    key: str, board: Board, series: Sequence[Series], unit: str, groups: Mapping[str, Sequence[str]]
) -> list[Figure]:
    if not series:
        return []
    histories = [(place, item.row, _history(item.row)) for place, item in enumerate(series)]
    found = [
        curves.error_curves(key, series, unit),
        figures.group_errors(key, series, unit, groups),
        curves.calibration_curves(key, series),
        curves.learning_curves(key, [(place, row, values) for place, row, values in histories if values]),
        figures.landmark_errors(key, series, unit),
    ]
    return [figure for figure in found if figure is not None]


def _history(row: Row) -> list[float]:
    """Return the validation error of each epoch of a row's first run; empty where it kept none."""
    path = next((runs[0].folder / HISTORY for runs in row.counted.values()), None)
    if path is None or not path.is_file():
        return []
    frame = pd.read_csv(path)
    return frame[MONITOR].dropna().astype(float).tolist() if MONITOR in frame else []


def _galleries(
    board: Board, series: Sequence[Series], reader: Reader, unit: str, draw: films.Draw | None
) -> tuple[dict[str, films.Gallery], dict[str, Path], str]:
    """Return the films of each drawn row, their thumbnails, and a sentence where there are none."""
    if films.is_private(board):
        return {}, {}, "Films of a private set are never shown."
    if draw is None or not series:
        return {}, {}, "Films are drawn where the site is built with the folder of the dataset."
    place, series = films.place_of(board), series[:GALLERIES]
    wanted = {
        film.case: film
        for item in series
        for film in (films.film_of(item.predicted, i) for i in films.extremes(item).values())
    }
    images = draw(place, list(wanted.values()))
    if not images:
        return {}, {}, "Films are drawn where the site is built with the folder of the dataset."
    found = {}
    for item in series:
        limits = films.certainty_limits(reader.validation(item.row), unit)
        gallery = films.gallery(place, item, unit, images, limits)
        if gallery.overlays:
            found[item.row.label] = gallery
    return found, {films.image_name(place, case): path for case, path in images.items()}, ""


def _facts(board: Board) -> list[str]:
    devices = sorted({run.device for row in board.rows for run in row.done if run.device})
    budgets = sorted({row.budget for row in board.ranked})
    expected, folds = len(board.facts.get("splits", ())), board.ranked[0].folds if board.ranked else ()
    sentences = [
        f"Ranked by {heading(board.columns[0])}." if board.columns else "",
        _leaks(board),
        resampling_text(board),
        f"**Only {len(folds)} of the {expected} folds were run ({', '.join(folds)}).**"
        if 0 < len(folds) < expected
        else "",
        f"Training budget of all ranked rows: {budgets[0]}." if len(budgets) == 1 else "",
        f"**Budgets differ between rows ({'; '.join(budgets)}): ranks across budgets do not compare methods alone.**"
        if len(budgets) > 1
        else "",
        f"Times were measured on: {', '.join(devices)}." if devices else "",
        f"Fingerprint of films and labels: `{board.content}`." if board.content else "",
    ]
    return list(filter(None, sentences))


def _leaks(board: Board) -> str:
    """Say which rows would stand elsewhere without the films that leak."""
    if not board.leaked:
        return ""
    kept = next(row.cases_leak_free for row in board.rows if row.cases_leak_free is not None)
    ranks = leak_free_ranks(board)
    moved = [
        f"{row.label} {row.rank} to {ranks[row.key]}"
        for row in board.ranked
        if ranks.get(row.key, row.rank) != row.rank
    ]
    change = f"ranks would change for {len(moved)} rows: {', '.join(moved)}" if moved else "no rank would change"
    return f"*Leak-free* is the score on the {kept} films without a known leak; on these {change}."


def _unscored(board: Board, key: str) -> Table:
    heads = (Head("Method"), Head("Budget"), Head("Status"), Head("Why"))
    lines = [
        Line(
            (
                Cell(row.label, row.label),
                Cell(row.budget),
                Cell(ranking.STATUS_TEXT[row.status]),
                Cell("; ".join(row.notes)),
            ),
            row.status,
        )
        for row in board.rows
    ]
    return Table(f"{key}-ranking", "Runs without a score", heads, tuple(lines))
