"""How films lie in memory, and in which precision they are trained."""

from __future__ import annotations

import torch
from torch import nn

from benchmark.contract.tiny_films import SCHEMA, build, make_samples
from benchmark.training.arithmetic import lay_out
from datamodules.components.samples import collate
from methods.unet import UNet


def test_the_layout_changes_no_answer() -> None:
    """Kernels lie with their channels last, and predictions and loss are the same but for rounding."""
    method = build(UNet, SCHEMA).eval()
    batch = collate(make_samples(method))
    before = method.loss(batch)
    heatmaps = method(batch.image)[1]
    lay_out(method)
    kernels = [module.weight for module in method.modules() if isinstance(module, nn.Conv2d) if module.in_channels > 1]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)
    assert len(kernels) > 3
    torch.testing.assert_close(method.loss(batch), before)
    torch.testing.assert_close(method(batch.image)[1], heatmaps)
