"""FARNet against an independent reading of its graph, its published size and its public code's grid."""

from __future__ import annotations

import inspect
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.contract.tiny_films import build, make_samples
from datamodules.base import Batch, LandmarkSchema
from datamodules.components.samples import collate
from methods.components.images.intensity import IMAGENET
from methods.components.networks.backbones import film_statistics
from methods.components.networks.feature_pyramid import FeaturePyramid
from methods.farnet import FARNet, FARNetwork
from methods.fpn import FPN
from methods.unet import UNet

PAPER_CODE = FARNet.variants["farnet-paper-code"]
CEPHALOMETRIC = LandmarkSchema(tuple(f"p{i}" for i in range(19)))
ABLATION = [name for name, hparams in FARNet.variants.items() if "backbone_name" not in hparams]


def _on_paper(**hparams: object) -> FARNet:
    """A FARNet of the paper's size without memory."""
    with torch.device("meta"):
        return FARNet(CEPHALOMETRIC, **hparams)


def test_the_public_codes_network_has_its_live_parameters() -> None:
    assert _on_paper(**PAPER_CODE).parameter_counts()["trainable"] == 61_218_963


def test_reading_the_film_by_3x3_as_the_paper_says_adds_768_parameters() -> None:
    assert _on_paper().parameter_counts()["trainable"] == 61_218_963 + 3 * 32 * 8


