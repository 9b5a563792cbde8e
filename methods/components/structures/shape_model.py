"""What a set of shapes has in common: their mean, and the principal axes of their offsets."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def mean_shape(shapes: Float[Tensor, "case point 2"], unseen: Float[Tensor, "point 2"]) -> Float[Tensor, "point 2"]:
    """Average each point over the cases that have it (NaN: missing); a point that no case has takes its `unseen`.

    Example:
        >>> mean_shape(torch.tensor([[[1.0, 2.0]], [[torch.nan, torch.nan]], [[3.0, 2.0]]]), torch.zeros(1, 2)).tolist()
        [[2.0, 2.0]]
    """
    mean = shapes.nanmean(dim=0)
    return torch.where(mean.isnan(), unseen.to(mean), mean)


def second_moments(offsets: Float[Tensor, "case coordinate"]) -> Float[Tensor, "coordinate coordinate"]:
    """Return the offsets' moments about zero in double precision, Eq. 2 of Wang et al. with the mean over the cases.

    Not about their mean, since a projection on the axes adds none. A missing coordinate is NaN; each moment is averaged
    over the cases that have both of its coordinates, so that a case with missing points still counts with its others.
    """
    offsets = offsets.cpu()
    known, moved = offsets.isfinite().double(), offsets.double().nan_to_num(0.0)
    return moved.T @ moved / (known.T @ known).clamp(min=1)


def principal_axes(moments: Float[Tensor, "coordinate coordinate"], count: int) -> Float[Tensor, "axis coordinate"]:
    """Return the `count` orthonormal axes along which offsets of these moments differ most from zero, longest first.

    An axis points to where its largest coordinate is positive. Fewer cases than axes leave the last ones arbitrary.
    """
    axes: Tensor = torch.linalg.eigh(moments).eigenvectors.T.flip(0)[:count]
    return axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()


class OffsetAxes(nn.Module):
    """The transition matrix W of Wang et al. (Eq. 4): a few numbers stand for the offsets of many points.

    `scale` is the root mean square of each component over the cases of `fit`.

    Args:
        points: How many points a shape has.
        components: How many axes are kept, at most two per point; 0 keeps every coordinate as it is, without PCA.
    """

    axes: Tensor
    scale: Tensor

    def __init__(self, points: int, components: int) -> None:
        super().__init__()
        self.identity = components == 0
        self.register_buffer("axes", torch.eye(2 * points)[: components or None].clone())
        self.register_buffer("scale", torch.ones(len(self.axes)))

    def fit(self, offsets: Float[Tensor, "case point 2"]) -> None:
        """Learn the axes from offsets, NaN where a point is missing."""
        moments = second_moments(offsets.flatten(1))
        if not self.identity:
            self.axes.copy_(principal_axes(moments, len(self.axes)))
        axes = self.axes.double().cpu()
        self.scale.copy_((axes @ moments * axes).sum(dim=1).clamp(min=0).sqrt())

    def encode(self, offsets: Float[Tensor, "batch point 2"]) -> Float[Tensor, "batch component"]:
        """Project offsets on the axes (Eq. 5)."""
        return offsets.flatten(1) @ self.axes.T

    def decode(self, components: Float[Tensor, "batch component"]) -> Float[Tensor, "batch point 2"]:
        """Return the offsets that components stand for (Eq. 10)."""
        return (components @ self.axes).view(components.shape[0], -1, 2)
