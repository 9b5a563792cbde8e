"""mnv2-hm: MobileNetV2 and a deconvolution decoder, the light heatmap rival of Fard et al., IEEE Access 2022."""

from __future__ import annotations

from typing import ClassVar

from methods.components.families.deconv_heatmap import DeconvHeatmap
from methods.components.families.fard2022 import WHOLE_FILM, paper


class MNV2HM(DeconvHeatmap):
    """MobileNetV2, three 3x3 deconvolutions of 256 filters, one heatmap per landmark at stride 4, trained with L2."""

    paper = paper(
        "Heatmaps are decoded to the sub-pixel; the paper does not say how it decodes.",
        WHOLE_FILM,
    )
    variants: ClassVar = {"mnv2-hm": {"backbone_name": "mobilenetv2_100"}}
    smoke: ClassVar = {"backbone_name": "mobilenetv2_035", "width": 8, "input_size": (64, 64), "lr": 1e-3}
