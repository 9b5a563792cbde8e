"""What every landmark metric shares: its input, what it knows of the dataset, and pooling that skips missing values.

A metric works in two steps. `terms` turns each case into one row of numbers; `reduce` summarises rows. Only rows are
kept, and a bootstrap over cases is one call of `reduce` with the number of times that each draw has each row.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Cases(NamedTuple):
    """A stack of test cases with the same landmarks, everything in original-image pixels.

    Attributes:
        points: Predicted (x, y); complete wherever the truth is present.
        target: True (x, y); NaN where missing.
        visible: False where the truth is missing.
        spacing: Millimetres per pixel along x and y; NaN where unknown.
        size: Height and width of the film in pixels; NaN where unknown.
        covariance: Of each prediction, in square pixels; NaN where the method gives none.
        quantiles: Of each landmark's nonconformity on the run's validation cases, see `metrics.conformal`; infinite
            where there were too few of them, NaN where the run kept no prediction of them.
        centres: Of each landmark's vertebra or other structure, (x, y), as an earlier stage of the method found it; NaN
            where there is none.
    """

    points: Float[Tensor, "case landmark 2"]
    target: Float[Tensor, "case landmark 2"]
    visible: Bool[Tensor, "case landmark"]
    spacing: Float[Tensor, "case 2"]
    size: Float[Tensor, "case 2"]
    covariance: Float[Tensor, "case landmark 2 2"]
    quantiles: Float[Tensor, "case landmark level"]
    centres: Float[Tensor, "case landmark 2"]
    temperature: Float[Tensor, "case landmark"]


class Anatomy(NamedTuple):
    """What a metric has to know of a dataset.

    Attributes:
        names: Landmark names, in order.
        groups: Vertebra to landmark indices, top to bottom; four corners are in the order TL, TR, BL, BR.
        normalizer: The two landmarks whose true distance is the unit of the normalised error; None if there is none.
        radii: Radii of the success detection rate, in `unit`.
        unit: `"mm"` where the dataset's protocol knows the pixel spacing, else `"px"`.
    """

    names: tuple[str, ...]
    groups: Mapping[str, tuple[int, ...]]
    normalizer: tuple[int, int] | None = None
    radii: tuple[float, ...] = ()
    unit: Literal["mm", "px"] = "px"


class Column(NamedTuple):
    """One column of a leaderboard.

    Attributes:
        title: Heading for a reader.
        unit: Unit of the values: `px`, `mm`, `%`, `deg`, `fraction`, or empty for a pure number.
        higher_is_better: Direction of improvement; None where the best value is neither the highest nor the lowest.
    """

    title: str
    unit: str
    higher_is_better: bool | None


class Measurement(NamedTuple):
    """What a reader would measure on films by their landmarks.

    Attributes:
        values: One per film; NaN where a landmark or the spacing is missing.
        unit: As of a `Column`.
    """

    values: Float[Tensor, " case"]
    unit: str


class LandmarkMetric(Metric, ABC):
    """Base of all landmark metrics: collects one row of terms per case and summarises the rows.

    Subclasses state `title` and `requires` and write `terms`, `reduce` and `columns`.

    Attributes:
        title: Heading of the metric for a reader.
        requires: What the metric needs of the dataset, drawn from `spacing`, `groups`, `normalizer`, `radii` and
            `size`, and of a run, `covariance` and `validation`.
    """

    title: ClassVar[str]
    requires: ClassVar[frozenset[str]] = frozenset()
    full_state_update = False
    rows: list[Tensor]

    def __init__(self, anatomy: Anatomy) -> None:
        """Store what the metric has to know of the dataset.

        Args:
            anatomy: The dataset's landmarks, groups, normaliser, radii and unit.

        Raises:
            ValueError: If the metric cannot be computed for this anatomy, or the anatomy contradicts itself.
        """
        super().__init__()
        _check_anatomy(anatomy)
        if reason := self.unsupported(anatomy):
            raise ValueError(f"{type(self).__name__} cannot be computed: {reason}")
        self.anatomy = anatomy
        self.add_state("rows", default=[], dist_reduce_fx="cat")

    @classmethod
    def unsupported(cls, anatomy: Anatomy) -> str | None:
        """Say why the metric cannot be computed for a dataset.

        Args:
            anatomy: The dataset's landmarks, groups, normaliser, radii and unit.

        Returns:
            The reason in one sentence, or None if it can be computed.
        """
        lacks = {
            "spacing": (anatomy.unit != "mm", "The dataset's pixel spacing is unknown."),
            "groups": (not anatomy.groups, "The dataset's landmarks are not grouped into vertebrae."),
            "normalizer": (anatomy.normalizer is None, "The dataset names no pair of landmarks to normalise by."),
            "radii": (not anatomy.radii, "The dataset names no detection radii."),
        }
        return next((reason for need, (lacking, reason) in lacks.items() if lacking and need in cls.requires), None)

    def lacks(self, cases: Cases) -> str | None:
        """Say why the metric cannot score a run: its predictions lack what `requires` names.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            The reason in one sentence, or None if every landmark that counts has what is needed.

        Raises:
            ValueError: If a prediction is not finite where the truth is present.
        """
        counted = present(cases)
        given = {
            "covariance": (cases.covariance.isfinite().all(-1).all(-1), "The method gives no covariance."),
            "validation": (~cases.quantiles.isnan().any(-1), "The run kept no predictions of its validation cases."),
        }
        missing = (
            reason for need, (there, reason) in given.items() if need in self.requires and not there[counted].all()
        )
        return next(missing, None)

    @abstractmethod
    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Turn each case into one row of numbers, from which `reduce` can summarise any set of cases.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            One row per case; NaN where a number does not apply.
        """

    @abstractmethod
    def reduce(
        self, terms: Float[Tensor, "*batch case term"], counts: Float[Tensor, "draw case"] | None = None
    ) -> dict[str, Float[Tensor, "..."]]:
        """Summarise rows of terms, as they are or as a bootstrap draws them, see `metrics.components.pooling`.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions (seeds).
            counts: How often each draw of a bootstrap has each case, whole numbers; every case once if None.

        Returns:
            Column name to a value per batch dimension, with `counts` also per draw; NaN where no case applies.
        """

    @abstractmethod
    def columns(self) -> dict[str, Column]:
        """Describe what `reduce` returns.

        Returns:
            Column name to its description, in the order of display.
        """

    def measure(self, cases: Cases) -> dict[str, Measurement]:
        """Measure the predicted landmarks alone, as a reader would; films need no truth and no spacing for it.

        Args:
            cases: Predictions in original pixels; `target` is not read.

        Returns:
            Name to measurement; nothing for a metric that compares only.
        """
        del cases
        return {}

    def update(self, cases: Cases) -> None:
        """Add cases.

        Args:
            cases: Predictions and truth in original pixels.

        Raises:
            ValueError: If a prediction is not finite where the truth is present.
        """
        self.rows.append(self.terms(cases))

    def compute(self) -> dict[str, Tensor]:
        """Summarise every case seen since the last reset.

        Returns:
            Column name to a scalar.
        """
        return self.reduce(dim_zero_cat(self.rows))


