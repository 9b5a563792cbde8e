"""A cell whose memory runs out: tried once more with a few films at a time, where its budget allows that."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import torch

from benchmark.store import write_atomically
from benchmark.training.checkpoint_files import OUT_OF_MEMORY

SIGNS: Final = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "OutOfMemoryError", "MemoryError")
"""In what torch, its allocators and another device's process say of it: CUDA, the processor, cuBLAS and cuDNN."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that there is too little memory, on an accelerator or in the machine."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


def within_memory(attempt: Callable[[int | None], T], micro_batch: int | None, checkpoints: Path) -> T:
    """Try whole batches, and micro-batches once where memory runs out, now or in an earlier attempt.

    The second attempt goes on from the last complete epoch.

    Args:
        attempt: Called with the films of a micro-batch, None for whole batches.
        micro_batch: What the budget allows; None for no second attempt.
        checkpoints: The run's folder of them.

    Returns:
        What the attempt that came through returns.
    """
    note = checkpoints / OUT_OF_MEMORY
    if micro_batch is None:
        return attempt(None)
    if not note.is_file():
        try:
            return attempt(None)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("memory ran out (%s)", type(error).__name__)
        text = f"Memory ran out with whole batches. Since then {micro_batch} films at a time go through the network.\n"
        write_atomically(note, lambda path: path.write_text(text))
        gc.collect()  # here the error is gone, and with it what the first attempt held
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    logger.warning("going on with %d films at a time", micro_batch)
    return attempt(micro_batch)
