"""The arithmetic that a network trains and predicts in: its precision and how its films lie in memory."""

from __future__ import annotations

from typing import Any

import torch

from methods.base import Method


def resolve_precision(precision: str) -> str:
    """Return Lightning's name of a budget's precision: `auto` is bf16-mixed where the machine multiplies bf16 fast."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # torch 2.13 has it, 2.11 not
    return "bf16-mixed" if capabilities.get("amx_bf16") else "32-true"


def lay_out(method: Method) -> None:
    """Have a network's films lie with their channels last, in which convolutions are fastest in every precision.

    It changes no number but by rounding. It is done wherever a network is made to train or to predict.
    """
    method.to(memory_format=torch.channels_last)
