"""One cell as one run of Weights & Biases: it is told what happens, and nothing depends on it.

Our own store is the truth. Without a key a tracked run is written offline below the store, and whatever W&B raises is
logged once, after which that run is no longer tracked.

Lightning's `WandbLogger` counts a run's steps in optimiser steps, which begin anew with every stage, and lets W&B
number the rows of an offline run from zero after a resume. A step here is an epoch done, over all stages, so that a
resumed run continues; that is why the run is W&B's own and no `WandbLogger`.
"""

from __future__ import annotations

import hashlib
import logging
import math
import netrc
import os
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

from benchmark.cell import Cell
from methods.base import MONITOR

if TYPE_CHECKING:
    import wandb

PROJECT: Final = "osteomark"
HOST: Final = "api.wandb.ai"
INIT_TIMEOUT_SECONDS: Final = 90
LONGEST_NAME: Final = 128
"""W&B refuses longer names of runs and groups, and longer ids."""
LONGEST_TAG: Final = 64
ID_DIGITS: Final = 16
SWEEP: Final = "WANDB_SWEEP_ID"
"""Set by an agent of a W&B sweep for the command that it starts."""

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


class Identity(NamedTuple):
    """How a run is called and found at W&B.

    Attributes:
        id: The same for the same cell on the same data, so that a resumed or repeated run is the same one there.
        name: Shown; the run's place in the store.
        group: `dataset/protocol`.
        job_type: The variant.
        tags: By which runs are filtered.
        config: The cell and its hyper-parameters.
        private: Tell nothing of this machine either: command line, folders, host and user may name the data.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...] = ()
    config: Mapping[str, Any] = {}
    private: bool = False

    @classmethod
    def of(cls, cell: Cell, fingerprint: str, *, private: bool) -> Identity:
        """Return a cell's identity; a trial of a sweep has the id that the sweep gave it.

        Args:
            cell: The cell.
            fingerprint: Of its data.
            private: Whether the data are private.
        """
        path = cell.path(fingerprint)
        own = hashlib.sha256(path.as_posix().encode()).hexdigest()[:ID_DIGITS]
        words = (cell.dataset, cell.protocol, cell.split, cell.method, cell.budget.label, f"seed {cell.seed}")
        tags = (*words, *(["tune"] if cell.tunes else []))
        return cls(
            id=os.environ.get("WANDB_RUN_ID", own) if SWEEP in os.environ else own,
            name=fit(path.as_posix(), LONGEST_NAME, keep=len(path.name) + 1),
            group=fit(f"{cell.dataset}/{cell.protocol}", LONGEST_NAME),
            job_type=fit(cell.variant, LONGEST_TAG),
            tags=tuple(dict.fromkeys(fit(tag, LONGEST_TAG) for tag in tags)),
            config=cell.as_json(),
            private=private,
        )


def fit(text: str, longest: int, keep: int = 0) -> str:
    """Return a text in at most so many characters; a hash stands for what is cut out, so that it stays unlike others.

    Args:
        text: The text.
        longest: Characters at most.
        keep: So many characters at its end stay, such as the hash in the name of a run's folder.

    Example:
        >>> fit("a-very-long-dataset/protocol/main/posenet/seed0-1a2b3c4d", 40, keep=15)
        'a-very-long-datas~36e7c28/seed0-1a2b3c4d'
    """
    if len(text) <= longest:
        return text
    mark = f"~{hashlib.sha256(text.encode()).hexdigest()[:7]}"
    end = text[len(text) - keep :]
    return text[: longest - len(mark) - len(end)] + mark + end


class Tracker:
    """One W&B run of one cell; use it as a context manager. Several may be open in one process.

    Args:
        store: The run store; offline runs are written to its folder `wandb`.
        identity: How the run is called.
        resume: Go on with the run of that id; otherwise a run that W&B has of it is written anew.

    Attributes:
        failure: Why the tracking ended before the run did; empty if it did not.
    """

    def __init__(self, store: Path, identity: Identity, *, resume: bool = False) -> None:
        self.identity = identity
        self.failure = ""
        self._run: wandb.Run | None = None
        self.attempt(lambda: self._start(store, resume=resume))

    def __enter__(self) -> Self:
        """Return the tracker."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the run, marked as failed if the block raised."""
        self.finish(failed=kind is not None)

    def attempt(self, action: Callable[[], object]) -> None:
        """Do something that may fail without harm to the run: the first failure is logged and ends the tracking."""
        try:
            action()
        except Exception as error:  # W&B's own, network or disk: none of them is worth a training run
            self._run = None
            self.failure = type(error).__name__ if self.identity.private else str(error)
            logger.warning("Weights & Biases failed (%s); this run goes on without it.", self.failure)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Add a point to each curve.

        Args:
            step: Epochs done, over all stages.
            values: Curve name to number, table or pictures; unknown numbers are left out.
        """
        self.attempt(lambda: self._run and self._run.log(_known(values), step=step))

    def summarize(self, values: Mapping[str, Any]) -> None:
        """Write final numbers into the run's summary; unknown ones are left out."""
        self.attempt(lambda: self._run and self._run.summary.update(_known(values)))

    def keep(self, name: str, kind: str, files: Sequence[Path]) -> None:
        """Send files as an artifact of the run.

        Args:
            name: Of the artifact within the project.
            kind: What it is.
            files: The files.
        """
        self.attempt(lambda: self._keep(name, kind, files))

    def finish(self, *, failed: bool = False) -> None:
        """Close the run; later calls do nothing.

        Args:
            failed: Mark the run as failed.
        """
        run, self._run = self._run, None
        self.attempt(lambda: run and run.finish(exit_code=int(failed)))

    def _start(self, store: Path, *, resume: bool) -> None:
        import wandb  # takes a second, and only tracked runs need it

        store.mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "online" if has_key() else "offline")
        identity = self.identity
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=identity.id,
            name=identity.name,
            group=identity.group,
            job_type=identity.job_type,
            tags=identity.tags,
            config=dict(identity.config),
            dir=store,
            mode=mode,  # type: ignore[arg-type]  # whatever the user put into WANDB_MODE; W&B names a wrong one
            resume="allow" if resume else None,
            reinit="create_new",  # several runs in one process stay apart
            settings=self._settings(),
        )
        self._run.define_metric(MONITOR, summary="min")
        self._run.define_metric("train/loss", summary="last")

    def _keep(self, name: str, kind: str, files: Sequence[Path]) -> None:
        if self._run is not None:
            import wandb

            artifact = wandb.Artifact(name, kind)
            for path in files:
                artifact.add_file(str(path), path.name)
            self._run.log_artifact(artifact)

    def _settings(self) -> wandb.Settings:
        import wandb

        settings = wandb.Settings(silent=True, console="off", save_code=False, init_timeout=INIT_TIMEOUT_SECONDS)
        if self.identity.private:
            settings.x_disable_meta = settings.x_disable_machine_info = settings.disable_git = True
            settings.program = settings.program_relpath = PROJECT
            settings.host = settings.username = "private"
        return settings


def _known(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not (isinstance(value, float) and math.isnan(value))}
