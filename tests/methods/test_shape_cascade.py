"""The cascade: axes of shapes, regions of films, which films and weights each stage learns from, and its sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from lightning import Trainer, seed_everything
from sklearn.decomposition import PCA
from torch.nn.functional import interpolate

from benchmark.cell import Budget, Cell, Context
from benchmark.contract.tiny_films import build, make_samples
from benchmark.training.progress import Progress
from benchmark.training.run_cell import run_cell
from datamodules.aasce import AASCE
from datamodules.base import LandmarkSchema, Sample
from datamodules.components.samples import collate
from datamodules.components.transforms import Box, landmark_box, resize
from methods.components.crops.crops import Crops
from methods.shape_cascade import ShapeCascade
from tests.data.aasce import write

UNGROUPED = LandmarkSchema(("tip", "base", "edge"))
MIXED = LandmarkSchema(("tip", "L5-l", "L5-r", "S1-l", "S1-r"), groups={"L5": ("L5-l", "L5-r"), "S1": ("S1-l", "S1-r")})


def _cascade(schema: LandmarkSchema, **hparams: object) -> ShapeCascade:
    torch.manual_seed(0)
    settings: dict = {**ShapeCascade.smoke, **hparams}
    return ShapeCascade(schema, **settings)


def _moved(method: ShapeCascade, seed: int = 5) -> ShapeCascade:
    """Give every stage a head, as training would: an untrained one moves nothing."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in method.named_parameters():
        if ".head." in name:
            parameter.data = 0.02 * torch.randn(parameter.shape, generator=generator)
    return method


def test_the_whole_has_11_02_million_parameters_and_an_encoder_1_83() -> None:
    method = ShapeCascade(AASCE.schema)
    assert method.parameter_counts()["trainable"] == pytest.approx(11.02e6, rel=1e-3)
    encoder = method.centres.stages[0].encoder
    assert sum(p.numel() for p in encoder.parameters()) == pytest.approx(1.83e6, rel=1e-3)
    assert encoder(torch.rand(2, 1, 48, 80)).shape == (2, 64)
    assert encoder.blocks(encoder.stem(torch.rand(2, 1, 48, 80))).shape == (2, 320, 2, 3)  # Table I
    assert method.centres.stages[0].offsets.axes.shape == (8, 34)


@pytest.mark.parametrize("depth", [1, 2, 3, 4, 5])
def test_two_steps_of_as_many_stages_as_asked(schema: LandmarkSchema, depth: int) -> None:
    method = _cascade(schema, depth=depth)
    expected = [f"{step}-{n + 1}" for step in ("centres", "corners") for n in range(depth)]
    assert [(stage.name, stage.epochs) for stage in method.stages] == [(name, 8) for name in expected]
    assert len(method.centres.stages) == len(method.corners[0].stages) == depth


def test_without_pca_a_stage_regresses_every_coordinate(schema: LandmarkSchema) -> None:
    method = _cascade(schema, pca=False)
    method.prepare(make_samples(method))
    for cascade, coordinates in ((method.centres, 6), (method.corners[0], 8)):
        assert all(torch.equal(stage.offsets.axes, torch.eye(coordinates)) for stage in cascade.stages)
        assert all(stage.head.out_features == coordinates for stage in cascade.stages)


def test_a_schema_without_groups_is_one_cascade_over_all_points() -> None:
    method = _cascade(UNGROUPED, depth=2)
    assert [stage.name for stage in method.stages] == ["points-1", "points-2"]
    assert not len(method.corners)
    samples = make_samples(method, missing=0)
    method.prepare(samples)
    expected = torch.stack([sample.points for sample in samples]).mean(dim=0)
    torch.testing.assert_close(method.eval().predict(collate(samples)).points, expected.expand(4, -1, -1))


def test_groups_of_each_size_have_their_corner_networks_and_lone_landmarks_none() -> None:
    schema = LandmarkSchema(MIXED.names, groups={"L5": ("L5-l", "L5-r")})
    assert _cascade(MIXED).structures == ((1, 2), (3, 4), (0,))
    assert _cascade(schema).structures == ((1, 2), (0,), (3,), (4,))
    for method in (_cascade(MIXED), _cascade(schema)):
        samples = make_samples(method, missing=0)
        method.prepare(samples)
        points = _moved(method).eval().predict(collate(samples)).points
        assert torch.equal(points[:, 0], method.centres(collate(samples).image.float() / 255)[:, method.owner[0]])


