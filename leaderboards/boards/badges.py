"""Badges: what must be known beside a number, derived from what runs and facts say, never from a method's name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from benchmark.store import RunRecord
from datamodules.components.badges import OF_RUNS
from leaderboards.boards.board import Board, RowCost
from leaderboards.boards.numbers import difference
from leaderboards.boards.reported import Reported

PAPER = "paper"
"""The budget of runs that are trained as published."""
REDUCED = "reduced budget"
UNTRAINED = "fitted without epochs"
"""The budget of methods that are not trained by epochs."""
LEAKED = "leaked test set"


def run_badges(
    run: RunRecord, paper: Mapping[str, Any], caveats: Sequence[str], theirs: Sequence[str] | None
) -> tuple[str, ...]:
    """Return a row's badges.

    Args:
        run: One of its runs; an oracle crop and the like stand in its record.
        paper: What is known of the method's paper.
        caveats: Of the protocol, which are said of the whole board. Where they are known, those in the run's record are
            left out: the protocol may know more by now.
        theirs: Badges of the paper's numbers that stand beside the row's; None where none do.
    """
    badges = [badge for badge in run.badges if badge in OF_RUNS or not caveats]
    weights = paper.get("weights", "")
    if weights and run.status == "done" and run.weights != weights:
        badges.append(f"other weights than the paper's: {run.weights} instead of {weights}")
    if theirs is not None and run.cell.budget.name != PAPER:
        badges.append(REDUCED)
    unlike = [badge for badge in theirs or () if badge not in run.badges]
    return (*badges, *(f"the paper's number: {badge}" for badge in unlike))


def memory_badges(runs: Sequence[RunRecord]) -> tuple[str, ...]:
    """Say of a row's runs which ones ran out of memory and went on with micro-batches."""
    done = [run for run in runs if run.status == "done"]
    counts = Counter(run.micro_batch for run in done if run.micro_batch)
    return tuple(
        f"{number} of {len(done)} runs: {films} film{'s' * (films > 1)} at a time since memory ran out, for batch "
        f"normalisation too"
        for films, number in sorted(counts.items())
    )


def budget_text(label: str, cost: RowCost) -> str:
    """Return a row's budget in words: a method without epochs has the same one whatever the matrix calls it.

    Args:
        label: The budget as the runs name it.
        cost: What the runs say of their training.
    """
    return UNTRAINED if cost.epochs == (0,) else label


def board_badges(board: Board) -> tuple[str, ...]:
    """Return what holds for a board's films and labels: leaks, and a truth that is not the dataset's usual one."""
    badges = []
    if board.leaked or board.facts.get("leaks") == "patients":
        badges.append(LEAKED)
    truth, usual = board.facts.get("truth"), board.facts.get("usual_truth")
    if usual and truth != usual:
        badges.append(f"other truth: {truth} instead of {usual}")
    return tuple(badges)


def board_caveats(board: Board) -> tuple[str, ...]:
    """Return the badges of a board, and what is known to be wrong with its protocol."""
    return (*board_badges(board), *board.facts.get("caveats", ()))


def reader_note(reader: str, truth: str, readers: Mapping[str, list[str]]) -> str:
    """Say what the distance between a reader and a protocol's truth means.

    Example:
        >>> reader_note("senior", "mean", {"mean": ["senior", "junior"]})
        'one of the 2 readers whose mean is the truth: 1/2 of its distance to the other one, by construction'
        >>> reader_note("senior", "junior", {"junior": ["junior"]})
        'against the junior reader'
    """
    behind = readers.get(truth, [])
    if reader not in behind:
        return f"against {' and '.join(f'the {name} reader' for name in behind)}"
    share = Fraction(len(behind) - 1, len(behind))
    others = "the other one" if len(behind) == 2 else "the mean of the others"
    role = f"one of the {len(behind)} readers whose mean is the truth"
    return f"{role}: {share} of its distance to {others}, by construction"


def gap_notes(printed: Reported, board: Board) -> list[str]:
    """Say how far our rows of a method are from a row of a paper, in the first score that both have."""
    notes = []
    for row in board.measured if printed.variant else ():
        gaps = {c: row.value(c.name) - printed.values[c.name] for c in board.columns if c.name in printed.values}
        known = [column for column, value in gaps.items() if row.variant == printed.variant and not math.isnan(value)]
        if known:
            text = difference(gaps[known[0]], known[0].unit)
            badge = f", **{REDUCED}**" if REDUCED in row.badges else ""
            notes.append(f"our {row.label}: {text} in {known[0].title}{badge}")
    return notes
