"""Lordosis and slips of lumbar spines whose angles and shifts are known."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics.base import Cases
from metrics.lumbar_angles import LumbarAngles, lordosis, slip

from .conftest import LUMBAR, make_lumbar

WIDTH, HEIGHT, GAP = 40.0, 30.0, 10.0


def spine(sacrum: float = 40.0, shifts: tuple[float, ...] = (0.0,) * 5, *, faces_left: bool = False) -> torch.Tensor:
    """Upright vertebrae, each `shifts` pixels to the front of the one below, on a sacrum that slopes by degrees.

    The patient faces right. The corner of L5 that is posterior and low lies `shifts[4]` along the sacrum's plate.
    """
    left, x = [], 100.0
    for shift in reversed(shifts[:4]):  # from L4 up; L5 stands at 100
        left.append(x := x + shift)
    lefts = [*reversed(left), 100.0]
    corners = np.array([[0, 0], [WIDTH, 0], [0, HEIGHT], [WIDTH, HEIGHT]])
    bodies = [corners + [lefts[i], i * (HEIGHT + GAP)] for i in range(5)]
    along = np.array([np.cos(np.radians(sacrum)), np.sin(np.radians(sacrum))])
    across = np.array([-along[1], along[0]])
    start = bodies[4][2] - shifts[4] * along + GAP * across
    points = np.concatenate([*bodies, [start, start + WIDTH * along]])
    if faces_left:  # mirror, then left and right change places
        points = (points * [-1, 1] + [400, 0])[
            [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14, 17, 16, 19, 18, 21, 20]
        ]
    return torch.tensor(points)[None]


def film(points: torch.Tensor, target: torch.Tensor, spacing: float = torch.nan) -> Cases:
    none = torch.full((*target.shape, 2), torch.nan)
    size = torch.full((len(target), 2), 400.0)
    visible = torch.ones(target.shape[:2], dtype=torch.bool)
    return Cases(
        points, target, visible, torch.full_like(size, spacing), size, none, *(2 * [none[..., 0]]), none[..., 0, 0]
    )


def result(cases: Cases) -> dict[str, float]:
    metric = LumbarAngles(LUMBAR)
    return {name: value.item() for name, value in metric.reduce(metric.terms(cases)).items()}


@pytest.mark.parametrize("faces_left", [False, True])
def test_the_lordosis_of_a_sloping_sacrum_is_its_slope(faces_left: bool) -> None:
    points = spine(sacrum=35, faces_left=faces_left)
    measured = lordosis(points[:, 0:2], points[:, 20:22])
    assert measured.item() == pytest.approx(-35 if faces_left else 35)


@pytest.mark.parametrize("faces_left", [False, True])
def test_a_wrong_slope_is_a_wrong_lordosis_only(faces_left: bool) -> None:
    predicted, true = spine(sacrum=52, faces_left=faces_left), spine(sacrum=40, faces_left=faces_left)
    predicted[:, :20] = true[:, :20]
    found = result(film(predicted, true))
    assert found["lordosis_mae"] == pytest.approx(12)
    assert [found[f"slip_mae_L{i}-L{i + 1}"] for i in range(1, 5)] == pytest.approx([0] * 4)


def test_lordosis_and_kyphosis_of_the_same_size_differ_by_both() -> None:
    assert result(film(spine(sacrum=-5), spine(sacrum=5)))["lordosis_mae"] == pytest.approx(10)


def test_a_quarter_of_the_plate_is_a_slip_of_25_percent() -> None:
    assert slip(*torch.tensor([[110.0, 50.0], [100.0, 60.0], [140.0, 60.0]])).item() == pytest.approx(25)
    assert slip(*torch.tensor([[92.0, 50.0], [100.0, 60.0], [140.0, 60.0]])).item() == pytest.approx(-20)


@pytest.mark.parametrize("faces_left", [False, True])
@pytest.mark.parametrize("level", range(5))
def test_a_slip_shows_at_its_own_level(level: int, faces_left: bool) -> None:
    shifts = tuple(10.0 if i == level else 0.0 for i in range(5))
    found = result(film(spine(shifts=shifts, faces_left=faces_left), spine(faces_left=faces_left)))
    names = ["L1-L2", "L2-L3", "L3-L4", "L4-L5", "L5-S1"]
    assert [found[f"slip_mae_{name}"] for name in names] == pytest.approx([25 * (i == level) for i in range(5)])
    assert found["slip_mae"] == pytest.approx(5)
    assert found["lordosis_mae"] == pytest.approx(0, abs=1e-6)


def test_the_true_sacrum_decides_what_is_posterior() -> None:
    predicted = spine(sacrum=-40)  # slopes the wrong way
    predicted[:, :20] = spine()[:, :20]
    found = result(film(predicted, spine()))
    assert [found[f"slip_mae_L{i}-L{i + 1}"] for i in range(1, 5)] == pytest.approx([0] * 4)


def test_a_missing_point_leaves_out_what_needs_it() -> None:
    cases = film(spine(), spine())
    cases.visible[0, 6] = False  # L2's lower left corner: the posterior one of L2-L3
    unknown = LumbarAngles(LUMBAR).terms(cases)[0].isnan()
    assert unknown.tolist() == [False, False, True, False, False, False]


def test_spacing_that_differs_between_x_and_y_is_used() -> None:
    cases = film(spine(sacrum=50), spine(sacrum=40))
    scaled = cases._replace(
        points=cases.points * torch.tensor([2.0, 1.0]), target=cases.target * torch.tensor([2.0, 1.0])
    )
    scaled = scaled._replace(spacing=torch.tensor([[0.1, 0.2]]))
    assert result(scaled) == pytest.approx(result(cases))


@given(st.floats(-170, 170), st.floats(0.1, 5), st.integers(0, 20))
def test_turning_and_scaling_the_film_changes_no_lordosis(degrees: float, scale: float, seed: int) -> None:
    cases = make_lumbar(3, seed)._replace(spacing=torch.full((3, 2), torch.nan))
    c, s = np.cos(np.radians(degrees)) * scale, np.sin(np.radians(degrees)) * scale
    turn = torch.tensor([[c, s], [-s, c]])
    turned = cases._replace(points=cases.points @ turn, target=cases.target @ turn)
    assert result(turned)["lordosis_mae"] == pytest.approx(result(cases)["lordosis_mae"])


def test_a_spine_without_a_sacrum_is_not_supported() -> None:
    groups = {name: corners for name, corners in LUMBAR.groups.items() if name != "S1"}
    reason = LumbarAngles.unsupported(LUMBAR._replace(groups=groups))
    assert reason == "The vertebra 'S1' has 0 landmarks in this dataset; 2 are needed."
