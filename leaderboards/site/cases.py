"""The browser of cases: every film of a board with what the methods answered, side by side."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float

from benchmark.predictions import Predictions
from leaderboards.boards.board import FLOOR, Board, Row
from leaderboards.boards.case_scores import CaseScore
from leaderboards.boards.numbers import number
from leaderboards.pages.model import Page, PageTable, Section, TableCell, TableColumn, TableRow
from leaderboards.site.blocks import Banner, CaseBrowser
from leaderboards.site.charts.figures import Series, Structures, rounded
from leaderboards.site.films import Draw, film_of, image_name, place_of
from leaderboards.site.published_rows import PublishedRows, ranking_scores

STEPS: Final = 32000
"""Points are written in whole numbers up to this one, which two bytes hold."""
SHOWN: Final = 3
"""So many of the best methods are shown before others are switched on."""
_TEXT: Final = (
    "Every test film with what each method answered. Films can be put in order by disagreement: the mean distance of "
    "the methods' points from their median point, without the floor, which never looks at a film."
)
_NO_TRUTH: Final = (
    "The labels of this dataset are not published with the results, so errors of single landmarks cannot be shown. The "
    "grey skeleton is the median of all methods, and the score below a drawing is the film's own."
)
_TRUTH: Final = "The grey skeleton, white on a film, is the truth: where the readers marked the landmarks."


class CasePage(NamedTuple):
    """The page of a board's films.

    Attributes:
        page: What it shows.
        files: The script that holds its numbers: path in the site to text.
        images: Thumbnails: path in the site to file.
    """

    page: Page
    files: Mapping[str, str]
    images: Mapping[str, Path]


class _Answer(NamedTuple):
    """A drawn row with its points and scores by case, in pixels of the film and the board's first score."""

    item: Series
    points: Mapping[str, Float[np.ndarray, "landmark 2"]]
    scores: Mapping[str, CaseScore]


def case_page(
    board: Board,
    place: int,
    series: Sequence[Series],
    structures: Structures,
    draw: Draw | None,
    published: PublishedRows | None,
    banners: Sequence[Banner],
) -> CasePage | None:
    """Show a board's films one by one; None where the films are private or no points are known.

    Args:
        board: The board.
        place: Its number on its page.
        series: Its drawn rows, best first.
        structures: What the dataset's schema says.
        draw: Gives thumbnails of films that may be shown.
        published: Where points and scores are, if there are no runs.
        banners: What stands over the page.
    """
    if board.private:
        return None
    answers = [each for item in series if (each := _answer(board, item, published)).points]
    if not answers:
        return None
    name = f"{board.page}-cases-{place}"
    labelled = next((item.answers.predicted for item in series if item.answers), None)
    cases = sorted(set().union(*(each.points for each in answers)))
    images = _images(board, labelled, cases, draw)
    spread = {case: _disagreement(answers, case) for case in cases}
    data = _data(board, answers, cases, spread, labelled, structures, set(images))
    file = f"cases/{name}.js"
    text = f"window.caseData = {json.dumps(data, separators=(',', ':'), allow_nan=False, ensure_ascii=False)};\n"
    browser = CaseBrowser(file, board.columns[0].heading, (_TEXT, _NO_TRUTH if labelled is None else _TRUTH))
    table = Section("The same as a table", (_table(board, answers, cases, spread),), folded=True)
    page = Page(name, f"{board.name}: film by film", (), (Section("", (*banners, browser)), table), {}, "film by film")
    return CasePage(page, {file: text}, {image_name(place_of(board), case): path for case, path in images.items()})


def _answer(board: Board, item: Series, published: PublishedRows | None) -> _Answer:
    scores = ranking_scores(board, item.row, published)
    if published is not None:
        return _Answer(item, published.points(board, item.row), scores)
    predicted = item.answers.predicted if item.answers else None
    return _Answer(item, {} if predicted is None else _first_seed(item.row, predicted), scores)


def _first_seed(row: Row, predicted: Predictions) -> dict[str, Float[np.ndarray, "landmark 2"]]:
    count = row.cases or len(predicted.cases)
    return dict(zip(predicted.cases[:count], predicted.points[:count], strict=True))


