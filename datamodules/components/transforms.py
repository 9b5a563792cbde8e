"""From a film to a network's input: crop, resize, augment, and the affine that leads back."""

from __future__ import annotations

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would call the network

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import albumentations as A
import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from datamodules.components.distortion import with_exact_points

Affine = Float[np.ndarray, "2 3"]
Interpolation = Literal["area", "bilinear"]

SMALLEST_AREA = 1e-6
"""Of the corners of an augmented film, as a share of the area they had: below it no affine leads back."""


@dataclass(frozen=True)
class InputSpec:
    """What a method wants to be fed.

    Args:
        size: (height, width) of the network's input.
        fit: `stretch` fills the input; `pad` keeps the aspect and fills up with black.
        preprocess: Image-only albumentations that always apply (CLAHE, blur), to the resized film before it is
            padded; cached with the film.
        augment: Albumentations for training films; mirrored films get their left and right names swapped.
        oracle_crop: Margin, as a share of the landmarks' bounding box, of a crop around the *true* landmarks,
            at test time too. It tells the method where to look: leaderboards show it. None reads the whole film.
        reads_truth: Whether the method itself looks at the true landmarks at test time, which leaderboards show alike.
        interpolation: How a film shrinks: `area` averages all of its pixels, `bilinear` takes the four nearest to each
            pixel of the input and leaves the others out, as OpenCV's default does.

    Raises:
        ValueError: A `preprocess` step has a probability below 1, so that it would not always apply.
    """

    size: tuple[int, int]
    fit: Literal["stretch", "pad"] = "stretch"
    preprocess: tuple[A.ImageOnlyTransform, ...] = ()
    augment: tuple[A.BasicTransform | A.BaseCompose, ...] = ()
    oracle_crop: float | None = None
    reads_truth: bool = False
    interpolation: Interpolation = "area"

    def __post_init__(self) -> None:
        """Refuse preprocessing that depends on chance."""
        for step in self.preprocess:
            if step.p < 1:
                raise ValueError(f"{step!r} is preprocessing and must always apply; give it p=1 or move it to augment.")

    @property
    def is_oracle(self) -> bool:
        """Whether true landmarks tell the method where to look."""
        return self.oracle_crop is not None or self.reads_truth

    @property
    def key(self) -> str:
        """A text that differs whenever the cached film would."""
        height, width = self.size
        steps = ";".join(repr(step) for step in self.preprocess)
        how = "" if self.interpolation == "area" else f"-{self.interpolation}"
        return f"{height}x{width}-{self.fit}-{steps}{how}"


class Box(NamedTuple):
    """A pixel rectangle: columns left..right-1, rows top..bottom-1."""

    left: int
    top: int
    right: int
    bottom: int


class FilmChange(NamedTuple):
    """What is done to a decoded film before a method's own crop, resize and preprocessing.

    Attributes:
        apply: Film to changed film, of the same size.
        to_original: The affine from pixels of the changed film to those of the film as it is stored.
    """

    apply: Callable[[UInt8[np.ndarray, "height width"]], UInt8[np.ndarray, "height width"]]
    to_original: Affine


def landmark_box(points: Float[np.ndarray, "landmark 2"], size: tuple[int, int], margin: float) -> Box:
    """Return the box around the visible points, widened by `margin` of its sides and clipped to the film.

    Falls back to the whole film where no landmark is visible.
    """
    height, width = size
    visible = points[np.isfinite(points).all(axis=1)]
    if not len(visible):
        return Box(0, 0, width, height)
    low, high = visible.min(axis=0), visible.max(axis=0)
    pad = margin * (high - low)
    left, top = np.floor(np.clip(low - pad, 0, (width - 2, height - 2))).astype(int)
    right, bottom = np.ceil(np.clip(high + pad + 1, (left + 2, top + 2), (width, height))).astype(int)
    return Box(int(left), int(top), int(right), int(bottom))


def _placement(box: Box, spec: InputSpec) -> tuple[int, int, int, int]:
    """Return (width, height, x offset, y offset) of the resized box inside the network's input."""
    height, width = spec.size
    if spec.fit == "stretch":
        return width, height, 0, 0
    scale = min(width / (box.right - box.left), height / (box.bottom - box.top))
    new_width = max(1, round((box.right - box.left) * scale))
    new_height = max(1, round((box.bottom - box.top) * scale))
    return new_width, new_height, (width - new_width) // 2, (height - new_height) // 2


def to_image_affine(box: Box, spec: InputSpec) -> Affine:
    """Return the affine from network pixels to original pixels, pixel centres at integers.

    Example:
        >>> to_image_affine(Box(0, 0, 20, 20), InputSpec(size=(10, 10))).tolist()
        [[2.0, 0.0, 0.5], [0.0, 2.0, 0.5]]
    """
    new_width, new_height, offset_x, offset_y = _placement(box, spec)
    scale_x = (box.right - box.left) / new_width
    scale_y = (box.bottom - box.top) / new_height
    shift_x = (0.5 - offset_x) * scale_x - 0.5 + box.left
    shift_y = (0.5 - offset_y) * scale_y - 0.5 + box.top
    return np.array([[scale_x, 0.0, shift_x], [0.0, scale_y, shift_y]])


