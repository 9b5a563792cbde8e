"""Certain, moderately and highly uncertain points: the scheme of Upadhyay et al., CHIL 2020 (Sec. 3.4 and 4).

Numbers only, no torch, so that pictures and tables can use it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int

CLASSES: Final = ("certain", "moderately uncertain", "highly uncertain")
COLOURS: Final = ("#7b2d8b", "#f2c500", "#d62728")
"""Violet, yellow and red, one per class."""


class Thresholds(NamedTuple):
    """Where the classes of sigma_p meet, in its unit.

    Attributes:
        certain: tau1: below it a point is certain.
        moderate: tau2: below it a point is moderately, from it on highly uncertain.
    """

    certain: float
    moderate: float


def classify(sigma: Float[np.ndarray, "*point"], thresholds: Thresholds) -> Int[np.ndarray, "*point"]:
    """Return the position of each point's class in `CLASSES`; a point without a sigma (NaN) is highly uncertain.

    Example:
        >>> [CLASSES[c] for c in classify(np.array([0.1, 0.2, 0.3, np.nan]), Thresholds(0.2, 0.3))]
        ['certain', 'moderately uncertain', 'highly uncertain', 'highly uncertain']
    """
    sigma = np.asarray(sigma)
    return np.where(sigma < thresholds.certain, 0, np.where(sigma < thresholds.moderate, 1, 2))


def fit_thresholds(
    sigma: Float[np.ndarray, " point"],
    error_mm: Float[np.ndarray, " point"],
    certain_mm: float = 1.5,
    moderate_mm: float = 2.0,
    tolerance: float = 0.05,
) -> Thresholds:
    """Choose tau1 and tau2 on **validation** points, by the paper's rule, as high as it allows.

    tau1: points with sigma_p below it err by no more than 1.5 mm. tau2: points with sigma_p from tau1 on and below it
    err by no more than 2 mm. The paper reads both off a density plot, so it lets some exceptions pass: `tolerance`.
    Points without a sigma or an error (NaN) do not count.

    Args:
        sigma: sigma_p of each validation point, in any unit.
        error_mm: Its radial error.
        certain_mm: The most that a certain point may err.
        moderate_mm: The most that a moderately uncertain point may err.
        tolerance: The share of a class that may err more; 0 is the rule to the letter.

    Raises:
        ValueError: No point has both numbers.

    Example:
        >>> fit_thresholds(np.array([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 1.4, 1.8, 2.5]), tolerance=0)
        Thresholds(certain=0.3, moderate=0.4)
    """
    known = np.isfinite(sigma) & np.isfinite(error_mm)
    if not known.any():
        raise ValueError("no validation point has both a sigma and an error in mm, so no threshold can be chosen.")
    sigma, error_mm = sigma[known], error_mm[known]
    certain = _highest_threshold(sigma, error_mm > certain_mm, tolerance)
    rest = sigma >= certain
    moderate = _highest_threshold(sigma[rest], error_mm[rest] > moderate_mm, tolerance) if rest.any() else certain
    return Thresholds(certain, moderate)


def _highest_threshold(sigma: np.ndarray, exceeds: np.ndarray, tolerance: float) -> float:
    """Return the highest threshold below which at most `tolerance` of the points exceed their limit.

    It is a sigma of a point, which then lies above, or just beyond the largest one.
    """
    order = np.argsort(sigma, kind="stable")
    ranked = sigma[order]
    limits = np.append(ranked, np.nextafter(ranked[-1], np.inf))
    count = np.searchsorted(ranked, limits)  # points below each limit
    bad = np.concatenate([[0], np.cumsum(exceeds[order])])[count]
    allowed = bad <= tolerance * count
    return float(limits[allowed][-1])
