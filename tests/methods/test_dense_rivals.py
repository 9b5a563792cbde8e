"""The direct regressors of the spinal papers: BoostNet and conv with dense."""

from __future__ import annotations

import pytest
import torch

from benchmark.contract.tiny_films import build, make_samples
from datamodules.base import LandmarkSchema
from datamodules.components.samples import collate
from methods.base import Method
from methods.boostnet import BoostLayer, BoostNet, StructuredOutput, neighbours
from methods.conv_dense import ConvDense

SPINE = LandmarkSchema(tuple(f"p{i}" for i in range(68)))


@pytest.mark.parametrize("method_class", [BoostNet, ConvDense])
def test_training_starts_at_the_mean_shape(method_class: type[Method], schema: LandmarkSchema) -> None:
    method = build(method_class, schema).eval()
    samples = make_samples(method, missing=0)
    method.prepare(samples)
    mean = torch.stack([sample.points for sample in samples]).mean(dim=0)
    torch.testing.assert_close(method.predict(collate(samples)).points[1].detach(), mean, atol=1e-3, rtol=0)


def test_conv_dense_is_vgg16s_convolutions_and_two_dense_layers() -> None:
    convolutions = 14_714_688 + 2 * 4_224  # VGG-16's thirteen, and their BatchNorm
    dense = 512 * 16 * 2048 + 2048 + 2048 * 2048 + 2048 + 2048 * 136 + 136
    with torch.device("meta"):  # nothing is drawn at random
        method = ConvDense(SPINE)
    assert method.parameter_counts()["trainable"] == convolutions + dense


def test_the_boost_layer_replaces_outliers_alone() -> None:
    torch.manual_seed(0)
    layer = BoostLayer(8, tolerance=2.0).eval()
    features = 0.1 * torch.randn(3, 8)
    features[1, 5] = 9.0
    hidden = (features @ layer.encode.weight.T + layer.encode.bias).clamp(min=0)
    rebuilt = hidden @ layer.encode.weight + layer.bias
    expected = features.clone()
    far = (features - rebuilt).abs() > 2
    assert far[1, 5]
    expected[far] = rebuilt[far]
    torch.testing.assert_close(layer(features), expected)


def test_the_boost_layer_follows_the_error_in_training_alone() -> None:
    layer = BoostLayer(8, tolerance=2.0)
    features = torch.randn(4, 8)
    error = (features - layer.reconstruct(features)).detach()
    layer(features)
    after = layer.deviation.clone()
    torch.testing.assert_close(after, 0.9 * torch.ones(8) + 0.1 * (error**2).mean(dim=0).sqrt())
    layer.eval()(features)
    assert torch.equal(layer.deviation, after)


def test_corners_depend_on_their_vertebra_and_on_the_next_ones(schema: LandmarkSchema) -> None:
    linked = neighbours(schema)
    assert torch.equal(linked, linked.T)
    first = [schema.names[i] for i in linked[0].nonzero().flatten()]
    assert first == ["L1-TL", "L1-TR", "L1-BL", "L1-BR", "L2-TL"]


def test_ungrouped_landmarks_depend_on_their_edges_or_on_all() -> None:
    assert neighbours(LandmarkSchema(("a", "b", "c"))).all()
    edged = neighbours(LandmarkSchema(("a", "b", "c"), edges=(("a", "b"),)))
    assert edged.int().tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]


def test_the_structured_output_starts_as_the_identity_and_never_links_strangers() -> None:
    layer = StructuredOutput(torch.tensor([[True, True, False], [True, True, False], [False, False, True]]))
    points = torch.randn(2, 3, 2)
    torch.testing.assert_close(layer(points), points)
    layer.weight.data.fill_(1.0)
    torch.testing.assert_close(layer(points)[:, 0], points[:, 0] + points[:, 1])
    torch.testing.assert_close(layer(points)[:, 2], points[:, 2])


def test_films_without_a_landmark_train_no_reconstruction(schema: LandmarkSchema) -> None:
    method = build(BoostNet, schema)
    assert method.loss(collate(make_samples(method, missing=1.0))) == 0
