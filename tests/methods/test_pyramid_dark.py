"""The modern reference: its network, its averaged weights and its schedule."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Trainer
from scipy.stats import multivariate_normal
from torch import nn
from torch.utils.data import DataLoader

from benchmark.contract.tiny_films import build, make_samples
from datamodules.base import Batch, LandmarkSchema, Sample
from datamodules.components.samples import collate
from methods.components.losses import spatial_kl
from methods.components.networks.backbones import feature_maps
from methods.pyramid_dark import PyramidDark, PyramidNetwork

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")


def _trainer(epochs: int, folder: Path) -> Trainer:
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


@pytest.fixture
def method(schema: LandmarkSchema) -> PyramidDark:
    method = build(PyramidDark, schema)
    assert isinstance(method, PyramidDark)
    return method


@pytest.fixture
def loader(method: PyramidDark) -> DataLoader[Sample]:
    samples: list[Sample] = make_samples(method)
    return DataLoader(samples, batch_size=2, collate_fn=collate)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["hrnet_w18_small", "convnext_atto", "tf_efficientnet_lite0", "test_resnet"])
def test_every_kind_of_backbone_gives_maps_at_stride_four_and_leaves_no_weight_dead(name: str) -> None:
    backbone, channels = feature_maps(name, finest=4)
    assert list(channels) == [4, 8, 16, 32]
    network = PyramidNetwork(backbone, channels, landmarks=3, width=8)
    maps = network(torch.rand(2, 3, 64, 32))
    assert maps.shape == (2, 3, 16, 8)
    maps.square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_the_network_is_the_textbooks_top_down_pathway() -> None:
    backbone, channels = feature_maps("test_efficientnet", finest=8)
    network = PyramidNetwork(backbone, channels, landmarks=2, width=4).eval()
    film = torch.rand(1, 3, 64, 64)
    eighth, sixteenth, thirtysecond = backbone(film)
    up = nn.Upsample(scale_factor=2, mode="bilinear")
    merged = network.smooth[2](network.laterals[2](thirtysecond))
    merged = network.smooth[1](network.laterals[1](sixteenth) + up(merged))
    merged = network.smooth[0](network.laterals[0](eighth) + up(merged))
    torch.testing.assert_close(network(film), network.head(merged))


@pytest.mark.slow
@pytest.mark.parametrize("variant", sorted(PyramidDark.variants))
def test_the_loss_of_every_variant_falls_on_one_batch(schema: LandmarkSchema, variant: str) -> None:
    torch.manual_seed(0)
    method = PyramidDark(schema, **{**PyramidDark.variants[variant], "input_size": (64, 64), "weights": "none"})
    batch = collate(make_samples(method, count=2))
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    losses: list[float] = []
    for _ in range(6):
        loss = method.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.95 * losses[0]


def test_a_size_that_the_backbone_cannot_halve_is_refused(schema: LandmarkSchema) -> None:
    with pytest.raises(ValueError, match="divide by 32"):
        build(PyramidDark, schema).network(torch.zeros(1, 3, 64, 40))  # type: ignore[operator]


def test_the_average_is_the_formula(schema: LandmarkSchema) -> None:
    torch.manual_seed(0)
    method = PyramidDark(schema, **{**PyramidDark.smoke, "ema": 0.5})
    weight, norm = method.network.head.weight, method.network.smooth[0][1]
    expected = weight.detach().clone()
    for step, value in enumerate((3.0, 5.0, -1.0, 4.0, 2.0, 8.0, 6.0, 1.0, 0.0, 9.0), start=1):
        weight.data.fill_(value)
        norm.num_batches_tracked.fill_(step)
        method.average.update_parameters(method.network)
        keep = min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * value
    average = method.average.module
    torch.testing.assert_close(average.head.weight, expected)
    assert int(average.smooth[0][1].num_batches_tracked) == 10


def test_the_average_is_no_weight_of_its_own(schema: LandmarkSchema) -> None:
    method = build(PyramidDark, schema)
    weights = list(method.network.parameters())
    assert [p for p in method.parameters() if p.requires_grad] == weights
    assert method.parameter_counts()["trainable"] == sum(p.numel() for p in weights)
    statistics = sum(b.numel() for name, b in method.network.named_buffers() if name.endswith(("_mean", "_var")))
    assert method.parameter_counts()["keras"] == sum(p.numel() for p in weights) + statistics


def test_training_moves_the_average_and_predictions_are_its(
    method: PyramidDark, loader: DataLoader[Sample], tmp_path: Path
) -> None:
    before = copy.deepcopy(method.average.module.state_dict())
    _trainer(1, tmp_path).fit(method, loader)
    assert int(method.average.n_averaged) == 1 + 2
    assert not torch.equal(method.average.module.head.weight, before["head.weight"])
    batch: Batch = next(iter(loader))
    predicted = method.eval().predict(batch).points
    method.network.load_state_dict(method.average.module.state_dict())
    method.average.update_parameters(method.network)
    torch.testing.assert_close(method.predict(batch).points, predicted)


def test_the_average_survives_a_resume(schema: LandmarkSchema, loader: DataLoader[Sample], tmp_path: Path) -> None:
    whole, half, resumed = (build(PyramidDark, schema) for _ in range(3))
    _trainer(2, tmp_path).fit(whole, loader)
    trainer = _trainer(2, tmp_path)
    trainer.fit(_stop_after_one_epoch(half), loader)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    _trainer(2, tmp_path).fit(resumed, loader, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    expected = whole.state_dict()
    assert int(expected["average.n_averaged"]) == 1 + 4
    for name, value in resumed.state_dict().items():
        torch.testing.assert_close(value, expected[name])


def _stop_after_one_epoch(method: nn.Module) -> PyramidDark:
    assert isinstance(method, PyramidDark)
    method.on_train_epoch_end = lambda: setattr(method.trainer, "should_stop", True)  # type: ignore[method-assign]
    return method


def test_the_rate_rises_to_its_peak_and_falls_to_zero(
    method: PyramidDark, loader: DataLoader[Sample], tmp_path: Path
) -> None:
    rates: list[float] = []
    trainer = _trainer(10, tmp_path)
    original = method.on_train_batch_end

    def note(*args: object) -> None:
        original(*args)  # type: ignore[arg-type]
        rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    method.on_train_batch_end = note  # type: ignore[method-assign]
    trainer.fit(method, loader)
    assert len(rates) == 20
    assert max(rates) == pytest.approx(method.lr)
    assert rates.index(max(rates)) == 0  # 2 of 20 steps warm up; a rate is noted after the schedule's step
    assert rates[10] == pytest.approx(method.lr * (1 + math.cos(math.pi * 9 / 18)) / 2)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_biases_and_norms_do_not_decay(method: PyramidDark, loader: DataLoader[Sample], tmp_path: Path) -> None:
    trainer = _trainer(1, tmp_path)
    trainer.fit(method, loader)
    kernels, others = trainer.optimizers[0].param_groups
    assert kernels["weight_decay"] == method.weight_decay
    assert others["weight_decay"] == 0
    assert all(p.ndim > 1 for p in kernels["params"])
    assert sum(p.numel() for group in (kernels, others) for p in group["params"]) == sum(
        p.numel() for p in method.network.parameters()
    )


def test_the_prior_is_the_log_density_of_where_the_training_films_have_a_landmark(method: PyramidDark) -> None:
    samples = make_samples(method, count=9, missing=0.3)
    samples = [s._replace(points=s.points.index_fill(0, torch.tensor([4]), torch.nan)) for s in samples]
    method.prepare(samples)
    rows, columns = np.mgrid[:16, :16] * 4 + 1.5
    for landmark, points in enumerate(torch.stack([s.points for s in samples]).transpose(0, 1).double().numpy()):
        seen = points[np.isfinite(points[:, 0])]
        if landmark == 4:
            assert (method.prior()[landmark] == 0).all()
            continue
        normal = multivariate_normal(seen.mean(axis=0), np.cov(seen.T, bias=True) + (0.07 * 64) ** 2 * np.eye(2))
        expected = normal.logpdf(np.stack([columns, rows], axis=-1)) - normal.logpdf(normal.mean)
        np.testing.assert_allclose(method.prior()[landmark], expected, rtol=1e-3, atol=1e-3)


def test_films_are_mirrored_only_where_names_can_trade_places(method: PyramidDark) -> None:
    lateral = build(PyramidDark, LandmarkSchema(("sella", "nasion")))
    assert "HorizontalFlip" in str(method.input_spec.augment)
    assert "HorizontalFlip" not in str(lateral.input_spec.augment)


def test_spatial_kl_is_the_formula_and_zero_at_the_truth() -> None:
    truth, logits = torch.tensor([[[[1.0, 3.0]]]]), torch.tensor([[[[0.0, -1.0]]]])
    seen = torch.tensor([[True]])
    p = math.e / (1 + math.e)
    expected = 0.25 * math.log(0.25 / p) + 0.75 * math.log(0.75 / (1 - p))
    assert float(spatial_kl(logits, truth, seen)) == pytest.approx(expected, rel=1e-5)
    assert float(spatial_kl(truth.log() + 7, truth, seen)) == pytest.approx(0, abs=1e-6)


def test_spatial_kls_gradient_is_the_difference_of_the_distributions() -> None:
    truth, logits = torch.rand(1, 2, 3, 4), torch.randn(1, 2, 3, 4, requires_grad=True)
    spatial_kl(logits, truth, torch.ones(1, 2, dtype=torch.bool)).backward()
    expected = logits.detach().flatten(2).softmax(-1) - truth.flatten(2) / truth.flatten(2).sum(-1, keepdim=True)
    torch.testing.assert_close(logits.grad, expected.view_as(truth) / 2)


def test_landmarks_out_of_the_film_or_missing_cost_nothing() -> None:
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    truth = torch.stack([torch.rand(4, 4), torch.full((4, 4), 1e-9), torch.full((4, 4), torch.nan)])[None]
    spatial_kl(logits, truth, torch.tensor([[True, True, False]])).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert (logits.grad[:, 1:] == 0).all()
    assert spatial_kl(logits, truth, torch.zeros(1, 3, dtype=torch.bool)) == 0
