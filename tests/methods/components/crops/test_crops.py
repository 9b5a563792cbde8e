"""Crops of films: Eq. 5's squares, the way into them and back, and what is seen in them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from methods.components.crops.crops import Crops, draw, structure_crops, vertebra_sides, widening
from methods.components.structures.vertebrae import spine_structures
from tests.methods.spines import LUMBAR, spine_points


def test_equation_5_gives_the_sides_of_a_hand_made_spine() -> None:
    y = [10.0, 30.0, 54.0, 80.0, 110.0, 125.0]
    centres = torch.tensor([[[100.0 + i * i, height] for i, height in enumerate(y)]])
    squares = structure_crops(centres, spine_structures(LUMBAR), pixels=256, film=512)
    expected = [1.5 * 20, 0.75 * (20 + 24), 0.75 * (24 + 26), 0.75 * (26 + 30), 1.5 * 30, 1.5 * 30]
    torch.testing.assert_close(squares.size[0, :, 0], torch.tensor(expected))
    assert torch.equal(squares.centre, centres)


def test_a_missing_neighbour_leaves_the_other_gap_and_a_lonely_vertebra_takes_the_films_mean() -> None:
    nan = torch.nan
    centres = torch.tensor([[[0.0, 0.0], [0.0, 10.0], [nan, nan], [0.0, 30.0]], [[nan, nan]] * 4])
    sides = vertebra_sides(centres)
    assert sides[0].tolist() == [15, 15, 15, 15]
    assert sides[1].isnan().all()
    squares = structure_crops(torch.full((1, 6, 2), nan), spine_structures(LUMBAR), pixels=64, film=128)
    assert squares.centre.isfinite().all()
    assert squares.size.tolist() == [[[16, 16]] * 6]


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 2047), st.floats(0, 2047), st.floats(20, 900), st.sampled_from([32, 256]), st.floats(-1e3, 3e3))
def test_a_point_goes_to_the_square_and_back_within_a_hundredth_pixel(
    x: float, y: float, side: float, size: int, place: float
) -> None:
    squares = Crops.squares(torch.tensor([[[x, y]]]), torch.tensor([[side]]), size)
    points = torch.tensor([[[[place, y], [x, place / 2]]]])
    assert (squares.to_film(squares.to_crop(points)) - points).abs().max() < 0.01


def test_a_square_of_its_own_size_is_a_slice_of_the_film_and_black_outside() -> None:
    film = torch.randint(1, 255, (2, 1, 40, 50), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    inside = Crops.squares(torch.tensor([[[20.5, 12.5]]] * 2), torch.full((2, 1), 16.0), 16)
    torch.testing.assert_close(inside.cut(film)[:, 0], film[:, 0, 5:21, 13:29].float(), atol=1e-3, rtol=0)
    corner = Crops.squares(torch.tensor([[[-0.5, -0.5]]] * 2), torch.full((2, 1), 8.0), 8).cut(film)[:, 0]
    assert corner[:, :4].max() < 1e-3
    torch.testing.assert_close(corner[:, 4:, 4:], film[:, 0, :4, :4].float(), atol=1e-3, rtol=0)


def test_what_lies_at_a_film_pixel_lies_at_its_mapped_place_in_the_square() -> None:
    x, y = 203.0, 118.0
    rows, columns = torch.meshgrid(torch.arange(240.0), torch.arange(320.0), indexing="ij")
    film = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 50)[None, None]
    squares = Crops.squares(torch.tensor([[[190.3, 125.8]]]), torch.tensor([[97.0]]), 64)
    cut = squares.cut(film)[0, 0]
    pixels = torch.arange(64.0)
    centroid = torch.stack([cut.sum(0) @ pixels, cut.sum(1) @ pixels]) / cut.sum()
    expected = squares.to_crop(torch.tensor([[[[x, y]]]])).flatten()
    torch.testing.assert_close(centroid, expected, atol=0.01, rtol=0)


def test_jitter_stays_within_its_limits() -> None:
    squares = Crops.squares(torch.zeros(50, 6, 2), torch.full((50, 6), 10.0), 8)
    moved = squares.jitter(0.1, 0.2)
    assert 0.9 < moved.centre.abs().max() <= 1
    assert 8 <= moved.size.min() < 8.2
    assert 11.8 < moved.size.max() <= 12
    assert squares.jitter(0, 0).size.equal(squares.size)


def test_known_crops_are_drawn_before_unknown_ones() -> None:
    known = torch.tensor([False, True, False, True, True])
    assert sorted(draw(known, 3).tolist()) == [1, 3, 4]
    assert set(draw(known, 2).tolist()) < {1, 3, 4}
    assert sorted(draw(known, 9).tolist()) == [0, 1, 2, 3, 4]


def test_squares_are_widened_for_landmarks_that_equation_5_would_cut_off_and_for_no_others() -> None:
    points = spine_points(LUMBAR, films=20)
    assert widening(points, spine_structures(LUMBAR), film=128).tolist() == [1] * 6
    wide = points.clone()
    wide[:, 20], wide[:, 21] = wide[:, 20] - torch.tensor([30.0, 0.0]), wide[:, 21] + torch.tensor([30.0, 0.0])
    factors = widening(wide, spine_structures(LUMBAR), film=128)
    assert factors[:5].tolist() == [1] * 5
    squares = structure_crops(spine_structures(LUMBAR).centres(wide), spine_structures(LUMBAR), 64, film=128).scaled(
        factors
    )
    reached = squares.pick((5,)).to_crop(wide[:, None, 20:])
    assert reached.min() == pytest.approx(
        31.5 - 32 / 1.2, abs=1.5
    )  # the outmost but one film in twenty, a fifth to spare
    wide[1:, 20:] = torch.nan
    wide[0, :20] = torch.nan
    assert widening(wide, spine_structures(LUMBAR), film=128).isfinite().all()


def test_points_stay_exact_under_half_precision() -> None:
    squares = Crops.squares(torch.tensor([[[1500.25, 1033.5]]]), torch.tensor([[301.7]]), 256)
    points = torch.tensor([[[[1412.6, 1101.3]]]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        back = squares.to_film(squares.to_crop(points))
    assert (back - points).abs().max() < 0.01


@pytest.mark.parametrize("size", [(80, 96), (80, 192), (48, 48)])
def test_what_is_seen_in_a_crop_of_any_size_is_where_the_point_went(size: tuple[int, int]) -> None:
    rows, columns = torch.meshgrid(torch.arange(300.0), torch.arange(260.0), indexing="ij")
    blob = torch.exp(-((columns - 120.3) ** 2 + (rows - 151.6) ** 2) / 18)[None, None]
    crops = Crops.of_size(torch.tensor([[[118.2, 160.7], [125.9, 150.0]]]), size)
    regions, places = crops.cut(blob), crops.to_crop(torch.tensor([[[120.3, 151.6]] * 2]))
    weights = regions / regions.sum(dim=(-2, -1), keepdim=True)
    x = (weights.sum(dim=-2) * torch.arange(regions.shape[-1])).sum(dim=-1)
    y = (weights.sum(dim=-1) * torch.arange(regions.shape[-2])).sum(dim=-1)
    torch.testing.assert_close(torch.stack([x, y], dim=-1), places, atol=0.01, rtol=0)


def test_a_crop_of_a_size_is_the_films_own_pixels_and_black_beyond_them() -> None:
    film = torch.rand(1, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    inside, beyond = Crops.of_size(torch.tensor([[[10.5, 7.5], [0.0, 100.0]]]), (4, 6)).cut(film)[0]
    torch.testing.assert_close(inside, film[0, 0, 6:10, 8:14], atol=1e-4, rtol=0)
    assert beyond.count_nonzero() == 0
