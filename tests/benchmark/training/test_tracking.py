import logging
import sys
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from benchmark.training.tracking import Tracker, has_key, is_wanted


class Line(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        loss = (batch[0] - self.weight).square().mean()
        self.log("train/loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.125)


class Recorder(Tracker):
    """A tracker that keeps what it would send."""

    def __init__(self) -> None:
        self.logged: list[dict[str, float]] = []

    def log(self, values: Mapping[str, float]) -> None:
        self.logged.append(dict(values))


def fit(callback: Callback, epochs: int, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice about workers and intervals
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=False,
            callbacks=[callback],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        trainer.fit(Line(), DataLoader(TensorDataset(torch.ones(4, 1)), batch_size=2))


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def offline(no_key: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    for folder in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{folder}_DIR", str(tmp_path / folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what W&B imports may deprecate itself
        yield tmp_path / "store"


def run_files(store: Path, *texts: bytes) -> list[bytes]:
    """The runs' files, once W&B's service process has written all `texts`."""
    for _ in range(100):
        found = [path.read_bytes() for path in sorted(store.glob("wandb/offline-run-*/*.wandb"))]
        if all(any(text in data for data in found) for text in texts):
            return found
        time.sleep(0.1)
    raise AssertionError(f"none of the runs of {store} holds all of {texts}")


def test_two_open_runs_of_one_process_stay_separate_offline(offline: Path) -> None:
    first = Tracker(offline, "run-of-posenet", "aasce/official", "posenet", {"lr": 0.25})
    second = Tracker(offline, "run-of-mnv2", "aasce/official", "mnv2", {"lr": 0.5})
    second.log({"val/radial_error": 7.0})
    first.summarize({"test/mre_px": 3.0})
    first.finish()
    second.finish()
    texts = {b"run-of-posenet": b"test/mre_px", b"run-of-mnv2": b"val/radial_error"}
    one, two = run_files(offline, *texts, *texts.values())
    files = {name: next(data for data in (one, two) if name in data) for name in texts}
    assert files[b"run-of-posenet"] is not files[b"run-of-mnv2"]
    assert all(texts[name] in data for name, data in files.items())
    assert not any(texts[name] in files[other] for name in texts for other in texts if name != other)


def test_a_run_carries_its_group_job_type_and_configuration(offline: Path) -> None:
    with Tracker(offline, "key", "hand/3-fold", "res50-hm", {"sigma": 1.5}):
        pass
    assert len(run_files(offline, b"osteomark", b"hand/3-fold", b"res50-hm", b"sigma")) == 1


def test_the_callback_sends_one_point_an_epoch_with_loss_and_learning_rate(tmp_path: Path) -> None:
    recorder = Recorder()
    fit(recorder.callback, epochs=3, folder=tmp_path)
    assert [point["epoch"] for point in recorder.logged] == [0, 1, 2]
    assert [point["lr"] for point in recorder.logged] == [0.125] * 3
    # Two steps an epoch, each taking the weight a quarter of the way to 1; the first sees a loss of 1.
    assert recorder.logged[0]["train/loss"] == pytest.approx((1 + 0.75**2) / 2)


def test_a_failure_of_wandb_is_logged_once_and_training_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = ModuleType("wandb")
    broken.Settings = dict  # type: ignore[attr-defined]

    def refuse(**_: object) -> None:
        raise OSError("no space left on device")

    broken.init = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", broken)
    with caplog.at_level(logging.WARNING), Tracker(tmp_path, "key", "group", "method", {}) as tracker:
        fit(tracker.callback, epochs=2, folder=tmp_path)
        tracker.summarize({"test/mre_px": 1.0})
    assert [
        record.getMessage().count("no space left")
        for record in caplog.records
        if record.name == "benchmark.training.tracking"
    ] == [1]


def test_a_failure_in_the_middle_ends_the_tracking_of_that_run_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Run:
        calls = 0

        def log(self, values: dict[str, float]) -> None:
            Run.calls += 1
            raise RuntimeError("the service is gone")

    wandb = ModuleType("wandb")
    wandb.Settings, wandb.init = dict, lambda **_: Run()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with Tracker(tmp_path, "key", "group", "method", {}) as tracker:
        fit(tracker.callback, epochs=3, folder=tmp_path)
    assert Run.calls == 1
    assert caplog.text.count("the service is gone") == 1


def test_tracking_is_on_by_default_only_with_a_key(
    no_key: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert not has_key()
    assert not is_wanted()
    assert is_wanted("wandb")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert is_wanted()
    assert not is_wanted("none")
    assert not is_wanted(private=True)
    assert is_wanted("wandb", private=True)
    (tmp_path / "netrc").unlink()
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert is_wanted()
