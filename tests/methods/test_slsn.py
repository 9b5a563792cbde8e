"""SLSN: fields, pairing, and a round trip from truth to maps to points."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark.contract.tiny_films import build, make_samples
from datamodules.base import LandmarkSchema
from datamodules.components.samples import collate
from methods.components.structures.group_classes import mean_structure
from methods.components.structures.limbs import limb_scores, limb_tree, line_field, pair
from methods.slsn import SLSN, LadderShuffleNet, ShuffleUnit

UNGROUPED = LandmarkSchema(("tip", "base", "edge"))
MIXED = LandmarkSchema(("L5-l", "L5-r", "S1-l", "S1-r", "tip"), groups={"L5": ("L5-l", "L5-r"), "S1": ("S1-l", "S1-r")})


def _spine() -> LandmarkSchema:
    vertebrae = tuple(f"V{v}" for v in range(5))
    groups = {v: tuple(f"{v}-{c}" for c in ("TL", "TR", "BL", "BR")) for v in vertebrae}
    return LandmarkSchema(tuple(name for group in groups.values() for name in group), groups=groups)


def _points(schema: LandmarkSchema, films: int = 2) -> Tensor:
    """Tilted vertebrae, each nearer to the next one than it is high; other schemas simply go downwards."""
    noise = torch.rand(films, len(schema), 2, generator=torch.Generator().manual_seed(2))
    if len(schema) != 20:
        return torch.stack([torch.full((len(schema),), 30.0), torch.linspace(12, 110, len(schema))], -1) + 3 * noise
    box = torch.tensor([[0.0, 0.0], [26.0, 4.0], [0.0, 14.0], [26.0, 18.0]])
    steps = torch.stack([15 + 2 * torch.arange(5.0), 8 + 21 * torch.arange(5.0)], dim=-1)
    return (steps[:, None] + box).flatten(0, 1) + 2 * noise


def _line(start: np.ndarray, end: np.ndarray, size: tuple[int, int], thickness: float) -> np.ndarray:
    """Distance from every pixel to the segment, as the least to densely sampled points on it."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    along = start + np.linspace(0, 1, 2001)[:, None] * (end - start)
    distance = np.hypot(columns[..., None] - along[:, 0], rows[..., None] - along[:, 1]).min(axis=-1)
    assert np.abs(distance - thickness / 2).min() > 1e-3  # no pixel is a matter of rounding
    return np.asarray(distance <= thickness / 2)


def test_a_field_is_one_within_half_the_thickness_of_the_limb_whatever_its_direction() -> None:
    start, end = np.array([3.23, 4.17]), np.array([15.71, 9.36])
    there = line_field(torch.tensor(start)[None, None], torch.tensor(end)[None, None], (16, 20), 3.0)
    back = line_field(torch.tensor(end)[None, None], torch.tensor(start)[None, None], (16, 20), 3.0)
    assert np.array_equal(there[0, 0].numpy() > 0, _line(start, end, (16, 20), 3.0))
    assert torch.equal(there, back)


def test_a_limb_with_a_missing_end_is_not_drawn() -> None:
    missing = torch.tensor([[[torch.nan, torch.nan]]])
    assert line_field(torch.ones(1, 1, 2), missing, (8, 8), 3.0).sum() == 0


@pytest.mark.parametrize("turn", [0, 20, 90])
def test_limbs_lie_across_the_axis_and_start_where_an_earlier_one_ended(turn: float) -> None:
    angle = np.radians(turn)
    rotation = torch.tensor([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).float()
    vertebra = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 6.0], [9.0, 6.0]])  # TL, TR, BL, BR
    limbs = limb_tree(vertebra @ rotation, torch.tensor([0.0, 1.0]) @ rotation)
    assert limbs.tolist() == [[0, 1], [0, 3], [3, 2]]


def test_the_mean_structure_leaves_out_structures_with_a_missing_landmark() -> None:
    method = SLSN(MIXED, **SLSN.smoke)
    sample = make_samples(method, count=1, missing=0)[0]
    points = torch.tensor([[0.0, 0.0], [4.0, 2.0], [10.0, 10.0], [torch.nan, torch.nan], [5.0, 5.0]])
    kind, tip = method.classes
    assert mean_structure(kind, [sample._replace(points=points)]).tolist() == [[-2.0, -1.0], [2.0, 1.0]]
    assert mean_structure(kind, [sample._replace(points=points * torch.nan)]).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert mean_structure(tip, [sample._replace(points=points)]).tolist() == [[0.0, 0.0]]


