"""Eq. 5 of An et al. and its outlier rule on films whose answers are known."""

import numpy as np
import pytest
import torch

from metrics.base import Anatomy, Cases
from metrics.centre_distance import CentreDistance, crop_outliers, crop_sides, group_centres

from .conftest import LUMBAR, make_lumbar

GROUPS = list(LUMBAR.groups.values())
HEIGHTS = [0.0, 40.0, 90.0, 150.0, 220.0, 300.0]
"""Of the centres L1 to L5 and S1, 40, 50, 60, 70 and 80 apart."""


def column(half_width: float = 20.0, half_height: float = 10.0) -> torch.Tensor:
    """One film: centres below each other at HEIGHTS, all vertebrae of the same size, and an end plate."""
    corners = np.array(
        [[-half_width, -half_height], [half_width, -half_height], [-half_width, half_height], [half_width, half_height]]
    )
    bodies = [corners + [200, 50 + height] for height in HEIGHTS[:5]]
    plate = np.array([[-half_width, 0], [half_width, 0]]) + [200, 50 + HEIGHTS[5]]
    return torch.tensor(np.concatenate([*bodies, plate]))[None]


def film(points: torch.Tensor, target: torch.Tensor, visible: torch.Tensor | None = None) -> Cases:
    visible = torch.ones(target.shape[:2], dtype=torch.bool) if visible is None else visible
    none = torch.full((*target.shape, 2), torch.nan)
    size = torch.tensor([[1024.0, 512.0]]).expand(len(target), 2)
    return Cases(
        points, target, visible, torch.full_like(size, torch.nan), size, none, *(2 * [none[..., 0]]), none[..., 0, 0]
    )


def result(cases: Cases) -> dict[str, float]:
    metric = CentreDistance(LUMBAR)
    return {name: value.item() for name, value in metric.reduce(metric.terms(cases)).items()}


def test_sides_follow_equation_five() -> None:
    centres = torch.stack([torch.zeros(6), torch.tensor(HEIGHTS)], dim=-1)
    expected = [1.5 * 40, 0.75 * (40 + 50), 0.75 * (50 + 60), 0.75 * (60 + 70), 1.5 * 70, 1.5 * 70]
    assert crop_sides(centres, vertebrae=5).tolist() == pytest.approx(expected)


def test_only_heights_count_and_not_the_order_of_two_centres() -> None:
    centres = torch.tensor([[5.0, 10.0], [99.0, 0.0], [-40.0, 20.0]])
    assert crop_sides(centres, vertebrae=3).tolist() == [15, 22.5, 30]


def test_an_unknown_neighbour_is_left_out() -> None:
    centres = torch.stack([torch.zeros(4), torch.tensor([0.0, torch.nan, 30.0, 50.0])], dim=-1)
    assert crop_sides(centres, vertebrae=4)[2:].tolist() == [30, 30]
    assert crop_sides(centres, vertebrae=4)[:2].isnan().all()


def test_a_centre_is_the_mean_of_the_landmarks_and_needs_all_of_them() -> None:
    centres = group_centres(column(), torch.ones(1, 22, dtype=torch.bool), GROUPS)
    assert centres[0].tolist() == pytest.approx(np.array([[200, 50 + height] for height in HEIGHTS]))
    visible = torch.ones(1, 22, dtype=torch.bool)
    visible[0, 6] = False
    assert group_centres(column(), visible, GROUPS)[0].isnan().any(-1).tolist() == [False, True, *[False] * 4]


@pytest.mark.parametrize(("shift", "outlier"), [(9.9, 0.0), (10.1, 1.0)])
def test_a_film_is_an_outlier_as_soon_as_one_landmark_leaves_its_crop(shift: float, outlier: float) -> None:
    # L1's crop has a side of 60; its corners lie 20 from the centre, so 10 are left on each side.
    points = column()
    points[:, :4, 0] += shift
    assert crop_outliers(film(points, column()), GROUPS).tolist() == [outlier]


def test_the_sacrum_has_the_crop_of_the_last_vertebra() -> None:
    points = column()
    points[:, 20:, 1] += 52  # half of 1.5 x 70 is 52.5
    assert crop_outliers(film(points, column()), GROUPS).tolist() == [0]
    points[:, 20:, 1] += 1
    assert crop_outliers(film(points, column()), GROUPS).tolist() == [1]


def test_a_whole_column_that_is_one_vertebra_too_high_is_an_outlier() -> None:
    points = column() - torch.tensor([0.0, 50.0])
    assert crop_outliers(film(points, column()), GROUPS).tolist() == [1]


def test_an_incomplete_vertebra_is_not_looked_at() -> None:
    points, visible = column(), torch.ones(1, 22, dtype=torch.bool)
    points[:, :4, 0] += 100
    visible[0, 2] = False
    assert crop_outliers(film(points, column(), visible), GROUPS).tolist() == [0]


def test_distances_are_those_of_a_film_of_512_pixels() -> None:
    points = column()
    points[:, :4, 0] += 8  # the film's longer side has 1024
    found = result(film(points, column()))
    assert found["centre_L1"] == pytest.approx(4)
    assert found["centre"] == pytest.approx(4 / 6)
    assert found["centre_outliers"] == 0


def test_the_first_stages_centres_are_scored_where_they_are_stored() -> None:
    target = column()
    centres = torch.cat([group.mean(1, keepdim=True).expand_as(group) for group in target.split([4] * 5 + [2], 1)], 1)
    cases = film(target + 1, target)  # whatever the landmarks are in the end
    found = result(cases._replace(centres=centres))
    assert (found["centre"], found["centre_outliers"]) == (0, 0)
    assert result(cases)["centre"] == pytest.approx(2**0.5 / 2)
    centres[:, :4, 0] += 60  # L1's square misses its corners
    found = result(cases._replace(centres=centres))
    assert (found["centre_L1"], found["centre_L2"], found["centre_outliers"]) == (30, 0, 100)


def test_inliers_leave_out_the_whole_film() -> None:
    target = column().expand(4, -1, -1)
    points = target.clone()
    points[:3] += torch.tensor([2.0, 0.0])
    points[3, :4, 0] += 200
    found = result(film(points, target))
    assert found["centre_outliers"] == 25
    assert found["centre_inlier"] == pytest.approx(1)
    assert found["centre_L1"] == pytest.approx((3 * 1 + 100) / 4)
    assert (found["centre_inlier_L1"], found["centre_S1"]) == pytest.approx((1, 0.75))


def test_distances_agree_with_numpy() -> None:
    cases = make_lumbar(8)
    centres = [[field.numpy()[:, list(group)].mean(1) for group in GROUPS] for field in (cases.points, cases.target)]
    distance = np.linalg.norm(np.subtract(*centres), axis=-1) * 512 / cases.size.numpy().max(1)
    assert result(cases)["centre"] == pytest.approx(distance.mean())
    assert result(cases)["centre_L4"] == pytest.approx(distance[3].mean())


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ({"L3": (0, 1, 2, 3), "S1": (4, 5)}, "follows from the distance of two vertebrae, and the dataset has fewer"),
        ({f"V{i}": (0, 1, 2, 3) for i in range(17)}, "all vertebrae lie within their crops, and 17 hardly ever do"),
    ],
)
def test_a_single_vertebra_and_a_whole_spine_have_no_crops(
    groups: dict[str, tuple[int, ...]], reason: str, anatomy: Anatomy
) -> None:
    assert reason in (CentreDistance.unsupported(anatomy._replace(groups=groups)) or "")
