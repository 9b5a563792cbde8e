"""Splits by a card's rule: a column, shares or folds, whole patients at a time and, if asked, stratified."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from datamodules.components.cards.card import SplitRule
from datamodules.components.errors import DataError
from datamodules.components.protocols import Split, hold_out


class SplitMember(NamedTuple):
    """A case, as far as splits are concerned.

    Attributes:
        case: Its name.
        patient: Cases of one patient stay together.
        part: What the rule's column or pattern says; empty for a case that no split uses.
        stratum: The value of the column to stratify by.
        location: File and line, for messages.
    """

    case: str
    patient: str
    part: str = ""
    stratum: str = ""
    location: str = ""


def split_names(rule: SplitRule) -> tuple[str, ...]:
    """Return the names of a rule's splits."""
    return tuple(f"fold{index}" for index in range(1, rule.folds + 1)) or ("main",)


def split_members(rule: SplitRule, members: Sequence[SplitMember]) -> tuple[Split, ...]:
    """Return the splits of a rule.

    Raises:
        DataError: The column or pattern has a value that the rule does not name, or puts a patient into training and
            test.
        ValueError: There are too few patients.
    """
    patients = {member.case: member.patient for member in members}
    if rule.is_published:
        return (_published(rule, members, patients),)
    if rule.ratio:
        train, val, test = deal(members, rule.ratio, rule.seed)
        return (Split("main", train, val, {"test": test}),)
    folds = deal(members, (1.0,) * rule.folds, rule.seed)
    splits = []
    for name, fold in zip(split_names(rule), folds, strict=True):
        rest = [member.case for member in members if member.case not in set(fold)]
        train, val = hold_out(rest, patients)
        splits.append(Split(name, train, val, {"test": fold}))
    return tuple(splits)


def deal(members: Sequence[SplitMember], shares: Sequence[float], seed: int) -> list[tuple[str, ...]]:
    """Deal the cases to parts in proportion to `shares`, whole patients at a time.

    Patients come stratum by stratum, in random order within each, and each goes to the part that lacks most by then, so
    that every part gets its share of every stratum. The order of `members` does not matter.

    Raises:
        ValueError: A part would be empty.
    """
    groups: dict[str, list[SplitMember]] = {}
    for member in sorted(members):
        groups.setdefault(member.patient, []).append(member)
    order = np.random.default_rng(seed).permutation(len(groups))
    shuffled = [list(groups.values())[index] for index in order]
    parts: list[list[list[SplitMember]]] = [[] for _ in shares]
    weights, sizes = np.array(shares) / sum(shares), np.zeros(len(shares))
    for group in sorted(shuffled, key=_stratum):
        lack = np.where(weights > 0, weights * (sizes.sum() + len(group)) - sizes, -np.inf)
        sizes[lack.argmax()] += len(group)
        parts[int(lack.argmax())].append(group)
    for part, weight in zip(parts, weights, strict=True):
        if weight > 0 and not part:  # so few patients that a small share was never the one that lacks most
            part.append(_spared(parts))
    return [tuple(sorted(member.case for group in part for member in group)) for part in parts]


def _spared(parts: Sequence[list[list[SplitMember]]]) -> list[SplitMember]:
    """Take a patient from the part with most of them.

    Raises:
        ValueError: No part has two.
    """
    largest = max(parts, key=len)
    if len(largest) < 2:
        raise ValueError(f"{sum(map(len, parts))} patients cannot fill {len(parts)} parts")
    return largest.pop()


def _stratum(group: Sequence[SplitMember]) -> str:
    """The stratum of most of a patient's films."""
    return Counter(member.stratum for member in group).most_common(1)[0][0]


def _published(rule: SplitRule, members: Sequence[SplitMember], patients: Mapping[str, str]) -> Split:
    parts: dict[str, list[str]] = {}
    known = (*rule.train, *rule.val, *rule.tests)
    for member in members:
        if member.part and member.part not in known:
            raise DataError(
                f"{member.location} has {member.part!r} {_where(rule)}, but the card's split knows "
                f"{', '.join(known)}; list the value under train, val or tests."
            )
        parts.setdefault(member.part, []).append(member.case)
    train, val = ([case for value in values for case in parts.get(value, ())] for values in (rule.train, rule.val))
    tests = {test: tuple(parts[test]) for test in rule.tests if test in parts}
    _refuse_straddling(rule, (*train, *val), tests, patients)
    if not val:
        train, val = map(list, hold_out(train, patients))
    return Split("main", tuple(train), tuple(val), tests)


def _refuse_straddling(
    rule: SplitRule, fitted: Sequence[str], tests: Mapping[str, Sequence[str]], patients: Mapping[str, str]
) -> None:
    tested = {patients[case] for cases in tests.values() for case in cases}
    shared = sorted({patients[case] for case in fitted} & tested)
    if shared:
        raise DataError(
            f"the split {_where(rule)} puts {len(shared)} patients into both training and test, {shared[0]} for one; "
            f"correct it, or let a ratio or folds split the set."
        )


def _where(rule: SplitRule) -> str:
    return f"in column {rule.column!r}" if rule.column else f"by the pattern {rule.pattern!r}"
