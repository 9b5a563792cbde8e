"""Algorithm 1 of An et al.: which films it repairs, and how."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from methods.components.heatmap import gaussian
from methods.components.structures.centre_repair import descending, repair, rule_holds, skips


def _maps(answers: list[tuple[float, float]], faint: tuple[float, float] | None = None) -> Tensor:
    """One map per answer, with the vertebra that none chose as a lower bump in the first of them."""
    maps = gaussian(torch.tensor([answers]), (64, 64), sigma=1.5)
    return maps if faint is None else maps + 0.3 * gaussian(torch.tensor([[faint]]), (64, 64), sigma=1.5)


def test_algorithm_1_inserts_the_skipped_vertebra_and_drops_the_topmost() -> None:
    answers = [(30.0, 5.0), (31.0, 12.0), (32.0, 19.0), (33.0, 33.0), (34.0, 40.0), (33.0, 46.0)]  # T12, L1, L2, L4 ...
    repaired = repair(_maps(answers, faint=(37.0, 26.0)), torch.tensor([answers]))
    expected = [answers[1], answers[2], (37.0, 26.0), answers[3], answers[4], answers[5]]
    assert repaired[0].tolist() == [list(point) for point in expected]


@pytest.mark.parametrize(("widest", "order"), [(0, ["new", 1, 2, 3, 4, 5]), (4, [1, 2, 3, 4, "new", 5])])
def test_algorithm_1_repairs_the_first_and_the_last_gap(widest: int, order: list[int | str]) -> None:
    heights = np.cumsum([5.0, *(14.0 if gap == widest else 7.0 for gap in range(5))])
    answers = [(30.0, float(height)) for height in heights]
    new = (28.0, float(heights[widest]) + 7)
    repaired = repair(_maps(answers, faint=new), torch.tensor([answers]))
    assert repaired[0].tolist() == [list(new) if place == "new" else list(answers[int(place)]) for place in order]


def test_a_bump_outside_the_middle_fifth_of_the_gap_is_not_taken() -> None:
    answers = [(30.0, 2.0), (30.0, 12.0), (30.0, 22.0), (30.0, 42.0), (30.0, 52.0), (30.0, 62.0)]
    maps = torch.zeros(1, 6, 64, 64)
    maps[0, 0, 29, 10], maps[0, 1, 35, 11], maps[0, 2, 30, 12], maps[0, 3, 34, 13] = 9.0, 8.0, 1.0, 2.0
    repaired = repair(maps, torch.tensor([answers]))
    assert repaired[0, 2].tolist() == [13, 34]  # rows 22 + 8 to 42 - 8, both included


def test_the_channels_are_summed_before_the_maximum_is_sought() -> None:
    answers = [(30.0, 2.0), (30.0, 12.0), (30.0, 22.0), (30.0, 42.0), (30.0, 52.0), (30.0, 62.0)]
    maps = torch.zeros(1, 6, 64, 64)
    maps[0, :, 32, 20], maps[0, 0, 32, 40] = 0.2, 1.0
    assert repair(maps, torch.tensor([answers]))[0, 2].tolist() == [20, 32]


@pytest.mark.parametrize(("gap", "skipped"), [(9.79, False), (9.81, True)])
def test_a_gap_is_suspicious_above_1_4_times_the_mean_of_the_others(gap: float, skipped: bool) -> None:
    peaks = torch.tensor([[[3.0, float(y)] for y in np.cumsum([0, 7, 7, gap, 7, 7])]])
    assert skips(peaks).tolist() == [skipped]
    repaired = repair(torch.rand(1, 6, 64, 64), peaks)
    assert repaired.equal(peaks) is not skipped


def test_only_the_films_that_need_it_are_repaired_and_an_empty_gap_is_left() -> None:
    even = [(30.0, 7.0 * i + 3) for i in range(6)]
    broken = [(30.0, 5.0), (30.0, 12.0), (30.0, 19.0), (30.0, 33.0), (30.0, 40.0), (30.0, 47.0)]
    upwards = [(30.0, 5.0), (30.0, 12.0), (30.0, 60.0), (30.0, 20.0), (30.0, 27.0), (30.0, 34.0)]
    sideways = [(2.0, 10.0), (8.0, 10.3), (14.0, 10.6), (60.0, 10.9), (54.0, 11.2), (48.0, 11.5)]
    peaks = torch.tensor([even, broken, upwards, sideways])
    repaired = repair(torch.rand(4, 6, 64, 64, generator=torch.Generator().manual_seed(0)), peaks)
    assert repaired[0].equal(peaks[0])
    assert not repaired[1].equal(peaks[1])
    assert repaired[3].equal(peaks[3])
    assert repair(torch.rand(4, 3, 8, 8), peaks[:, :3]).equal(peaks[:, :3])


def test_one_joint_map_gives_its_highest_maxima_from_top_to_bottom() -> None:
    centres = torch.tensor([[[20.3, 8.6], [22.0, 17.2], [25.1, 30.0]]])
    heights = torch.tensor([0.7, 1.0, 0.8])[:, None, None]
    joint = (gaussian(centres, (48, 48), sigma=2.0) * heights).amax(dim=1)
    torch.testing.assert_close(descending(joint, 3, window=3), centres, atol=0.05, rtol=0)


def test_the_rule_holds_where_at_most_one_true_chain_in_fifty_looks_skipped() -> None:
    even = torch.stack([torch.zeros(100, 6), 7.0 * torch.arange(6).expand(100, 6)], dim=-1)
    assert rule_holds(even)
    even[:2, 3:, 1] += 7
    even[2:30, 3] = torch.nan
    assert rule_holds(even)
    even[99, 3:, 1] += 7
    assert not rule_holds(even)
