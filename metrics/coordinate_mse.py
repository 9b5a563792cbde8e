"""Mean squared error of the coordinates as a fraction of the image."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from metrics.base import Cases, Column, LandmarkMetric, pooled_mean, pooled_median, present


def normalized_coordinates(
    points: Float[Tensor, "case landmark 2"], size: Float[Tensor, "case 2"]
) -> Float[Tensor, "case landmark 2"]:
    """Divide x by the film's width and y by its height, as AASCE's `landmarks.csv` does.

    Args:
        points: (x, y) in original pixels.
        size: Height and width of the film in pixels.

    Returns:
        (x, y) as fractions of the film.

    Example:
        >>> normalized_coordinates(torch.tensor([[[50.0, 50.0]]]), torch.tensor([[200.0, 100.0]]))
        tensor([[[0.5000, 0.2500]]])
    """
    return points / size.flip(-1)[:, None]


def coordinate_mse(
    points: Float[Tensor, "case landmark 2"],
    target: Float[Tensor, "case landmark 2"],
    visible: Bool[Tensor, "case landmark"],
    size: Float[Tensor, "case 2"],
) -> Float[Tensor, " case"]:
    """Average the squared differences of a case's normalised coordinates.

    The mean runs over all coordinates (136 for AASCE's 68 landmarks): x and y are averaged, not summed as a squared
    distance, which would give twice the value.

    Args:
        points: Predicted (x, y) in original pixels.
        target: True (x, y) in original pixels.
        visible: False where the truth is missing; such points do not count.
        size: Height and width of the film in pixels.

    Returns:
        Mean squared error as a fraction of the image, one per case; NaN where no landmark is visible.

    Example:
        >>> target, visible = torch.zeros(1, 3, 2), torch.ones(1, 3, dtype=torch.bool)
        >>> coordinate_mse(target + 10.0, target, visible, torch.tensor([[200.0, 100.0]]))
        tensor([0.0063])
    """
    squares = normalized_coordinates(points - target, size).square().mean(-1)
    return squares.masked_fill(~visible, torch.nan).nanmean(-1)


class CoordinateMse(LandmarkMetric):
    """Mean over films of the squared error of normalised coordinates.

    Source: Wang et al., shape-constrained multi-stage cascade, Eq. 13; Ao and Wu, FARNet, Table 5. The former divides
    by 68 and does not say whether x and y are summed; the latter describes its unit by a linear error. The mean over
    all coordinates is used: by it the mean training shape scores 4.46e-3 on AASCE's 128 test films (the sum would give
    8.92e-3), next to the 4.6e-3 that BoostNet reports.

    The median over films stands beside the mean, which a few wild predictions decide.
    """

    title = "Coordinate MSE"
    requires = frozenset({"size"})

    def terms(self, cases: Cases) -> Float[Tensor, "case term"]:
        """Give the mean squared error of each case.

        Args:
            cases: Predictions and truth in original pixels.

        Returns:
            One column; NaN where no landmark is visible or the film's size is unknown.
        """
        return coordinate_mse(cases.points, cases.target, present(cases), cases.size)[:, None]

    def reduce(self, terms: Float[Tensor, "*resample case term"]) -> dict[str, Float[Tensor, "*resample"]]:
        """Average the cases' errors.

        Args:
            terms: Rows from `terms`, with any leading batch dimensions.

        Returns:
            `mse` and `mse_median`, fractions of the image.
        """
        return {"mse": pooled_mean(terms), "mse_median": pooled_median(terms)}

    def columns(self) -> dict[str, Column]:
        """Describe mean and median over films.

        Returns:
            Column name to its description.
        """
        return {"mse": Column("MSE", "fraction", False), "mse_median": Column("MSE median", "fraction", False)}
