"""Named evaluation rules: which truth, which unit, which cases train and which test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sklearn.model_selection import GroupKFold, GroupShuffleSplit

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.2
SHARED_PATIENTS = "patients in both training and test"
"""The caveat of a protocol that splits by film and not by patient."""


@dataclass(frozen=True)
class Split:
    """The cases of one training run, by name.

    Raises:
        ValueError: No test set, or a case occurs in two of train, val and the test sets together.
    """

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    tests: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        """Refuse a split that trains on what it tests."""
        if not self.tests:
            raise ValueError(f"split {self.name} has no test set, so nothing could be scored.")
        parts = [set(self.train), set(self.val), set().union(*self.tests.values())]
        shared = (parts[0] & parts[1]) | (parts[0] & parts[2]) | (parts[1] & parts[2])
        if shared:
            raise ValueError(f"split {self.name} uses {sorted(shared)[0]} in more than one of train, val and test.")

    @classmethod
    def validated(
        cls, name: str, train: Sequence[str], tests: Mapping[str, Sequence[str]], patients: Mapping[str, str]
    ) -> Split:
        """Return a split whose validation cases are a tenth of the training patients' (see `hold_out`)."""
        rest, val = hold_out(train, patients)
        return cls(name, rest, val, {test: tuple(cases) for test, cases in tests.items()})


@dataclass(frozen=True)
class Protocol:
    """A named rule under which scores may be compared; leaderboards never mix two.

    Args:
        name: Short name, part of the run's path.
        description: One sentence: who uses it, which cases, which truth.
        splits: The names of its splits, one training run each.
        unit: The unit its scores are read in.
        truth: Which annotation is the truth, where a dataset has several.
        caveats: Known leaks and the like, each a short badge that leaderboards show.
        leaks: What of the test set is known to be in training: `films`, which the dataset's `repeats` names so that
            scores can be given without them, or `patients`, whose films differ and of which nobody knows which.
    """

    name: str
    description: str
    splits: tuple[str, ...] = ("main",)
    unit: Literal["mm", "px"] = "px"
    truth: str = "published"
    caveats: tuple[str, ...] = ()
    leaks: Literal["", "films", "patients"] = ""


def hold_out(
    cases: Sequence[str], patients: Mapping[str, str], share: float = VALIDATION_SHARE, seed: int = 0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split training cases into (train, val), whole patients at a time.

    The seed belongs to the protocol, not to the run: every method validates on the same cases.
    Fewer than two patients cannot be split; then the one training set also validates nothing and `val` is empty.
    """
    groups = [patients[case] for case in cases]
    if len(set(groups)) < 2:
        return tuple(cases), ()
    splitter = GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    train, val = next(splitter.split(cases, groups=groups))
    return tuple(cases[i] for i in train), tuple(cases[i] for i in val)


def grouped_folds(
    cases: Sequence[str], patients: Mapping[str, str], folds: int, seed: int = 0
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return (rest, fold) for each of `folds` folds that keep patients whole."""
    groups = [patients[case] for case in cases]
    splitter = GroupKFold(n_splits=folds, shuffle=True, random_state=seed)
    return [
        (tuple(cases[i] for i in rest), tuple(cases[i] for i in fold))
        for rest, fold in splitter.split(cases, groups=groups)
    ]


def drawn_splits(protocol: Protocol, cases: Sequence[str], patients: Mapping[str, str]) -> tuple[Split, ...]:
    """Split the cases of a set without published lists, by its folds or with a fifth of the patients as test set."""
    folds = len(protocol.splits)
    parts = grouped_folds(cases, patients, folds) if folds > 1 else [hold_out(cases, patients, TEST_SHARE)]
    return tuple(
        Split.validated(name, rest, {"test": test}, patients)
        for name, (rest, test) in zip(protocol.splits, parts, strict=True)
    )
