"""Pretrained weights: from the hub, from the extra `weights`, or one clear sentence."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import timm
import torch
from sklearn.datasets import load_sample_image

from methods.components.images.intensity import IMAGENET
from methods.components.networks import backbones
from methods.components.networks.backbones import OFFLINE, backbone, feature_maps, film_statistics
from methods.components.networks.feature_pyramid import FeaturePyramid

LITE = "tf_efficientnet_lite0"
DAISY = 985  # of ImageNet's classes

extra = pytest.mark.skipif(
    importlib.util.find_spec(OFFLINE[LITE]) is None, reason="the extra `weights` is not installed"
)


@pytest.fixture
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let timm's hub never answer, whatever its cache holds."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("the hub does not answer.\nTry again.")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", refuse)
    monkeypatch.setattr("methods.components.networks.backbones.get_hf_file_metadata", refuse)
    monkeypatch.setattr("methods.components.networks.backbones.try_to_load_from_cache", lambda *_: None)


@pytest.mark.usefixtures("_no_hub")
def test_without_hub_and_package_the_error_names_the_cure() -> None:
    with pytest.raises(ValueError, match=r"weights of resnet10t cannot be had here; pass weights=none .*the hub does"):
        backbone("resnet10t", "imagenet")


@pytest.mark.usefixtures("_no_hub")
def test_where_a_package_would_help_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backbones, "OFFLINE", {LITE: "a_package_that_is_not_installed"})
    with pytest.raises(ValueError, match="install the extra `weights` or pass weights=none"):
        feature_maps(LITE, "imagenet")


@extra
@pytest.mark.usefixtures("_no_hub")
def test_the_packages_weights_know_a_flower() -> None:
    stored = backbones._offline_weights(LITE)
    model = timm.create_model(LITE, pretrained=True, pretrained_cfg_overlay={"state_dict": stored}).eval()
    photograph = load_sample_image("flower.jpg").astype(np.float32)[:, 106:533]
    film = torch.from_numpy(photograph / 127.5 - 1).permute(2, 0, 1)[None]
    film = torch.nn.functional.interpolate(film, size=(224, 224), mode="area")
    assert int(model(film).argmax()) == DAISY


@extra
@pytest.mark.usefixtures("_no_hub")
def test_every_way_to_a_backbone_takes_the_packages_weights() -> None:
    stored = backbones._offline_weights(LITE)
    assert stored is not None
    models = (backbone(LITE, "imagenet")[0], feature_maps(LITE, "imagenet")[0])
    for model in models:
        assert torch.equal(model.state_dict()["conv_stem.weight"], stored["conv_stem.weight"])
        assert torch.equal(model.state_dict()["blocks.6.0.bn3.running_var"], stored["blocks.6.0.bn3.running_var"])


@extra
@pytest.mark.usefixtures("_no_hub")
def test_one_input_channel_sums_the_pretrained_three() -> None:
    three, one = backbone(LITE, "imagenet")[0].eval(), backbone(LITE, "imagenet", channels=1)[0].eval()
    film = torch.rand(1, 1, 64, 64)
    torch.testing.assert_close(one(film), three(film.expand(-1, 3, -1, -1)), atol=1e-3, rtol=1e-3)


def test_feature_maps_are_as_fine_as_asked() -> None:
    model, channels = feature_maps("test_resnet", finest=8)
    maps = model(torch.rand(1, 3, 64, 32))
    assert [64 // m.shape[-2] for m in maps] == list(channels) == [8, 16, 32]
    assert [m.shape[1] for m in maps] == list(channels.values())


def test_a_pretrained_backbone_gets_the_mean_and_deviation_that_it_was_trained_with() -> None:
    assert film_statistics(LITE, "imagenet") == ((0.5,) * 3, (0.5,) * 3)
    assert film_statistics("resnet18", "imagenet") == IMAGENET
    assert film_statistics(LITE) == IMAGENET


@pytest.mark.parametrize("tagged", ["densenet121.tv_in1k", "resnet34.tv_in1k"])
def test_a_tag_does_not_move_the_tapped_layer(tagged: str) -> None:
    image, answers = torch.randn(1, 3, 32, 32), []
    for name in (tagged, tagged.partition(".")[0]):
        torch.manual_seed(0)
        answers.append(FeaturePyramid(name).eval()(image)[0])
    assert torch.equal(*answers)
    assert answers[0].min() < 0  # the convolution's own answer, before normalisation and ReLU
