"""PoseNet's two presentation orders."""

from __future__ import annotations

import torch

from datamodules.base import LandmarkSchema
from datamodules.components.samples import collate
from methods.components.heatmap import covariance
from methods.posenet import PoseNet

from .conftest import build, make_samples


def _posenet(schema: LandmarkSchema) -> PoseNet:
    method = build(PoseNet, schema).eval()
    assert isinstance(method, PoseNet)
    return method


def test_mirroring_twice_returns_every_point(schema: LandmarkSchema) -> None:
    method = _posenet(schema)
    points, second = torch.rand(3, len(schema), 2), torch.tensor([True, False, True])
    torch.testing.assert_close(method._mirror(method._mirror(points, second), second), points)


def test_mirroring_exchanges_left_and_right_names(schema: LandmarkSchema) -> None:
    method = _posenet(schema)
    points = torch.arange(2.0 * len(schema)).view(1, -1, 2)
    mirrored = method._mirror(points, torch.tensor([True]))
    left, right = schema.index(["L1-TL", "L1-TR"])
    assert mirrored[0, left, 0] == method.input_size[1] - 1 - points[0, right, 0]
    assert mirrored[0, left, 1] == points[0, right, 1]


def test_the_second_order_is_the_first_of_the_mirrored_film_with_channels_exchanged(schema: LandmarkSchema) -> None:
    method = _posenet(schema)
    seen: list[torch.Tensor] = []
    method.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = collate(make_samples(method, count=1)).image
    method(image, torch.tensor([False]))
    method(image.flip(-1), torch.tensor([True]))
    torch.testing.assert_close(seen[1], seen[0][:, [0, 2, 1]])


def test_a_test_films_order_depends_on_its_id_alone(schema: LandmarkSchema) -> None:
    method = _posenet(schema)
    batch = collate(make_samples(method))
    whole = method.predict(batch).points
    last = method.predict(collate(make_samples(method)[-1:])).points
    torch.testing.assert_close(whole[-1:], last, atol=1e-3, rtol=1e-3)


def test_covariances_are_mirrored_with_their_points(schema: LandmarkSchema) -> None:
    method = _posenet(schema)
    films, second = collate(make_samples(method)), torch.tensor([True])
    heatmap = torch.rand(1, len(schema), 32, 32, generator=torch.Generator().manual_seed(0))
    points = torch.rand(1, len(schema), 2) * 100
    spread = covariance(heatmap, points, 4)
    flipped = heatmap.flip(-1)[:, list(schema.flip_index)]
    torch.testing.assert_close(
        method._mirror_covariance(spread, second), covariance(flipped, method._mirror(points, second), 4)
    )
    assert method.predict(films).covariance is not None
