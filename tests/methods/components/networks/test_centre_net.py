"""Pose-Net of An et al.: its sizes and its inner map."""

from __future__ import annotations

import pytest
import torch

from methods.components.networks.centre_net import CentreNet


@pytest.mark.parametrize("kernel", [7, 13])
def test_the_centre_net_answers_64_pixels_for_512_and_feeds_the_inner_map_back(kernel: int) -> None:
    network = CentreNet(6, width=2, kernel=kernel).eval()
    film = torch.rand(1, 1, 512, 512)
    inner, maps = network(film)
    assert (inner.shape, maps.shape) == ((1, 1, 64, 64), (1, 6, 64, 64))
    network.inner[-1][-1].weight.data *= -1
    assert not torch.allclose(network(film)[1], maps)
    assert sum(p.shape[-1] == kernel for p in network.parameters() if p.ndim == 4) == 6


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match="divide by 8"):
        CentreNet(6, width=4)(torch.zeros(1, 1, 60, 64))
