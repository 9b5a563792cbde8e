"""Which test cases no known leak touches: every score is given on all of them and on these alone.

A dataset states the facts (`Protocol.leaks`, `LandmarkDataModule.repeats`), so that old runs can be scored both ways
from their stored predictions, without the films.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datamodules.base import LandmarkDataModule

SUFFIX = "_leak_free"
SCORES = ("value", "low", "high")
"""What is given of a score on the leak-free cases, too."""
COLUMNS = tuple(f"{name}{SUFFIX}" for name in ("cases", *SCORES))
"""Columns of `scores.csv`; empty where no leak-free part of the test set is known."""


def leak_free_cases(data: type[LandmarkDataModule], protocol: str, cases: Sequence[str]) -> tuple[int, ...] | None:
    """Find the test cases whose film stands neither in training nor earlier in the test set.

    Args:
        data: The dataset.
        protocol: Name of one of its protocols.
        cases: Names of a test set's cases.

    Returns:
        Their positions in `cases`: all of them where no leak is known; None where there is one whose cases are not
        known, as patients on both sides of a random split are.
    """
    leaks = data.find_protocol(protocol).leaks
    if leaks == "patients":
        return None
    repeats = data.repeats if leaks == "films" else None
    return tuple(i for i, case in enumerate(cases) if repeats is None or not repeats.search(case))


def described(scores: Mapping[str, Any], cases: int) -> dict[str, Any]:
    """Name the scores of the leak-free cases as `scores.csv` does.

    Example:
        >>> described({"value": 1.5, "low": 1.0, "high": 2.0, "sd_seeds": 0.1}, cases=113)["low_leak_free"]
        1.0
    """
    return {f"cases{SUFFIX}": cases, **{f"{name}{SUFFIX}": scores[name] for name in SCORES}}
