"""SLSN: fields, pairing, the naming of vertebrae, the network's size, and a round trip from truth to maps to points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import datamodules
from benchmark.contract.tiny_films import build, make_samples
from datamodules.base import LandmarkSchema
from datamodules.components.samples import collate
from methods.components.heatmap import find_blobs
from methods.components.structures.limbs import greedy_pairs, limb_scores, line_field
from methods.slsn import EDGES, NECK, SHARED, SLSN, Chain, LadderShuffleNet, ShuffleUnit

from .spines import LUMBAR, spine_points
from .spines import NECK as CERVICAL

UNGROUPED = LandmarkSchema(("tip", "base", "edge"))
SPINE = LandmarkSchema(
    tuple(f"V{v}-{c}" for v in range(5) for c in ("TL", "TR", "BL", "BR")),
    groups={f"V{v}": tuple(f"V{v}-{c}" for c in ("TL", "TR", "BL", "BR")) for v in range(5)},
)


def _points(films: int = 2) -> Tensor:
    """Tilted vertebrae of SPINE, each nearer to the next one than it is high."""
    noise = torch.rand(films, 20, 2, generator=torch.Generator().manual_seed(2))
    box = torch.tensor([[0.0, 0.0], [26.0, 4.0], [0.0, 14.0], [26.0, 18.0]])
    steps = torch.stack([15 + 2 * torch.arange(5.0), 8 + 21 * torch.arange(5.0)], dim=-1)
    return (steps[:, None] + box).flatten(0, 1) + 2 * noise


def _prepared(schema: LandmarkSchema, points: Tensor, **hparams: object) -> SLSN:
    """Return a method for films of 128 x 64 px that knows these points as its training films'."""
    torch.manual_seed(0)
    method = SLSN(schema, **{**SLSN.smoke, "input_size": (128, 64), **hparams}).eval()
    samples = make_samples(method, count=len(points), missing=0)
    method.prepare([sample._replace(points=own) for sample, own in zip(samples, points, strict=True)])
    return method


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


def test_a_score_is_the_mean_of_the_field_along_the_segment() -> None:
    field = torch.arange(12.0).expand(1, 9, 12)  # grows with x alone
    score = limb_scores(field, torch.tensor([[[2, 3]]]), torch.tensor([[[8, 5], [2, 8]]]))
    torch.testing.assert_close(score, torch.tensor([[[5.0, 2.0]]]))


def test_pairs_take_the_next_best_score_above_the_threshold() -> None:
    scores = np.array([[0.90, 0.95, 0.20], [0.80, 0.99, 0.75], [0.71, 0.60, 0.69]])
    assert greedy_pairs(scores, 0.7).tolist() == [[1, 1], [0, 0]]  # the highest total would be .95 + .75 + .71
    assert greedy_pairs(scores, 0.68).tolist() == [[1, 1], [0, 0], [2, 2]]
    assert greedy_pairs(np.zeros((0, 3)), 0.7).shape == (0, 2)


def test_blobs_are_joined_across_pixel_corners_and_the_highest_are_kept() -> None:
    heatmap = np.zeros((40, 30))
    heatmap[2, 3], heatmap[3, 4], heatmap[3, 5] = 0.6, 0.9, 0.5  # .5 itself does not count
    centroids, peaks = find_blobs(heatmap, 0.5)
    assert centroids.tolist() == [[3.5, 2.5]]
    assert peaks.tolist() == [[4, 3]]
    heatmap[::2, ::2] = 0.51 + 0.4 * np.random.default_rng(0).random((20, 15))
    best = np.sort(heatmap[::2, ::2].ravel())[-100]
    peaks = find_blobs(heatmap, 0.5).peaks
    assert len(peaks) == 100
    assert heatmap[peaks[:, 1], peaks[:, 0]].min() >= best
    assert find_blobs(np.zeros((4, 4)), 0.5).centroids.shape == (0, 2)