def test_an_untrained_cascade_places_the_mean_shape(schema: LandmarkSchema) -> None:
    method = _cascade(schema)
    samples = make_samples(method, missing=0)
    method.prepare(samples)
    groups = method._both_ways(collate(samples).points).view(8, 3, 4, 2)
    centres = groups.mean(dim=2)
    corners = (groups - centres[:, :, None]).mean(dim=(0, 1))  # one mean shape for all vertebrae
    expected = (centres.mean(dim=0)[:, None] + corners).flatten(0, 1)
    torch.testing.assert_close(method.eval().predict(collate(samples)).points, expected.expand(4, -1, -1))


def test_a_mirrored_film_exchanges_left_and_right_names(schema: LandmarkSchema) -> None:
    method = _cascade(schema)
    samples = make_samples(method, count=2, missing=0)
    points = method._both_ways(collate(samples).points)
    film = method._lessons(collate(samples).image, collate(samples).points)[0].frames
    assert torch.equal(film[2:], film[:2].flip(-1))
    left, right = schema.index(("L2-TL", "L2-TR"))
    torch.testing.assert_close(points[2:, left, 0], 63 - points[:2, right, 0])
    torch.testing.assert_close(points[2:, left, 1], points[:2, right, 1])
    columns, rows = points.round().long().unbind(dim=-1)
    assert (film[torch.arange(4)[:, None], 0, rows, columns] == 1).float().mean() > 0.9  # halves round to even


def test_a_schema_without_pairs_is_not_mirrored() -> None:
    method = _cascade(UNGROUPED)
    batch = collate(make_samples(method))
    assert len(method._lessons(batch.image, batch.points)[0].frames) == len(batch.case)


def test_the_loss_of_whole_shapes_is_the_papers() -> None:
    method = _moved(_cascade(UNGROUPED, ungrouped_components=4)).eval()
    samples = make_samples(method, missing=0)
    method.prepare(samples)
    batch = collate(samples)
    for index in range(3):
        method.stage = index
        film, stage = batch.image.float() / 255, method.centres.stages[method.stage]
        shape = method.centres.frozen(film, method.stage)
        target = ((batch.points - shape) / 64).flatten(1) @ stage.offsets.axes.T  # Eq. 5
        regions = Crops.of_size(shape, (16, 32)).cut(film)
        seen = interpolate(regions, (16, 16), mode="bilinear", antialias=True)
        error = (stage(seen) - target).abs()
        expected = torch.where(error < 1e-3, 0.5 * error**2 / 1e-3, error - 0.5e-3).sum(dim=1).mean()  # Eq. 12
        torch.testing.assert_close(method.loss(batch), expected)


def test_a_missing_point_neither_costs_nor_pulls(schema: LandmarkSchema) -> None:
    method = _moved(_cascade(UNGROUPED, pca=False)).eval()
    samples = make_samples(method, missing=0)
    method.prepare(samples)
    batch = collate(samples)
    batch.points[:, 1] = torch.nan
    method.loss(batch).backward()
    head = method.centres.stages[0].head.weight.grad
    assert head is not None
    assert head[2:4].count_nonzero() == 0
    assert all(head[row].count_nonzero() for row in (0, 1, 4, 5))
    shown = [0, 2]
    alone = (batch.points - method.centres(batch.image.float() / 255, depth=1))[:, shown].abs() / 64
    torch.testing.assert_close(method.loss(batch), (alone - 0.5e-3).sum(dim=(1, 2)).mean(), atol=1e-4, rtol=0)


def test_each_stage_trains_its_own_weights_and_statistics_only(schema: LandmarkSchema) -> None:
    method = _cascade(schema)
    batch = collate(make_samples(method, missing=0))
    method.prepare(make_samples(method, missing=0))
    for index, stage in enumerate(method.stages):
        method.stage = index
        before = {name: value.clone() for name, value in method.state_dict().items()}
        optimizer = method.configure_optimizers()["optimizer"]  # type: ignore[index,call-overload]
        for _ in range(2):  # the head starts at zero: the encoder learns from the second step on
            optimizer.zero_grad()
            method.train().loss(batch).backward()
            optimizer.step()
        changed = {name for name, value in method.state_dict().items() if not torch.equal(before[name], value)}
        step, n = stage.name.split("-")
        prefix = f"{step}.{'0.' * (step == 'corners')}stages.{int(n) - 1}."
        assert all(name.startswith(prefix) for name in changed), stage
        kinds = {name.removeprefix(prefix).split(".")[0] for name in changed}
        assert kinds == {"encoder", "head"}
        assert any("running_mean" in name for name in changed)


