"""Where the time and the memory of a training step go, and what to do first about it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmark.training.arithmetic import BFLOAT16, lay_out
from benchmark.training.measure import peak_memory_mb, reset_peak_memory, synchronize
from benchmark.training.trainer import make_trainer, quiet
from datamodules.base import LandmarkDataModule
from methods.base import Batch, Method

PHASES: Final = ("loader", "forward", "backward", "optimiser")
WARM_UPS: Final = 2
TOP: Final = 8
SIDE: Final = {"cpu": 2048, "cuda": 8192}
"""Of the square matrices whose product is the machine's measured peak."""
WAITS, STEPS, LEADS, FAR = 0.2, 0.2, 0.2, 0.15
"""Shares: of a step in the loader, in the optimiser, in one operation that multiplies nothing, and of the peak."""
WHOLE: Final = 0.8
"""A part of the network with more of the work is named by its own parts."""
MULTIPLIES: Final = ("conv", "mm", "linear", "matmul")
"""In the names of the operations that do a network's arithmetic."""


@dataclass(frozen=True)
class StepProfile:
    """What was measured of the training steps of a method's first stage.

    Args:
        batch_size: Films of a step.
        precision: Lightning's name.
        seconds: Median of each of `PHASES`; that of `loader` is the wait between two steps, films in memory.
        flops: Floating-point operations of a step, backward included.
        peak: Floating-point operations a second of a matrix product in the same precision, measured here.
        peak_memory_mb: The most memory held, see `measure.peak_memory_mb`.
        modules: Part of the network -> its floating-point operations in a step, largest first.
        operations: Operation -> its share of a step's own time, largest first.
    """

    batch_size: int
    precision: str
    seconds: Mapping[str, float]
    flops: int
    peak: float
    peak_memory_mb: float
    modules: Mapping[str, int]
    operations: Mapping[str, float]

    @property
    def step(self) -> float:
        """Seconds of a step, with the wait for its films."""
        return sum(self.seconds.values())

    @property
    def share_of_peak(self) -> float:
        """What the step reaches of the machine's measured peak, without the wait for its films."""
        return self.flops / (self.step - self.seconds["loader"]) / self.peak

    @property
    def advice(self) -> str:
        """What to do first, in a sentence."""
        share = {phase: seconds / self.step for phase, seconds in self.seconds.items()}
        idle = {name: s for name, s in self.operations.items() if not any(word in name for word in MULTIPLIES)}
        lead = max(idle, key=idle.__getitem__, default="")
        if share["loader"] > WAITS:
            return f"{share['loader']:.0%} of a step waits for films: give the budget workers, or augment less."
        if share["optimiser"] > STEPS:
            return f"The optimiser takes {share['optimiser']:.0%} of a step: more films in a batch share its cost."
        if idle.get(lead, 0.0) > LEADS:
            return f"{lead} takes {idle[lead]:.0%} of a step and multiplies nothing: find where the method calls it."
        largest = next(iter(self.modules), "the network")
        if self.share_of_peak < FAR:
            return (
                f"A step reaches {self.share_of_peak:.0%} of what a matrix product does: its convolutions are narrow "
                f"or its maps small; more films in a batch, or fewer and wider layers, beginning with {largest}."
            )
        return f"A step is near what the machine can do: only less work in {largest} makes it faster."


