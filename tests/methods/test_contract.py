"""What every method promises, tested on every discovered method: a new plugin is tested for free."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from torch import Tensor

import datamodules
from datamodules.base import Batch, LandmarkSchema, Sample
from datamodules.components.samples import collate
from methods.base import Method
from methods.components.lengths import defaults, lengths

from .conftest import build, make_samples


def test_a_method_names_its_paper_and_has_a_docstring(method_class: type[Method]) -> None:
    assert method_class.paper.title
    assert inspect.getdoc(method_class)
    assert inspect.getdoc(inspect.getmodule(method_class))


def test_every_hyper_parameter_is_typed_and_has_a_default(method_class: type[Method]) -> None:
    parameters = list(inspect.signature(method_class).parameters.values())[1:]
    assert all(p.annotation is not inspect.Parameter.empty for p in parameters)
    assert all(p.default is not inspect.Parameter.empty for p in parameters)


def test_variants_settings_and_smoke_use_hyper_parameters_of_the_signature(method_class: type[Method]) -> None:
    known = set(inspect.signature(method_class).parameters)
    for hparams in (*method_class.variants.values(), *method_class.settings.values(), method_class.smoke):
        assert set(hparams) <= known


def test_settings_are_of_datasets_and_protocols_that_exist(method_class: type[Method]) -> None:
    known = {name: [protocol.name for protocol in data.protocols] for name, data in datamodules.discover().items()}
    for key in method_class.settings:
        dataset, _, protocol = key.partition("/")
        assert not protocol or protocol in known[dataset]
        assert dataset in known


def test_lengths_follow_sizes_of_the_signature(method_class: type[Method]) -> None:
    assert set(lengths(method_class).values()) <= set(defaults(method_class))


def test_every_variant_has_a_finite_loss(method_class: type[Method], schema: LandmarkSchema) -> None:
    if method_class.unsupported(schema):
        pytest.skip("unsupported schema")
    for variant in method_class.variants:
        method = build(method_class, schema, variant)
        samples = make_samples(method)
        method.prepare(samples)
        for stage in range(max(1, len(method.stages))):
            method.stage = stage
            assert method.loss(collate(samples)).isfinite(), variant


def test_a_batch_without_visible_points_gives_finite_loss_and_gradients(
    method: Method, samples: Callable[..., list[Sample]]
) -> None:
    batch = collate(samples(missing=1.0))
    assert not batch.visible.any()
    for stage in range(len(method.stages)):
        method.stage = stage
        loss = method.loss(batch)
        assert loss.isfinite()
        loss.backward()
        assert all(p.grad.isfinite().all() for p in method.parameters() if p.grad is not None)


def test_every_parameter_gets_a_gradient_other_than_zero(method: Method, batch: Batch) -> None:
    """Noise leads away from heads that start at zero, and from units that an activation cuts off."""
    trained = {name: (p, p.detach().clone()) for name, p in method.named_parameters() if p.requires_grad}
    reached = dict.fromkeys(trained, False)
    for deviation, stage in product((0.05, 0.3), range(len(method.stages))):
        method.stage = stage
        method.zero_grad()
        for parameter, start in trained.values():
            parameter.data = start + deviation * torch.randn_like(start)
        method.loss(batch).backward()
        for name, (parameter, _) in trained.items():
            reached[name] |= parameter.grad is not None and bool(parameter.grad.any())
    assert [name for name, seen in reached.items() if not seen] == []


def test_predict_answers_every_landmark_in_float(method: Method, batch: Batch) -> None:
    method.eval()
    prediction = method.predict(batch)
    assert prediction.points.shape == batch.points.shape
    assert prediction.points.isfinite().all()
    assert prediction.points.is_floating_point()
    if prediction.covariance is not None:
        assert prediction.covariance.shape == (*batch.points.shape, 2)
        assert (torch.linalg.eigvalsh(prediction.covariance.double()) >= 0).all()


def test_no_variant_predicts_from_the_truth_unless_its_name_says_oracle(
    method_class: type[Method], schema: LandmarkSchema
) -> None:
    if method_class.unsupported(schema):
        pytest.skip("unsupported schema")
    for variant in method_class.variants:
        method = build(method_class, schema, variant).eval()
        samples = make_samples(method)
        method.prepare(samples)
        batch = collate(samples)
        blind = batch._replace(points=torch.full_like(batch.points, torch.nan), visible=torch.zeros_like(batch.visible))
        looks = not torch.equal(method.predict(batch).points, method.predict(blind).points)
        assert looks == method.input_spec.is_oracle, variant


def test_stored_points_follow_to_image(method: Method, batch: Batch) -> None:
    method.eval()
    _, once = method.predict_step(batch, 0)
    _, doubled = method.predict_step(batch._replace(to_image=batch.to_image * 2), 0)
    torch.testing.assert_close(doubled.points, 2 * once.points)


def test_a_checkpoint_loads_weights_only_and_predicts_the_same(
    method: Method, batch: Batch, schema: LandmarkSchema, tmp_path: Path
) -> None:
    method.eval()
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    trainer.strategy.connect(method)
    trainer.save_checkpoint(tmp_path / "method.ckpt", weights_only=True)
    loaded = type(method).load_from_checkpoint(tmp_path / "method.ckpt", schema=schema, weights_only=True).eval()
    assert torch.equal(loaded.predict(batch).points, method.predict(batch).points)


def test_the_same_seed_gives_the_same_weights_and_loss(
    method_class: type[Method], method: Method, batch: Batch
) -> None:
    twin = build(method_class, method.schema)
    twin.prepare(make_samples(twin))
    losses = []
    for built in (method, twin):
        torch.manual_seed(3)
        losses.append(built.loss(batch))
    assert torch.equal(*losses)
    assert all(torch.equal(a, b) for a, b in zip(method.state_dict().values(), twin.state_dict().values(), strict=True))


def test_the_loss_falls_on_one_batch(method: Method, batch: Batch) -> None:
    for stage in range(len(method.stages)):
        method.stage = stage
        optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
        losses = [_step(method, batch, optimizer) for _ in range(16)]
        assert min(losses[-3:]) < losses[0]


def _step(method: Method, batch: Batch, optimizer: torch.optim.Optimizer) -> float:
    torch.manual_seed(0)
    loss: Tensor = method.loss(batch)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def test_predicting_changes_no_weight_and_no_statistic(method: Method, batch: Batch) -> None:
    method.eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    method.predict_step(batch, 0)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
