"""Errors about a private card, without the names that it gives to landmarks and structures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

WITHHELD = "[private]"
NAMING_KEYS = ("names", "groups", "flips", "edges", "normalizer")


def without_names(message: str, content: object) -> str:
    """Return an error's message; for a private card without the names of landmarks and structures.

    Args:
        message: The error's.
        content: What the card's file holds, however wrong.
    """
    if not isinstance(content, Mapping) or not content.get("private") or content.get("show_names"):
        return message
    spacing = content.get("spacing")
    ruler = spacing.get("between") if isinstance(spacing, Mapping) else None
    named = [content.get(key) for key in NAMING_KEYS]
    secret = {word for value in (*named, ruler) for word in _texts(value)} - {*NAMING_KEYS, ""}
    hidden = message
    for word in sorted(secret, key=len, reverse=True):
        hidden = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", WITHHELD, hidden)
    return message if hidden == message else f"{hidden} (`osteomark data check CARD --reveal` names it)"


def _texts(value: object) -> Iterator[str]:
    """Yield the texts and numbers of a value, keys included."""
    if isinstance(value, Mapping):
        yield from (text for pair in value.items() for item in pair for text in _texts(item))
    elif isinstance(value, (list, tuple)):
        yield from (text for item in value for text in _texts(item))
    elif value is not None:
        yield str(value)
