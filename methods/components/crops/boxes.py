"""Upright rectangles of a film, cut on the device and stretched to one size, and fractions of their sides."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn.functional import grid_sample


class Boxes(NamedTuple):
    """Rectangles; fractions run from 0 at a rectangle's left or upper edge to 1 at the other.

    Coordinates are mapped without matrix products, which half precision would round to several pixels.

    Attributes:
        centre: (x, y) in film pixels.
        size: (width, height) in film pixels.
    """

    centre: Float[Tensor, "batch box 2"]
    size: Float[Tensor, "batch box 2"]

    @classmethod
    def whole(cls, film: Num[Tensor, "batch channel height width"]) -> Boxes:
        """Return one box per film: all of it, from the outer edges of its pixels."""
        size = torch.tensor([film.shape[-1], film.shape[-2]], device=film.device, dtype=torch.float32)
        size = size.expand(len(film), 1, 2)
        return cls((size - 1) / 2, size)

    @classmethod
    def around(cls, low: Float[Tensor, "batch box 2"], high: Float[Tensor, "batch box 2"]) -> Boxes:
        """Return the boxes between two opposite corners."""
        return cls((low + high) / 2, high - low)

    def widen(self, before: Tensor | float, behind: Tensor | float) -> Boxes:
        """Widen every box by shares of its sides, `before` at the left and top, `behind` at the right and bottom."""
        return Boxes.around(self.centre - (0.5 + before) * self.size, self.centre + (0.5 + behind) * self.size)

    def pick(self, boxes: list[int]) -> Boxes:
        """Return some of the boxes, in this order, as often as they are named."""
        return Boxes(self.centre[:, boxes], self.size[:, boxes])

    def to_film(self, fractions: Float[Tensor, "batch box *point 2"]) -> Float[Tensor, "batch box *point 2"]:
        """Map fractions of the boxes to film pixels.

        Example:
            >>> boxes = Boxes(torch.tensor([[[4.5, 9.5]]]), torch.tensor([[[10.0, 20.0]]]))
            >>> boxes.to_film(torch.tensor([[[0.0, 1.0]]]))
            tensor([[[-0.5000, 19.5000]]])
        """
        centre, size = self._for(fractions)
        return centre + (fractions - 0.5) * size

    def to_fractions(self, points: Float[Tensor, "batch box *point 2"]) -> Float[Tensor, "batch box *point 2"]:
        """Map film pixels to fractions of the boxes."""
        centre, size = self._for(points)
        return (points - centre) / size + 0.5

    def cut(
        self, film: Num[Tensor, "batch 1 height width"], size: tuple[int, int]
    ) -> Float[Tensor, "batch box height width"]:
        """Read the boxes from the films at `size` (height, width), bilinearly, black outside of the films."""
        height, width = size
        across = (torch.arange(width, device=film.device) + 0.5) / width
        down = (torch.arange(height, device=film.device) + 0.5) / height
        y, x = torch.meshgrid(down, across, indexing="ij")
        pixels = torch.stack([x, y], dim=-1).flatten(0, 1).expand(*self.size.shape[:2], -1, 2)
        limit = torch.tensor([film.shape[-1], film.shape[-2]], device=film.device)
        grid = (2 * self.to_film(pixels) + 1) / limit - 1
        cut = grid_sample(film.to(grid.dtype), grid, padding_mode="zeros", align_corners=False)
        return cut[:, 0].view(*self.size.shape[:2], height, width)

    def _for(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Give centre and size a dimension for points where the points have one."""
        if points.ndim == self.centre.ndim:
            return self.centre, self.size
        return self.centre[:, :, None], self.size[:, :, None]