@pytest.mark.parametrize("variant", FARNet.variants)
def test_no_weight_of_a_variant_is_dead_and_its_heatmaps_have_their_strides(variant: str) -> None:
    hparams = FARNet.variants[variant]
    method = _on_paper(**hparams)
    heatmaps = method(torch.empty(1, 1, 64, 96, dtype=torch.uint8, device="meta"))
    assert set(heatmaps) == {"none": {2}, "naive": {1}}.get(hparams.get("refinement"), {1, 2})
    assert all(heatmap.shape == (1, 19, 64 // stride, 96 // stride) for stride, heatmap in heatmaps.items())
    torch.stack([heatmap.sum() for heatmap in heatmaps.values()]).sum().backward()
    assert [name for name, parameter in method.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("method", [FARNet, FPN])
def test_every_backbone_means_torchvisions_weights_as_in_the_public_code(method: type[FARNet | FPN]) -> None:
    default = inspect.signature(method).parameters["backbone_name"].default
    names = {default, *(hparams.get("backbone_name", default) for hparams in method.variants.values())}
    for name in names:
        config = timm.get_pretrained_cfg(name)
        assert (config.architecture, config.tag) == tuple(name.split("."))
        assert config.tag == "tv_in1k"
        assert film_statistics(name, "imagenet") == IMAGENET


def test_vggs_first_block_takes_the_place_of_the_convolution_over_the_film() -> None:
    network = _on_paper(backbone_name="vgg16").network
    assert network.film is None
    assert network.backbone.strides == (1, 2, 4, 8, 16)
    assert network.fine[0].in_channels == 64 + 64 + 19


def _norm_act(layer: nn.Sequential, x: Tensor, stride: int = 1) -> Tensor:
    conv, norm = layer[0], layer[1]
    x = F.conv2d(x, conv.weight, conv.bias, stride, padding=conv.weight.shape[-1] // 2)
    return F.relu(F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias))


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _densenet_taps(backbone: FeaturePyramid, film: Tensor) -> list[Tensor]:
    """The public code's taps, on torchvision's DenseNet with the same weights."""
    reference = torchvision.models.densenet121(weights=None).features.double().eval()
    weights = {name.removeprefix("stages.features_"): value for name, value in backbone.state_dict().items()}
    reference.load_state_dict(weights, strict=True)
    taps, x = {}, film
    for name, layer in reference.named_children():
        x = layer(x)
        taps[name] = x.clone()
    return [taps[name] for name in ("conv0", "denseblock1", "denseblock2", "denseblock3", "norm5")]


def _reference(network: FARNetwork, film: Tensor) -> dict[int, Tensor]:
    """Fig. 2 and 3 written out, level by level."""
    c1, c2, c3, c4, c5 = _densenet_taps(network.backbone, film)
    m = network.msfa
    up5 = _norm_act(m.turn[1], _norm_act(m.turn[0], c5))
    up4 = _norm_act(m.up[0].reduce, torch.cat([_double(up5), c4], 1))
    up3 = _norm_act(m.up[1].reduce, torch.cat([_double(up4), c3], 1))
    down2 = _norm_act(m.up[2].reduce, torch.cat([_double(up3), c2], 1))
    down3 = _norm_act(m.merge[0].reduce, torch.cat([_norm_act(m.down[0], down2, 2), up3], 1))
    down4 = _norm_act(m.merge[1].reduce, torch.cat([_norm_act(m.down[1], down3, 2), up4], 1))
    down5 = _norm_act(m.merge[2].reduce, torch.cat([_norm_act(m.down[2], down4, 2), up5], 1))
    again5 = _norm_act(m.turn_again, down5)
    again4 = _norm_act(m.up_again[0].reduce, torch.cat([_double(again5), down4], 1))
    again3 = _norm_act(m.up_again[1].reduce, torch.cat([_double(again4), down3], 1))
    again2 = _norm_act(m.up_again[2].reduce, torch.cat([_double(again3), down2], 1))
    again1 = _norm_act(m.up_again[3].reduce, torch.cat([_double(again2), c1], 1))
    coarse = network.coarse[1](network.coarse[0](again1))
    merged = torch.cat([_double(again1), _norm_act(network.film, film), _double(coarse)], 1)
    return {2: coarse, 1: network.fine[1](network.fine[0](merged))}


def test_the_network_computes_an_independent_reading_of_the_paper() -> None:
    torch.manual_seed(0)
    network = FARNetwork(FeaturePyramid("densenet121"), landmarks=3, width=16).double().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    film = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    expected = _reference(network, film)
    for stride, heatmap in network(film).items():
        assert heatmap.std() > 1e-3
        torch.testing.assert_close(heatmap, expected[stride])


def _losses(method: FARNet, lr: float) -> list[float]:
    """Take eight steps on one batch."""
    batch = collate(make_samples(method, count=2))
    optimizer = torch.optim.Adam(method.parameters(), lr=lr)
    losses = []
    for _ in range(8):
        loss = method.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("variant", ABLATION)
def test_the_loss_of_every_row_falls_on_one_batch(variant: str, schema: LandmarkSchema) -> None:
    method = build(FARNet, schema, variant)
    losses = _losses(method, lr=2e-3)
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_the_loss_of_the_vgg_row_falls_on_one_batch() -> None:
    torch.manual_seed(0)
    method = FARNet(CEPHALOMETRIC, **FARNet.variants["farnet-vgg16"], width=32, input_size=(32, 32), sigma=3.0)
    losses = _losses(method, lr=1e-3)
    assert losses[-1] < 0.9 * losses[0]


def test_both_resolutions_are_supervised_by_heatmaps_of_one_sigma_in_their_own_pixels(schema: LandmarkSchema) -> None:
    method = build(FARNet, schema)
    point = torch.tensor([[[31.5, 31.5]]])
    for stride, side in ((1, 64), (2, 32)):
        heatmap = method.targets(point, (side, side), stride)[0, 0]
        middle = side // 2
        expected = torch.tensor(-(0.5**2 + 3.5**2) / (2 * method.sigma**2)).exp()
        torch.testing.assert_close(heatmap[middle, middle + 3], expected)


def test_a_side_that_does_not_divide_by_the_coarsest_stride_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(64, 80\) must divide by 32"):
        FeaturePyramid("test_resnet")(torch.zeros(1, 3, 64, 80))


def test_a_backbone_without_five_scales_is_refused() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="convnext_atto has 4 scales where five are needed"):
        FeaturePyramid("convnext_atto")


def _perfect_fit_error(monkeypatch: pytest.MonkeyPatch, **hparams: object) -> Tensor:
    """Errors (x, y), in network pixels, where the heatmaps are the targets themselves."""
    schema = LandmarkSchema(tuple(f"p{i}" for i in range(500)))
    method = FARNet(schema, **{**FARNet.smoke, **hparams})
    points = 20 + 24 * torch.rand(1, 500, 2, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(method, "forward", lambda image: {1: method.targets(points, (64, 64), 1)})
    image = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    visible = torch.ones(1, 500, dtype=torch.bool)
    batch = Batch(("film",), image, points, visible, torch.full((1, 2), 0.1), 3.0 * torch.eye(2, 3)[None])
    return (method.predict(batch).points - points)[0]


def test_a_perfect_fit_on_the_public_codes_grid_misses_by_a_pixel_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    bias = _perfect_fit_error(monkeypatch, **PAPER_CODE, codec="quadratic")
    torch.testing.assert_close(bias, torch.full((500, 2), -1.0), atol=0.05, rtol=0)


@pytest.mark.parametrize(("one_based_targets", "millimetres"), [(True, 0.434), (False, 0.112)])
def test_the_cost_of_each_grid_on_isbi_is_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, one_based_targets: bool, millimetres: float
) -> None:
    spacing = 0.1 * torch.tensor([1935 / 640, 2400 / 800])  # of an ISBI film at 800 x 640
    errors = (_perfect_fit_error(monkeypatch, one_based_targets=one_based_targets) * spacing).norm(dim=-1)
    assert errors.mean().item() == pytest.approx(millimetres, abs=0.01)


def test_the_default_grid_is_exact_with_a_sub_pixel_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _perfect_fit_error(monkeypatch, codec="quadratic").norm(dim=-1).max() < 0.05


def test_the_public_codes_half_resolution_grid_counts_from_one_too() -> None:
    method = FARNet(CEPHALOMETRIC, **FARNet.smoke, **PAPER_CODE)
    code_x = 24.0  # the public code's x is ours + .5, and its column i stands for 2 (i + 1)
    heatmap = method.targets(torch.full((1, 19, 2), code_x - 0.5), (32, 32), 2)
    assert heatmap[0, 0].argmax() == 11 * 32 + 11


def test_the_public_code_standardises_0_to_255_by_the_numbers_for_0_to_1(schema: LandmarkSchema) -> None:
    method = build(FARNet, schema)
    coded = FARNet(schema, **FARNet.smoke, **PAPER_CODE)
    seen: list[Tensor] = []
    for each in (method, coded):
        each.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        each(torch.full((1, 1, 64, 64), 255, dtype=torch.uint8))
    assert seen[0][0, :, 0, 0].tolist() == pytest.approx([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225], rel=1e-5)
    assert seen[1][0, :, 0, 0].tolist() == pytest.approx([254.515 / 0.229, 254.544 / 0.224, 254.594 / 0.225], rel=1e-5)


def test_the_public_code_predicts_each_film_by_its_own_statistics(schema: LandmarkSchema) -> None:
    torch.manual_seed(0)
    method = FARNet(schema, **FARNet.smoke, **PAPER_CODE)
    samples = make_samples(method)
    alone = method.train()(collate(samples[:1]).image)[1]
    torch.testing.assert_close(method.eval()(collate(samples[:1]).image)[1], alone)
    together = method.predict(collate(samples)).points[0]
    torch.testing.assert_close(method.predict(collate(samples[:1])).points[0], together, atol=1e-3, rtol=1e-3)


def test_the_public_codes_switches_are_off_by_default_and_all_on_in_its_variant() -> None:
    defaults = {name: parameter.default for name, parameter in inspect.signature(FARNet).parameters.items()}
    assert {name: defaults[name] for name in PAPER_CODE} == {
        **{"divide_by_255": True, "one_based_targets": False, "batch_statistics": False, "film_kernel": 3},
        **{"interpolation": "area", "checkpoint": "best"},
    }
    assert all(value != defaults[name] for name, value in PAPER_CODE.items())
    method = FARNet(CEPHALOMETRIC, **FARNet.smoke, **PAPER_CODE)
    assert (method.input_spec.interpolation, method.checkpoint) == ("bilinear", "last")
    named = inspect.getdoc(FARNet)
    assert named is not None
    assert all(f"`{name}" in named for name in PAPER_CODE)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adadelta", torch.optim.Adadelta)])
@pytest.mark.parametrize("method", [FARNet, FPN, UNet])
def test_the_optimizer_is_the_codes_or_the_texts(
    method: type[FARNet | FPN | UNet], name: str, kind: type[torch.optim.Optimizer]
) -> None:
    built = method(CEPHALOMETRIC, **method.smoke, optimizer=name)
    built.trainer = SimpleNamespace(estimated_stepping_batches=6)
    found = built.configure_optimizers()
    assert type(found["optimizer"]) is kind
    rates = []
    for _ in range(6):
        rates.append(found["optimizer"].param_groups[0]["lr"])
        found["optimizer"].step()
        found["lr_scheduler"]["scheduler"].step()
    assert rates == pytest.approx([1e-4] * 4 + [1e-5] * 2)
