"""Eq. 16, block attention, boxes, starting from another run, and which crops BayeRegX reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning import Trainer
from torch.utils.data import DataLoader

from benchmark.contract.tiny_films import make_samples
from benchmark.training.trainer import make_trainer, quiet
from datamodules.base import LandmarkSchema
from datamodules.components.samples import collate
from datamodules.families.vertebra_crop import CROP_SCHEMA
from methods.bayeregx import BayeRegX
from methods.components.crops.crop_layout import crop_layout
from methods.components.crops.crops import Crops
from methods.components.initial_weights import read_weights
from methods.components.losses import attenuated_l2
from methods.components.networks.cbam import CBAM

ALL = torch.ones(1, 2, dtype=torch.bool)


def prepared(schema: LandmarkSchema, variant: str = "bayeregx", seed: int = 0, **hparams: object) -> BayeRegX:
    torch.manual_seed(seed)
    method = BayeRegX(schema, **{**BayeRegX.variants[variant], **BayeRegX.smoke, **hparams})
    method.prepare(make_samples(method))
    return method.eval()


# --- Eq. 16 -----------------------------------------------------------------------------------------------------------


def test_equation_16_gives_the_numbers_worked_out_by_hand() -> None:
    predicted, truth = torch.zeros(1, 2, 2), torch.tensor([[[2.0, 1.0], [0.0, 3.0]]])
    variance = torch.tensor([[[4.0, 0.25], [1.0, 9.0]]])
    # 4/8 + ln 4, 1/.5 + ln .25, 0 + ln 1, 9/18 + ln 9; the first two logarithms cancel
    expected = (0.5 + 2.0 + 0.0 + 0.5 + np.log(9)) / 4
    loss = attenuated_l2(predicted, variance.log(), truth, ALL)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_the_gradients_of_equation_16_are_those_of_its_terms() -> None:
    truth, variance = torch.tensor([[[2.0, 1.0], [0.0, 3.0]]]), torch.tensor([[[4.0, 0.25], [1.0, 9.0]]])
    predicted, log_variance = torch.zeros(1, 2, 2, requires_grad=True), variance.log().requires_grad_()
    attenuated_l2(predicted, log_variance, truth, ALL).backward()
    torch.testing.assert_close(predicted.grad, -(truth / variance) / 4)
    torch.testing.assert_close(log_variance.grad, (1 - truth**2 / (2 * variance)) / 4)


@pytest.mark.parametrize(("log_weight", "share"), [(1.0, 0.5), (0.5, 1.0)])
def test_the_best_variance_is_half_the_squared_error_and_all_of_it_by_equation_14(
    log_weight: float, share: float
) -> None:
    error = 0.3
    log_variance = torch.full((1, 2, 2), float(np.log(share * error**2)), requires_grad=True)
    attenuated_l2(torch.zeros(1, 2, 2), log_variance, torch.full((1, 2, 2), error), ALL, log_weight).backward()
    torch.testing.assert_close(log_variance.grad, torch.zeros(1, 2, 2), atol=1e-6, rtol=0)


def test_a_missing_point_neither_counts_nor_poisons_equation_16() -> None:
    truth, visible = torch.tensor([[[2.0, 1.0], [torch.nan, torch.nan]]]), torch.tensor([[True, False]])
    predicted = torch.zeros(1, 2, 2, requires_grad=True)
    loss = attenuated_l2(predicted, torch.zeros(1, 2, 2), truth, visible)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((4 / 2 + 1 / 2) / 2)
    assert predicted.grad is not None
    assert predicted.grad[0, 1].tolist() == [0.0, 0.0]


# --- attention --------------------------------------------------------------------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def reference_cbam(features: np.ndarray, weights: dict[str, np.ndarray], separate: bool) -> np.ndarray:
    """Woo et al., Eq. 1 to 3, or Upadhyay et al., Eq. 3 to 6, of one film (channel, height, width), pixel by pixel."""
    first, second = (weights["perceptron.0.weight"], weights["perceptron.2.weight"])
    total, sigmoids = np.zeros(len(features)), np.zeros(len(features))
    for pooled in (features.reshape(len(features), -1).mean(1), features.reshape(len(features), -1).max(1)):
        hidden = np.maximum(first @ pooled + weights["perceptron.0.bias"], 0)
        answer = second @ hidden + weights["perceptron.2.bias"]
        total, sigmoids = total + answer, sigmoids + sigmoid(answer)
    refined = features * (sigmoids if separate else sigmoid(total))[:, None, None]
    padded = np.pad(np.stack([refined.mean(0), refined.max(0)]), ((0, 0), (3, 3), (3, 3)))
    spatial = np.zeros(features.shape[1:])
    for row, column in np.ndindex(*spatial.shape):
        window = padded[:, row : row + 7, column : column + 7]
        spatial[row, column] = (window * weights["convolution.weight"][0]).sum() + weights["convolution.bias"][0]
    return refined * sigmoid(spatial)


@pytest.mark.parametrize("separate", [False, True])
def test_block_attention_agrees_with_an_independent_reference_of_the_same_weights(separate: bool) -> None:
    module = CBAM(32, separate=separate).double()
    features = torch.randn(2, 32, 5, 9, dtype=torch.float64)
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    expected = np.stack([reference_cbam(film, weights, separate) for film in features.numpy()])
    np.testing.assert_allclose(module(features).detach().numpy(), expected, rtol=1e-10)
    assert module.perceptron[0].weight.shape == (2, 32)  # the reduction of 16


def test_five_blocks_by_equation_3_leave_about_thirty_times_the_signal_of_the_sigmoid_of_a_sum() -> None:
    left = []
    for separate in (False, True):
        torch.manual_seed(0)
        blocks = torch.nn.Sequential(*(CBAM(64, separate=separate) for _ in range(5))).eval()
        left.append(float(blocks(torch.randn(2, 64, 16, 16).relu()).detach().std()))
    assert 20 < left[1] / left[0] < 45


# --- boxes ------------------------------------------------------------------------------------------------------------


@given(centre=st.tuples(st.floats(-50, 150), st.floats(-50, 150)), size=st.tuples(st.floats(4, 200), st.floats(4, 200)))
def test_fractions_lead_to_the_film_and_back(centre: tuple[float, float], size: tuple[float, float]) -> None:
    boxes = Crops(torch.tensor([[centre]]).double(), torch.tensor([[size]]).double())
    points = torch.tensor([[[[0.0, 0.0], [10.0, 70.0]]]]).double()
    torch.testing.assert_close(boxes.to_film(boxes.to_crop(points)), points)


def test_a_crop_shows_what_the_film_has_at_its_fractions() -> None:
    columns, rows = torch.arange(40.0), torch.arange(30.0)
    film = (columns + 100 * rows[:, None])[None, None]
    boxes = Crops(torch.tensor([[[15.0, 12.0]]]), torch.tensor([[[16.0, 8.0]]]))
    crop = boxes.cut(film, (4, 16))
    across, down = (torch.arange(16) + 0.5) / 16, (torch.arange(4) + 0.5) / 4
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    x, y = boxes.to_film(grid.flatten(0, 1)[None, None] - 0.5)[0, 0].T
    torch.testing.assert_close(crop.flatten(), x + 100 * y, atol=1e-2, rtol=0)


def test_the_box_of_a_whole_film_leaves_it_as_it_is() -> None:
    film = torch.rand(2, 1, 6, 10)
    torch.testing.assert_close(Crops.whole(film).cut(film, (6, 10))[:, :1], film)


def test_widening_moves_each_edge_by_its_share() -> None:
    wide = Crops(torch.tensor([[[10.0, 10.0]]]), torch.tensor([[[8.0, 4.0]]])).widen(0.25, 0.5)
    assert wide.centre.tolist() == [[[11.0, 10.5]]]
    assert wide.size.tolist() == [[[14.0, 7.0]]]


# --- crops ------------------------------------------------------------------------------------------------------------


def test_a_set_of_crops_is_read_as_one_crop_without_a_detector() -> None:
    method = BayeRegX(CROP_SCHEMA)
    assert crop_layout(CROP_SCHEMA).structures == ((0, 1, 2, 3, 4),)
    assert method.finder.detector is None
    assert (method.input_spec.size, method.input_spec.fit) == ((224, 448), "stretch")
    assert method.regressor.features(torch.zeros(1, 1, 224, 448)).shape == (1, 256 * 6 * 13)  # AlexNet's last maps


def test_oracle_crops_are_named_and_the_default_finds_its_own(schema: LandmarkSchema) -> None:
    found, told = prepared(schema), prepared(schema, "bayeregx-oracle")
    assert not found.input_spec.is_oracle
    assert told.input_spec.is_oracle  # what leaderboards turn into the badge
    assert told.input_spec.oracle_crop is None  # the vertebrae are cut out once, from the whole film
    assert [stage.name for stage in found.stages] == ["detector", "regressor"]
    assert [stage.name for stage in told.stages] == ["regressor"]
    assert told.finder.detector is None


def test_untrained_oracle_crops_answer_the_mean_shape_of_a_vertebra(schema: LandmarkSchema) -> None:
    method = prepared(schema, "bayeregx-oracle")
    batch = collate(make_samples(method, missing=0))
    boxes = method.finder.true(batch.points, batch.image)
    expected = boxes.pick(method.layout.structure_of).to_film(method.mean.expand(len(batch.case), -1, -1) - 0.5)
    torch.testing.assert_close(method.predict(batch).points, expected)


def test_a_variance_is_the_fractions_times_the_squared_sides_of_its_crop(schema: LandmarkSchema) -> None:
    method = prepared(schema, "bayeregx-oracle")
    batch = collate(make_samples(method, missing=0))
    size = method.finder.boxes(batch.points).size.repeat_interleave(4, dim=1) * (1 + 2 * method.finder.margin)
    covariance = method.predict(batch).covariance
    assert covariance is not None
    torch.testing.assert_close(covariance, torch.diag_embed(method.spread.exp() * size**2))
    torch.testing.assert_close(method.predict(batch).crops, size)


def test_sigma_in_crop_fractions_is_the_networks_own_whatever_the_film(schema: LandmarkSchema) -> None:
    for method in (prepared(schema, "bayeregx-oracle"), prepared(CROP_SCHEMA)):
        batch = collate(make_samples(method, missing=0))._replace(to_image=torch.tensor([[[2.5, 0, 7], [0, 3.5, 9]]]))
        batch = batch._replace(to_image=batch.to_image.expand(len(batch.case), -1, -1))
        _, stored = method.predict_step(batch, 0)
        assert stored.covariance is not None
        assert stored.crops is not None
        fractions = stored.covariance.diagonal(dim1=-2, dim2=-1) / stored.crops**2
        torch.testing.assert_close(fractions.float(), method.spread.exp().expand_as(fractions))


def test_a_missing_corner_takes_its_place_in_the_box_from_the_mean_shape(schema: LandmarkSchema) -> None:
    method = prepared(schema, "bayeregx-oracle")
    points = method.finder.shape[None] + 3.0
    boxes = method.finder.boxes(points)
    hidden = points.clone()
    hidden[0, [0, 5]] = torch.nan
    torch.testing.assert_close(method.finder.boxes(hidden), boxes)


def test_each_stage_trains_its_own_part(schema: LandmarkSchema) -> None:
    method = prepared(schema).train()
    batch = collate(make_samples(method))
    for stage, (trained, still) in enumerate([("finder.detector", "regressor"), ("regressor", "finder.detector")]):
        method.stage = stage
        method.zero_grad()
        method.loss(batch).backward()
        assert all((p.grad is not None) == n.startswith(trained) for n, p in method.named_parameters()), still


def test_the_detector_learns_where_the_vertebrae_of_a_film_are(schema: LandmarkSchema) -> None:
    method = prepared(schema, film_size=(128, 128), detector_width=8).train()
    batch = collate(make_samples(method, missing=0))
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        method.loss(batch).backward()
        optimizer.step()
    assert method.finder.detector is not None
    found, true = method.finder.detector.predict(batch.image), method.finder.boxes(batch.points)
    assert (found.centre - true.centre).norm(dim=-1).mean() < 4
    assert (found.size / true.size).log().abs().mean() < 0.2


@pytest.mark.parametrize(("film_size", "sigma"), [((1024, 832), 2.0), ((512, 416), 1.0), ((2048, 1664), 4.0)])
def test_the_detectors_gaussians_follow_the_size_of_the_film(
    schema: LandmarkSchema, film_size: tuple[int, int], sigma: float
) -> None:
    method = BayeRegX(schema, **{**BayeRegX.smoke, "film_size": film_size})
    assert method.finder.detector is not None
    assert method.finder.detector.sigma == sigma
    assert method.finder.smallest == 2 * sigma


# --- starting from another run ----------------------------------------------------------------------------------------


def started_from(source: BayeRegX, **hparams: object) -> BayeRegX:
    method = prepared(CROP_SCHEMA, seed=2, **hparams)
    method.start_from(source.state_dict())
    return method


def test_a_run_starts_from_the_regressor_of_another_and_keeps_what_its_own_crops_say() -> None:
    cervical, fresh = prepared(CROP_SCHEMA, seed=1), prepared(CROP_SCHEMA, seed=2)
    torch.nn.init.normal_(cervical.regressor.heads[0].weight)
    cervical.mean.fill_(0.3)
    lumbar = started_from(cervical)
    for name, value in cervical.regressor.state_dict().items():
        assert torch.equal(lumbar.regressor.state_dict()[name], value), name
    assert torch.equal(lumbar.mean, fresh.mean)


@pytest.mark.parametrize(
    ("hparams", "reason"),
    [
        ({"width": 8}, r"regressor\.dense\.1\.weight is \(16, 48\) where this run's is \(16, 96\)"),
        ({"dense": 8}, r"regressor\.dense\.1\.bias is \(16,\) where this run's is \(8,\)"),
        ({"attention": "none"}, r"regressor\.features.* where this run's is absent"),
        ({"head": "mse"}, r"regressor\.heads\.1\.bias is \(10,\) where this run's is absent"),
    ],
)
def test_another_network_cannot_be_started_from(hparams: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        started_from(prepared(CROP_SCHEMA), **hparams)


def test_a_run_of_other_landmarks_or_of_another_method_cannot_be_started_from(schema: LandmarkSchema) -> None:
    with pytest.raises(ValueError, match=r"regressor\.heads.*as many landmarks to a crop"):
        started_from(prepared(schema, "bayeregx-oracle"))
    with pytest.raises(ValueError, match="without a regressor; give a run of the same method"):
        prepared(CROP_SCHEMA).start_from({"network.weight": torch.zeros(3)})


def test_what_is_no_checkpoint_is_named_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    for name, reason in {"absent.ckpt": "no file", "text.ckpt": "no checkpoint"}.items():
        with pytest.raises(ValueError, match=rf"init_from names .*{name}, which is {reason}"):
            read_weights(tmp_path / name)


def test_the_first_fit_starts_from_the_weights_and_a_resumed_one_from_its_own_checkpoint(tmp_path: Path) -> None:
    source = prepared(CROP_SCHEMA, seed=1)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "source.ckpt")
    lumbar = prepared(CROP_SCHEMA, seed=2, init_from=str(tmp_path / "source.ckpt"), lr=0.0, schedule="constant")
    fresh = {name: value.clone() for name, value in lumbar.regressor.named_parameters()}
    films = DataLoader(make_samples(lumbar), batch_size=4, collate_fn=collate)

    def fit(epochs: int, ckpt_path: Path | None = None) -> Trainer:
        trainer = make_trainer(tmp_path, "32-true", [], max_epochs=epochs)
        with quiet():
            trainer.fit(lumbar, films, films, ckpt_path=ckpt_path, weights_only=True)
        return trainer

    trainer = fit(1)
    for name, value in source.regressor.named_parameters():  # no step moves a weight, since the learning rate is 0
        assert torch.equal(lumbar.regressor.get_parameter(name), value), name
    lumbar.load_state_dict({f"regressor.{name}": value for name, value in fresh.items()}, strict=False)
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    fit(2, tmp_path / "own.ckpt")
    for name, value in fresh.items():
        assert torch.equal(lumbar.regressor.get_parameter(name), value), name
