"""Lengths in pixels follow the size that they are counted in, in plain Python as in a matrix."""

import math
from typing import Annotated

import pytest

from methods.components.lengths import Follows, Pixels, ResolvesLengths, lengths, resolve


class Network(metaclass=ResolvesLengths):
    def __init__(
        self,
        schema: str,
        input_size: tuple[int, int] = (800, 640),
        crop: Annotated[int, Follows("input_size")] = 128,
        sigma: Pixels = 10.0,
        within: Annotated[float, Follows("crop")] = 4.0,
        thin: Pixels = 0.5,
        alpha: float = 40.0,
    ) -> None:
        self.found = (crop, sigma, within, thin, alpha)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, (128, 10.0, 4.0, 0.5, 40.0)),
        ({"input_size": (400, 320)}, (64, 5.0, 2.0, 0.5, 40.0)),
        ({"input_size": [192, 160]}, (31, 2.45, 1.0, 0.5, 40.0)),
        ({"input_size": (200, 640)}, (64, 5.0, 2.0, 0.5, 40.0)),  # the geometric mean of both sides
        ({"input_size": (1600, 1280)}, (256, 20.0, 8.0, 1.0, 40.0)),
        ({"input_size": (400, 320), "crop": 128}, (128, 5.0, 4.0, 0.5, 40.0)),
        ({"input_size": (400, 320), "sigma": 10.0}, (64, 10.0, 2.0, 0.5, 40.0)),
        ({"crop": 32}, (32, 10.0, 1.0, 0.5, 40.0)),
        ({"input_size": (8, 8)}, (1, 1.0, 1.0, 0.5, 40.0)),  # a pixel is the least that a map can show
    ],
)
def test_what_is_not_given_follows_its_size(given: dict, found: tuple) -> None:
    assert Network("spine", **given).found == pytest.approx(found, rel=1e-3)


def test_a_position_gives_a_value_too() -> None:
    assert Network("spine", (400, 320), 50).found == (50, 5.0, pytest.approx(4 * 50 / 128, rel=1e-2), 0.5, 40.0)


def test_a_wrong_name_is_refused_as_any_function_does() -> None:
    with pytest.raises(TypeError, match="sgima"):
        Network("spine", sgima=3.0)


def test_a_length_belongs_to_the_size_beside_it() -> None:
    own = {"input_size": (512, 512), "sigma": 10.0}
    assert resolve(Network, own, {"input_size": (128, 128)})["sigma"] == 2.5
    assert resolve(Network, own, {}) == own


def test_an_unchanged_size_changes_no_value_at_all() -> None:
    own = {"input_size": (3, 7), "sigma": math.pi}
    assert resolve(Network, own, {"input_size": (3, 7)})["sigma"] == math.pi


def test_lengths_are_those_marked() -> None:
    assert lengths(Network) == {"crop": "input_size", "sigma": "input_size", "within": "crop", "thin": "input_size"}