def _fit(method: ShapeCascade, data: AASCE, stages: range) -> ShapeCascade:
    """Train stages for one epoch each, as a run does."""
    for index in stages:
        method.stage = index
        seed_everything(0, verbose=False)
        trainer = Trainer(
            accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(method, datamodule=data)
    return method


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("aasce")
    write(root)
    return root


def _data(root: Path, method: ShapeCascade, poisoned: Callable[[AASCE], tuple[str, ...]] | None = None) -> AASCE:
    """Read the phantom; the labels of `poisoned` cases are moved far away."""
    data = AASCE(root, allow_missing=True)
    data.configure(method.input_spec, batch_size=4)
    for name in poisoned(data) if poisoned else ():
        case = data.inventory.cases[name]
        data.inventory.cases[name] = case._replace(points=1000 * case.points[::-1])  # type: ignore[index]
    return data


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_poisoned_validation_and_test_cases_change_nothing_that_is_learnt(phantom: Path) -> None:
    def held_out(data: AASCE) -> tuple[str, ...]:
        return (*data.split.val, *(case for cases in data.split.tests.values() for case in cases))

    learnt = []
    for poisoned in (None, held_out, lambda data: data.split.train[:1]):
        method = _cascade(AASCE.schema, depth=1)
        data = _data(phantom, method, poisoned)
        assert data.split.val
        assert set(data.split.train).isdisjoint(held_out(data))
        method.prepare(data.train_samples())
        learnt.append(_fit(method, data, range(2)).state_dict())
    assert all(torch.equal(learnt[0][name], value) for name, value in learnt[1].items())
    for name in ("centres.start", "centres.stages.0.offsets.axes", "corners.0.start"):
        assert not torch.equal(learnt[0][name], learnt[2][name])


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_later_stage_takes_its_axes_from_where_the_stages_before_it_leave_the_training_films(phantom: Path) -> None:
    method = _cascade(AASCE.schema, depth=2)
    data = _data(phantom, method)
    method.prepare(data.train_samples())
    batch = collate(data.train_samples())
    _fit(method, data, range(1))
    film = torch.cat([batch.image, batch.image.flip(-1)]).float() / 255
    left = method._centres(method._both_ways(batch.points)) - method.centres.frozen(film, 1)
    expected = PCA(8).fit(torch.cat([left, -left]).flatten(1).double().numpy())
    before = method.centres.stages[1].offsets.axes.clone()
    _fit(method, data, range(1, 2))
    axes = method.centres.stages[1].offsets.axes.numpy()
    assert not torch.equal(before, method.centres.stages[1].offsets.axes)
    sure = np.abs(axes @ expected.components_.T).diagonal()[:4]  # the longest axes are well apart
    np.testing.assert_allclose(sure, 1, atol=1e-2)


def test_a_perturbed_start_depends_on_the_case_alone(schema: LandmarkSchema) -> None:
    method, steady = _cascade(schema, start_noise=0.05).eval(), _cascade(schema).eval()
    samples = make_samples(method, count=24, missing=0)
    method.prepare(samples)
    steady.prepare(samples)
    points = method.predict(collate(samples)).points
    torch.testing.assert_close(method.predict(collate(samples[3:5])).points, points[3:5])
    moved = (points - steady.predict(collate(samples)).points)[:, ::4]  # a vertebra moves as a whole
    assert moved.std().item() == pytest.approx(0.05 * 64, rel=0.2)
    method.train()
    assert torch.equal(method.loss(collate(samples)), steady.train().loss(collate(samples)))  # in testing only


@pytest.mark.parametrize("schema_", [UNGROUPED, MIXED])
def test_every_schema_falls_on_one_batch_in_every_stage(schema_: LandmarkSchema) -> None:
    method = _cascade(schema_, depth=1)
    samples: list[Sample] = make_samples(method, missing=0.2)
    method.prepare(samples)
    for index in range(len(method.stages)):
        method.stage = index
        optimizer = method.configure_optimizers()["optimizer"]  # type: ignore[index,call-overload]
        losses = []
        for _ in range(12):
            losses.append(method.loss(collate(samples)))
            optimizer.zero_grad()
            losses[-1].backward()
            optimizer.step()
        assert min(losses[-3:]) < losses[0]


def test_a_run_broken_off_in_any_stage_goes_on_as_if_it_had_not(phantom: Path, tmp_path: Path) -> None:
    hparams = {**ShapeCascade.smoke, "depth": 2, "batch_size": 4}
    budget = Budget("test", epochs=2, train_cases=4)
    cell = Cell("aasce", "official", "main", "shape-cascade", "shape-cascade", 0, tuple(hparams.items()), budget)

    def stop_after(epochs: int) -> Callable[[Progress], None]:
        def report(progress: Progress) -> None:
            if progress.epoch == epochs and progress.loss == progress.loss:
                raise KeyboardInterrupt

        return report

    whole, broken = (Context(tmp_path / name, {"aasce": phantom}, allow_missing=True) for name in ("a", "b"))
    for epochs in (3, 6):  # at the start of a stage, which then begins anew, and within one
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run_cell(cell, broken, stop_after(epochs))
    records = [run_cell(cell, context) for context in (whole, broken)]
    assert [record.status for record in records] == ["done", "done"], records[0].traceback
    pd.testing.assert_frame_equal(*(pd.read_parquet(r.folder / "predictions.parquet") for r in records))


def test_variants_build_at_smoke_size(schema: LandmarkSchema) -> None:
    built = {variant: build(ShapeCascade, schema, variant) for variant in ShapeCascade.variants}
    rows = ("", "-no-pca", "-true-centres", "-true-centres-no-pca")  # Fig. 7, both steps, with and without PCA
    assert {name: len(method.stages) for name, method in built.items() if "-start" not in name} == {
        f"shape-cascade{row}{depth}": stages
        for row in rows
        for depth, stages in {"": 6, **{f"-{n}-stage": 2 * n for n in (1, 2, 4, 5)}}.items()
    }
    assert {name for name, method in built.items() if method.input_spec.oracle_crop is not None} == {
        name
        for name in built
        if "true-centres" in name  # what leaderboards turn into the badge
    }


def test_on_true_centres_only_the_corners_of_groups_are_found_by_the_network() -> None:
    schema = LandmarkSchema(MIXED.names, groups={"L5": ("L5-l", "L5-r")})
    method = _moved(_cascade(schema, true_centres=True)).eval()
    samples = make_samples(method, missing=0)
    method.prepare(samples)
    batch = collate(samples)
    points = method.predict(batch).points
    offsets = points[:, 1:3] - batch.points[:, 1:3].mean(dim=1, keepdim=True)
    rois = method.corners[0](
        method._rois(batch.points[:, 1:3].mean(dim=1, keepdim=True)).cut(batch.image.float() / 255)
    )
    torch.testing.assert_close(offsets, rois - torch.tensor([15.5, 15.5]), atol=1e-4, rtol=0)
    own = method.centres(batch.image.float() / 255)
    assert torch.equal(points[:, [0, 3, 4]], own[:, [method.owner[k] for k in (0, 3, 4)]])
    box = landmark_box(batch.points[0].numpy(), (64, 64), method.input_spec.oracle_crop or 0)
    assert box == (0, 0, 64, 64)


def test_regions_hold_as_much_of_a_smaller_film() -> None:
    method = ShapeCascade(AASCE.schema, depth=1, backbone_name="test_efficientnet", input_size=(340, 280))
    assert method.roi == (40, 48)
    assert method.centres.region == ((40, 96), (48, 80))  # resized to what the encoder reads
    assert method.corners[0].region == ((24, 24), (24, 24))
    assert ShapeCascade(AASCE.schema, **ShapeCascade.smoke).roi == ShapeCascade.smoke["roi"]


def test_clahe_sees_the_film_and_not_the_black_beside_it() -> None:
    film = np.random.default_rng(0).integers(60, 90, (136, 60)).astype(np.uint8)
    spec = ShapeCascade(AASCE.schema, **{**ShapeCascade.smoke, "input_size": (136, 112)}).input_spec
    image = resize(film, Box(0, 0, 60, 136), spec)
    assert not image[:, :26].any()
    assert not image[:, 86:].any()
    np.testing.assert_array_equal(image[:, 26:86], cv2.createCLAHE(2, (8, 8)).apply(film))
