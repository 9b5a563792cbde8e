"""Squares round vertebrae, cut from a film's own pixels on the device, and the way back (An et al. 2022, Eq. 5)."""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from methods.components.structures.vertebrae import Parts

TYPICAL: Final = 1 / 8
"""Of a film's side: that of a square where nothing tells the spacing; a tenth of it is the least."""
COVERED: Final = 0.95
SPARE: Final = 1.2


def vertebra_sides(centres: Float[Tensor, "batch vertebra 2"]) -> Float[Tensor, "batch vertebra"]:
    """Return the side of each vertebra's square: 3/2 of the mean height to its neighbours above and below (Eq. 5).

    The first and the last have one neighbour. A gap with a missing (NaN) end is left out; a vertebra without any gap
    takes the mean side of its film, and NaN where there is none.

    Example:
        >>> vertebra_sides(torch.tensor([[[5.0, 0.0], [9.0, 10.0], [7.0, 30.0]]]))
        tensor([[15.0000, 22.5000, 30.0000]])
    """
    gaps = centres[..., 1].diff(dim=1).abs()
    both = torch.stack([pad(gaps, (1, 0), value=torch.nan), pad(gaps, (0, 1), value=torch.nan)])
    sides = 1.5 * both.nanmean(dim=0)
    return torch.where(sides.isnan(), sides.nanmean(dim=1, keepdim=True), sides)


class Squares(NamedTuple):
    """Upright squares of a film, each to be seen at `size` x `size` pixels.

    Coordinates are mapped without matrix products, which half precision would round to several pixels.

    Attributes:
        centre: (x, y) in film pixels.
        side: In film pixels.
        size: Pixels of the cut square's side.
    """

    centre: Float[Tensor, "batch part 2"]
    side: Float[Tensor, "batch part"]
    size: int

    @property
    def scale(self) -> Float[Tensor, "batch part"]:
        """Film pixels per pixel of the square."""
        return self.side / self.size

    def pick(self, parts: tuple[int, ...]) -> Squares:
        """Return the squares of some parts."""
        own = list(parts)
        return Squares(self.centre[:, own], self.side[:, own], self.size)

    def to_film(self, points: Float[Tensor, "batch part point 2"]) -> Float[Tensor, "batch part point 2"]:
        """Map pixels of the squares to film pixels."""
        return self.centre[:, :, None] + (points - (self.size - 1) / 2) * self.scale[..., None, None]

    def to_square(self, points: Float[Tensor, "batch part point 2"]) -> Float[Tensor, "batch part point 2"]:
        """Map film pixels to pixels of the squares."""
        return (points - self.centre[:, :, None]) / self.scale[..., None, None] + (self.size - 1) / 2

    def scaled(self, factor: Float[Tensor, " part"]) -> Squares:
        """Return the squares with their sides times a factor for each part."""
        return Squares(self.centre, self.side * factor, self.size)

    def jitter(self, shift: float, zoom: float) -> Squares:
        """Move each square by up to `shift` of its side in x and y, and scale it by 1 - `zoom` to 1 + `zoom`."""
        move = shift * (2 * torch.rand_like(self.centre) - 1) * self.side[..., None]
        return Squares(self.centre + move, self.side * (1 + zoom * (2 * torch.rand_like(self.side) - 1)), self.size)

    def cut(self, film: Num[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch part size size"]:
        """Read the squares from the films, bilinearly, black outside."""
        pixels = torch.arange(self.size, device=film.device, dtype=self.centre.dtype)
        y, x = torch.meshgrid(pixels, pixels, indexing="ij")
        square = torch.stack([x, y], dim=-1).flatten(0, 1).expand(*self.side.shape, -1, 2)
        limit = self.centre.new_tensor([film.shape[-1], film.shape[-2]])
        grid = (2 * self.to_film(square) + 1) / limit - 1
        cut = grid_sample(film.to(grid.dtype), grid, padding_mode="zeros", align_corners=False)
        return cut.view(*self.side.shape, self.size, self.size)


def squares_round(centres: Float[Tensor, "batch part 2"], parts: Parts, size: int, film: int) -> Squares:
    """Return the square of every part: a vertebra's by Eq. 5, another part's with the side of the vertebra before it.

    Args:
        centres: (x, y) in pixels of the film. A missing (NaN) centre has its square in the middle of the film.
        parts: The schema's parts.
        size: Pixels of the cut squares' side.
        film: Side of the (padded) film.
    """
    sides = vertebra_sides(centres[:, list(parts.vertebrae)])[:, list(parts.hosts)]
    sides = sides.nan_to_num(TYPICAL * film).clamp(min=TYPICAL * film / 10)
    return Squares(centres.nan_to_num((film - 1) / 2), sides, size)


def widening(points: Float[Tensor, "film landmark 2"], parts: Parts, film: int) -> Float[Tensor, " part"]:
    """Say how much larger than Eq. 5's the squares of each part must be: 1 where these hold its landmarks.

    Eq. 5 is made for lateral views; a vertebra seen from the front is wider than 3/2 of its spacing, and so is one with
    its spinous process. Where more than one complete part of a kind in twenty reaches out of its square, its kind's
    squares are made large enough for all but that one, with a fifth to spare.

    Args:
        points: Of training films, in their pixels.
        parts: The schema's parts.
        film: Side of the (padded) films.
    """
    squares, factors = squares_round(parts.centres(points), parts, size=1, film=film), torch.ones(len(parts.members))
    for kind in parts.kinds:
        own = squares.pick(kind.parts)
        outmost = (points[:, kind.landmarks] - own.centre[:, :, None]).abs().amax(dim=(2, 3)) / own.side * 2
        known = outmost[outmost.isfinite()]
        reach = known.quantile(COVERED) if len(known) else torch.ones(())
        if reach > 1:
            factors[list(kind.parts)] = SPARE * reach
    return factors


def draw(known: Bool[Tensor, " crop"], count: int) -> Int[Tensor, " drawn"]:
    """Draw at most `count` crops at random, known ones first."""
    return (known + torch.rand(known.shape, device=known.device)).topk(min(count, len(known))).indices
