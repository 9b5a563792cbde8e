"""U-Net and FPN against independent readings of their graphs and their sizes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datamodules.base import LandmarkSchema
from methods.components.networks.feature_pyramid import FeaturePyramid
from methods.fpn import FPN, FPNetwork
from methods.unet import UNet, UNetwork

CEPHALOMETRIC = LandmarkSchema(tuple(f"p{i}" for i in range(19)))


def test_unet_has_the_originals_parameters() -> None:
    with torch.device("meta"):
        count = UNet(CEPHALOMETRIC, batch_norm=False).parameter_counts()["trainable"]
    one_channel_one_map = 31_030_593  # the original's, as commonly counted
    assert count == one_channel_one_map + 2 * 9 * 64 + 18 * 65


def test_batch_norm_adds_two_numbers_per_channel() -> None:
    with torch.device("meta"):
        counts = [UNet(CEPHALOMETRIC, batch_norm=norm).parameter_counts()["trainable"] for norm in (True, False)]
    assert counts[0] - counts[1] == 2 * 2 * (2 * (64 + 128 + 256 + 512) + 1024)


def test_fpn_adds_its_lateral_and_head_convolutions_to_densenet() -> None:
    with torch.device("meta"):
        count = FPN(CEPHALOMETRIC).parameter_counts()["trainable"]
    laterals = (256 + 512 + 1024 + 1024 + 4) * 256
    assert count == 6_953_856 + laterals + 2 * (9 * 256 * 256 + 256) + 257 * 19


def test_no_weight_of_fpn_is_dead() -> None:
    with torch.device("meta"):
        method = FPN(CEPHALOMETRIC)
    method(torch.empty(1, 1, 64, 64, dtype=torch.uint8, device="meta"))[1].sum().backward()
    assert all(parameter.grad is not None for parameter in method.parameters())


@pytest.mark.parametrize("batch_norm", [True, False])
def test_the_unet_computes_an_independent_reading_of_its_paper(batch_norm: bool) -> None:
    network = UNetwork(landmarks=2, width=3, batch_norm=batch_norm).double().eval()
    norms = iter([m for m in network.modules() if isinstance(m, nn.BatchNorm2d)])
    weights = iter([(m.weight, m.bias) for m in network.modules() if isinstance(m, nn.Conv2d)])
    film = torch.randn(1, 3, 32, 48, dtype=torch.float64)

    def twice(x: Tensor) -> Tensor:
        for _ in range(2):
            x = F.conv2d(x, *next(weights), padding=1)
            if batch_norm:
                n = next(norms)
                x = F.batch_norm(x, n.running_mean, n.running_var, n.weight, n.bias)
            x = F.relu(x)
        return x

    x, skips = film, []
    for _ in range(4):
        skips.append(twice(x))
        x = F.max_pool2d(skips[-1], 2)
    x = twice(x)
    for enlarge, skip in zip(network.enlarge, reversed(skips), strict=True):
        x = twice(torch.cat([skip, F.conv_transpose2d(x, enlarge.weight, enlarge.bias, stride=2)], 1))
    torch.testing.assert_close(network(film), F.conv2d(x, *next(weights)))


def test_the_fpn_computes_an_independent_reading_of_its_paper() -> None:
    torch.manual_seed(0)
    network = FPNetwork(FeaturePyramid("test_resnet"), landmarks=2, width=8).double().eval()
    film = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    _, c2, c3, c4, c5 = network.backbone(film)
    p2, p3, p4, p5 = (F.conv2d(c, m.weight, m.bias) for c, m in zip((c2, c3, c4, c5), network.laterals, strict=True))
    for finer in (p4, p3, p2):
        p5 = finer + p5.repeat_interleave(2, -1).repeat_interleave(2, -2)
    finest = F.conv2d(p5, network.smooth.weight, network.smooth.bias, padding=1)
    full = F.interpolate(finest, scale_factor=4, mode="bilinear", align_corners=False)
    first, second = network.head
    expected = F.conv2d(F.conv2d(full, first.weight, first.bias, padding=1), second.weight, second.bias)
    torch.testing.assert_close(network(film), expected)


def test_unet_refuses_a_size_that_it_cannot_halve_four_times() -> None:
    with pytest.raises(ValueError, match="must divide by 16"):
        UNetwork(1, width=2)(torch.zeros(1, 3, 40, 32))
