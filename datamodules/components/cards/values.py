"""Values of a card: each is read as its key needs it, or refused in one sentence that names the key."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")


def nearest(name: str, known: Sequence[str]) -> str:
    """Return the end of a sentence about a name that is not known.

    Example:
        >>> nearest("nmes", ["names", "flips"])
        "did you mean 'names'?"
    """
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known) or 'none'}."


def build(dataclass_type: type[T], content: object, where: str) -> T:
    """Return the dataclass filled from a mapping.

    Raises:
        ValueError: A key is not known or lacks, or a value is not what its key takes.
    """
    given = mapping(content, where)
    known = {item.name: item for item in fields(dataclass_type)}  # type: ignore[arg-type]
    refuse_unknown(given, list(known), where)
    needed = [name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING]
    require(given, needed, where)
    return dataclass_type(**{key: plain(dataclass_type, key, value, f"{where}: ") for key, value in given.items()})


def plain(dataclass_type: type, key: str, value: object, where: str = "") -> object:
    """Return a value as the annotation of its field says.

    Raises:
        ValueError: It is something else.
    """
    hint, location = get_type_hints(dataclass_type)[key], where + key
    if hint is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{location} is {value!r}; write true or false.")
        return value
    if hint is int:
        return whole_number(value, location)
    if hint == float | None:
        return number(value, location)
    if hint == tuple[float, ...]:
        return tuple(number(item, location) for item in listed(value))
    if hint == tuple[str, ...]:
        return texts(value, location)
    return text(value, location) if hint is str else _choice(hint, value, location)


def _choice(hint: object, value: object, location: str) -> object:
    """Return one of the words of a `Literal`, or of a `Literal` or None."""
    words = [word for part in get_args(hint) for word in (get_args(part) or (part,)) if isinstance(word, str)]
    if value not in words:
        raise ValueError(f"{location} {value!r} is not known; {nearest(str(value), words)}")
    return value


def mapping(content: object, where: str) -> dict[Any, Any]:
    """Return a mapping; anything else is a ValueError."""
    if not isinstance(content, Mapping):
        raise ValueError(f"{where} must be a mapping of keys to values, but is {content!r}.")
    return dict(content)


def refuse_unknown(given: Mapping[Any, Any], known: Sequence[str], where: str = "") -> None:
    """Raise a ValueError with the nearest key for a key that is not known."""
    inside = f" in {where}" if where else ""
    for key in given:
        if key not in known:
            raise ValueError(f"there is no key {str(key)!r}{inside}; {nearest(str(key), known)}")


def require(given: Mapping[Any, Any], needed: Sequence[str], where: str = "it") -> None:
    """Raise a ValueError for a needed key that is not there or empty."""
    for key in needed:
        if given.get(key) in (None, "", [], {}):
            raise ValueError(f"{where} lacks the key {key!r}.")


def listed(value: object) -> list[Any]:
    """Return a list as it is and anything else as a list of one; nothing as an empty one."""
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def text(value: object, where: str) -> str:
    """Return a text; a number becomes one, what YAML took for something else is a ValueError."""
    if value is None or isinstance(value, (bool, list, dict)):
        raise ValueError(f"{where} has {value!r} where a text is needed; write it in quotes.")
    return str(value)


def texts(value: object, where: str) -> tuple[str, ...]:
    """Return one or several texts."""
    return tuple(text(item, where) for item in listed(value))


def number(value: object, where: str) -> float:
    """Return a number; anything else is a ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise ValueError(f"{where} has {value!r} where a number is needed.")
    return float(value)


def whole_number(value: object, where: str) -> int:
    """Return a whole number; anything else is a ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{where} has {value!r} where a whole number is needed.")
    return value


def pair(value: object, where: str) -> tuple[str, str]:
    """Return two texts; anything else is a ValueError."""
    found = texts(value, where)
    if len(found) != 2:
        raise ValueError(f"{where} has {value!r} where a pair of names is needed.")
    return found[0], found[1]


def pairs(value: object, where: str) -> tuple[tuple[str, str], ...]:
    """Return a list of pairs."""
    return tuple(pair(item, where) for item in listed(value))