def _images(board: Board, labelled: Predictions | None, cases: Sequence[str], draw: Draw | None) -> Mapping[str, Path]:
    if draw is None or labelled is None:
        return {}
    places = {case: place for place, case in enumerate(labelled.cases)}
    return draw(place_of(board), [film_of(labelled, places[case]) for case in cases if case in places])


def _disagreement(answers: Sequence[_Answer], case: str) -> float:
    """Return the mean distance of the methods' points from their median point, in pixels; NaN for a single method."""
    points = [each.points[case] for each in answers if case in each.points and each.item.row.variant != FLOOR]
    if len(points) < 2:
        return float("nan")
    stacked = np.stack(points)
    return float(np.linalg.norm(stacked - np.median(stacked, axis=0), axis=-1).mean())


def _data(
    board: Board,
    answers: Sequence[_Answer],
    cases: Sequence[str],
    spread: Mapping[str, float],
    labelled: Predictions | None,
    structures: Structures,
    shown: set[str],
) -> dict[str, Any]:
    names = answers[0].item.summary.landmarks
    largest = max(float(np.abs(points).max()) for each in answers for points in each.points.values())
    step = largest / STEPS
    labels = {} if labelled is None else {case: place for place, case in enumerate(labelled.cases)}
    unit, image = board.columns[0].unit, place_of(board)
    return {
        "unit": board.facts.get("unit", "px"),
        "scoreUnit": unit,
        "lowerIsBetter": not board.columns[0].higher_is_better,
        "step": step,
        "landmarks": list(names),
        "edges": [[names.index(a), names.index(b)] for a, b in structures.edges if {a, b} <= set(names)],
        "rows": [
            {
                "label": each.item.row.label,
                "colour": each.item.style.colour,
                "symbol": each.item.style.symbol,
                "shown": place < SHOWN,
            }
            for place, each in enumerate(answers)
        ],
        "cases": [
            {
                "id": case,
                "spread": rounded([spread[case]])[0],
                "scores": rounded([_score(each, case) for each in answers]),
                "points": [_packed(each.points.get(case), step) for each in answers],
                "image": image_name(image, case) if case in shown else None,
                **_label(labelled, labels.get(case), step),
            }
            for case in cases
        ],
    }


def _label(labelled: Predictions | None, place: int | None, step: float) -> dict[str, Any]:
    if labelled is None or place is None:
        return {"truth": None, "size": None, "spacing": None}
    spacing = rounded(labelled.spacing[place].tolist(), 6)
    return {
        "truth": _packed(labelled.truth[place], step),
        "size": [int(side) for side in labelled.size[place][::-1]],
        "spacing": None if None in spacing else spacing,
    }


def _score(answer: _Answer, case: str) -> float:
    return answer.scores[case].value if case in answer.scores else float("nan")


def _packed(points: Float[np.ndarray, "landmark 2"] | None, step: float) -> str | None:
    """Write points as two-byte whole numbers of steps; the smallest number marks a missing one."""
    if points is None:
        return None
    whole = np.where(np.isfinite(points), np.clip(np.round(points / step), -STEPS, STEPS), np.iinfo(np.int16).min)
    return base64.b64encode(whole.astype("<i2").tobytes()).decode()


def _table(board: Board, answers: Sequence[_Answer], cases: Sequence[str], spread: Mapping[str, float]) -> PageTable:
    column = board.columns[0]
    heads = [TableColumn(each.item.row.label, column.unit, column.higher_is_better, numeric=True) for each in answers]
    rows = [
        TableRow(
            (
                TableCell.name(case),
                TableCell.number(spread[case], number(spread[case], "px")),
                *(TableCell.number(value, number(value, column.unit)) for value in (_score(a, case) for a in answers)),
            )
        )
        for case in cases
    ]
    columns = (TableColumn("Film"), TableColumn("Disagreement", "px", numeric=True), *heads)
    return PageTable("case-scores", f"{column.title} of every film", columns, tuple(rows), filtered=True)
