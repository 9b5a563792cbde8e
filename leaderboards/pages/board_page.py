"""The page of one dataset and protocol: a section per test set, and how to read its tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from leaderboards.boards.badges import board_caveats
from leaderboards.boards.board import FLOOR, Board
from leaderboards.boards.statistics import ALPHA
from leaderboards.pages.comparisons import comparison_section, diagram_name, resampling_text
from leaderboards.pages.leaks import leak_free_section
from leaderboards.pages.model import NO_CAVEAT, WARNING, Bullets, Mark, Page, Paragraph, Section
from leaderboards.pages.papers import paper_section
from leaderboards.pages.scores import TIED, cost_table, score_tables, unscored_table

SCHEMA: Final = "schema.json"
"""The JSON Schema of a page's data, beside every page."""
HOW_TO_READ: Final = (
    "`value [low, high]`: the score over all {cases} cases and its 95 % interval, by 1,000 bootstrap resamples "
    "(percentiles) of the patients where they are known, else of the films; each {place} says which. It says how much "
    "the score depends on which films were tested, not on the training.",
    "Folds are pooled: the cases of all folds are put together and scored once; where folds test the same cases, each "
    "fold's answer to a case counts.",
    "↓ lower is better, ↑ higher is better. *SD* is the spread of all landmarks' errors, no uncertainty of the mean.",
    "Ranks follow the first score; `=` marks equal scores. Where rows are tied, the order may be chance.",
    f"*{TIED}*: the rows from which paired tests on the same films find no difference (corrected p not below {ALPHA}; "
    "see *Paired comparisons*). A tie says that the order of two rows is not shown, not that they are equal.",
    f"`{FLOOR}` predicts the mean training shape without looking at the film: a method that is not better than it has "
    "learnt nothing from pixels, and is marked.",
    "*Training* is the mean time of one training run and the epochs it took; *ms per image* is the median for one film "
    "at a time, network only; FLOPs count a multiply-accumulate as two, for one film.",
)
SEEDS: Final = (
    "`value ± s`: the score is the mean over the seeds, and s their sample standard deviation, the spread between "
    "trainings."
)
_VALIDATION: Final = {"cases": "validation", "place": "section"}
_REPORTED: Final = (
    "Rows marked *reported* are printed in papers and were not measured here; they are not ranked. *paper x* is what "
    "the method's own paper reports for this protocol and test set; see *Beside the papers*."
)
_HUMAN: Final = (
    "Rows marked *human readers* are what one reader marked on the test films, scored like a method; they are not "
    "ranked. Where the truth is the mean of readers, each of them is in the truth."
)
_LEAKS: Final = (
    "*leak-free* is the same score without the test films that are known to stand in training or twice in the test."
)
_UNCERTAINTY: Final = (
    "Columns without an arrow have no best end. A *coverage* is best at its own percentage: less is overconfident, "
    "more is too cautious. *Sharpness* is the size of the predicted uncertainty, and a smaller one is better only "
    "where the coverage is right."
)


def board_page(boards: Sequence[Board]) -> Page:
    """Assemble the page of one dataset and protocol.

    Args:
        boards: All of its boards.
    """
    first, facts, name = boards[0], boards[0].facts, boards[0].page
    named_films = len({board.content for board in boards}) > 1
    caveats = "; ".join(f"**{caveat}**" for caveat in facts.get("caveats", ())) or NO_CAVEAT
    lead = (
        facts.get("description", "This protocol is not known to this version of the suite."),
        f"Truth: {facts.get('truth', 'unknown')}. Unit: {facts.get('unit', 'unknown')}.",
        f"Splits: {', '.join(facts.get('splits', ())) or 'unknown'}. Caveats: {caveats}.",
    )
    reading = Section.reading(legend(boards))
    sections = [_section(board, f"s{place}", named_films=named_films) for place, board in enumerate(boards, 1)]
    files = {"CSV": f"{name}.csv", "JSON": f"{name}.json", "its schema": SCHEMA, "LaTeX": f"{name}.tex"}
    title = f"{first.title}: protocol {first.protocol}" + ("" if first.on == "test" else ", validation films")
    return Page(name, title, lead, (*sections, reading), files, f"{first.dataset} {first.protocol}")


