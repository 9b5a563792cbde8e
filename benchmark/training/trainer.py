"""The one way in which the benchmark sets up Lightning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning import Callback, Trainer
from lightning.fabric.plugins.environments.lightning import LightningEnvironment

from benchmark.training.checkpoint_files import AtomicCheckpointIO
from benchmark.training.distributed import Rank, ddp


def make_trainer(
    folder: Path,
    precision: str,
    callbacks: list[Callback],
    max_epochs: int | None = None,
    rank: Rank | None = None,
    *,
    sync_batchnorm: bool = False,
) -> Trainer:
    """Return a trainer that writes nothing of its own.

    Args:
        folder: The run's.
        precision: Lightning's name of the arithmetic.
        callbacks: What is written and measured.
        max_epochs: To train; None predicts only, without checkpoints.
        rank: Of this process among those that train together; None trains and predicts on one device.
        sync_batchnorm: Normalise over the batches of all ranks.
    """
    alone = rank is None or rank.devices == 1
    return Trainer(
        accelerator="auto",
        devices=1 if rank is None else rank.devices,
        strategy="auto" if rank is None or alone else ddp(rank),
        # a scheduler's variables say nothing of a cell
        plugins=[AtomicCheckpointIO(), *([LightningEnvironment()] if alone else [])],
        sync_batchnorm=sync_batchnorm,
        use_distributed_sampler=False,  # the datamodule serves each rank its part
        precision=precision,  # type: ignore[arg-type]  # Lightning names a wrong one
        max_epochs=max_epochs,
        callbacks=callbacks,
        default_root_dir=folder,
        logger=False,
        num_sanity_val_steps=0,
        enable_checkpointing=max_epochs is not None,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Lightning's advice to itself: what it says of a run is decided by the benchmark."""
    talkers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        try:
            yield
        finally:
            for talker, level in zip(talkers, levels, strict=True):
                talker.setLevel(level)
