"""res50-hm: ResNet-50 and a deconvolution decoder, the heavy heatmap rival of Fard et al., IEEE Access 2022."""

from __future__ import annotations

from typing import ClassVar

from methods.components.families.deconv_heatmap import DeconvHeatmap
from methods.components.families.fard2022 import WHOLE_FILM, paper


class Res50HM(DeconvHeatmap):
    """ResNet-50, three 3x3 deconvolutions of 256 filters, one heatmap per landmark at stride 4, trained with L2."""

    paper = paper(
        "Heatmaps are decoded to the sub-pixel; the paper does not say how it decodes.",
        "timm's ResNet-50 lacks Keras' 26,560 convolution biases: 29,470,685 parameters at 29 points, not 29,497,245.",
        WHOLE_FILM,
    )
    variants: ClassVar = {"res50-hm": {"backbone_name": "resnet50"}}
    smoke: ClassVar = {"backbone_name": "resnet10t", "width": 8, "input_size": (64, 64), "lr": 1e-3}
