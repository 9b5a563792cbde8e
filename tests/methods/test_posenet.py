"""How PoseNet and its rivals read films: two orders, mirrored films, turned films."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmark.contract.tiny_films import build, make_samples
from datamodules.base import Batch, LandmarkSchema
from datamodules.components.samples import apply_affine, collate
from methods import discover
from methods.components.bases.two_orders import TwoOrders
from methods.components.heatmap import covariance, gaussian
from methods.components.images.turning import turn
from methods.posenet import PoseNet

RIVALS = ("mnv2", "res50", "mnv2-hm", "res50-hm")
FIRST, SECOND = torch.tensor([False]), torch.tensor([True])


@pytest.fixture(params=["posenet", *RIVALS])
def method(request: pytest.FixtureRequest, schema: LandmarkSchema) -> TwoOrders:
    """PoseNet and each rival of the paper's tables."""
    built = build(discover()[request.param], schema).eval()
    assert isinstance(built, TwoOrders)
    return built


def test_mirroring_twice_returns_every_point(method: TwoOrders) -> None:
    points, second = torch.rand(3, len(method.schema), 2), torch.tensor([True, False, True])
    torch.testing.assert_close(method.mirror(method.mirror(points, second), second), points)


def test_mirroring_exchanges_left_and_right_names(method: TwoOrders) -> None:
    points = torch.arange(2.0 * len(method.schema)).view(1, -1, 2)
    mirrored = method.mirror(points, SECOND)
    left, right = method.schema.index(["L1-TL", "L1-TR"])
    assert mirrored[0, left, 0] == method.input_size[1] - 1 - points[0, right, 0]
    assert mirrored[0, left, 1] == points[0, right, 1]


def test_the_second_order_is_the_first_of_the_mirrored_film_with_channels_exchanged(method: TwoOrders) -> None:
    batch = collate(make_samples(method, count=1))
    first, second = method.show(batch, FIRST), method.show(batch, SECOND)
    assert first.shape[1] == 3
    torch.testing.assert_close(second.flip(-1), first[:, [0, 2, 1]])
    torch.testing.assert_close(first[:, 2], 1 - first[:, 0])


def test_the_network_reads_the_three_channels(method: TwoOrders) -> None:
    first = next(module for module in method.modules() if isinstance(module, torch.nn.Conv2d))
    seen: list[Tensor] = []
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = collate(make_samples(method, count=1))
    method.predict(batch)
    shown = [method.show(batch, order) for order in (FIRST, SECOND)]
    assert any(torch.equal(seen[0], film) for film in shown)


def test_a_test_films_order_depends_on_its_id_alone(method: TwoOrders) -> None:
    whole = method.predict(collate(make_samples(method))).points
    last = method.predict(collate(make_samples(method)[-1:])).points
    torch.testing.assert_close(whole[-1:], last, atol=1e-3, rtol=1e-3)


