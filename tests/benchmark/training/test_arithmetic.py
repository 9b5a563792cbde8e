"""How films lie in memory, and in which precision they are trained."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

from benchmark.cell import Budget, Cell, Context
from benchmark.contract.tiny_films import SCHEMA, build, make_samples
from benchmark.training import arithmetic
from benchmark.training import lease as leases
from benchmark.training.arithmetic import (
    AUTO,
    BFLOAT16,
    FLOAT32,
    PRECISIONS,
    bfloat16_gain,
    lay_out,
    resolve_precision,
)
from benchmark.training.progress import Progress
from benchmark.training.run_cell import run_cell
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


class NoBfloat16(nn.Module):
    """An operation that bfloat16 does not have."""

    @override
    def forward(self, image: Tensor) -> Tensor:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("not implemented for 'BFloat16'")
        return image


def test_measuring_leaves_the_method_and_the_random_numbers_alone() -> None:
    method = build(UNet, SCHEMA)
    before = {name: value.clone() for name, value in method.state_dict().items()}
    state = torch.get_rng_state()
    assert bfloat16_gain(method, collate(make_samples(method))) > 0
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in method.parameters())


def test_a_network_that_bfloat16_cannot_compute_gains_nothing() -> None:
    method = build(UNet, SCHEMA)
    method.network = nn.Sequential(NoBfloat16(), method.network)
    assert bfloat16_gain(method, collate(make_samples(method))) == 0


@pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator is not measured")
@pytest.mark.parametrize(("gain", "precision"), [(1.19, FLOAT32), (1.2, BFLOAT16)])
def test_the_first_cell_of_a_kind_decides(
    gain: float, precision: str, tmp_path: Path, make_cell: Callable[..., Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another fold is not measured, another method is; a precision that is given is taken."""
    gains = [gain, 9.0]
    monkeypatch.setattr(arithmetic, "bfloat16_gain", lambda method, batch: gains.pop(0))
    method, budget = build(UNet, SCHEMA), Budget("test", precision=AUTO)

    def resolved(cell: Cell) -> str:
        return resolve_precision(cell, method, lambda: collate(make_samples(method)), tmp_path)

    assert resolved(make_cell("unet", budget=budget)) == precision
    assert resolved(make_cell("unet", seed=1, split="fold2", budget=budget)) == precision
    assert resolved(make_cell("unet", budget=budget, sigma=3.0)) == BFLOAT16
    assert not gains
    assert resolved(make_cell("unet", budget=Budget("test", precision="64-true"))) == "64-true"


@pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator is not measured")
def test_a_process_that_died_before_it_wrote_who_it_was_does_not_keep_others_from_measuring(
    tmp_path: Path, make_cell: Callable[..., Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It left an empty lease, which is taken once stale."""
    monkeypatch.setattr(arithmetic, "bfloat16_gain", lambda method, batch: 2.0)
    monkeypatch.setattr(leases, "HEARTBEAT", 0.05)
    monkeypatch.setattr(leases, "STALE", 0.3)
    method, cell = build(UNet, SCHEMA), make_cell("unet", budget=Budget("test", precision=AUTO))

    def resolved(store: Path) -> str:
        return resolve_precision(cell, method, lambda: collate(make_samples(method)), store)

    assert resolved(tmp_path / "calm") == BFLOAT16
    (found,) = (tmp_path / "calm" / PRECISIONS).glob("*.json")
    left = tmp_path / "left" / PRECISIONS / found.with_suffix(leases.SUFFIX).name
    left.parent.mkdir(parents=True)
    left.touch()
    assert resolved(tmp_path / "left") == BFLOAT16
    assert not left.exists()


@pytest.mark.skipif(torch.accelerator.is_available(), reason="an accelerator is not measured")
def test_a_fit_goes_on_in_its_precision(
    context: Context, make_cell: Callable[..., Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the machine has become another one; the record says so."""
    monkeypatch.setattr(arithmetic, "bfloat16_gain", lambda method, batch: 2.0)
    cell = make_cell("steady", budget=Budget("test", precision=AUTO))

    def stop(progress: Progress) -> None:
        if progress.epoch >= 2:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run_cell(cell, context, stop)
    shutil.rmtree(context.store / PRECISIONS)
    monkeypatch.setattr(arithmetic, "bfloat16_gain", lambda method, batch: 0.5)
    assert run_cell(cell, context).precision == BFLOAT16
    other = make_cell("steady", seed=1, budget=Budget("test", precision=AUTO))
    assert run_cell(other, context).precision == FLOAT32
