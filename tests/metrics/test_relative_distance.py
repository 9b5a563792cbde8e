"""D and RD of An et al., Eq. 12 to 15, on vertebrae whose answers are known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from leaderboards.boards.reported import load_reported
from metrics.base import Anatomy, Cases
from metrics.relative_distance import RelativeDistance, relative_distance

from .conftest import LUMBAR, make_lumbar, make_spines

Maker = Callable[..., Cases]
CORNERS = torch.tensor([[100.0, 50.0], [140.0, 50.0], [100.0, 80.0], [140.0, 80.0]])  # 40 wide, 30 high
SHOWN = torch.ones(4, dtype=torch.bool)


def moved(corner: int, x: float, y: float) -> torch.Tensor:
    points = CORNERS.clone()
    points[corner] += torch.tensor([x, y])
    return points


def result(cases: Cases, anatomy: Anatomy = LUMBAR) -> dict[str, float]:
    metric = RelativeDistance(anatomy)
    return {name: value.item() for name, value in metric.reduce(metric.terms(cases)).items()}


@pytest.mark.parametrize("corner", range(4))
def test_x_counts_in_widths_and_y_in_heights(corner: int) -> None:
    assert relative_distance(moved(corner, 4, 0), CORNERS, SHOWN)[corner].item() == pytest.approx(10)  # Eq. 12
    assert relative_distance(moved(corner, 0, 6), CORNERS, SHOWN)[corner].item() == pytest.approx(20)  # Eq. 13
    assert relative_distance(moved(corner, -12, 12), CORNERS, SHOWN)[corner].item() == pytest.approx(50)  # Eq. 14


def test_the_edges_are_those_of_the_corner_itself() -> None:
    wedge = torch.tensor([[0.0, 0.0], [40.0, 0.0], [0.0, 30.0], [40.0, 60.0]])
    points = wedge + torch.tensor([0.0, 6.0])
    expected = [600 / 30, 600 / 60, 600 / 30, 600 / 60]
    assert relative_distance(points, wedge, SHOWN).tolist() == pytest.approx(expected)


def test_an_end_plate_counts_in_its_own_length() -> None:
    plate = torch.tensor([[0.0, 0.0], [30.0, 40.0]])
    points = plate + torch.tensor([[3.0, 4.0], [0.0, 10.0]])
    assert relative_distance(points, plate, SHOWN[:2]).tolist() == pytest.approx([10, 20])  # Eq. 15


def test_a_corner_without_its_neighbours_has_no_relative_distance() -> None:
    visible = torch.tensor([True, True, True, False])  # BR is missing: TR has no height, BL no width
    found = relative_distance(CORNERS + 4, CORNERS.masked_fill(~visible[:, None], torch.nan), visible)
    assert found.isnan().tolist() == [False, True, True, True]


@given(st.floats(0.1, 10), st.floats(-100, 100), st.integers(0, 50))
def test_relative_distance_does_not_depend_on_the_size_of_the_film(scale: float, shift: float, seed: int) -> None:
    points = CORNERS.double() + torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    plain, other = (
        relative_distance(p, t, SHOWN) for p, t in ((points, CORNERS.double()), _scaled(points, scale, shift))
    )
    torch.testing.assert_close(plain, other)


def _scaled(points: torch.Tensor, scale: float, shift: float) -> tuple[torch.Tensor, torch.Tensor]:
    return points * scale + shift, CORNERS.double() * scale + shift


@pytest.mark.parametrize(("shift", "missed"), [(0.19, 0.0), (0.21, 100.0)])
def test_a_vertebra_is_missed_if_its_mean_exceeds_twenty_percent(shift: float, missed: float) -> None:
    cases = make_lumbar(3)
    target = cases.target.clone()
    width = torch.linalg.vector_norm(target[:, 1] - target[:, 0], dim=-1)[:, None, None]
    points = target.clone()
    points[:, :4] += shift * width * torch.tensor([1.0, 0.0])
    found = result(cases._replace(points=points))
    assert found["rd_outliers_L1"] == missed
    assert found["rd_outliers_L2"] == 0
    assert found["rd_outliers"] == pytest.approx(missed / 6)


def test_the_mean_of_a_vertebra_decides_and_not_one_corner() -> None:
    cases = make_lumbar(1)
    points = cases.target.clone()
    points[:, 0, 0] += 45  # one corner of L1 by 75 % of the width, 19 % on average
    assert result(cases._replace(points=points))["rd_outliers_L1"] == 0


def test_numbers_agree_with_numpy(spines: Maker, anatomy: Anatomy) -> None:
    cases, errors, relative = spines(9, missing=0.1), [], []
    for points, target, visible in zip(*(field.numpy() for field in cases[:3]), strict=True):
        for start in range(0, 20, 4):
            for corner in range(4):
                here, beside, across = start + corner, start + (corner ^ 1), start + (corner ^ 2)
                error = points[here] - target[here]
                errors += [np.linalg.norm(error)] if visible[here] else []
                if visible[[here, beside, across]].all():
                    edges = [np.linalg.norm(target[other] - target[here]) for other in (beside, across)]
                    relative.append(100 * np.hypot(*(error / edges)))
    found = result(cases, anatomy)
    assert found["d"] == pytest.approx(np.mean(errors))
    assert found["rd"] == pytest.approx(np.mean(relative))


def test_a_film_whose_crop_misses_a_landmark_is_no_inlier() -> None:
    cases = make_lumbar(4, sigma=2)
    points = cases.points.clone()
    points[2] += torch.tensor([300.0, 0.0])
    found, inliers = result(cases._replace(points=points)), [0, 1, 3]
    alone = result(Cases(*(field[inliers] for field in cases)))
    assert found["d_inlier"] == pytest.approx(alone["d"])
    assert found["rd_L3"] == pytest.approx(alone["rd_L3"])
    assert found["d"] > 70


def test_whole_spines_and_single_vertebrae_have_totals_only(anatomy: Anatomy) -> None:
    spine, single = ({f"V{i}": (0, 1, 2, 3) for i in range(count)} for count in (9, 1))
    for groups in (spine, single):
        assert list(RelativeDistance(anatomy._replace(groups=groups)).columns()) == ["d", "rd", "rd_outliers"]
    assert len(RelativeDistance(anatomy).columns()) == 3 * (1 + 1 + 5) + 2 * 2


def test_groups_that_are_no_vertebrae_are_left_out(anatomy: Anatomy) -> None:
    crop = anatomy._replace(groups={"body": (0, 1, 2, 3), "process": (4,)})
    assert RelativeDistance(crop).terms(make_spines(2)).shape == (2, 4 + 4 + 1 + 1)
    reason = RelativeDistance.unsupported(anatomy._replace(groups={"all": (0, 1, 2, 3, 4)}))
    assert reason == "No group of the dataset has four corners or the two ends of an end plate."


def test_totals_are_means_of_vertebrae_and_their_spread_is_over_films_and_vertebrae() -> None:
    cases = make_lumbar(5, sigma=3)
    points = cases.points.clone()
    points[3] += torch.tensor([300.0, 0.0])  # no inlier
    found, inliers = result(cases._replace(points=points)), [0, 1, 2, 4]
    distance = np.linalg.norm((points - cases.target).numpy(), axis=-1)[inliers]
    vertebrae = np.stack([distance[:, list(group)].mean(axis=1) for group in LUMBAR.groups.values()], axis=1)
    assert found["d_total"] == pytest.approx(vertebrae.mean())
    assert found["d_total_sd"] == pytest.approx(vertebrae.std(ddof=1))
    assert found["rd_total"] == pytest.approx(np.mean([found[f"rd_{name}"] for name in LUMBAR.groups]))
    assert found["d_total"] != pytest.approx(found["d_inlier"])  # which weighs the sacrum's two corners as two of 22


def test_the_papers_totals_are_the_means_of_its_vertebrae() -> None:
    tables = [row for row in load_reported() if row.paper == "An et al. 2022" and row.table in {"5", "6", "7"}]
    wrong = [
        (row.table, row.method, key)
        for row in tables
        for key in ("d", "rd")
        if abs(row.values[f"{key}_total"] - np.mean([row.values[f"{key}_{name}"] for name in LUMBAR.groups])) > 1.2e-4
    ]
    assert len(tables) == 11
    assert wrong == []


def test_the_papers_spreads_are_those_over_films_and_vertebrae() -> None:
    films = 298  # of 304, less the six whose crop misses a landmark
    for row in load_reported():
        if row.paper == "An et al. 2022" and row.table == "7" and row.method == "CoordConv and PAF":
            for key in ("d", "rd"):
                means, deviations = (
                    np.array([row.values[f"{key}_{name}{end}"] for name in LUMBAR.groups]) for end in ("", "_sd")
                )
                squares = (films - 1) * (deviations**2).sum() + films * ((means - means.mean()) ** 2).sum()
                spread = np.sqrt(squares / (6 * films - 1))
                assert row.values[f"{key}_total_sd"] == pytest.approx(spread, abs=2e-3)
