"""The vertebra-focused detector: its count, its loss, and a round trip from truth to fields to points."""

from __future__ import annotations

import math

import albumentations as A
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmark.contract.tiny_films import build, make_samples
from datamodules.base import Batch, LandmarkSchema
from datamodules.components.samples import collate
from datamodules.components.transforms import Augmentation, InputSpec
from methods.components.heatmap import highest_peaks, to_heatmap_grid, windows
from methods.components.losses import focal
from methods.components.structures.group_classes import group_classes
from methods.vertebra_focused import Combination, Fields, VertebraFocused, _sigma

SPINE = tuple(f"V{v}" for v in range(17))
AASCE = LandmarkSchema(
    tuple(f"{v}-{c}" for v in SPINE for c in "abcd"), groups={v: tuple(f"{v}-{c}" for c in "abcd") for v in SPINE}
)
UNGROUPED = LandmarkSchema(("tip", "base", "edge"))
MIXED = LandmarkSchema(("L5-l", "L5-r", "S1-l", "S1-r", "tip"), groups={"L5": ("L5-l", "L5-r"), "S1": ("S1-l", "S1-r")})


def _method(schema: LandmarkSchema) -> VertebraFocused:
    method = build(VertebraFocused, schema)
    assert isinstance(method, VertebraFocused)
    return method


def _spine(method: VertebraFocused, missing: float = 0.0) -> Batch:
    """Films whose groups follow each other downwards."""
    batch = collate(make_samples(method, count=3, missing=missing))
    points = batch.points.clone()
    points[..., 1] = torch.linspace(8, 55, points.shape[1]) + points[..., 1] / 50
    return batch._replace(points=points, visible=points.isfinite().all(dim=-1))


def _perfect(method: VertebraFocused, batch: Batch) -> list[Fields]:
    """Fields that say the truth at every pixel near a centre."""
    fields = []
    for kind in method.classes:
        truth = method._targets(batch, kind)
        centre = truth.pixel + truth.offset
        size = truth.heatmap.shape
        offset, corners = torch.zeros(size[0], 2, *size[1:]), torch.zeros(size[0], truth.corners.shape[2], *size[1:])
        for film in range(size[0]):
            for place, to, vectors in zip(truth.pixel[film], centre[film], truth.corners[film], strict=True):
                offset[film, :, place[1], place[0]] = to - place
                corners[film, :, place[1], place[0]] = vectors
        fields.append(Fields((truth.heatmap * 20 - 10), offset, corners if len(kind[0]) > 1 else corners[:, :0]))
    return fields


def test_it_has_the_papers_24_million_parameters_on_the_spine() -> None:
    method = VertebraFocused(AASCE)
    assert method.parameter_counts()["trainable"] == 24_207_307
    assert round(method.parameter_counts()["trainable"] / 1e6, 2) == 24.21  # Table II of Wang et al., 2022


