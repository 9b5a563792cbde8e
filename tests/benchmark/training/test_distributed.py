import os
import time
from collections.abc import Callable
from typing import NoReturn

import pandas as pd
import pytest
import torch

from benchmark.cell import Budget, Cell, Context
from benchmark.predictions import PREDICTIONS, VALIDATION, read_table
from benchmark.store import HISTORY, RunRecord
from benchmark.training.distributed import other_ranks, require_devices
from benchmark.training.run_cell import run_cell
from methods.base import MONITOR

MakeCell = Callable[..., Cell]
TOLERANCE = 1e-4
"""Relative difference of losses: gradients are added up in another order."""


def history(record: RunRecord) -> pd.DataFrame:
    assert record.status == "done", record.traceback
    return pd.read_csv(record.folder / HISTORY)


@pytest.mark.slow
def test_two_devices_train_as_one_does_at_equal_batch(context: Context, make_cell: MakeCell) -> None:
    one = run_cell(make_cell("plain", budget=Budget("test", train_cases=12, workers=1)), context)
    two = run_cell(make_cell("plain", budget=Budget("test", train_cases=12, workers=1, devices=2)), context)
    assert one.folder != two.folder
    for column in ("train/loss", MONITOR, "lr"):
        assert history(two)[column].to_list() == pytest.approx(history(one)[column].to_list(), rel=TOLERANCE)
    for file in (PREDICTIONS, VALIDATION):
        there, here = (read_table(record.folder / file) for record in (two, one))
        assert not there.duplicated(["test_set", "case", "landmark"]).any()
        pd.testing.assert_frame_equal(there, here, rtol=TOLERANCE)


@pytest.mark.slow
def test_an_error_on_another_device_is_the_reason_of_the_cell(context: Context, make_cell: MakeCell) -> None:
    record = run_cell(make_cell("plain", budget=Budget("test", devices=2), fails_on=1), context)
    assert record.status == "failed"
    assert "another device" in record.reason
    assert "it fails on purpose" in record.reason


class Exits:
    """Ends the process that it is sent to."""

    def __init__(self, code: int) -> None:
        self.code = code

    def __reduce__(self) -> tuple[Callable[[int], NoReturn], tuple[int]]:
        return os._exit, (self.code,)


@pytest.mark.parametrize(("code", "said"), [(3, "failed: process 0 terminated with exit code 3"), (0, "ended before")])
def test_a_process_that_ends_before_it_begins_is_not_waited_for(code: int, said: str) -> None:
    begun = time.monotonic()
    with pytest.raises(RuntimeError, match=f"the process of another device {said}"), other_ranks(2, print, Exits(code)):
        raise AssertionError("there is nobody to train with")
    assert time.monotonic() - begun < 100, "a group waits for half an hour"


@pytest.mark.parametrize(
    ("budget", "hparams", "reason"),
    [
        (Budget(devices=2), {"batch_size": 5}, "a batch of 5 films cannot be divided among budget.devices 2"),
        (Budget(devices=4), {}, "validation films are too few for budget.devices 4"),
        (Budget(devices=2, sync_batchnorm=True), {}, "sync_batchnorm needs GPUs"),
    ],
)
def test_a_batch_that_devices_cannot_share_is_refused(
    context: Context,
    make_cell: MakeCell,
    monkeypatch: pytest.MonkeyPatch,
    budget: Budget,
    hparams: dict[str, int],
    reason: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    record = run_cell(make_cell("plain", budget=budget, **hparams), context)
    assert record.status == "failed"
    assert reason in record.reason


def test_a_process_that_sees_too_few_gpus_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=r"devices is 2, but this process sees only 1 of the GPUs"):
        require_devices(Budget(devices=2), batch_size=4, validating=2)
