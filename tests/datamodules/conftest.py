"""Tiny datasets in their true layouts, written once per test session, and fresh copies to damage."""

import importlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Float, UInt8

from datamodules import discover


def write_tiny(name: str, root: Path) -> Path:
    """Write the tiny phantom of a dataset by its `tests/data/<name>.py`."""
    try:
        module = importlib.import_module(f"tests.data.{name}")
    except ModuleNotFoundError:
        pytest.fail(f"tests/data/{name}.py must exist and define write(root), a tiny {name} in its true layout")
    root.mkdir(parents=True, exist_ok=True)
    module.write(root)
    return root


@pytest.fixture(scope="session")
def tiny_roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The root of every dataset's tiny phantom."""
    return {name: write_tiny(name, tmp_path_factory.mktemp(name) / name) for name in discover()}


@pytest.fixture
def fresh(tiny_roots: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copy a tiny phantom, so that a test may damage it."""
    return lambda name: Path(shutil.copytree(tiny_roots[name], tmp_path / name))


def dots(size: tuple[int, int], points: Float[np.ndarray, "landmark 2"]) -> UInt8[np.ndarray, "height width"]:
    """Draw a soft bright dot on black at every point."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    squared = [(columns - x) ** 2 + (rows - y) ** 2 for x, y in points]
    return np.max(255 * np.exp(-np.array(squared) / 4.5), axis=0).round().astype(np.uint8)


def centroid(image: UInt8[np.ndarray, "height width"], near: Float[np.ndarray, " 2"]) -> Float[np.ndarray, " 2"]:
    """Return the (x, y) of the centre of brightness within 5 px of `near`; NaN where it is dark."""
    height, width = image.shape
    x, y = np.round(near).astype(int)
    rows, columns = np.mgrid[max(0, y - 5) : min(height, y + 6), max(0, x - 5) : min(width, x + 6)]
    light = image[rows, columns].astype(float)
    if light.sum() < 100:
        return np.array([np.nan, np.nan])
    return np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
