"""Every scale of a timm backbone, for networks that aggregate features."""

from __future__ import annotations

from typing import Any, cast

from jaxtyping import Float
from timm.models import FeatureInfo, FeatureListNet
from torch import Tensor, nn

from methods.components.networks.backbones import Weights, architecture, backbone

STAGES = (0, 1, 2, 3, 4)
STEMS = {"densenet": "features.conv0", "resnet": "conv1"}
"""Families whose first scale is the stem convolution itself, before its normalisation (Ao and Wu, Sec. 3.1: C1)."""


class FeaturePyramid(nn.Module):
    """The outputs of a backbone's five convolution stages, finest first.

    DenseNet and ResNet answer C1 to C5 at strides 2 to 32, VGG its five blocks at strides 1 to 16 (each before its
    pooling). DenseNet's C5 is taken before its last ReLU, as its dense blocks are. Nothing is computed behind the last
    stage, so no weight is dead.

    Args:
        name: A timm model name, with or without the tag of its weights.
        weights: `imagenet` takes timm's pretrained weights.

    Attributes:
        channels: Of each scale.
        strides: Of each scale.

    Raises:
        ValueError: The backbone has fewer than five scales, or its pretrained weights cannot be had.
    """

    def __init__(self, name: str, weights: Weights = "none") -> None:
        super().__init__()
        model, _ = backbone(name, weights)
        stages = [dict(stage) for stage in cast("list[dict[str, Any]]", model.feature_info)[: len(STAGES)]]
        if len(stages) < len(STAGES):
            raise ValueError(f"{name} has {len(stages)} scales where five are needed; choose another backbone.")
        stages[0]["module"] = STEMS.get(architecture(name).rstrip("0123456789"), stages[0]["module"])
        model.feature_info = FeatureInfo(stages, STAGES)  # type: ignore[assignment]
        if name.startswith("densenet"):
            model.get_submodule("features.norm5").act = nn.Identity()
        nested = any("." in stage["module"] for stage in stages)
        self.stages = FeatureListNet(model, STAGES, flatten_sequential=nested)
        self.channels = tuple(int(stage["num_chs"]) for stage in stages)
        self.strides = tuple(int(stage["reduction"]) for stage in stages)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> list[Float[Tensor, "batch channel _ _"]]:
        """Return the feature maps of the five stages.

        Raises:
            ValueError: A side of the input does not divide by the coarsest stride.
        """
        stride = self.strides[-1]
        if image.shape[-1] % stride or image.shape[-2] % stride:
            raise ValueError(
                f"the input's sides {tuple(image.shape[-2:])} must divide by {stride}, the coarsest stride."
            )
        return cast("list[Tensor]", self.stages(image))
