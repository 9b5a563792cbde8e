"""What PoseNet and its four rivals share: one paper, one augmentation (Fard et al., IEEE Access 2022)."""

from __future__ import annotations

import albumentations as A  # the library's own convention

from methods.base import Paper


def paper(*differs: str) -> Paper:
    """Return the paper's card with one method's deviations.

    Its numbers are of a private cervical set, so none stands beside a row of ours; see `leaderboards/reported.yaml`.
    """
    return Paper(
        "Sagittal Cervical Spine Landmark Point Detection in X-Ray Using Deep Convolutional Neural Networks",
        "Fard et al.",
        2022,
        "https://doi.org/10.1109/ACCESS.2022.3180028",
        differs=differs,
    )


WHOLE_FILM = "The whole film is read; the paper crops every film to its true landmarks (oracle_crop=0.0 does so here)."


def augmentation(rotation: float) -> tuple[A.BasicTransform, ...]:
    """Rotation by up to `rotation` degrees (45 in Sec. IV-B), contrast and brightness (limits not given there)."""
    return (
        A.Rotate(limit=(-rotation, rotation), p=0.5),
        A.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
    )