def section_title(board: Board, *, named_films: bool) -> str:
    """Return the heading of a board's section; it names the films where a page has boards of several."""
    title = board.films[0].upper() + board.films[1:] if board.test_set else "No run was scored"
    return f"{title}, films {board.content}" if named_films else title


def legend(boards: Sequence[Board]) -> tuple[str, ...]:
    """Return the sentences that explain the tables of these boards."""
    rows = [row for board in boards for row in board.rows]
    applies = {
        SEEDS: any(len(row.seeds) > 1 for row in rows),
        _LEAKS: any(board.leaked for board in boards),
        _HUMAN: any(row.status == "human" for row in rows),
        _REPORTED: any(row.status == "reported" or row.reported for row in rows),
        _UNCERTAINTY: any(column.higher_is_better is None for board in boards for column in board.columns),
    }
    tests = all(board.on == "test" for board in boards)
    scores = HOW_TO_READ[0].format(**{"cases": "test", "place": "test set"} if tests else _VALIDATION)
    return (scores, *HOW_TO_READ[1:], *(sentence for sentence, needed in applies.items() if needed))


def caption(board: Board) -> tuple[str, ...]:
    """Say what was tested and how, in sentences; nothing that changes from one build to the next."""
    tested = board.ranked or [row for row in board.rows if row.status == "human"]
    cases = " or ".join(str(count) for count in sorted({row.cases for row in tested})) or "no"
    place = f"Dataset {board.dataset}, protocol {board.protocol}, {board.films}"
    sentences = (
        f"{place}: {cases} cases.",
        f"Truth: {board.facts.get('truth', 'unknown')}.",
        caveat_text(board_caveats(board)),
        f"Ranked by {board.columns[0].heading}." if board.ranked else "",
        f"All rows: **{', '.join(board.common_badges)}**." if board.common_badges else "",
        _folds(board),
        _budgets(board),
    )
    return tuple(filter(None, sentences))


def caveat_text(caveats: Sequence[str]) -> str:
    """Name what must be known before a number is believed; nothing where nothing is."""
    return f"Caveats: **{'; '.join(caveats)}**." if caveats else ""


def content_text(content: str) -> str:
    """Name the fingerprint of films and labels, where it is known."""
    return f"Fingerprint of the films and labels: `{content}`." if content else ""


def _section(board: Board, key: str, *, named_films: bool) -> Section:
    devices = sorted({device for row in board.rows for device in row.cost.devices})
    provenance = (
        resampling_text(board),
        f"Times were measured on: {', '.join(devices)}." if devices else "",
        content_text(board.content),
    )
    text = Paragraph((*caption(board), *filter(None, provenance)))
    tables = score_tables(board, key) if board.columns else [unscored_table(board, key)]
    absent = [f"{metric.replace('_', ' ')}: {reason}" for metric, reason in sorted(board.absent.items())]
    sections = [
        Section("Scores", tuple(tables), id=f"{key}-tables"),
        *(_further_sections(board, key, diagram_name(board, named_films=named_films)) if board.columns else ()),
        Section("Not available on this dataset", (Bullets(tuple(absent)),), id=f"{key}-absent") if absent else None,
    ]
    marks = tuple(Mark(WARNING, caveat) for caveat in board_caveats(board))
    title = section_title(board, named_films=named_films)
    return Section(title, (text,), tuple(filter(None, sections)), id=key, marks=marks)


def _further_sections(board: Board, key: str, picture: str) -> tuple[Section | None, ...]:
    return (
        leak_free_section(board, key),
        paper_section(board, key),
        Section("Costs", (cost_table(board, key),), id=f"{key}-cost-section"),
        comparison_section(board, key, picture),
    )


def _folds(board: Board) -> str:
    """Name folds that nobody ran."""
    folds, expected = board.ranked[0].folds if board.ranked else (), board.folds_expected or 0
    if not 0 < len(folds) < expected:
        return ""
    return f"**Only {len(folds)} of the {expected} folds were run ({', '.join(folds)}).**"


def _budgets(board: Board) -> str:
    budgets = sorted({row.budget for row in board.ranked})
    if len(budgets) < 2:
        return f"Training budget of all rows: {budgets[0]}." if budgets else ""
    return f"**Budgets differ between rows ({'; '.join(budgets)}): ranks across budgets do not compare methods alone.**"
