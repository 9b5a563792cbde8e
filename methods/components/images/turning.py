"""Turning films on the device: about their centre, in their own proportions, with the landmarks kept inside."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


class Turned(NamedTuple):
    """Turned films and their landmarks, in network pixels."""

    image: Float[Tensor, "batch channel height width"]
    points: Float[Tensor, "batch landmark 2"]


def turn(
    image: Float[Tensor, "batch channel height width"],
    points: Float[Tensor, "batch landmark 2"],
    to_image: Float[Tensor, "batch 2 3"],
    degrees: Float[Tensor, " batch"],
) -> Turned:
    """Turn each film about its centre; what lies outside the film becomes 0.

    The turn is one of the film as it was taken: where the input stretches the film, `to_image` says by how much, and
    right angles of the film stay right angles. Where a landmark would leave the input, the film shrinks just as much as
    all its landmarks need and shifts just as far. A film with an angle of 0 stays as it is.

    Args:
        image: Films as the network reads them.
        points: (x, y) in network pixels, NaN where missing.
        to_image: Affines from network to original pixels.
        degrees: Angle of each film.
    """
    room = torch.tensor([image.shape[-1] - 1, image.shape[-2] - 1], device=points.device, dtype=points.dtype)
    linear = _turn_of_input(to_image.to(points.dtype), degrees.to(points.dtype))
    about = torch.einsum("bij,blj->bli", linear, points - room / 2)
    missing = about.isnan()
    low = about.masked_fill(missing, torch.inf).amin(dim=1)
    high = about.masked_fill(missing, -torch.inf).amax(dim=1)
    shrink = (room / (high - low).clamp(min=1)).amin(dim=1, keepdim=True).clamp(max=1)
    low, high = shrink * low, shrink * high
    shift = (-room / 2 - low).clamp(min=0) - (high - room / 2).clamp(min=0)
    landmarked, turned = ~missing.all(dim=2).all(dim=1), degrees != 0
    shift = torch.where(landmarked[:, None], shift, 0.0)
    linear = torch.where(landmarked[:, None, None], shrink[..., None], 1.0) * linear
    moved = torch.einsum("bij,blj->bli", linear, points - room / 2) + room / 2 + shift[:, None]
    return Turned(
        torch.where(turned[:, None, None, None], _resample(image, linear, shift, room), image),
        torch.where(turned[:, None, None], moved, points),
    )


def _turn_of_input(to_image: Float[Tensor, "batch 2 3"], degrees: Float[Tensor, " batch"]) -> Float[Tensor, "b 2 2"]:
    """Return L^-1 R L: to original pixels, turned there, and back."""
    original = to_image[:, :, :2]
    angle = torch.deg2rad(degrees)
    cosine, sine = angle.cos(), angle.sin()
    rotation = torch.stack([cosine, -sine, sine, cosine], dim=-1).view(-1, 2, 2)
    solved: Tensor = torch.linalg.solve(original, rotation @ original)
    return solved


def _resample(
    image: Float[Tensor, "batch channel height width"],
    linear: Float[Tensor, "batch 2 2"],
    shift: Float[Tensor, "batch 2"],
    room: Float[Tensor, " 2"],
) -> Float[Tensor, "batch channel height width"]:
    """Move each film by p -> linear (p - centre) + centre + shift, bilinearly and in full precision under autocast."""
    with torch.autocast(image.device.type, enabled=False):
        back = torch.linalg.inv(linear)
        offset = -torch.einsum("bij,bj->bi", back, shift)
        half = room / 2
        theta = torch.cat([back * half / half[:, None], (offset / half)[..., None]], dim=-1)
        grid = affine_grid(theta.to(image.dtype), list(image.shape), align_corners=True)
        return grid_sample(image, grid, align_corners=True)
