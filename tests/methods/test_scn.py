"""SpatialConfiguration-Net against a network written layer by layer, and its loss against numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.contract.tiny_films import build, make_samples
from datamodules.base import LandmarkSchema
from datamodules.components.samples import collate
from methods.components.losses import learned_gaussian
from methods.scn import SCN, SpatialConfigurationNetwork

ONE = torch.ones(1, 1, dtype=torch.bool)


def _layers(network: SpatialConfigurationNetwork) -> list[tuple[Tensor, Tensor]]:
    convs = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    return [(conv.weight, conv.bias) for conv in convs if conv.bias is not None]


def _reference(image: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Payer et al. by functional calls: 1 + 8 down + 4 across + 1 local convolutions, then 4 spatial ones."""

    def conv(x: Tensor, i: int) -> Tensor:
        return F.conv2d(x, *layers[i], padding=layers[i][0].shape[-1] // 2)

    def leaky(x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.1 * x)

    x = leaky(conv(image, 0))
    down = []
    for level in range(4):
        x = F.avg_pool2d(x, 2) if level else x
        x = leaky(conv(leaky(conv(x, 1 + 2 * level)), 2 + 2 * level))
        down.append(leaky(conv(x, 9 + level)))
    x = down[3]
    for level in (2, 1, 0):
        x = down[level] + F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    local = conv(x, 13)
    x = local.view(*local.shape[:2], local.shape[2] // 16, 16, -1, 16).mean(dim=(3, 5))
    for i in (14, 15, 16):
        x = leaky(conv(x, i))
    return local * F.interpolate(torch.tanh(conv(x, 17)), scale_factor=16, mode="bicubic", align_corners=False)


def test_the_network_is_the_product_of_the_papers_two_components() -> None:
    network = SpatialConfigurationNetwork(3, width=6, spatial_kernel=5).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    image = torch.randn(2, 1, 64, 32, dtype=torch.float64)
    torch.testing.assert_close(network(image), _reference(image, _layers(network)))


def test_it_has_the_papers_parameters_at_19_points() -> None:
    method = SCN(LandmarkSchema(tuple(f"p{i}" for i in range(19))))
    assert method.parameter_counts()["trainable"] == 6_348_070 + 19  # weights and biases by hand, and the sigmas


def test_a_side_that_does_not_divide_by_16_is_refused() -> None:
    with pytest.raises(ValueError, match="divide by 16"):
        SpatialConfigurationNetwork(1, width=2, spatial_kernel=3)(torch.zeros(1, 1, 72, 64))


def test_the_loss_is_the_sum_over_pixels_and_the_price_of_sigma() -> None:
    predicted = torch.rand(1, 1, 7, 5, dtype=torch.float64)
    value = learned_gaussian(predicted, torch.tensor([[[1.5, 4.0]]]).double(), torch.tensor([1.3]).double(), ONE)
    rows, columns = np.mgrid[:7, :5]
    target = 100 / (2 * math.pi * 1.3**2) * np.exp(-((columns - 1.5) ** 2 + (rows - 4.0) ** 2) / (2 * 1.3**2))
    expected = (np.sum((predicted[0, 0].numpy() - target) ** 2) + 20 * 1.3**2) / 2
    assert value.item() == pytest.approx(expected)


def test_a_target_has_the_volume_of_its_gain() -> None:
    """With a prediction p of zero the fit is half of gain^2 / (4 pi sigma^2), a Gaussian's squared norm."""
    zero = torch.zeros(1, 1, 61, 61)
    value = learned_gaussian(zero, torch.tensor([[[30.0, 30.0]]]), torch.tensor([4.0]), ONE, alpha=0.0)
    assert value.item() == pytest.approx(100**2 / (4 * math.pi * 16) / 2, rel=1e-3)


def test_sigma_grows_for_a_landmark_that_is_predicted_blurred() -> None:
    sigma = torch.tensor([2.0], requires_grad=True)
    point = torch.tensor([[[15.0, 15.0]]])
    rows, columns = torch.meshgrid(torch.arange(31.0), torch.arange(31.0), indexing="ij")
    blurred = 100 / (2 * math.pi * 25) * torch.exp(-((columns - 15) ** 2 + (rows - 15) ** 2) / 50)
    learned_gaussian(blurred[None, None], point, sigma, ONE, alpha=0.0).backward()
    assert sigma.grad is not None
    assert sigma.grad < 0  # descent widens it


def test_missing_landmarks_leave_sigma_alone() -> None:
    sigma = torch.tensor([2.0, 3.0], requires_grad=True)
    points = torch.tensor([[[4.0, 4.0], [torch.nan, torch.nan]]])
    learned_gaussian(torch.rand(1, 2, 9, 9), points, sigma, torch.tensor([[True, False]])).backward()
    assert sigma.grad is not None
    assert sigma.grad.isfinite().all()
    assert sigma.grad[1] == 0


def test_a_fixed_sigma_is_not_trained(schema: LandmarkSchema) -> None:
    assert not build(SCN, schema, "scn-fixed-sigma").get_parameter("sigma").requires_grad


def test_the_covariance_is_the_learned_sigma_squared(schema: LandmarkSchema) -> None:
    method = build(SCN, schema).eval()
    method.get_parameter("sigma").data[:] = torch.arange(1.0, len(schema) + 1)
    covariance = method.predict(collate(make_samples(method, count=2))).covariance
    assert covariance is not None
    torch.testing.assert_close(covariance[1, 2].detach(), 9 * torch.eye(2))


@pytest.mark.parametrize(("optimizer", "clipped"), [("nesterov", [(1e4, "norm")]), ("adam", [])])
def test_gradients_are_clipped_with_the_authors_optimiser_alone(
    optimizer: str, clipped: list[tuple[float, str]], schema: LandmarkSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    method = SCN(schema, **{**SCN.smoke, "optimizer": optimizer})
    calls: list[tuple[float, str]] = []
    monkeypatch.setattr(
        method,
        "clip_gradients",
        lambda _, gradient_clip_val, gradient_clip_algorithm: calls.append(
            (gradient_clip_val, gradient_clip_algorithm)
        ),
    )
    method.configure_gradient_clipping(torch.optim.SGD(method.parameters(), lr=1.0))
    assert calls == clipped
