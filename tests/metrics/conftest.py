"""Random cases and the real films for the tests of the metrics."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.base import Anatomy, Cases

VERTEBRAE = 5


@pytest.fixture(scope="session")
def anatomy() -> Anatomy:
    """An anatomy that every metric supports."""
    return Anatomy(
        names=tuple(f"point{index}" for index in range(4 * VERTEBRAE)),
        groups={f"V{index}": tuple(range(4 * index, 4 * index + 4)) for index in range(VERTEBRAE)},
        normalizer=(0, 4 * VERTEBRAE - 2),
        radii=(2.0, 2.5, 4.0),
        unit="mm",
    )


def make_spines(count: int, seed: int = 0, missing: float = 0.0, sigma: float = 6.0) -> Cases:
    """Stack spines of tilted vertebrae with noisy predictions, anisotropic spacing and some points missing."""
    random = np.random.default_rng(seed)
    corners = np.array([[-30, -12], [30, -12], [-30, 12], [30, 12]], float)
    tilt = random.normal(0, 0.25, (count, VERTEBRAE))
    turn = np.stack([np.stack([np.cos(tilt), np.sin(tilt)], -1), np.stack([-np.sin(tilt), np.cos(tilt)], -1)], -2)
    centre = np.stack([200 + random.normal(0, 25, tilt.shape), 60 + 70 * np.indices(tilt.shape)[1]], -1)
    target = (corners @ turn + centre[:, :, None]).reshape(count, -1, 2)
    visible = random.random(target.shape[:2]) >= missing
    return Cases(
        points=torch.tensor(target + random.normal(0, sigma, target.shape)),
        target=torch.tensor(np.where(visible[..., None], target, np.nan)),
        visible=torch.tensor(visible),
        spacing=torch.tensor(random.uniform(0.1, 0.5, (count, 2))),
        size=torch.tensor(random.integers(400, 600, (count, 2)).astype(float)),
    )


@pytest.fixture(scope="session")
def spines() -> Callable[..., Cases]:
    """The maker of random cases."""
    return make_spines


@pytest.fixture(scope="session")
def aasce(real_data: Path) -> Path:
    """The folder of the real AASCE films, or a skip where it is absent."""
    root = real_data / "aasce"
    if not (root / "labels").is_dir():
        pytest.skip(f"The AASCE films are not at {root}; set OSTEOMARK_DATA to the folder that holds aasce/.")
    return root
