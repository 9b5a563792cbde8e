"""CLAHE on the device against OpenCV's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from methods.components.images.clahe import clahe


@pytest.mark.parametrize("limit", [2.0, 4.0])
@pytest.mark.parametrize("spread", [8, 80])
def test_clahe_gives_opencvs_grey_levels(limit: float, spread: int) -> None:
    rng = np.random.default_rng(spread)
    films = np.clip(rng.normal(100, spread, (2, 64, 128)), 0, 255).astype(np.uint8)
    films[:, :12] = 0  # the black border of a padded film
    equalized = clahe(torch.tensor(films)[:, None].float(), limit)[:, 0].round().numpy()
    expected = np.stack([cv2.createCLAHE(limit, (8, 8)).apply(film) for film in films])
    assert np.abs(equalized - expected).max() <= 1
    assert (equalized == expected).mean() > 0.99
    with pytest.raises(ValueError, match="8x8 tiles"):
        clahe(torch.zeros(1, 1, 60, 64))
