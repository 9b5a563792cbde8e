"""What a private set may show of itself: salted hashes for names, and errors without paths or texts."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from datamodules.components.cards.card import Card
from datamodules.components.cards.card_errors import WITHHELD
from datamodules.components.errors import DataError
from datamodules.components.images.cache import FilmCache
from datamodules.components.images.statistics import FilmStatistics
from datamodules.components.schema import LandmarkSchema
from datamodules.components.transforms import Box, FilmChange, InputSpec

DIGITS = 12
SHORTEST_SECRET = 4
"""Shorter texts are part of ordinary words and of every number."""


class Pseudonyms:
    """Names for cases and patients that cannot be turned back without the salt, and stay the same with it.

    Args:
        salt: The card's, kept where the data is.

    Example:
        >>> shown = Pseudonyms("pepper")
        >>> shown("case", "Smith-1"), shown("case", "Smith-1") == Pseudonyms("salt")("case", "Smith-1")
        ('case-4cd9f2e250c7', False)
    """

    def __init__(self, salt: str) -> None:
        self.salt = salt.encode()

    def __call__(self, kind: str, name: str) -> str:
        """Return the pseudonym of a case or patient."""
        digest = hmac.new(self.salt, f"{kind} {name}".encode(), hashlib.sha256).hexdigest()
        return f"{kind}-{digest[:DIGITS]}"  # the word in front keeps readers of CSV from taking it for a number


def salt_of(card: Card) -> str:
    """Return a card's salt; without one in the card, that of the file beside it, which is made on first use.

    Raises:
        DataError: The file cannot be written.
    """
    if card.salt:
        return card.salt
    path = card.file.with_suffix(".salt")
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(16))
    except FileExistsError:
        pass
    except OSError as error:
        raise DataError(
            f"the salt of the private card {card.name} cannot be written beside it ({error.strerror}); put a line "
            f"`salt: {secrets.token_hex(16)}` into the card."
        ) from None
    return path.read_text().strip()


def numbered(schema: LandmarkSchema) -> LandmarkSchema:
    """Return the schema with numbers for names: p01, p02 ... and group1, group2 ..."""
    new = {name: f"p{index:02d}" for index, name in enumerate(schema.names, 1)}
    members = [tuple(new[name] for name in names) for names in schema.groups.values()]
    return LandmarkSchema(
        tuple(new.values()),
        {f"group{index}": names for index, names in enumerate(members, 1)},
        tuple((new[a], new[b]) for a, b in schema.flips),
        tuple((new[a], new[b]) for a, b in schema.edges),
        schema.normalizer and (new[schema.normalizer[0]], new[schema.normalizer[1]]),
    )


def redact(text: str, secret: Iterable[str]) -> str:
    """Return a text with every secret taken out, long ones first.

    Example:
        >>> redact("no such file: films/Smith.png", ["Smith", "films/Smith.png", "1"])
        'no such file: [private]'
    """
    for word in sorted({word for word in secret if len(word) >= SHORTEST_SECRET}, key=len, reverse=True):
        text = text.replace(word, WITHHELD)
    return text


@contextmanager
def withheld(what: str) -> Iterator[None]:
    """Let no error of a private set pass with its message: it names files, lines and values.

    Args:
        what: Of the sentence that is shown instead.

    Raises:
        DataError: Anything went wrong.
    """
    try:
        yield
    except Exception:
        raise DataError(
            f"{what}; why is withheld because the set is private: `osteomark data check CARD --reveal` says it."
        ) from None


class PrivateFilms(FilmCache):
    """A cache of films whose errors name the case only.

    Args:
        films: The cache.
        shown: A film's file to the case as it may be shown.
    """

    def __init__(self, films: FilmCache, shown: Callable[[Path], str]) -> None:
        super().__init__()
        self.films, self.shown = films, shown

    def content(self, path: Path) -> str:
        """Return a hash of a film's bytes."""
        with self._film(path):
            return self.films.content(path)

    def statistics(self, path: Path, *, exif: bool) -> FilmStatistics:
        """Decode a film and return what it holds."""
        with self._film(path):
            return self.films.statistics(path, exif=exif)

    def read(
        self, path: Path, box: Box, spec: InputSpec, change: FilmChange | None = None, *, exif: bool
    ) -> UInt8[np.ndarray, "h w"]:
        """Return the film changed where asked, cropped, resized and preprocessed."""
        with self._film(path):
            return self.films.read(path, box, spec, change, exif=exif)

    @contextmanager
    def _film(self, path: Path) -> Iterator[None]:
        with withheld(f"the film of {self.shown(path)} cannot be read"):
            yield
