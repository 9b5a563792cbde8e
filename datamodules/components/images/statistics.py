"""What a decoded film holds: how many grey levels, how much of it is flat or clipped, and what it looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float

from datamodules.components.images.decoded import Decoded, Repair

FEWEST_LEVELS = 16
"""Grey levels below which a film is named: a radiograph of 8 bits has 100 or more."""
FLATTEST = 0.98
"""Share of the pixels in 1 % of the range from which on a film is named."""
MOST_CLIPPED = 0.95
"""Share of the pixels at black or white from which on a film is named."""
SIDE = 16
"""Pixels of the small copy by which films are compared."""
ALIKE = 0.5
"""Correlation with the mean of the set, turned round, from which on a film is taken for inverted."""
FEWEST_FILMS = 4
"""Films without which there is no mean to compare with."""
ONE_PERCENT = 3
"""Neighbouring levels of 256 that make up one hundredth of the range."""


class FilmStatistics(NamedTuple):
    """Numbers of one decoded film.

    Attributes:
        levels: Grey levels that occur, of 256.
        flat: Largest share of the pixels that lie within 1 % of the range.
        clipped: Share of the pixels that are black or white.
        mean: Mean grey value.
        repairs: Names of what had to be put right to read it, see `Repair`.
        orientation: The EXIF or TIFF orientation that the file states; 1 is upright.
        small: The film at `SIDE` x `SIDE` pixels, row by row.
    """

    levels: int
    flat: float
    clipped: float
    mean: float
    repairs: tuple[str, ...]
    orientation: int
    small: tuple[int, ...]

    @classmethod
    def of(cls, film: Decoded) -> FilmStatistics:
        """Take the numbers of a film."""
        counts = cv2.calcHist([film.pixels], [0], None, [256], [0, 256]).ravel().astype(np.float64)
        shares = counts / counts.sum()
        small = cv2.resize(film.pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        return cls(
            levels=int((counts > 0).sum()),
            flat=round(float(np.convolve(shares, np.ones(ONE_PERCENT)).max()), 4),
            clipped=round(float(shares[0] + shares[-1]), 4),
            mean=round(float(shares @ np.arange(256)), 2),
            repairs=tuple(repair.name for repair in film.repairs),
            orientation=film.orientation,
            small=tuple(int(value) for value in small.ravel()),
        )

    @classmethod
    def from_json(cls, text: str) -> FilmStatistics:
        """Read the numbers that `json.dumps(statistics._asdict())` wrote.

        Raises:
            ValueError: It is no JSON.
            TypeError: It is of another version.
        """
        read = json.loads(text)
        return cls(**read)._replace(repairs=tuple(read["repairs"]), small=tuple(read["small"]))

    @property
    def facts(self) -> dict[str, object]:
        """The numbers by name, without the small copy."""
        return {name: value for name, value in self._asdict().items() if name != "small"}

    @property
    def emptiness(self) -> str:
        """Why the film shows nothing; empty where it shows something."""
        if self.levels < FEWEST_LEVELS:
            return f"it has {self.levels} grey level{'s' * (self.levels > 1)} only"
        if self.flat > FLATTEST:
            return f"{self.flat:.1%} of its pixels lie within 1 % of the grey range"
        return f"{self.clipped:.1%} of its pixels are black or white" if self.clipped > MOST_CLIPPED else ""


def odd_films(films: Mapping[str, FilmStatistics]) -> Iterator[str]:
    """Yield a sentence for each film that shows nothing or looks inverted beside the others, naming the case."""
    for case, film in films.items():
        if film.emptiness:
            yield f"{case}: the film shows next to nothing: {film.emptiness}; look at it with osteomark data preview."
    for case, correlation in _inverted(films).items():
        yield (
            f"{case}: the film looks inverted beside the others (correlation with their mean {correlation:.2f}): white "
            f"and black may have changed places."
        )


def reading_notes(films: Mapping[str, FilmStatistics]) -> Iterator[str]:
    """Yield a sentence for each thing that had to be put right to read films, with how many there are."""
    for repair in Repair:
        if count := sum(repair.name in film.repairs for film in films.values()):
            yield f"Films that were {repair.value}: {count}."
    turned = sum(film.orientation != 1 and Repair.EXIF.name not in film.repairs for film in films.values())
    if turned:
        yield f"Films whose EXIF orientation is not followed, since labels are read on the pixels as stored: {turned}."


def _inverted(films: Mapping[str, FilmStatistics]) -> dict[str, float]:
    """Return the films that the mean of the others resembles when it is inverted, with the correlation.

    Films may be of both polarities in any number: the first principal direction of the standardised small copies has
    them on its two sides, and the smaller side is the odd one.
    """
    told = {case: film.small for case, film in films.items() if np.ptp(film.small) > 0}
    if len(told) < FEWEST_FILMS:
        return {}
    copies = np.array(list(told.values()), np.float64)
    copies -= copies.mean(axis=1, keepdims=True)
    copies /= np.linalg.norm(copies, axis=1, keepdims=True)
    signs = np.sign(np.linalg.svd(copies, full_matrices=False)[0][:, 0])
    signs = signs if signs.sum() >= 0 else -signs
    total = (signs[:, None] * copies).sum(axis=0)
    correlations = [_correlation(copy, total - sign * copy) for copy, sign in zip(copies, signs, strict=True)]
    return {case: value for case, value in zip(told, correlations, strict=True) if value < -ALIKE}


def _correlation(one: Float[np.ndarray, " pixel"], other: Float[np.ndarray, " pixel"]) -> float:
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))
