"""Which landmarks trade places when a film is mirrored, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

MIRRORED = (
    *(("left", "right"), ("l", "r"), ("lt", "rt"), ("sinister", "dexter"), ("sin", "dex"), ("links", "rechts")),
    *(("tl", "tr"), ("bl", "br"), ("ul", "ur"), ("ll", "lr"), ("gauche", "droite")),
)
"""Words of names that trade places when a film is mirrored."""
_WORD = re.compile(r"[^A-Za-z0-9]+|(?<=[a-z])(?=[A-Z])")
_LONG_ENOUGH = 4
"""Letters of a word that is found within a longer one, too."""


def propose_flips(names: Sequence[str]) -> list[list[str]]:
    """Return pairs of names that differ in a word, or in one letter, for left and right.

    Example:
        >>> propose_flips(["apex_left", "carina", "apex_right", "L1-TL", "L1-TR", "LL0", "RL0"])
        [['apex_left', 'apex_right'], ['L1-TL', 'L1-TR'], ['LL0', 'RL0']]
    """
    pairs: list[list[str]] = []
    for one, other in (*_by_word(names), *_within_words(names), *_by_letter(names)):
        if one != other and not any(used in pair for pair in pairs for used in (one, other)):
            pairs.append([one, other])
    return pairs


def _by_word(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    words = {name: tuple(word.lower() for word in _WORD.split(name)) for name in names}
    known = {spelt: name for name, spelt in words.items()}
    for name, spelt in words.items():
        for left, right in MIRRORED:
            for index in (index for index, word in enumerate(spelt) if word == left):
                if other := known.get((*spelt[:index], right, *spelt[index + 1 :])):
                    yield name, other


def _within_words(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    lower = {name.lower(): name for name in names}
    for name in names:
        for left, right in MIRRORED:
            if len(left) >= _LONG_ENOUGH and (other := lower.get(name.lower().replace(left, right))):
                yield name, other


def _by_letter(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs that differ in a capital L and R at one position, or a small one at the start.

    The position that pairs most names is theirs: in `RL0`, `LL0`, `RR0`, `LR0` two of them do.
    """
    known = set(names)
    by_position: dict[int, list[tuple[str, str]]] = {}
    for name in names:
        for index, letter in enumerate(name):
            if letter == "L" or (letter == "l" and index == 0):
                other = name[:index] + ("R" if letter == "L" else "r") + name[index + 1 :]
                by_position.setdefault(index, []).extend([(name, other)] if other in known else [])
    for position in sorted(by_position, key=lambda position: -len(by_position[position])):
        yield from by_position[position]