def present(cases: Cases) -> Bool[Tensor, "case landmark"]:
    """Tell which landmarks count: those whose truth is visible and finite.

    Args:
        cases: Predictions and truth in original pixels.

    Returns:
        True where the landmark is to be scored.

    Raises:
        ValueError: If a prediction is not finite there; leaving it out would reward a method for not answering.

    Example:
        >>> import torch
        >>> nan = float("nan")
        >>> cases = Cases(
        ...     points=torch.zeros(1, 2, 2),
        ...     target=torch.tensor([[[1.0, 2.0], [nan, nan]]]),
        ...     visible=torch.tensor([[True, False]]),
        ...     spacing=torch.ones(1, 2),
        ...     size=torch.full((1, 2), 64.0),
        ...     covariance=torch.full((1, 2, 2, 2), nan),
        ...     quantiles=torch.full((1, 2, 3), nan),
        ...     centres=torch.full((1, 2, 2), nan),
        ...     temperature=torch.full((1, 2), nan),
        ... )
        >>> present(cases)
        tensor([[ True, False]])
    """
    counted = cases.visible & cases.target.isfinite().all(-1)
    unanswered = (counted & ~cases.points.isfinite().all(-1)).nonzero()
    if len(unanswered):
        case, landmark = unanswered[0].tolist()
        raise ValueError(
            f"The prediction of landmark {landmark} in case {case} of the stack is "
            f"{cases.points[case, landmark].tolist()}, not finite; every method must predict every point."
        )
    return counted


def _check_anatomy(anatomy: Anatomy) -> None:
    count = len(anatomy.names)
    used: dict[str, Any] = {f"group {name!r}": indices for name, indices in anatomy.groups.items()}
    for owner, indices in (used | {"normalizer": anatomy.normalizer or ()}).items():
        if outside := [index for index in indices if not 0 <= index < count]:
            raise ValueError(f"The {owner} names landmark {outside[0]}, but there are {count}, numbered from 0.")
    if anatomy.unit not in ("mm", "px"):
        raise ValueError(f"The unit {anatomy.unit!r} is unknown; use 'mm' or 'px'.")
