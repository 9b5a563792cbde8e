"""Handcrafted features of a whole film, for regressors from before deep learning: HOG and its principal components."""

from __future__ import annotations

import math
from typing import Final

import torch
from jaxtyping import Float, UInt8
from sklearn.decomposition import PCA
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, normalize, pad, unfold

from methods.components.images.intensity import grey

CELL: Final = 8
ORIENTATIONS: Final = 9
BLOCK: Final = 2
CLIP: Final = 0.2


def hog(image: UInt8[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch feature"]:
    """Histograms of oriented gradients (Dalal and Triggs, CVPR 2005).

    Unsigned central-difference gradients vote with their magnitude for the two nearest of 9 orientations in cells of
    8x8 pixels; overlapping blocks of 2x2 cells are normalised by L2-Hys: L2, clipped at .2, L2 again. A cell has 8x8
    pixels at every size of the films, so that larger films have more features.

    Args:
        image: Films whose sides divide by 8.
    """
    votes = _orientation_votes(grey(image))
    blocks = unfold(avg_pool2d(votes, CELL), BLOCK)
    clipped = normalize(blocks, dim=1, eps=1e-3).clamp(max=CLIP)
    return normalize(clipped, dim=1, eps=1e-3).flatten(1)


def _orientation_votes(film: Float[Tensor, "batch 1 height width"]) -> Tensor:
    """Return each pixel's gradient magnitude, shared out between the two nearest orientations."""
    padded = pad(film, (1, 1, 1, 1), mode="replicate")
    dx = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    dy = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    magnitude, angle = torch.hypot(dx, dy), torch.atan2(dy, dx).remainder(math.pi)
    position = angle / math.pi * ORIENTATIONS - 0.5
    lower = position.floor()
    upper_share = position - lower
    bins = lower.long() % ORIENTATIONS
    votes = film.new_zeros(film.shape[0], ORIENTATIONS, *film.shape[-2:])
    votes.scatter_add_(1, bins, magnitude * (1 - upper_share))
    return votes.scatter_add_(1, (bins + 1) % ORIENTATIONS, magnitude * upper_share)


class FilmFeatures(nn.Module):
    """The whitened principal components of a film's HOG, fitted once and kept in buffers.

    Args:
        size: (height, width) of the films.
        components: How many; those that the films are too few for stay 0.

    Raises:
        ValueError: A side of the film does not divide by the cell's.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, size: tuple[int, int], components: int) -> None:
        super().__init__()
        if size[0] % CELL or size[1] % CELL:
            raise ValueError(f"the film's sides {tuple(size)} must divide by {CELL}, the side of a HOG cell.")
        cells = (size[0] // CELL - BLOCK + 1) * (size[1] // CELL - BLOCK + 1)
        length = cells * ORIENTATIONS * BLOCK**2
        self.components = components
        self.register_buffer("mean", torch.zeros(length))
        self.register_buffer("basis", torch.zeros(components, length))

    def fit(self, image: UInt8[Tensor, "film 1 height width"]) -> Float[Tensor, "film component"]:
        """Learn the components from the training films and return these films' features."""
        features = hog(image)
        self.basis.zero_()
        self.mean.copy_(features.mean(dim=0))
        count = min(self.components, len(features) - 1)
        if count > 0:
            pca = PCA(count, svd_solver="full").fit(features.double().numpy())
            spread = torch.from_numpy(pca.explained_variance_).sqrt()
            axes = torch.from_numpy(pca.components_) / spread.clamp(min=1e-4 * spread[0] + 1e-12)[:, None]
            self.basis[:count] = axes.float()
        projected: Tensor = self(image)
        return projected

    def forward(self, image: UInt8[Tensor, "batch 1 height width"]) -> Float[Tensor, "batch component"]:
        """Return the films' components, in full precision under autocast too."""
        with torch.autocast(image.device.type, enabled=False):
            return (hog(image) - self.mean) @ self.basis.mT
