"""Networks against the numbers that their papers print."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmark.training.measure import count_flops
from datamodules.base import LandmarkSchema, Sample
from datamodules.components.samples import collate
from methods import discover
from methods.components.images.intensity import equalize
from methods.posenet import PoseNetwork

CERVICAL = LandmarkSchema(tuple(f"p{i}" for i in range(29)))
SPACE = (torch.ones(2), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
"""Spacing and affine of a film at the size of the input."""


@pytest.mark.parametrize(
    ("name", "keras"), [("posenet", 23_226_269), ("mnv2-hm", 6_398_045), ("res50-hm", 29_497_245), ("mean_shape", 0)]
)
def test_parameters_counted_as_keras_does_are_the_papers(name: str, keras: int) -> None:
    method = discover()[name]
    assert method(CERVICAL, **method.variants[name]).parameter_counts()["keras"] == keras


def test_posenet_costs_the_papers_multiply_adds() -> None:
    network = PoseNetwork(29).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        heatmap = network(torch.zeros(1, 3, 256, 128))
    assert heatmap.shape == (1, 29, 64, 32)
    assert counter.get_total_flops() / 2 == pytest.approx(596_375_552, rel=0.002)  # Table 6


def _multiply_adds(name: str) -> float:
    kind = discover()[name]
    decoder = {"codec": "argmax"} if name.endswith("-hm") else {}  # DARK smooths the map: no part of the network
    method = kind(CERVICAL, **{**kind.variants[name], **decoder})
    film = Sample("a", torch.zeros(1, 256, 128, dtype=torch.uint8), torch.zeros(29, 2), torch.ones(29).bool(), *SPACE)
    return count_flops(method, collate([film])) / 2


@pytest.mark.parametrize(("name", "printed"), [("mnv2-hm", 683_025_408), ("res50-hm", 3_066_262_528)])
def test_the_heatmap_rivals_cost_the_papers_multiply_adds(name: str, printed: float) -> None:
    assert _multiply_adds(name) == pytest.approx(printed, rel=0.002)  # Table 6; timm's ResNet-50 would need 3.213e9


@pytest.mark.parametrize(("name", "channels"), [("mnv2", 1280), ("res50", 2048)])
def test_the_coordinate_rivals_cost_as_much_less_as_their_decoder(name: str, channels: int) -> None:
    deconvolutions = 9 * 256 * (8 * 4 * channels + 16 * 8 * 256 + 32 * 16 * 256)
    decoder, linear = deconvolutions + 64 * 32 * 256 * 29, channels * 58
    assert _multiply_adds(name) == _multiply_adds(f"{name}-hm") - decoder + linear


def test_posenet_refuses_a_size_that_it_cannot_halve_seven_times() -> None:
    with pytest.raises(ValueError, match="divide by 128"):
        PoseNetwork(1, width=2)(torch.zeros(1, 3, 200, 128))


def test_equalize_is_the_classical_formula() -> None:
    image = torch.randint(0, 200, (2, 1, 32, 16), dtype=torch.uint8)
    for film, equalized in zip(image[:, 0], equalize(image)[:, 0], strict=True):
        cumulative = torch.bincount(film.flatten().long(), minlength=256).cumsum(0)
        lowest = cumulative[film.min().long()]
        expected = (cumulative[film.long()] - lowest) / (film.numel() - lowest)
        torch.testing.assert_close(equalized, expected.float())


def test_equalize_keeps_a_blank_film_finite() -> None:
    assert equalize(torch.full((1, 1, 4, 4), 9, dtype=torch.uint8)).isfinite().all()
