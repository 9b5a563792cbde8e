"""The papers' optimisers under their learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, Literal, get_args

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, LRScheduler, OneCycleLR

Schedule = Literal["constant", "inverse-time", "linear", "cosine", "one-cycle"]
KERAS_DECAY = 1e-5
Optimizer = Literal["adam", "adadelta"]
FUSED: Final = ("cpu", "cuda")
"""Devices on which torch steps Adam and AdamW in one pass over each weight: 1.7 times as fast on a processor. Its SGD
gains nothing so, and none of them can then clip gradients under half precision."""


def fused_adam(module: LightningModule, parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Adam:
    """Return Adam, fused where the module's device can.

    Args:
        module: The method, on its device.
        parameters: What it trains.
        lr: Learning rate.
    """
    return torch.optim.Adam(parameters, lr=lr, fused=_fused(module))


def _fused(module: LightningModule) -> bool | None:
    return True if module.device.type in FUSED else None


def adam(module: LightningModule, lr: float, schedule: Schedule = "constant") -> OptimizerLRScheduler:
    """Return Adam over the trainable parameters with a per-step schedule over the stage's planned steps.

    Args:
        module: The method, attached to its trainer.
        lr: Peak learning rate.
        schedule: `inverse-time` is Keras' `decay=1e-5`: lr / (1 + 1e-5 step); `linear` falls to zero.

    Raises:
        ValueError: The schedule is unknown.
    """
    optimizer = fused_adam(module, (p for p in module.parameters() if p.requires_grad), lr)
    steps = max(1, int(module.trainer.estimated_stepping_batches))
    scheduler: LRScheduler
    if schedule == "one-cycle":
        scheduler = OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    elif schedule == "cosine":
        scheduler = CosineAnnealingLR(optimizer, T_max=steps)
    elif schedule == "linear":
        scheduler = LinearLR(optimizer, start_factor=1, end_factor=0, total_iters=steps)
    elif schedule == "inverse-time":
        scheduler = LambdaLR(optimizer, lambda step: 1 / (1 + KERAS_DECAY * step))
    elif schedule == "constant":
        return optimizer
    else:
        raise ValueError(f"there is no schedule {schedule!r}; choose one of {', '.join(get_args(Schedule))}.")
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def stepped(module: LightningModule, lr: float, optimizer: Optimizer = "adam") -> OptimizerLRScheduler:
    """Return Adam or Adadelta whose learning rate falls to a tenth after two thirds of the stage's planned steps.

    Args:
        module: The method, attached to its trainer.
        lr: Learning rate of the first steps.
        optimizer: Its name.

    Raises:
        ValueError: The optimiser is unknown.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    chosen: torch.optim.Optimizer
    if optimizer == "adam":
        chosen = fused_adam(module, trained, lr)
    elif optimizer == "adadelta":
        chosen = torch.optim.Adadelta(trained, lr=lr)
    else:
        raise ValueError(f"there is no optimizer {optimizer!r}; choose one of {', '.join(get_args(Optimizer))}.")
    steps = int(module.trainer.estimated_stepping_batches)
    scheduler = LambdaLR(chosen, lambda step: 1.0 if 3 * step < 2 * steps else 0.1)
    return {"optimizer": chosen, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def adamw(module: LightningModule, lr: float, weight_decay: float, warmup: float = 0.05) -> OptimizerLRScheduler:
    """Return AdamW under a linear warm-up and a half cosine to zero, per step over the stage's planned steps.

    Biases and normalisation weights do not decay.

    Args:
        module: The method, attached to its trainer.
        lr: Peak learning rate.
        weight_decay: Of all other weights.
        warmup: Share of the steps in which the rate rises.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    kernels, others = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
    groups = [{"params": kernels, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, fused=_fused(module))
    steps = max(1, int(module.trainer.estimated_stepping_batches))
    rising = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        falling = (step - rising) / max(1, steps - rising)
        return (step + 1) / rising if step < rising else (1 + math.cos(math.pi * min(1.0, falling))) / 2

    scheduler = LambdaLR(optimizer, factor)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
