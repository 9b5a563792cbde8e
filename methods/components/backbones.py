"""Backbones from timm, without their classifier."""

from __future__ import annotations

from typing import Literal

import timm
from torch import nn

Weights = Literal["none", "imagenet"]


def backbone(name: str, weights: Weights = "none") -> tuple[nn.Module, int]:
    """Return a timm model that maps (batch, 3, h, w) to its last feature map, and that map's channels.

    Args:
        name: A timm model name.
        weights: `imagenet` takes timm's pretrained weights, which needs the network or timm's cache.

    Raises:
        ValueError: The pretrained weights cannot be had.
    """
    try:
        model = timm.create_model(name, pretrained=weights == "imagenet", num_classes=0, global_pool="")
    except (OSError, RuntimeError) as error:
        if weights == "none":
            raise
        raise ValueError(f"pretrained weights of {name} cannot be had here; pass weights=none. ({error})") from error
    channels = model.num_features
    assert isinstance(channels, int)
    return model, channels
