"""Values that lie exactly on a limit: which side they belong to, as the papers and the docstrings say."""

import pytest
import torch

from metrics.base import Anatomy
from metrics.calibration import calibration_curve
from metrics.centre_distance import crop_outliers, no_crops
from metrics.cobb_angle import CobbAngle
from metrics.normalized_error import NormalizedError
from metrics.radial_error import RadialError
from metrics.relative_distance import RelativeDistance

from .conftest import LUMBAR, make_spines

VERTEBRA = (0, 1, 2, 3)


def anatomy(vertebrae: int) -> Anatomy:
    groups = {f"V{index}": tuple(range(4 * index, 4 * index + 4)) for index in range(vertebrae)}
    return Anatomy(tuple(f"point{index}" for index in range(4 * vertebrae)), groups, normalizer=(0, 3))


@pytest.mark.parametrize("index", [-1, 8])
def test_an_index_outside_of_the_landmarks_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match=f"names landmark {index}, but there are 8, numbered from 0"):
        RadialError(anatomy(2)._replace(normalizer=(0, index)))


def test_the_last_landmark_is_one() -> None:
    assert RadialError(anatomy(2)._replace(normalizer=(0, 7))).anatomy.normalizer == (0, 7)


def test_a_landmark_on_the_edge_of_its_region_is_within() -> None:
    assert calibration_curve(torch.tensor([[0.5, 0.7]]), levels=(0.5,)).tolist() == [0.5]


@pytest.mark.parametrize(("shift", "outlier"), [(0.0, 0), (0.25, 1)])
def test_a_landmark_on_the_edge_of_its_crop_is_inside(shift: float, outlier: int) -> None:
    # Two vertebrae 40 apart have crops of side 60: the corners, 30 to either side, lie on their edges.
    corners = torch.tensor([[-30.0, -10.0], [30.0, -10.0], [-30.0, 10.0], [30.0, 10.0]])
    target = torch.cat([corners, corners + torch.tensor([0.0, 40.0])])[None]
    points, none = target + torch.tensor([shift, 0.0]), torch.full_like(target, torch.nan)
    visible = torch.ones(1, 8, dtype=torch.bool)
    cases = make_spines(1)._replace(points=points, target=target, visible=visible, centres=none)
    assert crop_outliers(cases, [VERTEBRA, (4, 5, 6, 7)]).tolist() == [outlier]


@pytest.mark.parametrize(("groups", "crops"), [(1, False), (2, True), (8, True), (9, False)])
def test_two_to_eight_vertebrae_have_crops(groups: int, crops: bool) -> None:
    assert (no_crops([VERTEBRA] * groups) is None) == crops


def test_an_end_plate_closes_a_row_and_is_no_vertebra_of_it() -> None:
    assert no_crops([VERTEBRA, (4, 5)]) is not None
    assert no_crops([VERTEBRA, VERTEBRA, (4, 5)]) is None
    assert no_crops([VERTEBRA, (4, 5), VERTEBRA]) is None


@pytest.mark.parametrize(("vertebrae", "measured"), [(2, False), (3, True)])
def test_cobb_angles_need_three_vertebrae(vertebrae: int, measured: bool) -> None:
    assert (CobbAngle.unsupported(anatomy(vertebrae)) is None) == measured


def test_an_error_equal_to_the_limit_is_no_failure() -> None:
    metric = NormalizedError(anatomy(1)._replace(groups={}))
    values = metric.reduce(torch.tensor([[0.08], [0.1], [0.11], [0.01]], dtype=torch.float64))
    assert (values["fr_08"].item(), values["fr_10"].item()) == (50, 25)


def test_a_vertebra_at_exactly_twenty_percent_is_not_missed() -> None:
    metric = RelativeDistance(LUMBAR)
    terms = torch.zeros(1, 22 + 22 + 6 + 1)
    terms[0, 44:46] = torch.tensor([20.0, 20.5])
    assert metric.reduce(terms)["rd_outliers"].item() == pytest.approx(100 / 6)
