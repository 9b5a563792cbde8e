"""The two-stage lumbar network: Eq. 5, Algorithm 1, squares, CoordConv, cutout, M-Net and the whole round trip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

import benchmark
from benchmark.contract.tiny_films import build, make_samples
from datamodules.aasce import AASCE
from datamodules.base import Batch, Case, LandmarkSchema
from datamodules.buu import BUU
from datamodules.components.samples import collate
from datamodules.components.transforms import Box, InputSpec, invert_affine, to_image_affine, transform_points
from methods.components.crops.crops import Crops
from methods.components.heatmap import decode, gaussian
from methods.components.images.clahe import blur
from methods.components.networks.centre_net import STRIDE
from methods.components.structures.centre_repair import skips
from methods.components.structures.vertebrae import Frame, landmark_sigma
from methods.two_stage_lumbar import TwoStageLumbar

from .spines import LUMBAR, NECK, SPINE, spine_points

VARIANTS = tuple(TwoStageLumbar.variants)


def _method(schema: LandmarkSchema, variant: str | None = None) -> TwoStageLumbar:
    method = build(TwoStageLumbar, schema, variant)
    assert isinstance(method, TwoStageLumbar)
    return method


def _spine(schema: LandmarkSchema, films: int = 2, side: int = 128) -> Batch:
    """Films with one vertebra below the other, slightly tilted."""
    batch = collate(make_samples(_method(schema), count=films, missing=0))
    return batch._replace(points=spine_points(schema, films, side), visible=torch.ones_like(batch.visible))


def test_the_numbers_of_parameters_do_not_change_unseen() -> None:
    method = TwoStageLumbar(LUMBAR)
    counts = [sum(p.numel() for p in net.parameters()) for net in (method.centre_net, *method.mnets)]
    assert counts == PARAMETERS
    assert [net.answers[-1][-1].out_channels for net in method.mnets] == [5, 3]  # 4 maps and a field; 2 and a field


PARAMETERS = [18_687_177, 8_552_820, 8_551_852]


def test_the_second_stage_reads_the_unprocessed_film() -> None:
    method, batch = _method(LUMBAR), _spine(LUMBAR)
    squares = Crops.squares(torch.full((2, 1, 2), 63.5), torch.full((2, 1), 32.0), 32)
    plain = blur(batch.image[:, 0, 48:80, 48:80].float() / 255)
    torch.testing.assert_close(method._cut(batch.image, squares)[:, 0, 3:-3, 3:-3], plain[:, 3:-3, 3:-3])


def test_l5_and_s1_are_never_hidden_and_the_second_stage_hides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    method, batch = _method(LUMBAR), _spine(LUMBAR)
    seen = []

    def spy(film: Tensor, bodies: Frame, *rest: object) -> Tensor:
        seen.append(bodies)
        return film

    monkeypatch.setattr("methods.two_stage_lumbar.cutout", spy)
    method.loss(batch)
    expected = (batch.points[:, :16].unflatten(1, (4, 4)).mean(dim=2) + 0.5) / 2 - 0.5  # in Pose-Net's pixels
    torch.testing.assert_close(seen[0].centre, expected)
    method.stage = 1
    method.loss(batch)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "schema", [LandmarkSchema(("tip", "base")), LandmarkSchema(("a", "b", "c"), {"x": ("a", "b")})]
)
def test_a_schema_without_neighbouring_groups_is_unsupported(schema: LandmarkSchema) -> None:
    assert "no two groups" in str(TwoStageLumbar.unsupported(schema))
    assert all(TwoStageLumbar.unsupported(supported) is None for supported in (LUMBAR, SPINE, NECK))


class _Answer(nn.Module):
    """Answers the same, whatever it sees."""

    def __init__(self, inner: Tensor, maps: Tensor) -> None:
        super().__init__()
        self.answer = inner, maps

    def forward(self, view: Tensor) -> tuple[Tensor, Tensor]:
        return self.answer


class _PerfectMaps(nn.Module):
    """Answers the targets of the squares that it is asked about, in their order."""

    def __init__(self, points: Tensor, width: int) -> None:
        super().__init__()
        self.points, self.width = points, width

    def forward(self, cuts: Tensor) -> Tensor:
        maps = gaussian(self.points[: len(cuts)], cuts.shape[-2:], sigma=self.width)
        self.points = self.points[len(cuts) :]
        return torch.cat([maps, torch.rand_like(maps[:, :1])], dim=1)


@pytest.mark.parametrize(
    ("schema", "variant", "crops"),
    [(LUMBAR, VARIANTS[0], 96), (LUMBAR, VARIANTS[0], 3), (LUMBAR, VARIANTS[-1], 96), (NECK, VARIANTS[0], 96)],
)
def test_true_maps_give_the_true_points_back(
    schema: LandmarkSchema, variant: str, crops: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**TwoStageLumbar.variants[variant], **TwoStageLumbar.smoke, "crop_size": 64, "crops": crops}
    method, batch = TwoStageLumbar(schema, **settings).eval(), _spine(schema)
    method.prepare(
        [sample._replace(points=own) for sample, own in zip(make_samples(method, 2), batch.points, strict=True)]
    )
    centres = method.structures.centres(batch.points)
    maps = gaussian(centres, (64, 64), sigma=2.0, stride=2)
    answer = maps[:, list(method.structures.vertebrae)].amax(dim=1, keepdim=True) if method.one_map else maps
    method.centre_net = _Answer(answer[:, :1], answer)
    monkeypatch.setattr("methods.two_stage_lumbar.STRIDE", 1)
    found = method.find_centres(batch)
    asked = list(method.structures.vertebrae) if method.one_map else list(range(centres.shape[1]))
    torch.testing.assert_close(found[:, asked], centres[:, asked], atol=0.2, rtol=0)
    squares = method._squares(found)
    true = [squares.pick(kind.positions).to_crop(batch.points[:, kind.landmarks]) for kind in method.structures.classes]
    method.mnets = nn.ModuleList(_PerfectMaps(points.flatten(0, 1), 3) for points in true)
    prediction = method.predict(batch)
    torch.testing.assert_close(prediction.points, batch.points, atol=0.2, rtol=0)
    own = 3**2 * squares.scale[0, 0] ** 2 * torch.eye(2)
    assert prediction.covariance is not None
    torch.testing.assert_close(prediction.covariance[0, 0], own, rtol=0.1, atol=0.1)


def test_kims_one_map_is_asked_for_the_five_vertebrae_and_the_sacrum_lies_where_the_training_films_have_it() -> None:
    method, batch = _method(LUMBAR, "two-stage-lumbar-kim"), _spine(LUMBAR)
    own = batch.points.clone()
    method.prepare([s._replace(points=p) for s, p in zip(make_samples(method, 2), own, strict=True)])
    seen: list[Tensor] = []
    for sacrum in (0.0, 40.0):  # wherever it lies, it changes neither the target nor what is asked for
        batch.points[:, 20:] += sacrum
        method.centre_net = _Answer(torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 8))
        seen.append(method.loss(batch))
    assert seen[0] == seen[1]
    vertebrae = method.structures.centres(batch.points)[:, :5]
    hosts, sides = method._hosts(vertebrae)
    placed = (hosts + method.offsets * sides)[:, 5]
    torch.testing.assert_close(placed, own[:, 20:].mean(dim=1), atol=2.0, rtol=0)


def _perfect(method: TwoStageLumbar, points: Tensor, sigma: float = 1.0) -> Tensor:
    """Return the centres in film pixels that perfect centre maps lead to."""
    size, stride = method.view_size // STRIDE, STRIDE * method.view_stride
    maps = gaussian(method.structures.centres(points), (size, size), sigma, stride)
    if method.one_map:
        maps = maps[:, list(method.structures.vertebrae)].amax(dim=1, keepdim=True)
    method.centre_net = _Answer(maps[:, :1], maps)
    film = torch.zeros(len(points), 1, method.film_size, method.film_size, dtype=torch.uint8)
    return method.find_centres(make_batch(film, points))


def make_batch(film: Tensor, points: Tensor) -> Batch:
    """Films of one grey with these points."""
    none = torch.zeros(len(points), 2)
    names = tuple(f"case{i}" for i in range(len(points)))
    return Batch(names, film, points, points.isfinite().all(dim=-1), none, none)


def _in_square(cases: Mapping[str, Case], names: Sequence[str], side: int) -> Tensor:
    """Return cases' points in films that are padded to a square."""
    affines = [invert_affine(to_image_affine(Box(0, 0, *cases[n].size[::-1]), _square(side))) for n in names]
    points = [transform_points(affine, cases[n].points) for affine, n in zip(affines, names, strict=True)]
    return torch.tensor(np.stack(points), dtype=torch.float32)


