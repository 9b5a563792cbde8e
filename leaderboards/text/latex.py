r"""Writes a page's tables for a paper: LaTeX with booktabs, one `table*` per test set, to be `\input`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from string import ascii_lowercase

from leaderboards.boards.badges import board_badges
from leaderboards.boards.board import Board, Column, Row
from leaderboards.text.tables import UNITS, number, packs

HEAD = (
    "% Needs booktabs and graphicx. Written by osteomark; the numbers of two tables cannot be compared unless dataset, "
    "protocol, test set and films are the same."
)
_FIT = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"
"""Makes a table that is too wide as wide as the text."""
_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "±": r"$\pm$",
}
_DIRECTION = {True: r"$\uparrow$", False: r"$\downarrow$", None: ""}


def escape(text: str) -> str:
    r"""Write a text so that LaTeX prints it as it is.

    Example:
        >>> escape("SDR 2 mm (%): a_b & c")
        'SDR 2 mm (\\%): a\\_b \\& c'
    """
    return "".join(_ESCAPES.get(character, character) for character in text)


def page_tex(boards: Sequence[Board]) -> str:
    """Write the tables of one dataset and protocol.

    Args:
        boards: All of its boards; those without a score are left out.

    Returns:
        LaTeX without a preamble: the columns of the page's first table, its intervals for the ranking score alone.
    """
    several = len({board.content for board in boards}) > 1
    tables = [_table(board, named_films=several) for board in boards if board.columns]
    return "\n\n".join([HEAD, *tables]) + "\n"


def _table(board: Board, *, named_films: bool) -> str:
    columns = packs(board)[0]
    marks, best, leaked = _Marks(board), _best(board, columns), board.leaked
    groups = [[row for row in board.rows if row.status == status and row.scores] for status in _GROUPS]
    body = "\n\\midrule\n".join(
        "\n".join(_line(row, columns, marks, best, leaked=leaked) for row in group) for group in groups if group
    )
    parts = ["tab", board.dataset, board.protocol, board.test_set, *([board.content] if named_films else [])]
    label = ":".join(re.sub(r"[^\w.-]+", "-", part) for part in parts)
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{_caption(board, columns, marks)}}}",
            rf"\label{{{label}}}",
            _FIT,
            rf"\begin{{tabular}}{{rl{'r' * (len(columns) + 1 + leaked)}}}",
            r"\toprule",
            *_headings(board, columns),
            r"\midrule",
            body,
            r"\bottomrule",
            r"\end{tabular}}",
            *marks.legend,
            r"\end{table*}",
        ]
    )


_GROUPS = ("done", "incomplete", "human", "reported")


class _Marks:
    """Letters for the budgets of a board's rows, where they differ, and numbers for their badges."""

    def __init__(self, board: Board) -> None:
        rows = [row for row in board.measured if row.scores]
        budgets = sorted({row.budget for row in rows})
        self.common = budgets[0] if len(budgets) == 1 else ""
        letters = [f"{a}{b}" for a in ("", *ascii_lowercase) for b in ascii_lowercase]
        self.budgets = {} if self.common else dict(zip(budgets, letters, strict=False))
        badges = dict.fromkeys(badge for row in board.rows for badge in row.badges if row.scores)
        self.badges = {badge: str(place) for place, badge in enumerate(badges, 1)}

    def of(self, row: Row) -> str:
        """Return a row's superscript."""
        letter = [self.budgets[row.budget]] if row.budget in self.budgets else []
        marks = ",".join([*letter, *(self.badges[badge] for badge in row.badges)])
        return rf"\textsuperscript{{{marks}}}" if marks else ""

    @property
    def legend(self) -> list[str]:
        """What the letters and numbers mean, below the table."""
        known = [(mark, text) for texts in (self.budgets, self.badges) for text, mark in texts.items()]
        lines = "; ".join(rf"\textsuperscript{{{mark}}}{escape(text)}" for mark, text in known)
        return [rf"\par\smallskip\footnotesize {lines}."] if lines else []


