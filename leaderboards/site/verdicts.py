"""The first screen: who leads each board, by how much, and whether that is more than chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from leaderboards.boards.badges import board_caveats
from leaderboards.boards.board import Board, Row
from leaderboards.boards.numbers import NOT_MEASURED, NOT_TESTED, difference, interval, number, p_text
from leaderboards.pages.model import WARNING, Mark
from leaderboards.pages.overview import board_addresses
from leaderboards.pages.scores import method_page, start_text
from leaderboards.site.blocks import Banner, BoardCard, BoardCards
from leaderboards.site.films import Gallery

PHANTOMS: Final = Banner(
    "Drawn films: every film here is a phantom made by a program. These numbers show that everything runs; they "
    "compare nothing."
)
SOME_PHANTOMS: Final = Banner(
    "Some of these boards are of drawn films (phantoms), which compare nothing; their cards say so."
)
SHOWN_TIES: Final = 4
"""So many tied rows are named."""
_ANY_PHANTOM: Final = "drawn films: compares nothing"


def banners(boards: Sequence[Board]) -> tuple[Banner, ...]:
    """Warn where boards are of drawn films.

    Args:
        boards: All boards of a page.
    """
    drawn = [board.phantom for board in boards]
    if not any(drawn):
        return ()
    return (PHANTOMS,) if all(drawn) else (SOME_PHANTOMS,)


def board_cards(
    boards: Sequence[Board],
    galleries: Mapping[tuple[str, str], Gallery],
    cases: Mapping[str, str],
    away: Mapping[str, str],
) -> BoardCards:
    """Say of each board who leads it.

    Args:
        boards: All boards.
        galleries: Films of rows, by the address of their board and their label.
        cases: Address of a board to the page of its films.
        away: Address of a board to how its best method does at other sites.
    """
    places = zip(boards, board_addresses(boards), strict=True)
    cards = (_verdict(board, address, galleries) for board, address in places)
    return BoardCards(
        tuple(card._replace(cases=cases.get(card.page, ""), away=away.get(card.page, "")) for card in cards)
    )


def _verdict(board: Board, address: str, galleries: Mapping[tuple[str, str], Gallery]) -> BoardCard:
    marks = [Mark("failed", _ANY_PHANTOM)] if board.phantom else []
    marks += [Mark(WARNING, caveat) for caveat in board_caveats(board)]
    if not board.ranked:
        return BoardCard(board.name, board.title, address, "", "no row was ranked", "", "", "", (), tuple(marks), None)
    first, leader = board.columns[0], board.ranked[0]
    score = leader.score(first.name)
    shown = galleries.get((address, leader.label))
    film = next((overlay for overlay in shown.overlays if overlay.which == "median"), None) if shown else None
    return BoardCard(
        board.name,
        board.title,
        address,
        first.heading,
        ", ".join(row.label for row in board.ranked if row.rank == 1),
        method_page(leader.method),
        f"{number(score.value, first.unit)} {first.unit}".strip(),
        interval(score.low, score.high, first.unit),
        tuple((word, text) for word, text in _facts(board, leader) if text),
        tuple(marks),
        film,
    )


def _facts(board: Board, leader: Row) -> tuple[tuple[str, str], ...]:
    return (
        ("Lead", _lead(board, leader)),
        ("Tied with", _ties(board, leader)),
        ("Floor", _floor(board, leader)),
        ("Papers", _papers(board)),
        ("Readers", _readers(board)),
        ("Budget", leader.budget),
        ("Start", start_text(leader.cost)),
        ("Test films", str(leader.cases)),
    )


def _lead(board: Board, leader: Row) -> str:
    """Say by how much the leader is ahead of the next row, and whether a test finds it."""
    if len(board.ranked) < 2:
        return ""
    column, second = board.columns[0], board.ranked[1]
    ahead = difference(abs(leader.value(column.name) - second.value(column.name)), column.unit).lstrip("+")
    tied = board.tied_with(leader)
    outcome = NOT_TESTED if tied is None else "not significant" if second in tied else "significant"
    return f"{ahead} over {second.label}; {outcome}{_corrected(board, leader, second)}"


def _corrected(board: Board, one: Row, other: Row) -> str:
    """Return the corrected p of two rows in brackets; nothing where they were not compared."""
    compared = board.comparison
    if compared is None or not {one.key, other.key} <= {*compared.rows}:
        return ""
    pair = compared.pair(*sorted(compared.rows.index(row.key) for row in (one, other)))
    return "" if math.isnan(pair.p_holm) else f" (corrected p {p_text(pair.p_holm)})"


def _ties(board: Board, leader: Row) -> str:
    tied = board.tied_with(leader)
    if tied is None:
        return f"{NOT_TESTED}: too few films" if len(board.ranked) > 1 else ""
    if not tied:
        return "no other row"
    rest = len(tied) - SHOWN_TIES
    return ", ".join(row.label for row in tied[:SHOWN_TIES]) + (f" and {rest} more" if rest > 0 else "")


def _floor(board: Board, leader: Row) -> str:
    """Say how the leader compares with the trivial method, and whether a test finds it."""
    floor, column = board.floor, board.columns[0]
    if floor is None:
        return NOT_MEASURED
    if floor.key == leader.key:
        return "leads: no method is better than the mean shape"
    value = f"{number(floor.value(column.name), column.unit)} {column.unit}".strip()
    better = board.beats_floor(leader)
    if better is None:
        return f"{value}; {NOT_TESTED}"
    outcome = "significantly better" if better else "not significantly better"
    return f"{value}; the leader is {outcome}{_corrected(board, leader, floor)}"


def _papers(board: Board) -> str:
    """Give the best number that a paper prints for this board, in the first score that any of them has."""
    printed = [row for row in board.rows if row.status == "reported"]
    column = next((c for c in board.columns if any(c.name in row.scores for row in printed)), None)
    if column is None:
        return ""
    sign = -1 if column.higher_is_better else 1
    known = [row for row in printed if column.name in row.scores]
    best = min(known, key=lambda row: sign * row.value(column.name))
    badge = f"; {', '.join(best.badges)}" if best.badges else ""
    value = f"{number(best.value(column.name), column.unit)} {column.unit}".strip()
    return f"best printed {column.title} {value} ({best.label}, {best.paper}{badge})"


def _readers(board: Board) -> str:
    """Give the distance of people to the truth, which they may be part of."""
    column = board.columns[0]
    human = [row for row in board.rows if row.status == "human" and column.name in row.scores]
    if not human:
        return ""
    values = ", ".join(f"{row.label} {number(row.value(column.name), column.unit)}" for row in human)
    part = len(board.facts.get("readers", {}).get(board.facts.get("truth"), ())) > 1
    return f"{values} {column.unit}{' (their mean is the truth)' if part else ''}"
