"""From the loader's uint8 films to network input, on the device."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor


class Statistics(NamedTuple):
    """Mean and standard deviation of red, green and blue, 0 to 1, to which a network was trained."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


IMAGENET: Final = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


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
    histogram = torch.zeros(levels.shape[0], 256, device=image.device).scatter_add_(
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


def standardize(
    film: Float[Tensor, "batch 1 height width"], statistics: Statistics = IMAGENET
) -> Float[Tensor, "batch 3 height width"]:
    """Repeat a film over three channels, less the mean, over the deviation."""
    mean, std = (torch.tensor(values, device=film.device).view(1, 3, 1, 1) for values in statistics)
    return (film - mean) / std


def imagenet(
    image: UInt8[Tensor, "batch 1 height width"], statistics: Statistics = IMAGENET
) -> Float[Tensor, "batch 3 height width"]:
    """Scale 0..255 to 0..1 and standardise as a backbone expects, by default as most do."""
    return standardize(grey(image), statistics)