@pytest.mark.parametrize("codec", ["quadratic", "dark", "soft-argmax", "argmax"])
@pytest.mark.parametrize("schema", [SPINE, UNGROUPED, LUMBAR, CERVICAL], ids=["spine", "skull", "lumbar", "cervical"])
def test_true_maps_and_field_give_the_true_points_back(schema: LandmarkSchema, codec: str) -> None:
    points = _points() if schema is SPINE else 0.5 * spine_points(schema)
    method = _prepared(schema, points, codec=codec, sigma=1.0, thickness=2.0)
    samples = make_samples(method, count=2, missing=0)
    batch = collate([sample._replace(points=own) for sample, own in zip(samples, points, strict=True)])
    prediction = method.perfect(batch)
    tolerance = 0.51 if codec == "argmax" else 0.05
    torch.testing.assert_close(prediction.points, points, atol=tolerance, rtol=0)
    assert prediction.covariance is not None
    if codec == "quadratic":
        own = torch.eye(2).expand(2, len(schema), 2, 2)
        torch.testing.assert_close(prediction.covariance, own, atol=0.15, rtol=0)


def test_only_vertebrae_of_two_end_plates_share_maps() -> None:
    counts = {name: SLSN(data.schema, **SLSN.smoke).outputs for name, data in datamodules.discover().items()}
    assert counts["aasce"] == (SHARED, 1)
    assert counts["isbi2015"] == (19, 0)
    assert counts["hand"] == (37, 0)
    assert counts["buu"] == (SHARED + 2, 1)  # S1
    assert SLSN(CERVICAL, **SLSN.smoke).outputs == (SHARED + 6, 1)  # dens, C2 and three spinous processes


@pytest.mark.parametrize("turn", [0, 90, 180])
def test_a_spine_that_runs_another_way_is_named_along_its_own_axis(turn: int) -> None:
    angle = torch.tensor(float(np.radians(turn)))
    rotation = torch.stack([angle.cos(), angle.sin(), -angle.sin(), angle.cos()]).view(2, 2)
    points = (_points() - 60) @ rotation + 60
    method = _prepared(SPINE, points, input_size=(128, 128))
    samples = make_samples(method, count=2, missing=0)
    batch = collate([sample._replace(points=own) for sample, own in zip(samples, points, strict=True)])
    torch.testing.assert_close(method.perfect(batch).points, points, atol=0.05, rtol=0)


def _chain() -> Chain:
    """Six upright vertebrae of 10 x 6 px, 10 px apart, the first one's top at y = 10."""
    box = np.array([[20.0, 0.0], [30.0, 0.0], [20.0, 6.0], [30.0, 6.0]])
    return Chain(box + 10 * np.arange(1, 7)[:, None, None] * [0, 1], np.array([0.0, 1.0]))


@pytest.mark.parametrize(
    ("shown", "neck", "names"),
    [
        ([0, 1, 2, 3, 4, 5], True, [0, 1, 2, 3, 4, 5]),
        ([0, 1, 3, 4, 5], True, [0, 1, 3, 4, 5]),
        ([1, 2, 3, 4, 5], True, [1, 2, 3, 4, 5]),
        ([1, 2, 3, 4, 5], False, [0, 1, 2, 3, 4]),  # nothing says that the first is missing
        ([0, 4], True, [0, 4]),
        ([0, 1, 2, 3], False, [0, 1, 2, 3]),
        ([], False, []),
    ],
)
@pytest.mark.parametrize("size", [0.9, 1.1])
def test_gaps_tell_which_vertebrae_are_missing(shown: list[int], neck: bool, names: list[int], size: float) -> None:
    places = 40 + size * np.array([13.0 + 10 * vertebra for vertebra in shown])
    assert _chain().names(places, 40 + size * 10 if neck else None) == names


def test_names_are_left_for_all_that_were_found() -> None:
    assert _chain().names(np.array([13.0, 53.0, 54.0, 55.0, 56.0, 57.0]), 10.0) == [0, 1, 2, 3, 4, 5]


def test_a_vertebra_that_is_not_found_moves_as_its_neighbours_do() -> None:
    chain = _chain()
    true = chain.corners + np.array([2.0, 0.0]) * np.arange(6)[:, None, None]
    edges = true.reshape(-1, 2, 2, 2).mean(axis=1)
    np.testing.assert_allclose(chain.complete(edges[[0, 2, 3, 5]], 10.0), true)
    np.testing.assert_allclose(chain.complete(edges[:4], 10.0)[5], chain.corners[5] + [6, 0])
    np.testing.assert_allclose(chain.complete(edges[:0], None), chain.corners)


