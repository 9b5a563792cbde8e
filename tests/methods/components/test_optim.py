"""Fused optimisers step as the plain ones do."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import LightningModule
from torch import nn

from methods.components.optim import adam, adamw, stepped

STEPS = 5


class Net(LightningModule):
    """Two layers whose kernels lie with their channels last, and a weight that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)).to(memory_format=torch.channels_last)
        self.fixed = nn.Parameter(torch.ones(()), requires_grad=False)
        self._trainer: Any = SimpleNamespace(estimated_stepping_batches=100, barebones=False)

    @property
    def trainer(self) -> Any:  # noqa: ANN401  # stands for Lightning's
        """Knows the number of steps."""
        return self._trainer


@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (lambda net: adam(net, 0.01), lambda trained: torch.optim.Adam(trained, lr=0.01, fused=False)),
        (lambda net: stepped(net, 0.01), lambda trained: torch.optim.Adam(trained, lr=0.01, fused=False)),
        (
            lambda net: adamw(net, 0.01, weight_decay=0.0, warmup=0.0),
            lambda trained: torch.optim.AdamW(trained, lr=0.01, weight_decay=0.0, fused=False),
        ),
    ],
)
def test_fused_steps_are_plain_steps(ours: Callable[[Net], Any], plain: Callable[[Any], torch.optim.Optimizer]) -> None:
    one, other = Net(), Net()
    built = ours(one)
    fused = built["optimizer"] if isinstance(built, dict) else built
    assert fused.param_groups[0]["fused"]
    reference = plain(other.net.parameters())
    for step in range(STEPS):
        image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(step))
        for net, optimizer in ((one, fused), (other, reference)):
            optimizer.zero_grad()
            net.net(image).square().mean().backward()
            optimizer.step()
    for a, b in zip(one.net.parameters(), other.net.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_an_unknown_optimiser_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no optimizer 'sgd'; choose one of adam, adadelta\."):
        stepped(Net(), 0.01, "sgd")  # type: ignore[arg-type]