def test_points_of_both_orders_come_back_to_the_film(method: TwoOrders, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = collate(make_samples(method, missing=0))

    answer = method.predict(batch)
    monkeypatch.setattr(method, "shown_prediction", lambda i, s: answer._replace(points=method.mirror(batch.points, s)))
    torch.testing.assert_close(method.predict(batch).points, batch.points)


def test_covariances_are_mirrored_with_their_points(schema: LandmarkSchema) -> None:
    method = build(PoseNet, schema, "posenet-l2").eval()
    assert isinstance(method, PoseNet)
    heatmap = torch.rand(1, len(schema), 32, 32, generator=torch.Generator().manual_seed(0))
    points = torch.rand(1, len(schema), 2) * 100
    spread = covariance(heatmap, points, 4)
    flipped = heatmap.flip(-1)[:, list(schema.flip_index)]
    torch.testing.assert_close(
        method.mirror_covariance(spread, SECOND), covariance(flipped, method.mirror(points, SECOND), 4)
    )


@pytest.mark.parametrize(
    ("variant", "stated"),
    [("posenet", False), ("posenet-ic-all-cat", False), ("posenet-ic-no-cat", True), ("posenet-l2", True)],
)
def test_a_map_that_says_nothing_of_its_background_has_no_covariance(
    schema: LandmarkSchema, variant: str, stated: bool
) -> None:
    method = build(PoseNet, schema, variant).eval()
    assert (method.predict(collate(make_samples(method))).covariance is not None) == stated


@pytest.mark.parametrize("name", ["posenet", *RIVALS])
@pytest.mark.parametrize("margin", [None, 0.0, 0.1])
def test_all_of_the_papers_methods_take_the_oracle_crop(
    schema: LandmarkSchema, name: str, margin: float | None
) -> None:
    kind = discover()[name]
    assert kind(schema, **{**kind.smoke, "oracle_crop": margin}).input_spec.oracle_crop == margin


@pytest.mark.parametrize(("name", "value"), [("beta", 2.0), ("phi2", 0.2), ("weigh_foreground", False)])
def test_the_losss_hyper_parameters_reach_it(schema: LandmarkSchema, name: str, value: float) -> None:
    def cost(**hparams: float) -> float:
        method = PoseNet(schema, **{**PoseNet.smoke, "categorical": "none", **hparams})
        points = 20 + 80 * torch.rand(2, len(schema), 2, generator=torch.Generator().manual_seed(0))
        target = gaussian(points, (32, 32), 1.5, 4)
        return method.criterion(0.3 * target + 0.3, target, torch.ones(2, len(schema), dtype=torch.bool)).item()

    assert cost(**{name: value}) != pytest.approx(cost(), rel=1e-3)


def _turned(batch: Batch, degrees: float) -> tuple[Tensor, Tensor]:
    angle = torch.full((len(batch.case),), degrees)
    return tuple(turn(batch.image.float(), batch.points, batch.to_image, angle))


@pytest.mark.parametrize("degrees", [-45.0, 10.0, 45.0])
def test_a_turn_keeps_angles_of_the_film_and_its_landmarks_inside(schema: LandmarkSchema, degrees: float) -> None:
    batch = collate(make_samples(build(PoseNet, schema), missing=0.3))
    image, points = _turned(batch, degrees)
    before, after = (apply_affine(batch.to_image, p) for p in (batch.points, points))  # films are stretched by 2 and 3
    for old, new, seen in zip(before, after, batch.visible, strict=True):
        sides, turned = torch.pdist(old[seen]), torch.pdist(new[seen])
        torch.testing.assert_close(turned / sides, (turned / sides).mean().expand_as(sides), rtol=1e-3, atol=1e-3)
        (x, y), (u, v) = old[seen][1] - old[seen][0], new[seen][1] - new[seen][0]
        angle = torch.rad2deg(torch.atan2(x * v - y * u, x * u + y * v))
        assert angle.item() == pytest.approx(degrees, abs=0.05)
    assert points.isfinite().all(dim=-1).equal(batch.visible)
    inside = points[batch.visible]
    assert (inside >= -1e-3).all()
    assert (inside <= torch.tensor(image.shape[:1:-1]) - 1 + 1e-3).all()


def test_landmarks_stay_on_what_they_mark(schema: LandmarkSchema) -> None:
    size, points = (96, 64), torch.tensor([[[6.0, 20.0], [40.0, 90.0], [torch.nan, torch.nan]]])
    film = gaussian(points[:, :2], size, 2.0).sum(dim=1, keepdim=True)
    image, moved = turn(film, points, torch.tensor([[[3.0, 0.0, 1.0], [0.0, 1.5, 0.0]]]), torch.tensor([30.0]))
    for x, y in moved[0, :2].round().long().tolist():
        assert image[0, 0, y, x] > 0.85
    assert moved[0, 2].isnan().all()


def test_no_turn_changes_nothing_and_a_film_without_landmarks_turns(schema: LandmarkSchema) -> None:
    batch = collate(make_samples(build(PoseNet, schema), missing=1.0))
    image, points = _turned(batch, 0.0)
    torch.testing.assert_close(image, batch.image.float(), rtol=0, atol=0)
    torch.testing.assert_close(points, batch.points, equal_nan=True, rtol=0, atol=0)
    image, points = _turned(batch, 30.0)
    assert image.isfinite().all()
    assert points.isnan().all()


def test_batch_normalisation_over_one_film_is_a_sentence(
    schema: LandmarkSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(discover()["posenet"], schema).train()
    one = collate(make_samples(built, 1))
    monkeypatch.setattr(built, "loss", lambda batch: torch.nn.BatchNorm1d(2)(torch.zeros(len(batch.case), 2)).sum())
    with pytest.raises(ValueError, match="needs at least two of them; raise batch_size"):
        built.training_step(one, 0)
    built.micro_batch = 1
    with pytest.raises(ValueError, match=r"needs at least two of them; raise budget\.micro_batch"):
        built.training_step(collate(make_samples(built, 3)), 0)