def test_pairs_above_the_neck_and_beyond_the_last_vertebra_are_dropped() -> None:
    chain = _chain()
    edges = chain.edges + np.array([3.0, 1.0])
    above, below = edges[:1] - [0, 10], edges[-1:] + [0, 10]
    found = np.concatenate([below, edges, above])
    np.testing.assert_allclose(chain.complete(found, 11.0), chain.corners + [3, 1])
    dropped = chain.complete(found, None)  # without a neck the one above is the first
    np.testing.assert_allclose(dropped[1:], chain.corners[:-1] + [3, 1])


def test_a_tilted_first_vertebra_is_not_above_its_own_neck() -> None:
    chain = _chain()
    edges = chain.edges.copy()
    edges[0] += [[0, -4], [0, 4]]  # its right upper corner is at 14, its middle at 13
    assert chain.complete(edges, 14.0)[0, :, 1].mean() == 13.0
    np.testing.assert_allclose(chain.complete(edges, 14.0)[1:], chain.corners[1:])


def test_the_neck_is_the_lowest_blob_of_the_upper_half_away_from_the_sides() -> None:
    chain, size = _chain(), (100, 48)
    blobs = np.array([[20.0, 8.0], [28.0, 11.0], [8.0, 30.0], [25.0, 60.0]])
    assert chain.neck(blobs, size) == 11.0
    assert chain.neck(blobs[2:], size) is None
    assert chain.neck(np.zeros((0, 2)), size) is None


def test_a_vertebra_above_the_neck_is_not_the_first() -> None:
    points = _points(films=1) * torch.tensor([1.0, 0.9]) + torch.tensor([0.0, 18.0])
    method = _prepared(SPINE, points)
    maps, _, field, _ = method._truth(points)
    above, _, field_above, _ = method._truth(points[:, :4].repeat(1, 5, 1) - torch.tensor([2.0, 19.0]))
    maps[:, :NECK] = torch.maximum(maps, above)[:, :NECK]
    found = method._read(maps, torch.maximum(field, field_above)).points
    torch.testing.assert_close(found, points, atol=0.05, rtol=0)
    maps[:, NECK] = 0
    found = method._read(maps, torch.maximum(field, field_above)).points
    torch.testing.assert_close(found[:, 4:], points[:, :-4], atol=0.05, rtol=0)


@pytest.mark.parametrize("missed", [0, 2, 4])
def test_corners_of_a_vertebra_whose_edges_are_missed_are_still_found(missed: int) -> None:
    points = _points(films=1)
    method = _prepared(SPINE, points)
    maps, _, field, _ = method._truth(points)
    gone, _, _, _ = method._truth(points.masked_fill(~_vertebra(missed), torch.nan))
    maps[:, EDGES] -= gone[:, EDGES]
    torch.testing.assert_close(method._read(maps, field).points, points, atol=0.05, rtol=0)


def test_a_corner_that_no_map_shows_lies_as_usual_beside_its_edge_and_is_uncertain() -> None:
    points = _points(films=1)
    method = _prepared(SPINE, points)
    maps, _, field, _ = method._truth(points)
    maps[:, 3] -= method._truth(points.masked_fill(~_vertebra(2), torch.nan))[0][:, 3]
    found, spread = method._read(maps, field)[:2]
    torch.testing.assert_close(found, points, atol=0.2, rtol=0)  # the edge's centroid is of whole pixels
    assert spread is not None
    assert spread[0, 11].diagonal().sum() > 20 * spread[0, 10].diagonal().sum()


