"""Certain, moderately and highly uncertain points: the scheme of Upadhyay et al., CHIL 2020 (Sec. 3.4 and 4).

Numbers only, no torch, so that pictures and tables can use it.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from benchmark.predictions import Predictions

CLASSES: Final = ("certain", "moderately uncertain", "highly uncertain")
COLOURS: Final = ("#b64fd0", "#f2c500", "#e0322c")
"""Violet, yellow and red, one per class, each light enough for a dark film."""
CERTAIN_MM: Final = 1.5
"""The most that a certain point may err, by the paper."""
MODERATE_MM: Final = 2.0
"""The most that a moderately uncertain point may err, by the paper."""
ENOUGH: Final = 5
"""Validation films below which no threshold is fitted."""


class Thresholds(NamedTuple):
    """Where the classes of sigma_p meet, in its unit.

    Attributes:
        certain: tau1: below it a point is certain.
        moderate: tau2: below it a point is moderately, from it on highly uncertain.
    """

    certain: float
    moderate: float


PAPERS: Final = Thresholds(0.0087, 0.0097)
"""What the paper chose for its cervical crops, in fractions of the crop's sides."""


class Grading(NamedTuple):
    """How the points of a row are graded.

    Attributes:
        thresholds: Where the classes meet.
        unit: Of sigma_p: fractions of a crop's sides, or millimetres.
        fitted: Whether the thresholds were fitted on the row's own validation films; otherwise they are the paper's.
    """

    thresholds: Thresholds
    unit: Literal["crop", "mm"]
    fitted: bool

    @property
    def source(self) -> str:
        """Whose thresholds these are, as a sentence."""
        if self.fitted:
            return (
                "The limits were fitted on the run's own validation films so that certain points err by at most "
                f"{CERTAIN_MM:g} mm and moderately uncertain ones by at most {MODERATE_MM:g} mm, one in twenty "
                "excepted."
            )
        return "The limits are those that Upadhyay et al. chose for their cervical crops, not fitted to these films."

    @property
    def words(self) -> tuple[str, str, str]:
        """The range of sigma_p of each class."""
        low, high = (f"{limit:.3g}" + (" mm" if self.unit == "mm" else "") for limit in self.thresholds)
        of = " of the crop's sides" if self.unit == "crop" else ""
        return f"sigma_p below {low}{of}", f"from {low} to {high}", f"from {high} on"

    def classes(self, predicted: Predictions) -> Int[np.ndarray, "case landmark"]:
        """Return the position of each point's class in `CLASSES`."""
        return classify(predicted.sigma(self.unit), self.thresholds)


def grade(predicted: Predictions, validation: Predictions | None, unit: str) -> Grading | None:
    """Choose how a row's points are graded; None where no point has a sigma_p in one of the units.

    Sigma_p counts in fractions of the crop, as in the paper, where predictions tell their crops, otherwise in
    millimetres. Thresholds are fitted on the validation films that no fold tests, where these have millimetres and are
    enough; else the paper's hold for fractions of crops, and nothing for millimetres.

    Args:
        predicted: What the row answered.
        validation: What its first run answered on its validation films; None where it kept nothing.
        unit: The board's, in which errors are measured: `mm` or `px`.
    """
    measure: Literal["crop", "mm"] = "crop" if np.isfinite(predicted.sigma("crop")).any() else "mm"
    if not np.isfinite(predicted.sigma(measure)).any():
        return None
    if validation is not None and unit == "mm":
        untested = [place for place, case in enumerate(validation.cases) if case not in set(predicted.cases)]
        sigma, errors = (values[untested].ravel() for values in (validation.sigma(measure), validation.errors("mm")))
        if len(untested) >= ENOUGH and (np.isfinite(sigma) & np.isfinite(errors)).any():
            return Grading(fit_thresholds(sigma, errors), measure, fitted=True)
    return Grading(PAPERS, "crop", fitted=False) if measure == "crop" else None


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
    certain_mm: float = CERTAIN_MM,
    moderate_mm: float = MODERATE_MM,
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
