"""How numbers are written, for every format: units, significant digits, directions and ranges."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

UNITS: Final = {"fraction": "fraction of the image", "deg": "degrees"}
"""How a unit is written where it is not written as it is called."""
NO_NUMBER: Final = "-"
NOT_TESTED: Final = "not tested"
NOT_MEASURED: Final = "not measured"
ARROWS: Final = {True: "↑", False: "↓", None: ""}
"""The direction in which a score improves."""


def number(value: float, unit: str = "") -> str:
    """Write a number: two decimals in px, mm, degrees and %, three significant digits where it is tiny.

    Example:
        >>> number(1.234, "mm"), number(0.00446, "fraction"), number(0.93761)
        ('1.23', '4.46e-3', '0.9376')
    """
    if math.isnan(value):
        return "n/a"
    if unit in {"px", "mm", "deg", "%"}:
        return f"{value:.2f}"
    if value != 0 and abs(value) < 0.01:
        digits, exponent = f"{value:.2e}".split("e")
        return f"{digits}e{int(exponent)}"
    return f"{value:.4f}"


def signed(value: float, unit: str) -> str:
    """Write a difference with its sign, and 0 without one.

    Example:
        >>> signed(1.994, "mm"), signed(-0.0, "mm")
        ('+1.99', '0.00')
    """
    return f"{'+' if value > 0 else ''}{number(value + 0.0, unit)}"


def difference(value: float, unit: str) -> str:
    """Write a difference of two numbers with its sign and unit.

    Example:
        >>> difference(1.994, "mm"), difference(-58.42, "%"), difference(0.0005, "fraction")
        ('+1.99 mm', '-58.42 points', '+5.00e-4')
    """
    sign = "" if math.isnan(value) or value < 0 else "+"
    shown = {"%": "points", "deg": "degrees", "fraction": ""}.get(unit, unit)
    return f"{sign}{number(value, unit)} {shown}".rstrip()


def interval(low: float, high: float, unit: str) -> str:
    """Write an interval; nothing where its ends are not known.

    Example:
        >>> interval(1.0, 2.5, "mm"), interval(float("nan"), float("nan"), "mm")
        ('[1.00, 2.50]', '')
    """
    return "" if math.isnan(low) else f"[{number(low, unit)}, {number(high, unit)}]"


def count(value: float | None) -> str:
    """Write a large count with a suffix.

    Example:
        >>> count(23_226_269), count(1_191_000_000), count(716), count(None)
        ('23.23 M', '1.19 G', '716', '-')
    """
    if value is None:
        return NO_NUMBER
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.2f} {suffix}"
    return f"{value:.0f}"


def duration(seconds: float | None) -> str:
    """Write a time span.

    Example:
        >>> duration(42.4), duration(754), duration(7500), duration(None)
        ('42 s', '12 min 34 s', '2 h 5 min', '-')
    """
    if seconds is None:
        return NO_NUMBER
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def heading(title: str, unit: str = "", higher_is_better: bool | None = None) -> str:
    """Name a score with its unit and direction.

    Example:
        >>> heading("MRE", "mm", False), heading("Coverage", "%")
        ('MRE (mm) ↓', 'Coverage (%)')
    """
    shown = UNITS.get(unit, unit)
    return " ".join(filter(None, [title, f"({shown})" if shown else "", ARROWS[higher_is_better]]))


def p_text(p: float) -> str:
    """Write a p value.

    Example:
        >>> p_text(0.00001), p_text(0.0314), p_text(1.0), p_text(float("nan"))
        ('< 0.001', '0.031', '1.000', 'not tested')
    """
    if math.isnan(p):
        return NOT_TESTED
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def percent(value: float, *, sign: bool = False) -> str:
    """Write a percentage as a whole number.

    Example:
        >>> percent(32.4), percent(99.7, sign=True), percent(-0.2, sign=True), percent(float("nan"))
        ('32 %', '+100 %', '0 %', '-')
    """
    if math.isnan(value):
        return NO_NUMBER
    whole = round(value)
    return f"{whole:+d} %" if sign and whole else f"{whole} %"


def ranges(numbers: Iterable[int]) -> str:
    """Write whole numbers in order, three and more in a row as a range.

    Example:
        >>> ranges([7, 2, 3, 4, 9, 10, 4])
        '2-4, 7, 9, 10'
    """
    runs: list[list[int]] = []
    for value in sorted(set(numbers)):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts = [[f"{run[0]}-{run[-1]}"] if len(run) > 2 else [str(value) for value in run] for run in runs]
    return ", ".join(text for part in parts for text in part)


def file_stem(text: str) -> str:
    """Write a text so that it may stand in a file's name or a label.

    Example:
        >>> file_stem("test set 1/2")
        'test-set-1-2'
    """
    return re.sub(r"[^\w.-]+", "-", text)
