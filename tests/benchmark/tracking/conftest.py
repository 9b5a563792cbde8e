"""W&B without a key and without the network."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import wandb


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_BASE_URL", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture
def offline(no_key: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB__SERVICE_WAIT", "120")  # a busy machine takes its time to start the service
    for folder in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{folder}_DIR", str(tmp_path / folder))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what W&B imports may deprecate itself
        yield tmp_path / "store"
    wandb.teardown()  # it reads the environment once in a process: the next test has another one