def profile_method(method: Method, data: LandmarkDataModule, precision: str, steps: int) -> StepProfile:
    """Train a method's first stage for some steps and say where their time and memory go.

    Args:
        method: Not prepared yet; it is trained.
        data: Serves its films.
        precision: Lightning's name.
        steps: That are measured, after `WARM_UPS` others.

    Raises:
        ValueError: The method is not trained by gradients.
    """
    if not method.stages:
        raise ValueError(f"{type(method).__name__} is not trained by gradients: there is no step to look at.")
    lay_out(method)
    data.configure(method.input_spec, method.batch_size)
    clock = StepClock(WARM_UPS + steps)
    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Got processor for keypoints")  # of augmentations that move no point
        method.prepare(data.train_samples())
        reset_peak_memory()
        with TemporaryDirectory() as folder:
            trainer = make_trainer(Path(folder), precision, [clock], max_epochs=WARM_UPS + steps + 1)
            trainer.fit(method, train_dataloaders=data.train_dataloader(), weights_only=True)
        memory = peak_memory_mb()
        batch = data.transfer_batch_to_device(next(iter(data.train_dataloader())), trainer.strategy.root_device, 0)
        method.to(trainer.strategy.root_device)

        loss_of = LossOf(method)

        def step() -> None:
            with trainer.precision_plugin.train_step_context():
                loss = loss_of(batch)
            torch.autograd.backward(loss)
            method.zero_grad()

        flops, modules = _count(step)
        operations = _operations(step, method.device)
    seconds = {phase: median(clock.seconds[phase][WARM_UPS:]) for phase in PHASES}
    peak = measured_peak(method.device, precision)
    return StepProfile(len(batch.case), precision, seconds, flops, peak, memory, modules, operations)


class LossOf(nn.Module):
    """A method's loss as a module's answer, so that its parts are named from the method on.

    Args:
        method: The method.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss."""
        return self.method.loss(batch)


class StepClock(Callback):
    """Takes the time of each phase of each step, and ends the fit after so many.

    Args:
        steps: After which it ends.

    Attributes:
        seconds: Phase -> of each step.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.seconds: dict[str, list[float]] = {phase: [] for phase in PHASES}
        self._last = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock: what lies between two epochs is no step's."""
        self._last = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *more: object) -> None:
        """The films are there."""
        self._stop("loader", pl_module)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, *more: object) -> None:
        """The loss is there."""
        self._stop("forward", pl_module)

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The gradients are there."""
        self._stop("backward", pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *more: object) -> None:
        """The weights have moved."""
        self._stop("optimiser", pl_module)
        trainer.should_stop = trainer.should_stop or len(self.seconds["optimiser"]) >= self.steps

    def _stop(self, phase: str, module: LightningModule) -> None:
        synchronize(module.device)
        now = time.perf_counter()
        self.seconds[phase].append(now - self._last)
        self._last = now


def measured_peak(device: torch.device, precision: str, rounds: int = 5) -> float:
    """Return the floating-point operations a second of a product of large square matrices."""
    side = SIDE.get(device.type, SIDE["cpu"])
    kind = torch.bfloat16 if precision == BFLOAT16 else torch.float32
    matrix = torch.ones(side, side, device=device, dtype=kind)
    seconds = []
    for _ in range(rounds):
        synchronize(device)
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def _count(step: Callable[[], None]) -> tuple[int, dict[str, int]]:
    """Return a step's operations and those of the largest parts: of parts with one name the outermost alone."""
    counter = FlopCounterMode(display=False)
    with counter:
        step()
    counts: dict[str, dict[Any, int]] = counter.get_flop_counts()
    sums = {name.partition(".method.")[2]: sum(found.values()) for name, found in counts.items()}
    whole = counter.get_total_flops()
    split = {name for name, n in sums.items() if n >= WHOLE * whole and any(o.startswith(f"{name}.") for o in sums)}
    parts = {name: n for name, n in sums.items() if name and name not in split}
    outer = {name: n for name, n in parts.items() if name.rpartition(".")[0] not in parts}
    return int(whole), _largest(outer)


def _operations(step: Callable[[], None], device: torch.device) -> dict[str, float]:
    """Return the shares of a step's time that its operations themselves take."""
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=kinds) as profiler:
        step()
        synchronize(device)
    on_device = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    taken = {event.key: float(getattr(event, on_device)) for event in profiler.key_averages()}
    whole = sum(taken.values()) or 1.0
    return {name: round(value / whole, 4) for name, value in _largest(taken).items()}


def _largest(values: Mapping[str, Any]) -> dict[str, Any]:
    order: Sequence[str] = sorted(values, key=lambda name: -values[name])
    return {name: values[name] for name in order[:TOP]}
