"""ResNet-50 as Keras builds it, from timm's."""

from __future__ import annotations

import torch
from timm.models.resnet import Bottleneck
from torch import nn


def as_keras(network: nn.Module) -> nn.Module:
    """Change a timm ResNet of bottlenecks into Keras' (version 1), in place, and return it.

    Keras strides in a bottleneck's first 1x1 convolution, timm in its 3x3 one (version 1.5: 5 % more multiply-adds),
    and Keras' convolutions have biases, 26,560 of them in ResNet-50. Any other network stays as it is. timm's ImageNet
    weights were trained with its own stride.
    """
    if not any(isinstance(block, Bottleneck) for block in network.modules()):
        return network
    for block in network.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
        if isinstance(block, nn.Conv2d) and block.bias is None:
            block.bias = nn.Parameter(torch.zeros(block.out_channels))
    return network
