"""The one bootstrap of the suite: scores and differences of methods resample in the same way; no torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final

import numpy as np
from jaxtyping import Float
from scipy.stats import bootstrap

RESAMPLES: Final = 1000
CONFIDENCE: Final = 0.95
SEED: Final = 0
ENDS: Final = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
"""The quantiles of the resampled values between which a percentile interval lies."""


def resample(
    statistic: Callable[[np.ndarray], np.ndarray], units: int, resamples: int = RESAMPLES
) -> Float[np.ndarray, "*statistic resample"]:
    """Compute statistics of as many units as there are, drawn with replacement, the same draws every time.

    Args:
        statistic: Takes the drawn positions (resample, unit) and returns its values (..., resample). What it warns of,
            as of resamples that have no value, is not shown.
        units: How many films or patients there are, two or more.
        resamples: Number of draws.
    """

    def of_draws(draw: np.ndarray, axis: int = -1) -> np.ndarray:
        del axis
        return statistic(draw)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(
            bootstrap(
                (np.arange(units),),
                of_draws,
                vectorized=True,
                n_resamples=resamples,
                method="percentile",
                rng=np.random.default_rng(SEED),
            ).bootstrap_distribution
        )
