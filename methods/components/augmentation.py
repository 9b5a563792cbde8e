"""Augmentation that several methods share."""

from __future__ import annotations

import albumentations as A  # the library's own convention

from methods.base import Augmentation


def rotation_and_contrast(rotation: float) -> Augmentation:
    """Turn half of the films by up to `rotation` degrees; change contrast and brightness of half by up to a fifth.

    Fard et al. 2022, Sec. IV-B, turn by 45 degrees and do not print the limits of contrast and brightness.
    """
    return (
        A.Rotate(limit=(-rotation, rotation), p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
    )
