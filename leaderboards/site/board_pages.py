"""What the site adds to the page of a dataset and protocol: charts, robustness and films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from leaderboards.boards.board import Board, Row
from leaderboards.boards.case_scores import CaseScores
from leaderboards.external.scores import ExternalBoard
from leaderboards.pages.leaderboards import BoardPage
from leaderboards.pages.model import Chart, Page, Paragraph, Section
from leaderboards.robustness.scores import StressBoard
from leaderboards.site import films
from leaderboards.site.blocks import ChartGrid, FilmGrid
from leaderboards.site.cases import CasePage, case_page
from leaderboards.site.charts import curves, figures
from leaderboards.site.charts.external import at_other_sites, away_section, growth_text
from leaderboards.site.charts.figures import Answers, Series, Structures, Styles
from leaderboards.site.charts.robustness import robustness_section
from leaderboards.site.charts.spread import film_spread
from leaderboards.site.charts.uncertainty import uncertainty_charts
from leaderboards.site.charts.uncertainty_classes import grade
from leaderboards.site.published_rows import PublishedRows, ranking_scores
from leaderboards.site.run_predictions import RunPredictions
from leaderboards.site.summaries import summarise
from leaderboards.site.verdicts import banners

FILM_CURVE: Final = "nme"
"""The score of single films whose distribution a paper draws (Fard et al. 2022, Fig. 8)."""
SHOWN_GALLERIES: Final = 3
"""How many rows' films the page of a dataset shows; others stand on the methods' pages."""
GALLERIES: Final = 12
"""How many rows of a board have films at all: they are the larger part of a site."""
_BROWSE: Final = "Film by film"
_BROWSE_TEXT: Final = "Every test film with the methods' answers side by side, their scores, and where they disagree."
_PRIVATE: Final = "Films of a private set are never shown."
_NO_FILMS: Final = "Films are drawn where the site is built with the folder of the dataset."
_MORE_FILMS: Final = f"Films of up to {GALLERIES} rows of a board stand on their methods' pages."


class Films(NamedTuple):
    """The films of a board.

    Attributes:
        galleries: Of each drawn row, by its label.
        images: Their thumbnails: path in the site to file.
        note: Why there are none, or where more are.
    """

    galleries: Mapping[str, films.Gallery] = {}
    images: Mapping[str, Path] = {}
    note: str = ""


class SitePage(NamedTuple):
    """A page of the site.

    Attributes:
        page: What it shows.
        galleries: Films of every drawn row, by the address of its board and its label.
        images: Thumbnails: path in the site to file.
        cases: The pages of its boards' films, by the address of their board.
        away: How the best method does at other sites, by the address of the board, whose section `-away` shows more.
    """

    page: Page
    galleries: Mapping[tuple[str, str], films.Gallery]
    images: Mapping[str, Path]
    cases: Mapping[str, CasePage]
    away: Mapping[str, str]


class Sources(NamedTuple):
    """What a page takes from beside its boards.

    Attributes:
        structures: What the dataset's schema says.
        styles: The look of every row.
        published: Of rows whose runs are not at hand; None reads the runs.
        draw: Gives thumbnails of films; None leaves the films out.
        stressed: What `osteomark stress` left.
        external: What `osteomark test` left.
    """

    structures: Structures
    styles: Styles
    published: PublishedRows | None
    draw: films.Draw | None
    stressed: Sequence[StressBoard]
    external: Sequence[ExternalBoard] = ()


def complete_page(content: BoardPage, sources: Sources) -> SitePage:
    """Add charts, robustness and films to the section of each board.

    Args:
        content: The page and its boards.
        sources: What else it shows.
    """
    predictions, page = RunPredictions(), content.page
    sections = list(page.sections)
    galleries: dict[tuple[str, str], films.Gallery] = {}
    images: dict[str, Path] = {}
    cases: dict[str, CasePage] = {}
    away: dict[str, str] = {}
    files = dict(page.files)
    warning = banners(content.boards)
    for place, board in enumerate(content.boards):
        section = sections[place]
        unit = board.facts.get("unit", "px")
        series = _series(board, predictions, unit, sources)
        drawn = _films(board, series, unit, sources.draw)
        browsed = case_page(
            board, place + 1, series, sources.structures, sources.draw, sources.published, banners([board])
        )
        stressed = next((each for each in sources.stressed if each.rows and _same_films(board, each)), None)
        sites = at_other_sites(board, sources.external)
        added = (
            *_chart_section(section.id, board, series, unit, sources),
            *([robustness_section(stressed, section.id, sources.styles)] if stressed else []),
            *([away_section(sites, section.id, sources.styles)] if sites else []),
            *_film_section(section.id, drawn),
            *([Section(_BROWSE, (Paragraph((_BROWSE_TEXT,)),), page=browsed.page.name)] if browsed else []),
        )
        first, *further = section.sections
        folded = (part._replace(folded=True) for part in further)
        sections[place] = section._replace(sections=(first, *added, *folded))
        galleries |= {(f"{page.name}#{section.id}", label): gallery for label, gallery in drawn.galleries.items()}
        images |= {**drawn.images, **(browsed.images if browsed else {})}
        cases |= {f"{page.name}#{section.id}": browsed} if browsed else {}
        away |= {f"{page.name}#{section.id}": growth_text(sites)} if sites else {}
        files |= {f"{site.away[0]} ({end})": f"{site.name}.{end}" for site in sites for end in ("md", "csv")}
        files |= {f"Robustness ({end})": f"{stressed.page}.{end}" for end in ("md", "csv")} if stressed else {}
    sections = [Section("", warning), *sections] if warning else sections
    return SitePage(page._replace(sections=tuple(sections), files=files), galleries, images, cases, away)


def _same_films(board: Board, stressed: StressBoard) -> bool:
    return (board.dataset, board.protocol, board.content, board.test_set) == stressed.key


def _series(board: Board, predictions: RunPredictions, unit: str, sources: Sources) -> list[Series]:
    """Return what is drawn of a board: its best rows and the floor, as far as their errors are known."""
    rows = list(board.ranked[: figures.MOST])
    if board.floor and board.floor not in rows:
        rows[-1] = board.floor
    series = [item for row in rows for item in _series_of(board, row, predictions, unit, sources)]
    names = series[0].summary.landmarks if series else ()
    return [item for item in series if item.summary.landmarks == names]


def _series_of(board: Board, row: Row, predictions: RunPredictions, unit: str, sources: Sources) -> list[Series]:
    style = sources.styles(row.label, row.variant)
    if sources.published is not None:
        published = sources.published.summary(board, row)
        return [Series(row, style, published)] if published else []
    predicted = predictions.row(row, board.test_set)
    summary = predicted and summarise(predicted, unit, predictions.history(row))
    if predicted is None or summary is None:
        return []
    grading = grade(predicted, predictions.validation(row), unit)
    return [Series(row, style, summary, Answers(predicted, predicted.errors(unit), grading))]


def _chart_section(key: str, board: Board, series: Sequence[Series], unit: str, sources: Sources) -> list[Section]:
    if not series:
        return []
    structures = sources.structures
    of_films = [ranking_scores(board, item.row, sources.published) for item in series]
    charts: list[Chart | None] = [
        curves.error_curves(key, series, unit),
        _film_curves(key, board, series),
        figures.group_errors(key, series, unit, structures),
        curves.calibration_curves(key, series),
        *uncertainty_charts(key, series, unit, structures.groups),
        curves.learning_curves(key, series),
        figures.landmark_errors(key, series, unit),
        film_spread(key, series, of_films, board.columns[0]),
    ]
    which = f"The {len(series)} best of {len(board.ranked)} rows" if len(series) < len(board.ranked) else "All rows"
    text = Paragraph((f"{which}; the names below a chart switch its lines.",))
    return [Section("Errors in detail", (text, ChartGrid(tuple(filter(None, charts)))), id=f"{key}-charts")]


def _film_curves(key: str, board: Board, series: Sequence[Series]) -> Chart | None:
    """Return the distribution of `FILM_CURVE` over films; None on boards that do not have it."""
    column = next((column for column in board.columns if column.name == FILM_CURVE), None)
    if column is None:
        return None
    stored = CaseScores()
    found = [stored.of_row(item.row, board.test_set, column.name).values() for item in series]
    return curves.film_curves(key, series, [[score.value for score in scores] for scores in found], column)


def _films(board: Board, series: Sequence[Series], unit: str, draw: films.Draw | None) -> Films:
    """Return the films of each drawn row, their thumbnails, and a sentence about them."""
    if board.private:
        return Films(note=_PRIVATE)
    place = films.place_of(board)
    answered = [films.Answered(item.row, *item.answers) for item in series if item.answers][:GALLERIES]
    wanted = {
        film.case: film
        for item in answered
        for film in (films.film_of(item.predicted, i) for i in films.extremes(item).values())
    }
    images = draw(place, list(wanted.values())) if draw and wanted else {}
    if not images:
        return Films(note=_NO_FILMS if answered else "")
    galleries = {}
    for item in answered:
        gallery = films.gallery(place, item, unit, images)
        if gallery.overlays:
            galleries[item.row.label] = gallery
    return Films(galleries, {films.image_name(place, case): path for case, path in images.items()}, _MORE_FILMS)


def _film_section(key: str, drawn: Films) -> list[Section]:
    """Show the best rows' films or say why there are none; nothing where only published answers are at hand."""
    if not drawn.note:
        return []
    shown = tuple(drawn.galleries.values())[:SHOWN_GALLERIES]
    return [Section("Films", (*([FilmGrid(shown)] if shown else []), Paragraph((drawn.note,))), id=f"{key}-films")]
