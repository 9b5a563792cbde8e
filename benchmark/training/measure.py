"""What is measured of a run besides its predictions, and of the machine and checkout it ran on."""

from __future__ import annotations

import hashlib
import platform
import re
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from methods.base import Batch, Method

LIBRARIES = ("torch", "lightning", "timm", "numpy", "osteomark")
WARM_UPS = 2
TIMINGS = 9
TIMING_SECONDS = 3.0
PROCESS_STATUS = Path("/proc/self/status")


def count_flops(method: Method, batch: Batch) -> int:
    """Return the floating-point operations (2 x multiply-accumulate) of predicting a batch."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        method.eval().predict(batch)
    return int(counter.get_total_flops())


def latency_ms(method: Method, batch: Batch, precision: Callable[[], AbstractContextManager[None]]) -> float:
    """Return the median milliseconds of predicting a batch, after warm-up, in the run's own precision."""
    seconds: list[float] = []
    with torch.inference_mode(), precision():
        while len(seconds) < WARM_UPS + 1 or (len(seconds) < WARM_UPS + TIMINGS and sum(seconds) < TIMING_SECONDS):
            synchronize(method.device)
            start = time.perf_counter()
            method.eval().predict(batch)
            synchronize(method.device)
            seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[WARM_UPS:])


def reset_peak_memory() -> None:
    """Start a new measurement of peak memory, where the system can."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Return the most memory held since the reset: on the GPU where there is one, otherwise by this process."""
    if torch.cuda.is_available():
        return gpu_memory_mb()
    if PROCESS_STATUS.is_file() and (found := re.search(r"VmHWM:\s+(\d+) kB", PROCESS_STATUS.read_text())):
        return int(found[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def gpu_memory_mb() -> float:
    """Return the most memory held on the GPU since the reset; NaN without one."""
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else float("nan")


@cache
def device_name() -> str:
    """Return the GPU's or else the processor's name."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    with suppress(OSError):
        if found := re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text()):
            return f"{found[1].strip()}, {torch.get_num_threads()} threads"
    return platform.processor() or platform.machine()


@cache
def processor() -> str:
    """Return the processor's name with a hash of what it can do: virtual machines give one name to many."""
    name, flags = platform.processor() or platform.machine(), ""
    with suppress(OSError):
        facts: dict[str, str] = dict(
            re.findall(r"^(model name|flags|Features)\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
        )
        name, flags = facts.get("model name", name), facts.get("flags", facts.get("Features", ""))
    return f"{name} {hashlib.sha256(flags.encode()).hexdigest()[:6]}"


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that can change a number."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@cache
def commit() -> str:
    """Return the checkout's commit, with `-dirty` where tracked files differ from it; empty without git."""
    head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return head + ("-dirty" if head and changes else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
