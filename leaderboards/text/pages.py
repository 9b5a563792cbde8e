"""Writes the pages around the tables: what a reader has to know to believe a number, and the overview."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboards.boards.badges import board_badges
from leaderboards.boards.board import FLOOR, Board, Row
from leaderboards.boards.ties import HOW_TO_READ_TIES
from leaderboards.text.caveats import comparison_with_papers, leak_free_section
from leaderboards.text.comparisons import comparison_section, diagram_name, resampling_text
from leaderboards.text.exports import SCHEMA
from leaderboards.text.overall import average_ranks, overall_section
from leaderboards.text.tables import (
    NO_NUMBER,
    cost_table,
    heading,
    markdown_table,
    number,
    rank_text,
    score_tables,
    score_text,
)

HOW_TO_READ = (
    "`value [low, high]`: the score over all test cases and its 95 % interval, by 1,000 bootstrap resamples "
    "(percentiles) of the patients where they are known, else of the films; each test set says which. It says how much "
    "the score depends on which films were tested, not on the training.",
    "Folds are pooled: the cases of all folds are put together and scored once.",
    "↓ lower is better, ↑ higher is better. *SD* is the spread of all landmarks' errors, no uncertainty of the mean.",
    "Ranks follow the first score; `=` marks equal scores. Where rows are tied, the order may be chance.",
    HOW_TO_READ_TIES,
    f"`{FLOOR}` predicts the mean training shape without looking at the film: a method that is not better than it has "
    "learnt nothing from pixels, and is marked.",
    "*Training* is the mean time of one training run and the epochs it took; *ms per image* is the median for one film "
    "at a time, network only; FLOPs count a multiply-accumulate as two, for one film.",
)
SEEDS = (
    "`value ± s`: the score is the mean over the seeds, and s their sample standard deviation, the spread between "
    "trainings."
)
REPORTED = (
    "Rows marked *reported* are printed in papers and were not measured here; they are not ranked. `(paper: x)` is "
    "what the method's own paper reports for this protocol and test set; see *Beside the papers*."
)
HUMAN = (
    "Rows marked *human* are what one reader marked on the test films, scored like a method; they are not ranked. "
    "Where the truth is the mean of readers, each of them is in the truth."
)
LEAKS = "*leak-free* is the same score without the test films that are known to stand in training or twice in the test."
UNCERTAINTY = (
    "Columns without an arrow have no best end. A *coverage* is best at its own percentage: less is overconfident, "
    "more is too cautious. *Sharpness* is the size of the predicted uncertainty, and a smaller one is better only "
    "where the coverage is right."
)


def page_text(boards: Sequence[Board]) -> str:
    """Write the page of one dataset and protocol.

    Args:
        boards: All boards of that dataset and protocol.

    Returns:
        Markdown.
    """
    first = boards[0]
    contents = {board.content for board in boards}
    parts = [f"# {first.title}: protocol {first.protocol}", _protocol(first)]
    parts += ["How to read the tables:", "\n".join(f"- {line}" for line in legend(boards))]
    parts.append(f"The same as data: {', '.join(f'[{name}]({file})' for name, file in data_files(first).items())}.")
    for board in boards:
        parts += _section(board, named_films=len(contents) > 1)
    return "\n\n".join(parts) + "\n"


def index_text(boards: Sequence[Board]) -> str:
    """Write the overview: for each test set the leader, the floor and how many methods beat it."""
    header = ["Dataset", "Protocol", "Test set", "Cases", "Ranked by", "Leader", "Budget of the leader"]
    header += [f"Floor ({FLOOR})", "Better than the floor", "Not ranked", "Caveats"]
    rows = [_overview(board) for board in boards]
    return (
        "\n\n".join(
            [
                "# Leaderboards",
                "One line per dataset, protocol and test set; the numbers of two lines cannot be compared. "
                "`value [low, high]` is a score with its 95 % bootstrap interval over test cases."
                + (f" {SEEDS}" if any(len(board.ranked[0].seeds) > 1 for board in boards if board.ranked) else ""),
                markdown_table(header, rows),
                *(block for ranks in average_ranks(boards) for block in overall_section(ranks)),
            ]
        )
        + "\n"
    )


def page_name(board: Board) -> str:
    """Return the file stem of a board's page.

    Example:
        >>> page_name(Board("isbi2015", "leak-free", "1a2b3c", "test1"))
        'isbi2015-leak-free'
    """
    return f"{board.dataset}-{board.protocol}"


def data_files(board: Board) -> dict[str, str]:
    """Return what lies beside a board's page: how it is called and the file's name."""
    name = page_name(board)
    return {"CSV": f"{name}.csv", "JSON": f"{name}.json", "its schema": SCHEMA, "LaTeX": f"{name}.tex"}


def _protocol(board: Board) -> str:
    facts = board.facts
    caveats = "; ".join(f"**{caveat}**" for caveat in facts.get("caveats", ())) or "none known"
    lines = [
        facts.get("description", "This protocol is not known to this version of the suite."),
        f"Truth: {facts.get('truth', 'unknown')}. Unit: {facts.get('unit', 'unknown')}. Caveats: {caveats}.",
    ]
    return "\n".join(lines)


def legend(boards: Sequence[Board]) -> list[str]:
    """Return the sentences that explain the tables of these boards, in Markdown."""
    rows = [row for board in boards for row in board.rows]
    several = any(len(row.seeds) > 1 for row in rows)
    printed = any(row.status == "reported" or row.reported for row in rows)
    uncertain = any(column.higher_is_better is None for board in boards for column in board.columns)
    human = any(row.status == "human" for row in rows)
    leaked = any(board.leaked for board in boards)
    extra = {SEEDS: several, LEAKS: leaked, HUMAN: human, REPORTED: printed, UNCERTAINTY: uncertain}
    return [*HOW_TO_READ, *(line for line, applies in extra.items() if applies)]


def _section(board: Board, *, named_films: bool) -> list[str]:
    title = f"## Test set {board.test_set}" if board.test_set else "## No run was scored"
    if named_films:
        title += f", films {board.content}"
    parts = [title, _caption(board)]
    if board.columns:
        parts += [*score_tables(board), *leak_free_section(board), *comparison_with_papers(board)]
        parts += ["### Costs", "Where the rows come from and what they cost:", cost_table(board)]
        parts += comparison_section(board, diagram_name(board, page_name(board), named_films=named_films))
    else:
        rows = [[row.label, row.budget, row.status, "; ".join(row.notes)] for row in board.rows]
        parts.append(markdown_table(["Method", "Budget", "Status", "Why"], rows))
    if board.absent:
        lines = [f"- {metric.replace('_', ' ')}: {reason}" for metric, reason in sorted(board.absent.items())]
        parts += ["Not available on this dataset:", "\n".join(lines)]
    return parts


def _caption(board: Board) -> str:
    """Say what was tested, in sentences; nothing that changes from one build to the next."""
    tested = board.ranked or [row for row in board.rows if row.status == "human"]
    cases = " or ".join(str(count) for count in sorted({row.cases for row in tested})) or "no"
    devices = sorted({run.device for row in board.rows for run in row.done if run.device})
    caveats = [*board_badges(board), *board.facts.get("caveats", ())]
    sentences = [
        f"Dataset {board.dataset}, protocol {board.protocol}, test set {board.test_set or 'unknown'}: {cases} cases.",
        f"Truth: {board.facts.get('truth', 'unknown')}.",
        f"Caveats: **{'; '.join(caveats)}**." if caveats else "",
        f"Ranked by {heading(board.columns[0])}." if board.ranked else "",
        resampling_text(board),
        _shared(board),
        _budgets(board),
        f"Times were measured on: {', '.join(devices)}." if devices else "",
        f"Fingerprint of the films and labels: `{board.content}`." if board.content else "",
    ]
    return " ".join(filter(None, sentences))


def _shared(board: Board) -> str:
    """Name the badges that every row has, and folds that nobody ran."""
    sentences = [f"All rows: **{', '.join(board.common_badges)}**."] if board.common_badges else []
    expected = len(board.facts.get("splits", ()))
    folds = board.ranked[0].folds if board.ranked else ()
    if folds and len(folds) < expected:
        sentences.append(f"**Only {len(folds)} of the {expected} folds were run ({', '.join(folds)}).**")
    return " ".join(sentences)


def _budgets(board: Board) -> str:
    budgets = sorted({row.budget for row in board.ranked})
    if len(budgets) < 2:
        return f"Training budget of all rows: {budgets[0]}." if budgets else ""
    return f"**Budgets differ between rows ({'; '.join(budgets)}): ranks across budgets do not compare methods alone.**"


def _overview(board: Board) -> list[str]:
    place = [board.dataset, f"[{board.protocol}]({page_name(board)}.md)", board.test_set or NO_NUMBER]
    unranked = [f"{row.label} ({row.status})" for row in board.rows if row.rank is None and row.status != "reported"]
    caveats = "; ".join([*board_badges(board), *board.facts.get("caveats", ()), *board.common_badges]) or "none known"
    if not board.ranked:
        return [*place, *[NO_NUMBER] * 2, "none", *[NO_NUMBER] * 3, ", ".join(unranked) or "none", caveats]
    first, leader, floor = board.columns[0], board.ranked[0], board.floor
    leaders = ", ".join(row.label for row in board.ranked if row.rank == 1)
    others = [row for row in board.ranked if row.variant != FLOOR]
    better = [row for row in others if floor and first.beats(row.value(first.name), floor.value(first.name))]
    return [
        *place,
        str(leader.cases),
        heading(first),
        f"{leaders}: {score_text(leader.scores[first.name], first)}",
        leader.budget,
        _floor_text(board, floor),
        f"{len(better)} of {len(others)} methods" if floor else "not measured",
        ", ".join(unranked) or "none",
        caveats,
    ]


def _floor_text(board: Board, floor: Row | None) -> str:
    if floor is None:
        return "not measured"
    first = board.columns[0]
    return f"{number(floor.value(first.name), first.unit)} (rank {rank_text(board, floor)} of {len(board.ranked)})"
