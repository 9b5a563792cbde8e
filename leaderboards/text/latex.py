r"""Writes a page's rankings for a paper: LaTeX with booktabs, one `table*` per test set, to be `\input`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from string import ascii_lowercase
from typing import Final

import pandas as pd

from leaderboards.boards.board import Board
from leaderboards.boards.numbers import file_stem
from leaderboards.pages.board_page import caption
from leaderboards.pages.leaderboards import BoardPage
from leaderboards.pages.model import WARNING, PageTable, TableCell, TableColumn, TableRow

HEAD: Final = (
    "% Needs booktabs and graphicx. Written by osteomark; the numbers of two tables cannot be compared unless dataset, "
    "protocol, test set and films are the same."
)
_FIT: Final = r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%"
"""Makes a table that is too wide as wide as the text."""
_ESCAPES: Final = {
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
_LEGEND: Final = (
    "In brackets: the 95 % percentile bootstrap interval over the tested patients, or cases where these are not known. "
    "The best value of a column is bold. Rows marked human or reported are not ranked."
)


def escape(text: str) -> str:
    r"""Write a text so that LaTeX prints it as it is.

    Example:
        >>> escape("SDR 2 mm (%): a_b & c")
        'SDR 2 mm (\\%): a\\_b \\& c'
    """
    return "".join(_ESCAPES.get(character, character) for character in text)


def page_latex(content: BoardPage) -> str:
    """Write the ranking of every test set of a page.

    Args:
        content: A page and its boards; those without a score are left out.

    Returns:
        LaTeX without a preamble: the scores of the page's first table, intervals of the ranking score alone.
    """
    named_films = len({board.content for board in content.boards}) > 1
    tables = [
        _float(board, section.sections[0].blocks[0], named_films=named_films)
        for board, section in zip(content.boards, content.page.sections, strict=False)
        if board.columns
    ]
    return "\n\n".join([HEAD, *tables]) + "\n"


def _float(board: Board, table: PageTable, *, named_films: bool) -> str:
    scored = [row for row in table.rows if any(isinstance(cell.sort, float) for cell in row.cells[2:])]
    marks = _Superscripts(table, scored)
    label = ["tab", board.dataset, board.protocol, board.test_set, *([board.content] if named_films else [])]
    text = " ".join([f"{board.title}.", *(sentence.replace("*", "") for sentence in caption(board)), _LEGEND])
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering\small\setlength{\tabcolsep}{4pt}",
            rf"\caption{{{escape(text)}}}",
            rf"\label{{{':'.join(map(file_stem, label))}}}",
            _FIT,
            _tabular(table.columns, scored, marks).strip() + "}",
            *marks.legend,
            r"\end{table*}",
        ]
    )


def _tabular(columns: Sequence[TableColumn], rows: Sequence[TableRow], marks: _Superscripts) -> str:
    """Write rank, method and the columns of scores; a rule stands between rows of different status."""
    shown = [place for place, column in enumerate(columns) if column.name and column.name != "budget"]
    titles = [("", ""), ("Method", ""), *(_title(columns[place]) for place in shown[2:])]
    titles.insert(3, (r"95\,\% interval", ""))
    lines = []
    for row in rows:
        name, first = row.cells[1], row.cells[2]
        status = "".join(rf"\textit{{{mark.status}:}} " for mark in name.marks if mark.status != WARNING)
        rank = row.cells[0].text if row.cells[0].sort is not None else ""
        scores = [_score(row.cells[place]) for place in shown[2:]]
        lines.append(
            [rank, status + escape(name.text) + marks.of(row), scores[0], _number(first.interval) or "--", *scores[1:]]
        )
    for line, (before, row) in zip(lines[1:], pairwise(rows), strict=True):
        line[0] = "\\midrule\n" * (before.status != row.status) + line[0]
    frame = pd.DataFrame(lines, columns=pd.MultiIndex.from_tuples(titles))
    style = frame.style.hide(axis="index")
    return str(style.to_latex(hrules=True, sparse_columns=False, column_format="rl" + "r" * (len(titles) - 2)))


class _Superscripts:
    """Letters for the budgets of a table's rows, where they differ, and numbers for their badges."""

    def __init__(self, table: PageTable, rows: Sequence[TableRow]) -> None:
        self._budget = [column.name for column in table.columns].index("budget")
        budgets = sorted({row.cells[self._budget].text for row in rows if row.status in {"done", "incomplete"}})
        letters = [f"{a}{b}" for a in ("", *ascii_lowercase) for b in ascii_lowercase]
        self.budgets: Mapping[str, str] = dict(zip(budgets, letters, strict=False)) if len(budgets) > 1 else {}
        badges = dict.fromkeys(badge for row in rows for badge in _badges(row))
        self.badges: Mapping[str, str] = {badge: str(place) for place, badge in enumerate(badges, 1)}

    def of(self, row: TableRow) -> str:
        """Return a row's superscript."""
        letter = self.budgets.get(row.cells[self._budget].text)
        marks = ",".join([*([letter] if letter else []), *(self.badges[badge] for badge in _badges(row))])
        return rf"\textsuperscript{{{marks}}}" if marks else ""

    @property
    def legend(self) -> list[str]:
        """What the letters and numbers mean, below the table."""
        known = [(mark, text) for texts in (self.budgets, self.badges) for text, mark in texts.items()]
        lines = "; ".join(rf"\textsuperscript{{{mark}}}{escape(text)}" for mark, text in known)
        return [rf"\par\smallskip\footnotesize {lines}."] if lines else []


def _badges(row: TableRow) -> list[str]:
    return [mark.text for mark in row.cells[1].marks if mark.status == WARNING]


def _title(column: TableColumn) -> tuple[str, str]:
    """Two lines: what a column holds, then its unit and direction."""
    return escape(column.title), escape(column.heading.removeprefix(column.title).strip())


def _score(cell: TableCell) -> str:
    """Write a score without its spread, in bold where no ranked row has a better one."""
    text = "--" if cell.sort is None else _number(cell.text.partition(" ")[0])
    return rf"\textbf{{{text}}}" if cell.best else text


def _number(text: str) -> str:
    r"""Write numbers with powers of ten and minus signs as LaTeX has them.

    Example:
        >>> _number("-0.50"), _number("[4.46e-3, 1.00]")
        ('$-$0.50', '[4.46${\\times}10^{-3}$, 1.00]')
    """
    text = re.sub(r"(?<![\w.])-(?=\d)", "$-$", text)
    return re.sub(r"e(-?\d+)", r"${\\times}10^{\1}$", text)
