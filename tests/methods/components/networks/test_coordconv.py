"""CoordConv: which coordinates it appends, and where."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from methods.components.networks.coordconv import CoordConv2d


def test_coordconv_sees_x_and_y_from_minus_one_to_one() -> None:
    conv = CoordConv2d(1, 2, kernel=1)
    nn.init.zeros_(conv.weight)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    conv.weight.data[0, 1] = conv.weight.data[1, 2] = 1.0
    x, y = conv(torch.randn(1, 1, 3, 5))[0]
    assert x.tolist() == [[-1.0, -0.5, 0.0, 0.5, 1.0]] * 3
    assert y.tolist() == [[-1.0] * 5, [0.0] * 5, [1.0] * 5]


def test_coordconv_convolves_the_features_with_the_coordinates_behind_them() -> None:
    conv, features = CoordConv2d(3, 4), torch.randn(2, 3, 6, 8)
    rows, columns = np.mgrid[:6, :8]
    places = torch.tensor(np.stack([columns / 3.5 - 1, rows / 2.5 - 1]), dtype=torch.float32)
    stacked = torch.cat([features, places.expand(2, -1, -1, -1)], dim=1)
    torch.testing.assert_close(conv(features), F.conv2d(stacked, conv.weight, conv.bias, padding=1))
