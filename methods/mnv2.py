"""mnv2: MobileNetV2 coordinate regression, the light rival of Fard et al., IEEE Access 2022 (Table 5)."""

from __future__ import annotations

from typing import ClassVar

from methods.components.families.coordinate_regression import CoordinateRegression
from methods.components.families.fard2022 import WHOLE_FILM, paper


class MNV2(CoordinateRegression):
    """MobileNetV2, global average pooling, one linear layer to 2K coordinates, trained with L2."""

    paper = paper("The linear layer predicts offsets from the mean training shape; the paper is silent.", WHOLE_FILM)
    variants: ClassVar = {"mnv2": {"backbone_name": "mobilenetv2_100"}}
    smoke: ClassVar = {"backbone_name": "mobilenetv2_035", "input_size": (64, 64), "lr": 1e-3}