def test_one_landmark_has_no_limb_and_equal_ones_still_make_a_tree() -> None:
    assert limb_tree(torch.zeros(1, 2), torch.tensor([0.0, 1.0])).shape == (0, 2)
    assert sorted(limb_tree(torch.zeros(3, 2), torch.tensor([0.0, 1.0]))[:, 1].tolist()) == [1, 2]


def test_a_score_is_the_mean_of_the_field_along_the_segment() -> None:
    field = torch.arange(12.0).expand(1, 9, 12)  # grows with x alone
    score = limb_scores(field, torch.tensor([[[2, 3]]]), torch.tensor([[[8, 5], [2, 8]]]))
    torch.testing.assert_close(score, torch.tensor([[[5.0, 2.0]]]))


def test_pairs_are_one_to_one_with_the_highest_total() -> None:
    scores = torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(1))
    for score, found in zip(scores, pair(scores), strict=True):
        best = max(itertools.permutations(range(5)), key=lambda order: sum(score[i, j] for i, j in enumerate(order)))
        assert tuple(found.tolist()) == best


@pytest.mark.parametrize("codec", ["quadratic", "dark", "soft-argmax", "argmax"])
@pytest.mark.parametrize("schema", [_spine(), UNGROUPED, MIXED])
def test_true_maps_and_fields_give_the_true_points_back(
    schema: LandmarkSchema, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    method = SLSN(schema, **{**SLSN.smoke, "input_size": (128, 64), "codec": codec, "thickness": 3.0})
    samples = make_samples(method, count=2, missing=0)
    points = _points(schema)
    method.prepare([sample._replace(points=p) for sample, p in zip(samples, points, strict=True)])
    limbs = torch.split(method.limbs, method.limb_counts)
    truths = [method._truth(points[:, kind], own) for kind, own in zip(method.classes, limbs, strict=True)]
    output = torch.cat([truth[0] for truth in truths], 1), torch.cat([truth[2] for truth in truths], 1)
    monkeypatch.setattr(method, "forward", lambda _: output)
    prediction = method.predict(collate(samples))
    tolerance = 0.51 if codec == "argmax" else 0.05
    torch.testing.assert_close(prediction.points, points, atol=tolerance, rtol=0)
    assert prediction.covariance is not None
    if len(schema) != 20 and codec != "argmax":  # apart from each other: every point has its map's own covariance
        torch.testing.assert_close(
            prediction.covariance, 4 * torch.eye(2).expand(2, len(schema), 2, 2), atol=0.2, rtol=0
        )


def test_a_map_with_a_missing_point_counts_near_its_visible_points_only(schema: LandmarkSchema) -> None:
    method = build(SLSN, schema)
    assert isinstance(method, SLSN)
    points = make_samples(method, count=1, missing=0)[0].points[None, list(method.classes[0])].clone()
    points[0, 0, 1] = torch.nan
    maps, counted, fields, linked = method._truth(points, method.limbs[: method.limb_counts[0]])
    assert counted[0, [0, 2, 3]].all()
    assert torch.equal(counted[0, 1], maps[0, 1] > 0.01)
    assert linked[0, [1, 2]].all()
    assert torch.equal(linked[0, 0], fields[0, 0] > 0)


def test_a_unit_of_stride_1_passes_half_its_channels_and_shuffles() -> None:
    unit = ShuffleUnit(8, 8, resize=False, up=False).eval()
    features = torch.randn(1, 8, 6, 6)
    output = unit(features)
    torch.testing.assert_close(output[:, ::2], features[:, :4])
    torch.testing.assert_close(output[:, 1::2], unit.main(features[:, 4:]))


@pytest.mark.parametrize(("up", "side"), [(False, 4), (True, 16)])
def test_a_resizing_unit_halves_or_doubles_the_resolution(up: bool, side: int) -> None:
    assert ShuffleUnit(6, 10, resize=True, up=up)(torch.randn(2, 6, 8, 8)).shape == (2, 10, side, side)


def test_the_ladder_answers_at_the_films_size_and_refuses_odd_ones() -> None:
    network = LadderShuffleNet(7, width=4, deepest=16, repeats=(1, 1, 1, 1))
    assert network(torch.zeros(1, 1, 48, 32)).shape == (1, 7, 48, 32)
    with pytest.raises(ValueError, match="divide by 16"):
        network(torch.zeros(1, 1, 40, 32))
