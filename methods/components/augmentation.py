"""Augmentation that several methods share."""

from __future__ import annotations

import math
from typing import Any

import albumentations as A  # the library's own convention
import cv2
import numpy as np
from albumentations.augmentations.geometric.distortion import BaseDistortion
from jaxtyping import Float

from methods.base import Augmentation, LandmarkSchema


def rotation_and_contrast(rotation: float) -> Augmentation:
    """Turn half of the films by up to `rotation` degrees; change contrast and brightness of half by up to a fifth.

    Fard et al. 2022, Sec. IV-B, turn by 45 degrees and do not print the limits of contrast and brightness.
    """
    return (
        A.Rotate(limit=(-rotation, rotation), p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
    )


def mirror(schema: LandmarkSchema) -> Augmentation:
    """Mirror half of the films where the schema says which names trade places: a lateral film never is."""
    return (A.HorizontalFlip(p=0.5),) if schema.flips else ()


def payer(input_size: tuple[int, int]) -> Augmentation:
    """The augmentation of Payer et al., Medical Image Analysis 2019, by the numbers of their public code.

    Shift by up to 10 px of a 512 px input, rotation by up to .25 radians, scale of both axes by up to a fifth and of
    each axis by up to another fifth, an elastic deformation whose 5 x 5 nodes move by up to 10 px, and brightness and
    contrast by up to a quarter.

    Args:
        input_size: (height, width) of the network's input; pixels count for a width of 512.
    """
    height, width = input_size
    pixels = 10 * width / 512
    shift = {"x": (-pixels / width, pixels / width), "y": (-pixels / height, pixels / height)}
    turn = math.degrees(0.25)
    return (
        A.Affine(scale=(0.8, 1.2), keep_ratio=True, translate_percent=shift, rotate=(-turn, turn), p=1),
        A.Affine(scale={"x": (0.8, 1.2), "y": (0.8, 1.2)}, p=1),
        NodeElastic(nodes=5, reach=pixels, p=1),
        A.RandomBrightnessContrast(brightness_limit=0.25, contrast_limit=0.25, p=1),
    )


class NodeElastic(BaseDistortion):  # type: ignore[misc]  # the library has no types
    """Elastic deformation by a cubic B-spline over a grid of nodes, each of which moves on its own.

    Args:
        nodes: Along either side, at least 4; the outermost ones lie beyond the film.
        reach: Pixels by which a node moves along x and y at most.
        p: Probability of the deformation.
    """

    def __init__(self, nodes: int, reach: float, p: float = 0.5) -> None:
        super().__init__(
            interpolation=cv2.INTER_LINEAR,
            mask_interpolation=cv2.INTER_NEAREST,
            keypoint_remapping_method="direct",
            p=p,
        )
        self.nodes, self.reach = nodes, reach

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Return which place of the old image each pixel of the new one shows."""
        del data
        height, width = params["shape"][:2]
        moves = self.random_generator.uniform(-self.reach, self.reach, (2, self.nodes, self.nodes))
        across, down = (_spline(side, self.nodes) for side in (width, height))
        x, y = down @ moves @ across.T
        rows, columns = np.mgrid[:height, :width]
        return {"map_x": (columns + x).astype(np.float32), "map_y": (rows + y).astype(np.float32)}


def _spline(side: int, nodes: int) -> Float[np.ndarray, "side node"]:
    """Return the weight of every node in every pixel of a side: uniform cubic B-splines, whose weights sum to 1."""
    cells = nodes - 3
    place = (np.arange(side) + 0.5) / side * cells
    apart = np.abs(place[:, None] + 1 - np.arange(nodes))
    near, far = 2 / 3 - apart**2 + apart**3 / 2, (2 - apart) ** 3 / 6
    return np.where(apart < 1, near, np.where(apart < 2, far, 0.0))
