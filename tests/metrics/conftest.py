"""Random cases and the real films for the tests of the metrics."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.base import Anatomy, Cases

VERTEBRAE = 5
SPINE = Anatomy(
    names=tuple(f"point{index}" for index in range(4 * VERTEBRAE)),
    groups={f"V{index}": tuple(range(4 * index, 4 * index + 4)) for index in range(VERTEBRAE)},
    normalizer=(0, 4 * VERTEBRAE - 2),
    radii=(2.0, 2.5, 4.0),
    unit="mm",
)
LUMBAR = Anatomy(
    names=tuple(f"point{index}" for index in range(22)),
    groups={f"L{index + 1}": tuple(range(4 * index, 4 * index + 4)) for index in range(5)} | {"S1": (20, 21)},
    unit="mm",
)
SKULL_POINTS = {
    "sella": (300.0, 300.0),
    "nasion": (560.0, 270.0),
    "orbitale": (520.0, 370.0),
    "porion": (230.0, 380.0),
    "subspinale": (575.0, 500.0),
    "supramentale": (560.0, 640.0),
    "pogonion": (560.0, 700.0),
    "menton": (530.0, 735.0),
    "gnathion": (550.0, 725.0),
    "gonion": (310.0, 610.0),
    "lower-incisor-tip": (585.0, 570.0),
    "upper-incisor-tip": (592.0, 575.0),
    "posterior-nasal-spine": (410.0, 470.0),
    "anterior-nasal-spine": (590.0, 480.0),
}
"""A drawn head that faces right."""
SKULL = Anatomy(names=tuple(SKULL_POINTS), groups={}, unit="mm")


@pytest.fixture(scope="session")
def anatomy() -> Anatomy:
    """An anatomy that most metrics support."""
    return SPINE


def predicted(target: np.ndarray, random: np.random.Generator, missing: float, sigma: float) -> Cases:
    """Stack cases with noisy predictions and right covariances, anisotropic spacing and some points missing."""
    visible = random.random(target.shape[:2]) >= missing
    spread = random.uniform(0.2, 1.8, (*target.shape[:2], 1)) * sigma
    turned = np.linalg.qr(random.normal(size=(*target.shape[:2], 2, 2)))[0] * spread[..., None] * [1.1, 0.9]
    noise = (turned @ random.normal(size=(*target.shape, 1)))[..., 0]
    return Cases(
        points=torch.tensor(target + noise),
        target=torch.tensor(np.where(visible[..., None], target, np.nan)),
        visible=torch.tensor(visible),
        spacing=torch.tensor(random.uniform(0.1, 0.5, (len(target), 2))),
        size=torch.tensor(random.integers(400, 600, (len(target), 2)).astype(float)),
        covariance=torch.tensor(turned @ turned.swapaxes(-1, -2)),
        quantiles=torch.tensor([1.18, 2.15, 2.45], dtype=torch.float64).expand(*visible.shape, 3),
        centres=torch.full(target.shape, torch.nan, dtype=torch.float64),
        temperature=torch.tensor(random.uniform(0.8, 1.2, len(target[0]))).expand(visible.shape),
    )


def make_spines(count: int, seed: int = 0, missing: float = 0.0, sigma: float = 6.0) -> Cases:
    """Stack spines of tilted vertebrae."""
    random = np.random.default_rng(seed)
    corners = np.array([[-30, -12], [30, -12], [-30, 12], [30, 12]], float)
    tilt = random.normal(0, 0.25, (count, VERTEBRAE))
    turn = np.stack([np.stack([np.cos(tilt), np.sin(tilt)], -1), np.stack([-np.sin(tilt), np.cos(tilt)], -1)], -2)
    centre = np.stack([200 + random.normal(0, 25, tilt.shape), 60 + 70 * np.indices(tilt.shape)[1]], -1)
    target = (corners @ turn + centre[:, :, None]).reshape(count, -1, 2)
    return predicted(target, random, missing, sigma)


def make_lumbar(count: int, seed: int = 0, missing: float = 0.0, sigma: float = 6.0) -> Cases:
    """Stack lumbar spines: five vertebrae and a sacrum's end plate that slopes to the right."""
    random = np.random.default_rng(seed)
    spines = make_spines(count, seed).target.numpy()
    plate = spines[:, 18:20] + [0, 45] + [[0, 0], [0, 40]] + random.normal(0, 5, (count, 2, 2))
    return predicted(np.concatenate([spines, plate], axis=1), random, missing, sigma)


def make_skulls(count: int, seed: int = 0, missing: float = 0.0, sigma: float = 60.0) -> Cases:
    """Stack heads."""
    random = np.random.default_rng(seed)
    template = np.array(list(SKULL_POINTS.values()))
    return predicted(template + random.normal(0, 12, (count, *template.shape)), random, missing, sigma)


ANATOMIES = ((SPINE, make_spines), (LUMBAR, make_lumbar), (SKULL, make_skulls))
"""One for every metric: the first that it supports."""


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