@pytest.mark.parametrize("schema", [AASCE, UNGROUPED, MIXED])
def test_perfect_fields_give_the_true_points_back(schema: LandmarkSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    method = _method(schema)
    method.input_size = (256, 128)
    samples = make_samples(method, count=3, missing=0)
    batch = collate(samples)
    points = batch.points.clone()
    points[..., 1] = torch.linspace(12, 240, points.shape[1]) + points[..., 1] / 100
    batch = batch._replace(points=points)
    method.prepare([s._replace(points=p) for s, p in zip(samples, points, strict=True)])
    fields = _perfect(method, batch)
    monkeypatch.setattr(method, "forward", lambda _: fields)
    torch.testing.assert_close(method.predict(batch).points, points, atol=1e-3, rtol=0)


def test_a_class_follows_from_the_size_of_groups() -> None:
    assert [len(kind) for kind in group_classes(AASCE)] == [17]
    assert group_classes(UNGROUPED) == (((0,),), ((1,),), ((2,),))
    assert group_classes(MIXED) == (((0, 1), (2, 3)), ((4,),))


def test_a_schema_of_single_points_has_no_corner_head() -> None:
    method = _method(UNGROUPED)
    assert method.network.corners is None
    assert method.loss(collate(make_samples(method))).isfinite()


def test_focal_loss_has_the_values_of_the_equation() -> None:
    truth = torch.tensor([[[[1.0, 0.5, 0.0]]]]).double()
    logits = torch.tensor([[[[0.3, -0.7, 1.1]]]]).double()
    p = [1 / (1 + math.exp(-z)) for z in (0.3, -0.7, 1.1)]
    expected = -((1 - p[0]) ** 2 * math.log(p[0]))
    expected -= 0.5**4 * p[1] ** 2 * math.log(1 - p[1]) + p[2] ** 2 * math.log(1 - p[2])
    assert focal(logits, truth, torch.ones_like(truth, dtype=torch.bool)).item() == pytest.approx(expected)


def test_focal_loss_is_divided_by_the_number_of_centres() -> None:
    truth, logits = torch.tensor([[[[1.0, 0.0]]]]), torch.randn(1, 1, 1, 2)
    counted = torch.ones_like(truth, dtype=torch.bool)
    twice = focal(logits.repeat(2, 1, 1, 1), truth.repeat(2, 1, 1, 1), counted.repeat(2, 1, 1, 1))
    torch.testing.assert_close(twice, focal(logits, truth, counted))


def test_focal_loss_stays_finite_at_extreme_logits_and_ignores_what_does_not_count() -> None:
    logits = torch.tensor([[[[200.0, -200.0]]]], requires_grad=True)
    truth = torch.tensor([[[[0.0, 1.0]]]])
    focal(logits, truth, torch.tensor([[[[True, False]]]])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[..., 1] == 0
    assert logits.grad[..., 0] > 0


def test_a_combination_is_upsampling_two_convolutions_and_a_concatenation() -> None:
    block = Combination(6, 4).eval()
    coarse, skip = torch.randn(1, 6, 4, 4), torch.randn(1, 4, 8, 8)
    norm = 1 / math.sqrt(1 + 1e-5)  # a fresh BatchNorm in evaluation
    up = block.up[0]
    raised = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
    raised = (F.conv2d(raised, up.weight, up.bias, padding=1) * norm).clamp(min=0)
    stacked = torch.cat([skip, raised], dim=1)
    join = block.join[0]
    expected = torch.einsum("oc,bchw->bohw", join.weight[..., 0, 0], stacked) + join.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(block(coarse, skip), (expected * norm).clamp(min=0), atol=1e-5, rtol=1e-4)


def test_an_incomplete_vertebra_counts_neither_as_centre_nor_as_background(schema: LandmarkSchema) -> None:
    method = _method(schema)
    batch = _spine(method)
    batch.points[0, 0] = torch.nan
    truth = method._targets(batch, method.classes[0])
    assert truth.positive[0].tolist() == [False, True, True]
    assert not truth.counted[0].all()
    assert truth.counted[0, truth.pixel[0, 1, 1], truth.pixel[0, 1, 0]]
    assert truth.counted[1].all()


def test_a_centre_off_the_film_is_background(schema: LandmarkSchema) -> None:
    method = _method(schema)
    batch = _spine(method)
    batch.points[0, :4] -= 300
    truth = method._targets(batch, method.classes[0])
    assert truth.positive[0].tolist() == [False, True, True]
    assert truth.counted[0].all()


def test_a_larger_vertebra_has_a_wider_disk() -> None:
    corners = torch.tensor([[0.0, 0.0], [12.0, 0.0], [0.0, 8.0], [12.0, 8.0]])
    sizes = torch.stack([corners, 4 * corners, 0 * corners])[None]
    radius = math.floor(-14 + math.sqrt(196 + 4 * 0.7 * 0.3 * 96))
    assert _sigma(sizes)[0, 0].item() == pytest.approx((2 * radius + 1) / 6)
    assert _sigma(sizes)[0, 1] > _sigma(sizes)[0, 0]
    assert _sigma(sizes)[0, 2].item() == pytest.approx(1 / 6)  # Yi et al. set no smallest radius


def test_peaks_are_local_maxima_and_the_highest_first() -> None:
    heatmap = torch.zeros(1, 8, 10)
    heatmap[0, 2, 3], heatmap[0, 2, 4], heatmap[0, 6, 8] = 0.9, 0.8, 0.5
    assert highest_peaks(heatmap, 2).tolist() == [[[3, 2], [8, 6]]]


def test_a_window_keeps_one_peak_highest_even_beside_a_higher_one() -> None:
    heatmap = torch.zeros(1, 8, 10)
    heatmap[0, 2, 3], heatmap[0, 2, 6] = 0.9, 0.8
    window = windows(heatmap, torch.tensor([[[6, 2]]]), radius=4)[0, 0]
    assert window.argmax() == 2 * 10 + 6
    assert window[2, 3] == 0


def test_two_maxima_of_one_blob_are_one_peak_within_the_radius() -> None:
    heatmap = torch.zeros(1, 8, 10)
    heatmap[0, 2, 3], heatmap[0, 2, 5], heatmap[0, 6, 8] = 0.9, 0.8, 0.5
    assert highest_peaks(heatmap, 2, radius=1).tolist() == [[[3, 2], [5, 2]]]
    assert highest_peaks(heatmap, 2, radius=2).tolist() == [[[3, 2], [8, 6]]]


def test_equal_neighbours_are_one_peak() -> None:
    heatmap = torch.zeros(1, 8, 10)
    heatmap[0, 2, 3:5], heatmap[0, 6, 8] = 0.9, 0.5  # as bfloat16 rounds the top of a blob
    assert highest_peaks(heatmap, 2).tolist() == [[[3, 2], [8, 6]]]


def test_a_centre_counts_for_the_pixel_whose_corner_is_above_and_left_of_it(schema: LandmarkSchema) -> None:
    method = _method(schema)
    batch = _spine(method)
    target = method._targets(batch, method.classes[0])
    members = torch.tensor(method.classes[0])
    centre = to_heatmap_grid(batch.points[:, members].mean(dim=2), 4)
    assert torch.equal(target.pixel, centre.floor().long())


def test_expand_keeps_every_landmark_on_the_film(schema: LandmarkSchema) -> None:
    expand = next(step for step in _method(schema).augmentation if isinstance(step, A.CropAndPad))
    expand.p = 1.0
    torch.manual_seed(0)
    augment = Augmentation(InputSpec((64, 64), augment=(expand,)), (0, 1))
    for _ in range(20):
        moved = augment(np.zeros((64, 64), np.uint8), np.array([[0.0, 0.0], [63.0, 63.0]])).points
        assert ((moved >= -0.5) & (moved <= 63.5)).all()
