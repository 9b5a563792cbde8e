"""Random spine cutout and the conventional cutout (An et al. 2022, Sec. 3.2)."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from methods.components.structures.vertebrae import Frame

Cutout = Literal["spine", "anywhere", "none"]


def cutout(
    film: Float[Tensor, "batch 1 height width"], bodies: Frame, where: Cutout, ratio: float, share: float
) -> Float[Tensor, "batch 1 height width"]:
    """Blacken part of one vertebra, drawn at random, in a random `share` of the films.

    `spine` hides `ratio` of a vertebra's width and height, anywhere within its body; `anywhere`, the conventional
    cutout, hides an upright rectangle of the same sides with its centre anywhere on the film.

    Args:
        film: What is blackened.
        bodies: The vertebrae that may be drawn, (batch, vertebra, 2), in film pixels; a NaN one never is.
        where: Which of the two, or neither.
        ratio: Of the sides hidden.
        share: Of the films that lose something.
    """
    if where == "none":
        return film
    known = torch.stack(bodies).isfinite().all(dim=-1).all(dim=0)
    drawn = (known + torch.rand(known.shape, device=film.device)).argmax(dim=1)
    films = torch.arange(len(film), device=film.device)
    centre, across, down = (field[films, drawn] for field in bodies)
    slack = (1 - ratio) * (torch.rand(len(film), 2, device=film.device) - 0.5)
    if where == "spine":
        centre = centre + slack[:, :1] * across + slack[:, 1:] * down
    else:
        limit = centre.new_tensor([film.shape[-1] - 1, film.shape[-2] - 1])
        centre = torch.rand(len(film), 2, device=film.device) * limit
        across, down = (torch.diag_embed(torch.stack([across.norm(dim=-1), down.norm(dim=-1)], dim=-1))).unbind(dim=1)
    applied = known.any(dim=1) & (torch.rand(len(film), device=film.device) < share)
    inside = _inside(film, Frame(centre, ratio * across, ratio * down))
    return film.masked_fill((inside & applied[:, None, None])[:, None], 0)


def _inside(film: Tensor, hidden: Frame) -> Bool[Tensor, "batch height width"]:
    """Say which pixels lie in a parallelogram: their two coordinates along its sides are at most a half."""
    columns, rows = (torch.arange(side, device=film.device) for side in (film.shape[-1], film.shape[-2]))
    x, y = (columns - hidden.centre[:, :1])[:, None], (rows - hidden.centre[:, 1:])[..., None]
    (ax, ay), (dx, dy) = (side[..., None, None].unbind(dim=1) for side in (hidden.across, hidden.down))
    area = ax * dy - ay * dx
    return (((x * dy - y * dx) / area).abs() <= 0.5) & (((ax * y - ay * x) / area).abs() <= 0.5)
