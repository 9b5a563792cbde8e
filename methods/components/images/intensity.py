"""From the loader's uint8 films to network input, on the device."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def grey(image: UInt8[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Scale 0..255 to 0..1."""
    return image.float() / 255


def equalize(image: UInt8[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Equalise each film's histogram to 0..1; a film of one grey level becomes 0.

    Example:
        >>> equalize(torch.tensor([[[[3, 3, 7, 9]]]], dtype=torch.uint8)).flatten().tolist()
        [0.0, 0.0, 0.5, 1.0]
    """
    levels = image.flatten(1).long()
    histogram = torch.zeros(len(levels), 256, device=image.device).scatter_add_(
        1, levels, torch.ones_like(levels, dtype=torch.float32)
    )
    cumulative = histogram.cumsum(dim=1)
    darkest = cumulative.gather(1, levels.amin(dim=1, keepdim=True))
    equalized = (cumulative - darkest) / (levels.shape[1] - darkest).clamp(min=1)
    return equalized.gather(1, levels).view(image.shape)


def three_channels(
    image: UInt8[Tensor, "batch 1 height width"], second: Bool[Tensor, " batch"]
) -> Float[Tensor, "batch 3 height width"]:
    """Stack the grey, equalised and inverted film; where `second`, the last two trade places.

    Source: Fard et al., IEEE Access 2022, Fig. 7.

    Example:
        >>> three_channels(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), torch.tensor([True])).tolist()
        [[[[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]]]
    """
    first, equalized, order = grey(image), equalize(image), second[:, None, None, None]
    middle, last = torch.where(order, 1 - first, equalized), torch.where(order, equalized, 1 - first)
    return torch.cat([first, middle, last], dim=1)


def imagenet(image: UInt8[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Repeat the film over three channels and standardise as ImageNet backbones expect."""
    mean = torch.tensor(IMAGENET_MEAN, device=image.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=image.device).view(1, 3, 1, 1)
    return (grey(image) - mean) / std
