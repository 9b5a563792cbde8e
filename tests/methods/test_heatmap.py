"""Heatmaps and their decoding share one grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.components.heatmap import Codec, decode, from_heatmap_grid, gaussian, to_heatmap_grid, visible_mean

STRIDE, HEIGHT, WIDTH = 4, 64, 32


def _round_trip(x: float, y: float, codec: Codec, sigma: float = 1.5) -> torch.Tensor:
    points = torch.tensor([[[x, y]]])
    return (decode(gaussian(points, (HEIGHT, WIDTH), sigma, STRIDE), codec, STRIDE) - points).norm()


@pytest.mark.parametrize("codec", ["quadratic", "soft-argmax"])
@given(x=st.floats(24, 100), y=st.floats(24, 224))
def test_sub_pixel_codecs_return_the_label_within_a_twentieth_of_a_pixel(codec: Codec, x: float, y: float) -> None:
    assert _round_trip(x, y, codec) < 0.05


@given(x=st.floats(0, 127), y=st.floats(0, 255))
def test_argmax_returns_the_label_within_half_a_heatmap_pixel(x: float, y: float) -> None:
    assert _round_trip(x, y, "argmax") <= STRIDE / 2 * 2**0.5 + 1e-4


@given(x=st.floats(-20, 150), y=st.floats(-20, 280))
def test_every_codec_stays_finite_at_and_beyond_the_border(x: float, y: float) -> None:
    for codec in ("argmax", "quadratic", "soft-argmax"):
        assert _round_trip(x, y, codec).isfinite()


@pytest.mark.parametrize("codec", ["argmax", "quadratic", "soft-argmax"])
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
    with pytest.raises(ValueError, match="argmax, quadratic, soft-argmax"):
        decode(torch.zeros(1, 1, 4, 4), "median", 1)  # type: ignore[arg-type]


def test_visible_mean_ignores_missing_landmarks_even_if_nan() -> None:
    values = torch.tensor([[[1.0], [torch.nan], [5.0]]])
    assert visible_mean(values, torch.tensor([[True, False, True]])) == 3.0
    assert visible_mean(values, torch.zeros(1, 3, dtype=torch.bool)) == 0.0