def resize(film: UInt8[np.ndarray, "height width"], box: Box, spec: InputSpec) -> UInt8[np.ndarray, "h w"]:
    """Crop the film to `box`, resize it, apply the fixed preprocessing and fill up the network's input with black.

    A preprocessing step that draws its strength from a range (CLAHE's `clip_limit`, say) draws the same for every film.
    """
    new_width, new_height, offset_x, offset_y = _placement(box, spec)
    crop = film[box.top : box.bottom, box.left : box.right]
    shrinks = new_width <= crop.shape[1] and new_height <= crop.shape[0]
    averages = shrinks and spec.interpolation == "area"
    inner = cv2.resize(crop, (new_width, new_height), interpolation=cv2.INTER_AREA if averages else cv2.INTER_LINEAR)
    if spec.preprocess:
        inner = np.asarray(A.Compose(list(spec.preprocess), seed=0)(image=inner)["image"])
    image = np.zeros(spec.size, np.uint8)
    image[offset_y : offset_y + new_height, offset_x : offset_x + new_width] = inner
    return image


def invert_affine(affine: Affine) -> Affine:
    """Return the affine that undoes `affine`."""
    inverse = np.linalg.inv(affine[:, :2])
    return np.concatenate([inverse, -inverse @ affine[:, 2:]], axis=1)


def compose_affines(outer: Affine, inner: Affine) -> Affine:
    """Return the affine that applies `inner` first, then `outer`."""
    linear = outer[:, :2]
    return np.concatenate([linear @ inner[:, :2], linear @ inner[:, 2:] + outer[:, 2:]], axis=1)


def transform_points(affine: Affine, points: Float[np.ndarray, "landmark 2"]) -> Float[np.ndarray, "landmark 2"]:
    """Map points by a 2x3 affine; NaN stays NaN."""
    return np.asarray(points @ affine[:, :2].T + affine[:, 2])


class Augmented(NamedTuple):
    """A training film after augmentation: image, points, and the affine from new to old network pixels."""

    image: UInt8[np.ndarray, "height width"]
    points: Float[np.ndarray, "landmark 2"]
    affine: Affine


class Augmentation:
    """Albumentations over an image and its landmarks, safe for names and for missing points.

    Probe points travel with the landmarks. From where three corners land follows the affine. Whether the film was
    mirrored, whatever chain of flips, transposes and rotations did it, follows from small triangles all over the image;
    mirrored films get the landmarks of each flip pair exchanged. Distortions that are not affine (elastic, perspective)
    move image and landmarks alike, but `affine` only follows the corners; it is NaN where these leave no area. Every
    landmark carries its number, so that one that a step drops is missing and the others keep their names.
    """

    def __init__(self, spec: InputSpec, flip_index: tuple[int, ...]) -> None:
        """Build the pipeline of `spec.augment` for a schema's `flip_index`."""
        self.pipeline = A.Compose(
            [with_exact_points(step) for step in spec.augment],
            keypoint_params=A.KeypointParams(format="xy", label_fields=["number"], remove_invisible=False),
        )
        self.flip_index = np.array(flip_index)

    def __call__(
        self, image: UInt8[np.ndarray, "height width"], points: Float[np.ndarray, "landmark 2"], seed: int | None = None
    ) -> Augmented:
        """Return the augmented film; points may leave the image and stay visible.

        Args:
            image: The film.
            points: In its pixels.
            seed: Of all that is drawn; from torch's random state if not given.
        """
        self.pipeline.set_random_seed(int(torch.randint(2**31, ()).item()) if seed is None else seed)
        height, width = image.shape
        corners = np.array([[0.0, 0.0], [width - 1.0, 0.0], [0.0, height - 1.0]])
        given = np.concatenate([np.nan_to_num(points), corners, _triangles(width, height)])
        out = self.pipeline(image=image, keypoints=given, number=np.arange(len(given)))
        moved = np.full(given.shape, np.nan)
        moved[np.asarray(out["number"], int)] = np.asarray(out["keypoints"], np.float64)
        landmarks, corners, triangles = np.split(moved, [len(points), len(points) + 3])
        landmarks[~np.isfinite(points).all(axis=1)] = np.nan
        if _mirrored(triangles):
            landmarks = landmarks[self.flip_index]  # the left name goes to what is now on the left
        axes = (corners[1:] - corners[0]).T / (width - 1.0, height - 1.0)
        forward = np.concatenate([axes, corners[:1].T], axis=1)
        known = np.isfinite(axes).all() and abs(np.linalg.det(axes)) > SMALLEST_AREA
        affine = invert_affine(forward) if known else np.full((2, 3), np.nan)
        return Augmented(np.asarray(out["image"]), landmarks, affine)


def _triangles(width: int, height: int) -> Float[np.ndarray, "27 2"]:
    """Return nine triangles with sides of a pixel along x and y, spread over the image."""
    starts = [(width * x, height * y) for x in (1 / 6, 1 / 2, 5 / 6) for y in (1 / 6, 1 / 2, 5 / 6)]
    return np.array([(x + right, y + down) for x, y in starts for right, down in ((0, 0), (1, 0), (0, 1))])


def _mirrored(triangles: Float[np.ndarray, "27 2"]) -> bool:
    """Tell whether most triangles have turned over."""
    first, right, down = np.moveaxis(triangles.reshape(-1, 3, 2), 1, 0)
    (a, b), (c, d) = (right - first).T, (down - first).T
    areas = a * d - b * c
    return bool((areas < 0).sum() > (areas > 0).sum())
