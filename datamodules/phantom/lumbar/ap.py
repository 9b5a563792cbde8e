"""AP lumbar phantom: the lumbar part of the AP spine phantom, drawn at the size at which lumbar films show it."""

from __future__ import annotations

import numpy as np

from datamodules.phantom.lumbar.films import develop
from datamodules.phantom.rendering import PhantomFilm, Radiograph, transform
from datamodules.phantom.spine import VERTEBRAE, SpineGeometry, draw_column, make_column
from datamodules.phantom.torso import Torso

L1 = VERTEBRAE - 5


def lumbar_ap_film(seed: int, height: int = 512, width: int | None = None) -> PhantomFilm:
    """Make one AP lumbar film.

    A whole spine is made on a film so large that L1 to L5 fill the asked height, and only their part of it is drawn.

    Args:
        seed: the same seed, height and width give the same film.
        height: film height in pixels.
        width: film width in pixels; by default drawn between .5 and .85 of the height.

    Returns:
        The film with 20 landmarks: L1..L5 top to bottom, corners TL, TR, BL, BR (left is the image's left).
    """
    rng = np.random.default_rng(seed)
    narrow = float(rng.uniform(0.5, 0.85))
    width = round(height * narrow) if width is None else width
    column, whole = _lumbar_column(rng, height, width)
    film = Radiograph(height, width, rng)
    film.unit = whole / 512  # line widths and blurs are those of the whole film
    Torso(film, column.centres, column.corners).draw_behind()
    draw_column(film, column)
    inverted = bool(rng.random() < 0.08)
    film.unit = height / 512
    return PhantomFilm(develop(film, inverted), column.corners[L1:].reshape(-1, 2), inverted)


def _lumbar_column(rng: np.random.Generator, height: int, width: int) -> tuple[SpineGeometry, int]:
    """Return a spine placed so that L1 to L5 lie on the film, and the height in pixels of its whole film."""
    share = rng.uniform(0.58, 0.78)
    column = _straighten(make_column(rng, 1000, 420), float(rng.choice([0.35, 1.0], p=[0.6, 0.4])))
    low, high = column.corners[L1:].min(axis=(0, 1)), column.corners[L1:].max(axis=(0, 1))
    scale = min(share * height / (high[1] - low[1]), 0.8 * width / (high[0] - low[0]))
    free = np.array([width, height]) - scale * (high - low)
    spot = free * np.clip([rng.normal(0.5, 0.06), rng.normal(0.42, 0.08)], 0.1, 0.9)
    return column._replace(corners=(column.corners - low) * scale + spot), round(1000 * scale)


def _straighten(column: SpineGeometry, curve: float) -> SpineGeometry:
    """Reduce a spine's scoliosis to the share `curve` of it: most lumbar films show little."""
    centres = column.centres
    shift = np.stack([(curve - 1) * (centres[:, 0] - centres[L1:, 0].mean()), np.zeros(VERTEBRAE)], axis=1)
    corners = [
        transform(four - centre, centre + move, degrees=(curve - 1) * float(tilt))
        for four, centre, move, tilt in zip(column.corners, centres, shift, column.tilt, strict=True)
    ]
    return SpineGeometry(np.stack(corners), column.tilt * curve, column.twist * curve)
