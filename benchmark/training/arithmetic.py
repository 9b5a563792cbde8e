"""The arithmetic that a network trains and predicts in: its precision and how its films lie in memory."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import torch
from lightning import Callback

from benchmark.cell import Cell
from benchmark.store import write_atomically
from benchmark.training.lease import SUFFIX, FileLease, waited_for
from benchmark.training.measure import processor
from methods.base import Batch, Method

AUTO: Final = "auto"
FLOAT32: Final = "32-true"
BFLOAT16: Final = "bf16-mixed"
PRECISIONS: Final = "precisions"
"""Folder of a store with what was measured for `auto`."""
PAYS: Final = 1.2
"""So many times as fast as in float32 a step must be for bfloat16: less is within the noise, and float32 is exact."""
ROUNDS: Final = 9
SECONDS: Final = 2.0
"""A measurement ends after so many pairs of steps, the first to warm up, or in the pair in which the time is up."""


def resolve_precision(cell: Cell, method: Method, films: Callable[[], Batch], store: Path) -> str:
    """Return Lightning's name of the precision that a cell trains in.

    `auto` is bf16-mixed on GPUs that multiply it natively, and on processors where a training step of this very network
    is `PAYS` times as fast: convolutions gain where the processor has instructions for it, while others (depthwise
    ones, transposed ones) lose more than that. The first cell of a kind measures it and leaves the answer in the store,
    so that all folds and seeds, all processes and all later runs on that kind of processor do the same.

    Args:
        cell: The cell.
        method: Its method, prepared; it stays as it is.
        films: Returns the films of a small batch.
        store: The run store's folder.
    """
    precision = cell.budget.precision
    if precision != AUTO:
        return precision
    if torch.cuda.is_available():
        return BFLOAT16 if torch.cuda.is_bf16_supported(including_emulation=False) else FLOAT32
    if torch.accelerator.is_available() or not method.stages:
        return FLOAT32
    what = {"method": cell.method, "hparams": dict(cell.hparams), "landmarks": len(method.schema)}
    where = {"processor": processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    return _stored(store / PRECISIONS, what | where, lambda: bfloat16_gain(method, films()))


def lay_out(method: Method) -> None:
    """Have a network's films lie with their channels last, in which convolutions are fastest in every precision.

    It changes no number but by rounding. It is done wherever a network is made to train or to predict.
    """
    method.to(memory_format=torch.channels_last)


def bfloat16_gain(method: Method, batch: Batch) -> float:
    """Measure how many times as fast as in float32 a training step is in bfloat16, by the processor's own time.

    Steps in both alternate, on a copy of the method. Three in four pairs gain as much: what else runs on the machine
    disturbs single ones, and in doubt float32 stays. A network with an operation that bfloat16 lacks gains 0.

    Args:
        method: In its first stage.
        batch: On its device.
    """
    copied = copy.deepcopy(method).train()
    gains: list[float] = []
    began = time.perf_counter()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        while len(gains) < ROUNDS and (not gains or time.perf_counter() - began < SECONDS):
            seconds = _step_seconds(copied, batch, half=False)
            try:
                gains.append(seconds / _step_seconds(copied, batch, half=True))
            except RuntimeError:
                return 0.0
    warm = gains[1:] or gains
    return sorted(warm)[len(warm) // 4]


class KeepPrecision(Callback):
    """Keeps a fit's precision in its checkpoints, so that it goes on in it on a machine of another kind.

    Args:
        precision: Lightning's name.
    """

    def __init__(self, precision: str) -> None:
        self.precision = precision

    def state_dict(self) -> dict[str, Any]:
        """Return the precision."""
        return {"precision": self.precision}


def kept_precision(checkpoint: Path) -> str:
    """Return the precision that a stage's checkpoint was trained in; empty where none or an older one is there."""
    if not checkpoint.is_file():
        return ""
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    return str(stored["callbacks"].get(KeepPrecision.__name__, {}).get("precision", ""))


def _step_seconds(method: Method, batch: Batch, *, half: bool) -> float:
    start = time.process_time()
    with torch.autocast(batch.image.device.type, torch.bfloat16, enabled=half):
        loss = method.loss(batch)
    torch.autograd.backward(loss)
    method.zero_grad()
    return time.process_time() - start


def _stored(folder: Path, facts: dict[str, Any], measure: Callable[[], float]) -> str:
    """Return the precision that the store has for these facts; the first who asks measures, others wait for it."""
    key = json.dumps(facts, sort_keys=True, default=str)
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with waited_for(FileLease(path.with_suffix(SUFFIX))):
        with suppress(OSError, ValueError, KeyError):
            return str(json.loads(path.read_text())["precision"])
        gain = measure()
        precision = BFLOAT16 if gain >= PAYS else FLOAT32
        found = facts | {"bfloat16_gain": round(gain, 3), "precision": precision}
        text = json.dumps(found, indent=1, default=str) + "\n"
        write_atomically(path, lambda part: part.write_text(text))
    return precision
