"""Every method, and the tiny schema of the contract."""

from __future__ import annotations

import pytest

from benchmark.contract.tiny_films import SCHEMA
from datamodules.base import LandmarkSchema
from methods import discover
from methods.base import Method


@pytest.fixture(scope="session")
def schema() -> LandmarkSchema:
    """Three vertebrae of four corners."""
    return SCHEMA


@pytest.fixture(params=sorted(discover()), scope="session")
def method_class(request: pytest.FixtureRequest) -> type[Method]:
    """Every discovered method in turn."""
    return discover()[request.param]
