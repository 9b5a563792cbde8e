"""Upright crops of films, cut on the device, and the way between their pixels and the film's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor
from torch.nn.functional import grid_sample

from methods.components.structures.vertebrae import SpineStructures
from metrics.centre_distance import crop_sides

TYPICAL: Final = 1 / 8
"""Of a film's side: that of a crop where nothing tells the spacing; a tenth of it is the least."""
COVERED: Final = 0.95
SPARE: Final = 1.2


class Crops(NamedTuple):
    """Upright rectangles of films.

    Coordinates are mapped without matrix products, which half precision would round to several pixels.

    Attributes:
        centre: (x, y) in film pixels.
        size: (width, height) in film pixels.
        pixels: (height, width) of the grid that the crops' own coordinates count in, pixel centres at integers. In the
            default of a single pixel they run from -.5 to .5: fractions of the sides, counted from the centre.
    """

    centre: Float[Tensor, "batch crop 2"]
    size: Float[Tensor, "batch crop 2"]
    pixels: tuple[int, int] = (1, 1)

    @classmethod
    def whole(cls, film: Num[Tensor, "batch channel height width"]) -> Crops:
        """Return one crop per film: all of it, from the outer edges of its pixels."""
        size = torch.tensor([film.shape[-1], film.shape[-2]], device=film.device, dtype=torch.float32)
        size = size.expand(film.shape[0], 1, 2)
        return cls((size - 1) / 2, size)

    @classmethod
    def between(cls, low: Float[Tensor, "batch crop 2"], high: Float[Tensor, "batch crop 2"]) -> Crops:
        """Return the crops between two opposite corners."""
        return cls((low + high) / 2, high - low)

    @classmethod
    def squares(cls, centre: Float[Tensor, "batch crop 2"], side: Float[Tensor, "batch crop"], pixels: int) -> Crops:
        """Return squares of `pixels` x `pixels`; `side` is in film pixels."""
        return cls(centre, side[..., None].expand_as(centre), (pixels, pixels))

    @classmethod
    def of_size(cls, centre: Float[Tensor, "batch crop 2"], size: tuple[int, int]) -> Crops:
        """Return crops of (height, width) film pixels, at the film's resolution."""
        return cls(centre, centre.new_tensor(size[::-1]).expand_as(centre), size)

    @property
    def scale(self) -> Float[Tensor, "batch crop 2"]:
        """Film pixels per crop pixel, in x and y."""
        return self.size / self.size.new_tensor(self.pixels[::-1])

    def pick(self, crops: Sequence[int]) -> Crops:
        """Return some of the crops, in this order, as often as they are named."""
        return self._replace(centre=self.centre[:, list(crops)], size=self.size[:, list(crops)])

    def widen(self, before: Tensor | float, behind: Tensor | float) -> Crops:
        """Widen each crop by shares of its sides, `before` at the left and top, `behind` at the right and bottom."""
        return Crops.between(self.centre - (0.5 + before) * self.size, self.centre + (0.5 + behind) * self.size)

    def scaled(self, factor: Float[Tensor, " crop"]) -> Crops:
        """Return the crops with their sides times a factor for each crop."""
        return self._replace(size=self.size * factor[:, None])

    def jitter(self, shift: float, zoom: float) -> Crops:
        """Move each crop by up to `shift` of its sides in x and y, and scale it by 1 - `zoom` to 1 + `zoom`."""
        move = shift * (2 * torch.rand_like(self.centre) - 1) * self.size
        factor = 1 + zoom * (2 * torch.rand_like(self.centre[..., 0]) - 1)
        return self._replace(centre=self.centre + move, size=self.size * factor[..., None])

    def to_film(self, points: Float[Tensor, "batch crop *point 2"]) -> Float[Tensor, "batch crop *point 2"]:
        """Map crop pixels to film pixels.

        Example:
            >>> crops = Crops(torch.tensor([[[4.5, 9.5]]]), torch.tensor([[[10.0, 20.0]]]))
            >>> crops.to_film(torch.tensor([[[-0.5, 0.5]]]))
            tensor([[[-0.5000, 19.5000]]])
        """
        centre, scale, middle = self._frame(points)
        return centre + (points - middle) * scale

    def to_crop(self, points: Float[Tensor, "batch crop *point 2"]) -> Float[Tensor, "batch crop *point 2"]:
        """Map film pixels to crop pixels."""
        centre, scale, middle = self._frame(points)
        return (points - centre) / scale + middle

    def cut(
        self, film: Num[Tensor, "batch 1 height width"], size: tuple[int, int] | None = None
    ) -> Float[Tensor, "batch crop h w"]:
        """Read the crops from the films at `size` (height, width), or at `pixels`: bilinearly, black outside."""
        height, width = size or self.pixels
        down, across = (
            (torch.arange(read, device=film.device, dtype=self.centre.dtype) + 0.5) / read * own - 0.5
            for read, own in zip((height, width), self.pixels, strict=True)
        )
        y, x = torch.meshgrid(down, across, indexing="ij")
        places = torch.stack([x, y], dim=-1).flatten(0, 1).expand(*self.centre.shape[:2], -1, 2)
        limit = self.centre.new_tensor([film.shape[-1], film.shape[-2]])
        grid = (2 * self.to_film(places) + 1) / limit - 1
        cut = grid_sample(film.to(grid.dtype), grid, padding_mode="zeros", align_corners=False)
        return cut[:, 0].view(*self.centre.shape[:2], height, width)

    def _frame(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return centre, scale and the centre's crop pixel, with a dimension for points where the points have one."""
        middle = (self.centre.new_tensor(self.pixels[::-1]) - 1) / 2
        if points.ndim == self.centre.ndim:
            return self.centre, self.scale, middle
        return self.centre[:, :, None], self.scale[:, :, None], middle


def vertebra_sides(centres: Float[Tensor, "batch vertebra 2"]) -> Float[Tensor, "batch vertebra"]:
    """Return the side of each vertebra's square crop (An et al. 2022, Eq. 5, see `crop_sides`).

    A vertebra without a known neighbour takes the mean side of its film, and NaN where there is none.

    Example:
        >>> vertebra_sides(torch.tensor([[[5.0, 0.0], [9.0, 10.0], [7.0, 30.0]]]))
        tensor([[15.0000, 22.5000, 30.0000]])
    """
    sides = crop_sides(centres, centres.shape[1])
    return torch.where(sides.isnan(), sides.nanmean(dim=1, keepdim=True), sides)


def structure_crops(
    centres: Float[Tensor, "batch structure 2"], structures: SpineStructures, pixels: int, film: int
) -> Crops:
    """Return every structure's square crop: a vertebra's by Eq. 5, another's with the side of the vertebra before it.

    Args:
        centres: (x, y) in pixels of the film. A missing (NaN) centre has its crop in the middle of the film.
        structures: The schema's structures.
        pixels: Of a crop's side.
        film: Side of the (padded) film.
    """
    sides = vertebra_sides(centres[:, list(structures.vertebrae)])[:, list(structures.hosts)]
    sides = sides.nan_to_num(TYPICAL * film).clamp(min=TYPICAL * film / 10)
    return Crops.squares(centres.nan_to_num((film - 1) / 2), sides, pixels)


def widening(
    points: Float[Tensor, "film landmark 2"], structures: SpineStructures, film: int
) -> Float[Tensor, " structure"]:
    """Return how much larger than Eq. 5's the crops of each structure must be: 1 where these hold its landmarks.

    Eq. 5 is made for lateral views; a vertebra seen from the front is wider than 3/2 of its spacing, and so is one with
    its spinous process. Where more than one complete structure of a class in twenty reaches out of its crop, the crops
    of this class are made large enough for all but that one, with a fifth to spare.

    Args:
        points: Of training films, in their pixels.
        structures: The schema's structures.
        film: Side of the (padded) films.
    """
    crops = structure_crops(structures.centres(points), structures, pixels=1, film=film)
    factors = torch.ones(len(structures.members))
    for alike in structures.classes:
        own = crops.pick(alike.positions)
        offsets = (points[:, alike.landmarks] - own.centre[:, :, None]).abs()
        outmost = offsets.amax(dim=(2, 3)) / own.size[..., 0] * 2
        known = outmost[outmost.isfinite()]
        reach = known.quantile(COVERED) if len(known) else torch.ones(())
        if reach > 1:
            factors[list(alike.positions)] = SPARE * reach
    return factors


def draw(known: Bool[Tensor, " crop"], count: int) -> Int[Tensor, " drawn"]:
    """Draw at most `count` crops at random, known ones first."""
    return (known + torch.rand(known.shape, device=known.device)).topk(min(count, len(known))).indices
