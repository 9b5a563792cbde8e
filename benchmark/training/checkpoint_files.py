"""Checkpoints on disk: written whole or not at all, and looked at before a fit goes on from one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from typing_extensions import override

from benchmark.store import write_atomically

BEST_FILE = "best.ckpt"
LAST_FILE = "last.ckpt"
OUT_OF_MEMORY = "out-of-memory.txt"
"""Says that memory ran out, so that a resumed run does not try whole batches again."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the file and puts it in place. Lightning's own way copies from the folder for temporary files."""

    @override
    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        written = io.BytesIO()  # torch would report a full disk as an error of its own
        torch.save(checkpoint, written)
        write_atomically(Path(path), lambda part: part.write_bytes(written.getbuffer()))


def stage_file(folder: Path, index: int) -> Path:
    """Return the file of a stage's last epoch, from which a fit goes on."""
    return folder / f"stage{index}.ckpt"


def is_whole(path: Path) -> bool:
    """Tell whether a checkpoint can be read."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # torch raises all kinds on damaged files
        return False
    return True


def drop_damaged(folder: Path, stages: int, *, choose: bool) -> list[Path]:
    """Delete the checkpoints from which a fit cannot go on, and return them.

    Without the best weights so far, the last stage has to be trained again: they cannot be had from its last epoch.

    Args:
        folder: The run's checkpoints.
        stages: How many stages the method has.
        choose: Whether the last stage keeps its best weights.
    """
    files = [stage_file(folder, index) for index in range(stages)]
    best = folder / BEST_FILE
    dropped = [path for path in (*files, best) if path.is_file() and not is_whole(path)]
    if choose and files and files[-1].is_file() and (best in dropped or not best.is_file()):
        dropped.append(files[-1])
    for path in dropped:
        path.unlink(missing_ok=True)
    return dropped


def is_begun(folder: Path) -> bool:
    """Tell whether an earlier attempt left something to go on with."""
    return any(folder.glob("stage*.ckpt"))


def drop_stages(folder: Path) -> None:
    """Delete what served to go on: the stages' checkpoints, which hold optimiser states too, and the note on memory."""
    for path in folder.glob("stage*.ckpt"):
        path.unlink(missing_ok=True)
    (folder / OUT_OF_MEMORY).unlink(missing_ok=True)


def first_stage(folder: Path, stages: int) -> int:
    """Return the stage to go on with: the last one that left a checkpoint."""
    left: Sequence[int] = [index for index in range(stages) if stage_file(folder, index).is_file()]
    return max(left, default=0)