def _vertebra(number: int) -> Tensor:
    """Return which of SPINE's landmarks are those of one vertebra, as (1, landmark, 1)."""
    return (torch.arange(20) // 4 == number).view(1, 20, 1)


def test_perfect_maps_of_real_spines_give_every_corner_back(real_data: Path) -> None:
    """Wherever labels are vertebrae one below the other, as in nine of ten films of AASCE."""
    table = real_data / "aasce" / "labels" / "test" / "landmarks.csv"
    if not table.is_file():
        pytest.skip(f"{table} does not exist")
    shares = torch.from_numpy(np.loadtxt(table, delimiter=",")).float().view(-1, 2, 68).mT[::8]
    points = shares * torch.tensor([99.0, 256.0]) + torch.tensor([14.5, 0.0])  # the usual aspect
    method = _prepared(
        datamodules.discover()["aasce"].schema, points, input_size=(256, 128), sigma=1.65, thickness=2.48
    )
    template = make_samples(method, count=1)[0]
    clear = [own for own in points if _is_clear(own.view(17, 4, 2), method.sigma)]
    assert len(clear) > 0.8 * len(points)
    for own in clear:
        found = method.perfect(collate([template._replace(points=own)])).points[0]
        torch.testing.assert_close(found, own, atol=0.1, rtol=0)


def _is_clear(corners: Tensor, sigma: float) -> bool:
    """Say whether upper corners are above lower ones, and the blobs of one map do not run together."""
    upright = corners[:, 2:, 1] > corners[:, :2, 1]
    apart = (corners[1:] - corners[:-1]).norm(dim=-1) > 2 * 2 * sigma
    return bool(upright.all() and apart.all() and (corners[1:] - corners[:-1]).mean(dim=1)[:, 1].gt(0).all())


def test_a_map_with_a_missing_point_counts_near_its_visible_points_only(schema: LandmarkSchema) -> None:
    method = build(SLSN, schema)
    assert isinstance(method, SLSN)
    points = make_samples(method, count=1, missing=0)[0].points[None].clone()
    points[0, 1] = torch.nan  # the first vertebra's upper right corner
    maps, counted, field, linked = method._truth(points)
    assert counted[0, [0, 2, 3, 4]].all()
    incomplete = [1, 5, 6]  # its own map, that of right edges, the neck's
    assert torch.equal(counted[0, incomplete], maps[0, incomplete] > 0.01)
    assert torch.equal(linked, field > 0)
    complete = method._truth(make_samples(method, count=1, missing=0)[0].points[None])
    assert complete[1].all()
    assert complete[3].all()


def test_maps_are_corners_edge_centres_neck_and_lone_landmarks() -> None:
    points = 0.5 * spine_points(LUMBAR, films=1)
    method = _prepared(LUMBAR, points)
    maps, _, field, _ = method._truth(points)
    first = points[0, :4]
    expected = [*first, first[[0, 2]].mean(dim=0), first[[1, 3]].mean(dim=0), *first[:2], *points[0, -2:]]
    shown = [0, 1, 2, 3, 4, 5, 6, 6, 7, 8]
    for number, (x, y) in zip(shown, torch.stack(expected).round().long().tolist(), strict=True):
        assert maps[0, number, y, x] > 0.85
    x, y = first.mean(dim=0).round().long()
    assert field[0, 0, y, x] == 1


def test_the_parameters_are_those_of_the_authors_final_model() -> None:
    """Counted by hand: 1x1, depthwise (kernel of `side` and `main` branch) and BatchNorm, 2 per channel."""

    def keep(width: int) -> int:
        half = width // 2
        return 2 * half**2 + 25 * half + 6 * half

    def resize(before: int, after: int, side: int, main: int) -> int:
        half = after // 2
        branch = side * before + 2 * before + before * half + 2 * half
        return branch + before * half + 2 * half + main * half + 2 * half + half**2 + 2 * half

    down = [(64, 64, 4), (64, 128, 4), (128, 256, 8), (256, 1024, 4)]
    total = (9 * 64 + 2 * 64) + (64 * 64 + 2 * 64 + 64 * 8 + 8)
    total += sum(resize(fine, coarse, 9, 25) + (count - 1) * keep(coarse) for fine, coarse, count in down)
    total += sum(resize(coarse, fine, 16, 16) + (count - 1) * keep(fine) for fine, coarse, count in down)
    method = SLSN(datamodules.discover()["aasce"].schema)
    assert method.parameter_counts()["trainable"] == total == 3_105_544


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
    network = LadderShuffleNet(7, widths=(4, 4, 8, 8, 16), repeats=(1, 1, 1, 1))
    assert network(torch.zeros(1, 1, 48, 32)).shape == (1, 7, 48, 32)
    with pytest.raises(ValueError, match="divide by 16"):
        network(torch.zeros(1, 1, 40, 32))