def _square(side: int) -> InputSpec:
    return InputSpec((side, side), fit="pad")


def test_the_true_centres_of_whole_spines_are_not_repaired(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (real_data / "aasce" / "labels").is_dir():
        pytest.skip(f"The AASCE films are not at {real_data}.")
    data = AASCE(real_data / "aasce")
    cases, side = data.inventory.cases, 512
    method = TwoStageLumbar(AASCE.schema, film_size=side, view_size=side, centre_width=2, mnet_width=2).eval()
    sample = make_samples(method, 1)[0]
    method.prepare([sample._replace(points=own) for own in _in_square(cases, data.split.train, side)])
    points = _in_square(cases, sorted(cases), side)
    true = method.structures.centres(points)
    monkeypatch.setattr(method, "_view", lambda film: film)
    found = torch.cat([_perfect(method, part) for part in points.split(64)])
    assert skips(true).sum() == 257  # as Algorithm 1 would
    assert (found - true).norm(dim=-1).mean() < 0.01
    _check_landmark_maps(method, points[:16], found[:16])


def _shipped() -> list[tuple[str, dict[str, Any]]]:
    """Return the sizes of the method and of Kim et al.'s in the matrices that come with the suite."""
    folder, found = Path(benchmark.__file__).parent / "matrices", []
    for path in sorted(folder.glob("*.yaml")):
        for override in yaml.safe_load(path.read_text()).get("overrides", ()):
            found += [
                (name, override["hparams"]) for name in override["methods"] if name in (VARIANTS[0], VARIANTS[-1])
            ]
    return found


@pytest.mark.parametrize(("variant", "hparams"), [(VARIANTS[0], {}), (VARIANTS[-1], {}), *_shipped()])
def test_perfect_maps_give_the_points_at_every_shipped_size(
    variant: str, hparams: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    BUU.write_phantom(tmp_path)
    data = BUU(tmp_path)
    small = {"centre_width": 2, "mnet_width": 2}
    plain = {name: value for name, value in hparams.items() if name not in small}
    method = TwoStageLumbar(BUU.schema, **{**TwoStageLumbar.variants[variant], **plain, **small}).eval()
    points = _in_square(data.inventory.cases, sorted(data.inventory.cases)[:12], method.film_size)
    sample = make_samples(_method(LUMBAR), 1)[0]
    method.prepare([sample._replace(points=own) for own in points])
    monkeypatch.setattr(method, "_view", lambda film: film)
    found = _perfect(method, points)
    true, asked = method.structures.centres(points), list(method.structures.vertebrae)
    assert (found - true)[:, asked].norm(dim=-1).max() < 0.1 * STRIDE * method.view_stride  # map pixels
    _check_landmark_maps(method, points, found)


def _check_landmark_maps(method: TwoStageLumbar, points: Tensor, centres: Tensor) -> None:
    """Decode perfect landmark maps of the squares round these centres."""
    squares = method._squares(centres)
    for kind in method.structures.classes:
        local = squares.pick(kind.positions).to_crop(points[:, kind.landmarks]).flatten(0, 1)
        sigma = landmark_sigma(local, kind.plates, 1.0)
        maps = gaussian(local, (method.crop_size, method.crop_size), sigma[:, None, None])
        inside = ((local >= 0) & (local <= method.crop_size - 1)).all(dim=-1)
        assert inside.float().mean() > 0.9
        error = (decode(maps, method.codec, sigma=method.smoothing) - local).norm(dim=-1)[inside]
        assert error.mean() < 0.01
        assert error.max() < 0.5, error.max()  # at the border, where half of the blob is cut off


def test_lengths_follow_the_sizes_of_their_maps() -> None:
    method = TwoStageLumbar(LUMBAR, film_size=256, view_size=128, crop_size=64, centre_width=2, mnet_width=2)
    assert (method.peak_window, method.smoothing, method.paf_width) == (1, 1.0, 1.0)
    assert TwoStageLumbar(LUMBAR, centre_width=2, mnet_width=2, crop_size=64, paf_width=4.0).paf_width == 4


def test_the_first_stages_centres_are_handed_on_for_every_landmark() -> None:
    method, batch = _method(LUMBAR), _spine(LUMBAR)
    method.eval()
    prediction, found = method.predict(batch), method.find_centres(batch)
    assert prediction.centres is not None
    torch.testing.assert_close(prediction.centres[:, 4:8], found[:, 1:2].expand(-1, 4, -1))
    torch.testing.assert_close(prediction.centres[:, 20:], found[:, 5:].expand(-1, 2, -1))
    moved = prediction.transform(torch.tensor([[[2.0, 0.0, 1.0], [0.0, 3.0, 5.0]]] * 2))
    assert moved.centres is not None
    torch.testing.assert_close(moved.centres.float(), prediction.centres * torch.tensor([2, 3]) + torch.tensor([1, 5]))


def test_centre_maps_and_inner_map_are_pulled_to_the_gaussians_of_equation_1() -> None:
    method, batch = _method(LUMBAR, "two-stage-lumbar-no-cutout"), _spine(LUMBAR, side=128)
    centres = method.structures.centres((batch.points + 0.5) / 2 - 0.5)
    corners = (batch.points[:, 16:20] + 0.5) / 2 - 0.5
    height = ((corners[:, 2] + corners[:, 3]) / 2 - (corners[:, 0] + corners[:, 1]) / 2).norm(dim=-1)
    sigma = (height / 2 / 8).clamp(min=8 / 64)  # a pixel of the paper's maps of 64, at a side of 8
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    grid = (torch.stack([columns, rows], dim=-1) + 0.5) * 8 - 0.5
    distance = ((grid - centres[:, :, None, None]) / 8).pow(2).sum(dim=-1)
    target = torch.exp(-distance / (2 * sigma[:, None, None, None] ** 2))
    method.centre_net = _Answer(target[:, 4:5] + 1, target + 2)
    assert float(method.loss(batch)) == pytest.approx(1 + 4, rel=1e-4)


def test_landmark_maps_and_fields_cost_what_equations_6_to_11_say() -> None:
    method = _method(LUMBAR)
    kind = method.structures.classes[0]
    corners = torch.tensor([[[6.2, 7.1], [22.4, 8.3], [5.9, 20.2], [23.3, 21.7]]])
    diagonals = np.hypot(23.3 - 6.2, 21.7 - 7.1), np.hypot(22.4 - 5.9, 20.2 - 8.3)
    rows, columns = np.mgrid[:32, :32]
    maps = np.stack(
        [
            np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (sum(diagonals) / 20) ** 2))
            for x, y in corners[0].numpy()
        ]
    )
    along = np.linspace(0, 1, 4001)
    field = np.zeros((32, 32))
    for a, b in ((0, 1), (2, 3)):
        x, y = corners[0, a].numpy()[:, None] + along * (corners[0, b] - corners[0, a]).numpy()[:, None]
        field[np.hypot(columns[..., None] - x, rows[..., None] - y).min(axis=-1) <= 2] = 1
    noise = np.random.default_rng(0).normal(size=(5, 32, 32))
    target = np.concatenate([maps, field[None]])
    expected = (noise[:4] ** 2).mean() + 0.001 * (noise[4] ** 2).mean()
    answer = torch.tensor((target + noise)[None], dtype=torch.float32)
    assert float(method._kind_loss(kind, answer, corners, 0.001)) == pytest.approx(expected, rel=1e-3)
    assert method.paf_weights == (0.001, 0.01)


