"""Weights & Biases as a spectator: it is told what happens, and nothing depends on it.

Our own store is the truth. Without a key a tracked run is written offline below the store (`wandb sync` uploads it),
and whatever W&B raises is logged once, after which that run is no longer tracked.
"""

from __future__ import annotations

import logging
import netrc
import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from lightning.pytorch import Callback, LightningModule, Trainer

if TYPE_CHECKING:
    import wandb

PROJECT = "osteomark"
HOST = "api.wandb.ai"
INIT_TIMEOUT_SECONDS = 30

logger = logging.getLogger(__name__)


def has_key() -> bool:
    """Tell whether W&B would find a key: `WANDB_API_KEY`, or an entry for its host in the netrc file."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = os.environ.get("WANDB_BASE_URL", HOST).removeprefix("https://").removeprefix("http://").strip("/")
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def is_wanted(tracking: Literal["wandb", "none", "auto"] = "auto", *, private: bool = False) -> bool:
    """Decide whether runs are tracked.

    Args:
        tracking: `"wandb"` and `"none"` decide; `"auto"` tracks where W&B is installed and has a key.
        private: The data is private: a key in the environment is not a wish to tell anybody of it.

    Returns:
        Whether to make a `Tracker` for each run.
    """
    if tracking == "auto":
        return not private and find_spec("wandb") is not None and has_key()
    return tracking == "wandb"


class Tracker:
    """One W&B run of one cell; use it as a context manager. Several may be open in one process.

    Args:
        store: The run store; offline runs are written to its folder `wandb`.
        key: The run's key, its path in the store, which becomes its name.
        group: `dataset/protocol`, by which W&B groups runs.
        method: The job type.
        config: The cell and its hyper-parameters.
        private: Tell nothing of this machine either: command line, folders, host and user may name the data.
    """

    def __init__(
        self, store: Path, key: str, group: str, method: str, config: Mapping[str, Any], *, private: bool = False
    ) -> None:
        self._run: wandb.Run | None = None
        self._private = private
        self._guard(lambda: self._start(store, key, group, method, config))

    def __enter__(self) -> Self:
        """Return the tracker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the run, marked as failed if the block raised."""
        self.finish(failed=kind is not None)

    @property
    def callback(self) -> EpochCurves:
        """The Lightning callback that sends the curves."""
        return EpochCurves(self)

    def log(self, values: Mapping[str, float]) -> None:
        """Add a point to each curve.

        Args:
            values: Curve name to value, all of the same epoch.
        """
        self._guard(lambda: self._run and self._run.log(dict(values)))

    def summarize(self, scores: Mapping[str, float]) -> None:
        """Write the final scores into the run's summary.

        Args:
            scores: `test_set/column` to value, as `benchmark.scoring.score.score_run` gives them.
        """
        self._guard(lambda: self._run and self._run.summary.update(dict(scores)))

    def finish(self, *, failed: bool = False) -> None:
        """Close the run; later calls do nothing.

        Args:
            failed: Mark the run as failed.
        """
        run, self._run = self._run, None
        self._guard(lambda: run and run.finish(exit_code=int(failed)))

    def _start(self, store: Path, key: str, group: str, method: str, config: Mapping[str, Any]) -> None:
        import wandb  # takes a second, and only tracked runs need it

        store.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "online" if has_key() else "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=key,
            group=group,
            job_type=method,
            config=dict(config),
            dir=store,
            mode=mode,  # type: ignore[arg-type]  # whatever the user put into WANDB_MODE; W&B names a wrong one
            reinit="create_new",  # several runs in one process stay apart
            settings=self._settings(),
        )

    def _settings(self) -> wandb.Settings:
        import wandb

        settings = wandb.Settings(silent=True, console="off", save_code=False, init_timeout=INIT_TIMEOUT_SECONDS)
        if self._private:
            settings.x_disable_meta = settings.x_disable_machine_info = settings.disable_git = True
            settings.program = settings.program_relpath = PROJECT
            settings.host = settings.username = "private"
        return settings

    def _guard(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # W&B's own, network or disk: none of them is worth a training run
            self._run = None
            logger.warning("Weights & Biases failed (%s); this run goes on without it.", error)


class EpochCurves(Callback):
    """Sends every epoch's training loss, validation error and learning rate to a tracker.

    Args:
        tracker: Where the curves go.
    """

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's metrics, after training and validation of it.

        Args:
            trainer: Lightning's trainer.
            pl_module: The method in training.
        """
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        values["epoch"] = float(trainer.current_epoch)
        values["stage"] = float(getattr(pl_module, "stage", 0))
        if trainer.optimizers:
            values["lr"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        self.tracker.log(values)
