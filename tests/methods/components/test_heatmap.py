"""Heatmaps and their decoding share one grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from methods.components.heatmap import (
    CODECS,
    Codec,
    covariance,
    decode,
    from_heatmap_grid,
    gaussian,
    to_heatmap_grid,
)
from methods.components.losses import ic_loss

STRIDE, HEIGHT, WIDTH = 4, 64, 32


def _round_trip(x: float, y: float, codec: Codec, sigma: float = 1.5) -> torch.Tensor:
    points = torch.tensor([[[x, y]]])
    return (decode(gaussian(points, (HEIGHT, WIDTH), sigma, STRIDE), codec, STRIDE) - points).norm()


@pytest.mark.parametrize("codec", ["quadratic", "dark", "soft-argmax"])
@given(x=st.floats(24, 100), y=st.floats(24, 224))
def test_sub_pixel_codecs_return_the_label_within_a_twentieth_of_a_pixel(codec: Codec, x: float, y: float) -> None:
    assert _round_trip(x, y, codec) < 0.05


@given(x=st.floats(0, 127), y=st.floats(0, 255))
def test_argmax_returns_the_label_within_half_a_heatmap_pixel(x: float, y: float) -> None:
    assert _round_trip(x, y, "argmax") <= STRIDE / 2 * 2**0.5 + 1e-4


@given(x=st.floats(-20, 150), y=st.floats(-20, 280))
def test_every_codec_stays_finite_at_and_beyond_the_border(x: float, y: float) -> None:
    for codec in CODECS:
        assert _round_trip(x, y, codec).isfinite()


@pytest.mark.parametrize("codec", CODECS)
def test_a_flat_or_negative_map_decodes_to_something_finite(codec: Codec) -> None:
    for value in (0.0, -1.0):
        assert decode(torch.full((1, 1, 8, 8), value), codec, STRIDE).isfinite().all()


def test_the_gaussian_is_the_formula_on_the_heatmap_grid() -> None:
    x, y, sigma = 37.3, 90.8, 1.5
    heatmap = gaussian(torch.tensor([[[x, y]]]), (HEIGHT, WIDTH), sigma, STRIDE)[0, 0].numpy()
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] * STRIDE + (STRIDE - 1) / 2
    expected = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (sigma * STRIDE) ** 2))
    np.testing.assert_allclose(heatmap, expected, atol=1e-5)


def test_the_grids_undo_each_other() -> None:
    points = torch.rand(5, 2) * 100
    torch.testing.assert_close(from_heatmap_grid(to_heatmap_grid(points, STRIDE), STRIDE), points)


def test_an_unknown_codec_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="argmax, quadratic, dark, soft-argmax, three-point"):
        decode(torch.zeros(1, 1, 4, 4), "median", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", ["quadratic", "dark", "soft-argmax"])
@pytest.mark.parametrize("sigma", [1.0, 3.0, 10.0])
def test_sub_pixel_codecs_read_targets_of_any_width(codec: Codec, sigma: float) -> None:
    points = 100 + 50 * torch.rand(1, 20, 2)
    heatmap = gaussian(points, (256, 256), sigma)
    assert (decode(heatmap, codec, 1, sigma) - points).norm(dim=-1).max() < 0.05


def test_three_point_is_the_weighted_centroid_of_the_three_highest_pixels() -> None:
    heatmap = torch.full((1, 1, 6, 5), -1.0)
    heatmap[0, 0, 1, 2], heatmap[0, 0, 1, 3], heatmap[0, 0, 4, 2] = 0.8, 0.6, 0.2
    heatmap[0, 0, 5, 0] = 0.1  # the fourth does not count
    expected = torch.tensor([(0.8 * 2 + 0.6 * 3 + 0.2 * 2) / 1.6, (0.8 * 1 + 0.6 * 1 + 0.2 * 4) / 1.6])
    torch.testing.assert_close(decode(heatmap, "three-point")[0, 0], expected)


def test_three_point_needs_no_more_than_one_pixel() -> None:
    assert decode(torch.ones(1, 1, 1, 1), "three-point").tolist() == [[[0.0, 0.0]]]


def test_dark_and_three_point_bear_maps_that_ic_loss_calls_perfect() -> None:
    generator = torch.Generator().manual_seed(0)
    points = 40 + 40 * torch.rand(1, 400, 2, generator=generator)
    target = gaussian(points, (32, 32), 1.5, STRIDE)
    low, high = torch.where(target < 0.4, 0.0, 0.4), torch.where(target < 0.4, 0.4, 0.9)
    within = low + (high - low) * torch.rand(target.shape, generator=generator)
    maps = torch.where(target < 0.9, within, target)  # any value of its region, the core exact
    assert ic_loss(maps, target, torch.ones(1, 400, dtype=torch.bool)) == 0
    errors = {codec: (decode(maps, codec, STRIDE) - points).norm(dim=-1).mean().item() for codec in CODECS}
    assert errors["dark"] < 0.7 * errors["quadratic"]
    assert errors["dark"] < 1


def test_dark_is_the_newton_step_on_the_log_of_scipys_smoothed_map() -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:32, :24]
    heatmap = np.exp(-((columns - 11.3) ** 2 + 0.5 * (rows - 14.8) ** 2) / 8) + 0.02 * rng.random((32, 24))
    smoothed = np.log(gaussian_filter(heatmap, 2.0, mode="constant", truncate=4))
    y, x = np.unravel_index(smoothed.argmax(), smoothed.shape)
    dy, dx = (np.gradient(smoothed, axis=axis) for axis in (0, 1))
    xx, yy = smoothed[y, x + 1] + smoothed[y, x - 1], smoothed[y + 1, x] + smoothed[y - 1, x]
    hessian = np.array([[xx - 2 * smoothed[y, x], dx[y + 1, x] / 2 - dx[y - 1, x] / 2], [0, yy - 2 * smoothed[y, x]]])
    hessian[1, 0] = hessian[0, 1]
    expected = np.array([x, y]) - np.linalg.solve(hessian, [dx[y, x], dy[y, x]])
    decoded = decode(torch.from_numpy(heatmap)[None, None], "dark", 1, sigma=2.0)
    np.testing.assert_allclose(decoded[0, 0], expected, atol=1e-3)


def test_dark_bears_noise_that_misleads_the_newton_step_alone() -> None:
    points = 60 + 40 * torch.rand(1, 200, 2)
    noisy = gaussian(points, (40, 40), 1.5, STRIDE) + 0.1 * torch.randn(1, 200, 40, 40)
    errors = {codec: (decode(noisy, codec, STRIDE) - points).norm(dim=-1).mean() for codec in CODECS}
    assert errors["dark"] < 0.7 * errors["quadratic"]
    assert errors["dark"] < 0.7 * errors["argmax"]


def _render(
    point: torch.Tensor, spread: torch.Tensor, size: tuple[int, int] = (96, 96), stride: int = 1
) -> torch.Tensor:
    """A unit-height Gaussian of any covariance in network pixels, on the heatmap grid."""
    rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in size), indexing="ij")
    offset = from_heatmap_grid(torch.stack([columns, rows], dim=-1), stride) - point
    return torch.exp(-0.5 * torch.einsum("hwi,ij,hwj->hw", offset, spread.inverse(), offset))[None, None]


@given(
    x=st.floats(40, 55), y=st.floats(40, 55), long=st.floats(1.5, 8), short=st.floats(1.5, 8), turn=st.floats(0, 3.2)
)
def test_the_covariance_of_a_gaussian_map_is_its_own(
    x: float, y: float, long: float, short: float, turn: float
) -> None:
    c, s = np.cos(turn), np.sin(turn)
    axes = torch.tensor([[c, -s], [s, c]], dtype=torch.float32)
    spread = axes @ torch.diag(torch.tensor([long, short]) ** 2) @ axes.T
    point = torch.tensor([x, y])
    measured = covariance(_render(point, spread), point[None, None])[0, 0]
    torch.testing.assert_close(measured, spread, atol=0.06 * float(spread.diagonal().max()), rtol=0)


@pytest.mark.parametrize("stride", [1, 4])
def test_the_covariance_is_in_network_pixels_at_every_stride(stride: int) -> None:
    point, spread = torch.tensor([90.0, 110.0]), torch.tensor([[100.0, 30.0], [30.0, 64.0]])
    heatmap = _render(point, spread, (256 // stride, 256 // stride), stride)
    torch.testing.assert_close(covariance(heatmap, point[None, None], stride)[0, 0], spread, rtol=0.02, atol=0.5)


def test_the_height_of_a_map_does_not_matter() -> None:
    point, heatmap = torch.tensor([[[40.3, 50.9]]]), _render(torch.tensor([40.3, 50.9]), 9 * torch.eye(2))
    torch.testing.assert_close(covariance(heatmap * 1e-4, point), covariance(heatmap * 50, point))


def test_noise_under_a_tenth_of_the_peak_hardly_counts() -> None:
    point, spread = torch.tensor([[[48.0, 48.0]]]), torch.tensor([[16.0, 4.0], [4.0, 9.0]])
    heatmap = _render(point[0, 0], spread)
    noisy = heatmap + 0.03 * torch.randn(heatmap.shape).clamp(-3, 3) - 0.01
    torch.testing.assert_close(covariance(noisy, point)[0, 0], spread, rtol=0.15, atol=0.6)


def test_a_second_mode_or_a_point_beside_the_peak_adds_its_distance() -> None:
    point, spread = torch.tensor([30.0, 48.0]), 4 * torch.eye(2)
    both = _render(point, spread) + _render(torch.tensor([70.0, 48.0]), spread)
    two_modes = covariance(both, point[None, None])[0, 0]
    assert float(two_modes[0, 0]) > 0.5 * 40**2
    assert float(two_modes[1, 1]) == pytest.approx(4, rel=0.05)
    beside = covariance(_render(point, spread), (point + torch.tensor([0.0, 3.0]))[None, None])[0, 0]
    assert float(beside[1, 1] - beside[0, 0]) == pytest.approx(9 / 0.6042, rel=0.02)  # of the part that is kept


def test_negative_flat_or_single_pixel_maps_have_a_positive_definite_covariance() -> None:
    spike = torch.zeros(12, 20)
    spike[3, 4] = 1.0
    maps = torch.stack([torch.full((12, 20), v) for v in (-1.0, 0.0, 1e-30)] + [-torch.rand(12, 20), spike])[None]
    spread = covariance(maps, decode(maps, "dark", STRIDE), STRIDE)
    smallest = torch.linalg.eigvalsh(spread.double())[..., 0]
    assert (smallest > 0.99 * STRIDE**2 / 12).all()
    torch.testing.assert_close(spread[0, 4], STRIDE**2 / 12 * torch.eye(2))
    assert (smallest[0, :2] > (STRIDE * 12) ** 2 / 12 * 0.9).all()  # at least a uniform map's


@given(seed=st.integers(0, 1000), codec=st.sampled_from(CODECS))
def test_any_map_has_a_finite_positive_definite_covariance(seed: int, codec: Codec) -> None:
    heatmap = torch.randn(2, 3, 16, 8, generator=torch.Generator().manual_seed(seed)).to(torch.bfloat16)
    spread = covariance(heatmap, decode(heatmap, codec, STRIDE), STRIDE)
    assert spread.isfinite().all()
    assert (torch.linalg.eigvalsh(spread.double()) > 0).all()


@pytest.mark.parametrize("sigma", [1.0, 1.5, 3.0, 10.0])
@pytest.mark.parametrize("side", ["left", "right", "top", "bottom", "corner"])
def test_dark_finds_a_gaussian_at_the_border_where_it_is(sigma: float, side: str) -> None:
    near, far = torch.arange(0, 6 * sigma, 0.1), 63 - torch.arange(0, 6 * sigma, 0.1)
    middle = torch.full_like(near, 40.3)
    x, y = {
        "left": (near, middle),
        "right": (far, middle),
        "top": (middle, near),
        "bottom": (middle, far),
        "corner": (near, far),
    }[side]
    points = torch.stack([x, y], dim=-1)[None]
    assert (decode(gaussian(points, (64, 64), sigma), "dark", 1, sigma) - points).norm(dim=-1).max() < 0.05


def test_dark_away_from_the_border_smooths_by_the_whole_kernel() -> None:
    heatmap = gaussian(20 + 10 * torch.rand(1, 50, 2), (64, 64), 1.5) + 0.05 * torch.rand(1, 50, 64, 64)
    wide = torch.nn.functional.pad(heatmap, (20, 20, 20, 20), value=0.025)
    torch.testing.assert_close(decode(heatmap, "dark", 1), decode(wide, "dark", 1) - 20, atol=1e-3, rtol=0)
