"""What every test may rely on: no network, no tracking, one thread, fixed seeds, and real films where they are."""

import os

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # albumentations calls the network when it is imported
os.environ["WANDB_MODE"] = "disabled"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # for worker processes that tests start

import random
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)
hypothesis.settings.register_profile("osteomark", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("osteomark")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that asks for real films, so that ``-m "not real"`` leaves them out."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.real)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that holds the real datasets: ``OSTEOMARK_DATA``, else ``../shared/data`` beside the repository."""
    root = Path(os.environ.get("OSTEOMARK_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real films: {root} does not exist; set OSTEOMARK_DATA to the folder that holds the datasets")
    return root
