"""Axes and mean of shapes, against scikit-learn."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from methods.components.structures.shape_model import OffsetAxes, mean_shape, principal_axes, second_moments


def _offsets(cases: int = 30, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(cases, 10, generator=generator) @ torch.randn(10, 10, generator=generator) + 0.3


def test_the_axes_are_scikit_learns_of_offsets_that_are_as_often_to_the_other_side() -> None:
    offsets = _offsets()
    expected = PCA(4).fit(torch.cat([offsets, -offsets]).double().numpy()).components_  # second moments about zero
    axes = principal_axes(second_moments(offsets), 4).numpy()
    np.testing.assert_allclose(np.abs((axes * expected).sum(axis=1)), 1, atol=1e-5)
    np.testing.assert_allclose(axes @ axes.T, np.eye(4), atol=1e-5)


def test_the_axes_of_centred_offsets_are_scikit_learns() -> None:
    offsets = _offsets() - _offsets().mean(dim=0)
    expected = PCA(10).fit(offsets.double().numpy()).components_
    np.testing.assert_allclose(
        np.abs(principal_axes(second_moments(offsets), 10).numpy() @ expected.T), np.eye(10), atol=1e-4
    )


def test_a_missing_point_takes_only_its_own_moments_away() -> None:
    offsets = _offsets(40)
    offsets[torch.rand(offsets.shape, generator=torch.Generator().manual_seed(1)) < 0.2] = torch.nan
    moments = np.array([[np.nanmean(a * b) for b in offsets.double().numpy().T] for a in offsets.double().numpy().T])
    np.testing.assert_allclose(second_moments(offsets).numpy(), moments, rtol=1e-9)


def test_the_scale_is_scikit_learns_spread_along_the_axes() -> None:
    offsets = _offsets() - _offsets().mean(dim=0)
    shape = OffsetAxes(5, 4)
    shape.fit(offsets.view(-1, 5, 2))
    expected = PCA(4).fit(offsets.double().numpy()).explained_variance_ * 29 / 30
    np.testing.assert_allclose(shape.scale.numpy() ** 2, expected, rtol=1e-4)


def test_fewer_cases_than_axes_and_points_without_any_case_keep_the_axes_orthonormal() -> None:
    offsets = _offsets(2).view(2, 5, 2)
    offsets[:, 3] = torch.nan
    shape = OffsetAxes(5, 6)
    shape.fit(offsets)
    torch.testing.assert_close(shape.axes @ shape.axes.T, torch.eye(6), atol=1e-5, rtol=0)
    assert mean_shape(offsets, torch.full((5, 2), 7.0))[3].tolist() == [7, 7]


def test_all_axes_or_none_lose_nothing_of_an_offset() -> None:
    offsets = _offsets().view(-1, 5, 2)
    for components in (0, 10):
        shape = OffsetAxes(5, components)
        shape.fit(offsets)
        torch.testing.assert_close(shape.decode(shape.encode(offsets)), offsets, atol=1e-4, rtol=0)
    assert torch.equal(OffsetAxes(5, 0).encode(offsets), offsets.flatten(1))