def _headings(board: Board, columns: Sequence[Column]) -> list[str]:
    """Two lines: what a column holds, then its unit and direction."""
    first, *others = [(escape(column.title), _unit(column)) for column in columns]
    heads = [("", ""), ("Method", ""), first, ("95\\,\\% interval", "")]
    heads += [(f"{first[0]} leak-free", first[1])] if board.leaked else []
    return [" & ".join(line) + r" \\" for line in zip(*heads, *others, strict=True)]


def _unit(column: Column) -> str:
    unit = escape(UNITS.get(column.unit, column.unit))
    return " ".join(filter(None, [f"({unit})" if unit else "", _DIRECTION[column.higher_is_better]]))


def _line(row: Row, columns: Sequence[Column], marks: _Marks, best: Mapping[str, str], *, leaked: bool) -> str:
    first, *others = columns
    score = row.scores.get(first.name)
    interval = "--"
    if score is not None and not math.isnan(score.low):
        interval = f"{_number(score.low, first.unit)} to {_number(score.high, first.unit)}"
    clean = [_cell(row, first, best, "_leak_free")] if leaked else []
    cells = [_cell(row, first, best), interval, *clean, *(_cell(row, column, best) for column in others)]
    marked = rf"\textit{{{row.status}:}} " if row.status in {"human", "reported"} else ""
    return " & ".join([str(row.rank or ""), marked + escape(row.label) + marks.of(row), *cells]) + r" \\"


def _cell(row: Row, column: Column, best: Mapping[str, str], suffix: str = "") -> str:
    """Write a score, in bold where no ranked row has a better one."""
    text = _text(row, column, suffix)
    bold = row.rank is not None and text == best.get(column.name + suffix)
    return rf"\textbf{{{text}}}" if bold else text


def _text(row: Row, column: Column, suffix: str) -> str:
    value = getattr(row.scores.get(column.name), f"value{suffix}", math.nan)
    return "--" if math.isnan(value) else _number(value, column.unit)


def _best(board: Board, columns: Sequence[Column]) -> dict[str, str]:
    """Return the best number of each column as it is written, of the ranked rows, leak-free ones with a suffix."""
    found = {}
    for column in columns:
        for suffix in ("", "_leak_free") if column.higher_is_better is not None else ():
            values = [getattr(row.scores.get(column.name), f"value{suffix}", math.nan) for row in board.ranked]
            known = [value for value in values if not math.isnan(value)]
            if known:
                best = max(known) if column.higher_is_better else min(known)
                found[column.name + suffix] = _number(best, column.unit)
    return found


def _number(value: float, unit: str) -> str:
    """Write a number as elsewhere, with powers of ten and minus signs as LaTeX has them."""
    text, _, exponent = number(value, unit).partition("e")
    if exponent:
        return rf"${text}{{\times}}10^{{{exponent}}}$"
    return f"${text}$" if text.startswith("-") else text


def _caption(board: Board, columns: Sequence[Column], marks: _Marks) -> str:
    facts, unit = board.facts, UNITS.get(columns[0].unit, columns[0].unit)
    tested = [row for row in board.rows if row.cases]
    counts = " or ".join(str(count) for count in sorted({row.cases for row in tested if row.status != "incomplete"}))
    clean = sorted({row.cases_leak_free for row in tested if row.cases_leak_free is not None})
    badges = [*board_badges(board), *facts.get("caveats", ())]
    sentences = [
        f"{board.title}, protocol {board.protocol}, test set {board.test_set}: {counts} cases",
        f"Truth: {facts.get('truth', 'unknown')}",
        f"Ranked by {columns[0].title}{f' in {unit}' * bool(unit)}; the best value of a column is bold",
        "The interval is the 95 % percentile bootstrap over the tested patients, or cases where these are not known",
        f"Leak-free: on the {clean[0]} cases that no known leak touches" if board.leaked and clean else "",
        f"Training budget: {marks.common}" if marks.common else "",
        "Training budgets differ and are below the table" if marks.budgets else "",
        f"Caveats: {'; '.join(badges)}" if badges else "",
        "Rows marked human are what a person marked, rows marked reported are printed in papers; neither is ranked"
        if any(row.status in {"human", "reported"} for row in board.rows)
        else "",
    ]
    return escape(". ".join(filter(None, sentences)) + ".")