def test_an_incomplete_vertebra_trains_neither_its_map_nor_its_square() -> None:
    method, batch = _method(LUMBAR), _spine(LUMBAR, films=1)
    method.shift = method.zoom = 0.0
    method.stage = 1
    batch.points[0, 5] = torch.nan
    losses = []
    for moved in (0.0, 3.0):
        points = batch.points.clone()
        points[0, 4] += moved  # another corner of the same vertebra
        losses.append(method.loss(batch._replace(points=points, visible=points.isfinite().all(-1))).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_loss_of_every_variant_falls_on_one_batch_in_both_stages(variant: str) -> None:
    method, batch = _method(LUMBAR, variant), _spine(LUMBAR, films=1)
    for stage in range(2):
        method.stage = stage
        optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
        losses = []
        for _ in range(6):
            torch.manual_seed(0)
            loss = method.loss(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.95 * losses[0], stage


def test_each_stage_trains_its_own_networks_and_one_checkpoint_holds_all() -> None:
    method, batch = _method(LUMBAR), _spine(LUMBAR)
    assert [stage.epochs for stage in method.stages] == [200, 250]
    for stage, trained in enumerate(("centre_net", "mnets")):
        method.stage = stage
        method.zero_grad()
        method.loss(batch).backward()
        touched = {name.split(".")[0] for name, p in method.named_parameters() if p.grad is not None}
        assert touched == {trained}
    assert {name.split(".")[0] for name in method.state_dict()} == {
        *("centre_net", "mnets", "widening", "offsets", "repairs")
    }


def test_the_learning_rate_falls_linearly_to_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    method = _method(LUMBAR)
    monkeypatch.setattr(TwoStageLumbar, "trainer", SimpleNamespace(estimated_stepping_batches=4))
    optimizers: Any = method.configure_optimizers()
    rates = []
    for _ in range(5):
        rates.append(optimizers["optimizer"].param_groups[0]["lr"])
        optimizers["optimizer"].step()
        optimizers["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([1e-4, 0.75e-4, 0.5e-4, 0.25e-4, 0])
    assert optimizers["lr_scheduler"]["interval"] == "step"
