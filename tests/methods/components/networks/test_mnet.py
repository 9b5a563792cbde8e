"""M-Net against a reference of its own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.components.networks.mnet import MNet


class _Weights:
    """A network's parameters, handed out in the order of its definition."""

    def __init__(self, network: nn.Module, prefix: str) -> None:
        self.values = [value for name, value in network.named_parameters() if name.startswith(prefix)]

    def take(self, count: int) -> list[Tensor]:
        taken, self.values = self.values[:count], self.values[count:]
        return taken


def _place(features: Tensor) -> Tensor:
    height, width = features.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x, y = 2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1
    return torch.cat([features, torch.stack([x, y]).expand(len(features), 2, height, width)], dim=1)


def _pre_activated(features: Tensor, weights: _Weights, located: bool = False, padding: int = 1) -> Tensor:
    gain, shift, kernel, bias = weights.take(4)
    mean = features.mean(dim=(2, 3), keepdim=True)
    deviation = (features.var(dim=(2, 3), keepdim=True, unbiased=False) + 1e-5).sqrt()
    active = ((features - mean) / deviation * gain.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).clamp(min=0)
    return F.conv2d(_place(active) if located else active, kernel, bias, padding=padding)


def _reference_mnet(network: MNet, image: Tensor, coordconv: int) -> Tensor:
    """Fu et al.'s M-Net with pre-activation blocks, from the papers' words, as one long formula."""
    names = ("images", "down", "raises", "up", "answers")
    images, down, raises, up, answers = (_Weights(network, name) for name in names)
    skips: list[Tensor] = []
    features = image
    for level in range(4):
        located = level < coordconv
        scaled = image.unflatten(2, (-1, 2**level)).mean(3).unflatten(3, (-1, 2**level)).mean(4)
        kernel, bias = images.take(2)
        read = F.conv2d(_place(scaled) if located else scaled, kernel, bias, padding=1)
        features = torch.cat([read, F.max_pool2d(features, 2)], dim=1) if level else read
        for _ in range(2 if level else 1):
            features = _pre_activated(features, down, located)
        skips.append(features)
    features = F.max_pool2d(features, 2)
    for _ in range(2):
        features = _pre_activated(features, down)
    total = torch.zeros(())
    for skip in reversed(skips):
        kernel, bias = raises.take(2)
        features = torch.cat([F.conv_transpose2d(features, kernel, bias, stride=2), skip], dim=1)
        features = _pre_activated(_pre_activated(features, up), up)
        side = _pre_activated(features, answers, padding=0)
        total = total + F.interpolate(side, scale_factor=image.shape[-1] / side.shape[-1], mode="bilinear") / 4
    assert not any(weights.values for weights in (images, down, raises, up, answers))
    return total


@pytest.mark.parametrize("coordconv", [0, 1, 2])
def test_mnet_equals_a_reference_of_its_own_with_the_same_weights(coordconv: int) -> None:
    torch.manual_seed(0)
    network, image = MNet(5, width=4, coordconv=coordconv), torch.rand(2, 1, 64, 64)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    torch.testing.assert_close(network(image), _reference_mnet(network, image, coordconv), atol=1e-4, rtol=1e-4)


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match="divide by 16"):
        MNet(3, width=4)(torch.zeros(1, 1, 40, 64))
