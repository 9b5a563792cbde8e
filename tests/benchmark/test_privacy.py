"""Nothing of a private set comes out: a marker planted in everything private is looked for in every byte written."""

import io
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from benchmark.cli.main import main
from benchmark.store import RunStore
from datamodules.components.cards.card import Card
from datamodules.phantom.card_formats import NAMES, write_dicom, write_private
from datamodules.private import dataset_of

MARKER = "Zerberus"
EXPECTED = {"mean_shape": "done", "steady": "done", "leaky": "failed"}
REPOSITORY = Path(__file__).resolve().parents[2]
LEAKY = '''
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from methods.base import InputSpec, Method, Paper


class Leaky(Method):
    """Fails with all that a method can reach."""

    paper = Paper("A method of the tests")
    variants: ClassVar = {"leaky": {}}
    smoke: ClassVar = {}

    def __init__(self, schema, epochs=1):
        super().__init__(schema)
        self.weight = nn.Parameter(torch.ones(()))

    @property
    def input_spec(self):
        return InputSpec((16, 16))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def loss(self, batch):
        data = self.trainer.datamodule
        case = data.inventory.cases[batch.case[0]]
        print("printed", case, data.root)
        raise RuntimeError(f"{case} of {data.root}: {[record.columns for record in data.described.records]}")

    def predict(self, batch):
        raise NotImplementedError
'''


def write_marked(root: Path) -> Path:
    """Write a set with the marker in its folder, films, ids, labels, free text and card, and return the card."""
    folder = root / f"{MARKER}-clinic"
    write_private(folder, films=10, height=64)
    (folder / "private.yaml").unlink()
    table = pd.read_csv(folder / "points.csv")
    for film in table["film"]:
        name = f"films/{MARKER}{Path(film).stem}.dcm"
        shutil.move(folder / film, folder / name)
    table["film"] = [f"films/{MARKER}{Path(film).stem}.dcm" for film in table["film"]]
    table["patient"] = [f"{MARKER}{patient}" for patient in table["patient"]]
    table["report"] = f"{MARKER} fell off his bicycle"
    table.columns = [f"{MARKER}-{name}" if name[:-2] in NAMES else name for name in table.columns]
    table.to_csv(folder / f"{MARKER}.csv", index=False)
    (folder / "points.csv").unlink()
    card = {
        "name": "clinic",
        "title": f"Films of {MARKER}",
        "private": True,
        "images": "films/*.dcm",
        "annotations": {"format": "wide-csv", "path": f"{MARKER}.csv", "case": "film"},
        "names": [f"{MARKER}-{name}" for name in NAMES],
        "groups": {f"{MARKER}-T1": [f"{MARKER}-{name}" for name in NAMES[:4]]},
        "spacing": {"dicom": "PixelSpacing"},
        "patient": {"column": "patient"},
        "split": {"column": "set"},
    }
    path = folder / f"{MARKER}.yaml"
    path.write_text(yaml.safe_dump(card))
    return path


def in_own_process(line: str, here: Path) -> tuple[int, str]:
    """Run a command as a user does and return its exit code and all that it printed."""
    given = os.environ | {"PYTHONPATH": str(REPOSITORY), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    given |= {f"WANDB_{kind}_DIR": str(here / "wandb-own" / kind) for kind in ("CONFIG", "CACHE", "DATA")}
    command = [sys.executable, "-m", "benchmark", *line.split()]
    done = subprocess.run(command, cwd=here, env=given, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file and folder name with the file's bytes; tables, which are compressed, as text too."""
    for path in sorted(folder.rglob("*")):
        yield str(path.relative_to(folder)), b""
        if path.suffix == ".parquet":
            yield f"{path} as text", pd.read_parquet(path).to_csv().encode()
            yield f"{path} metadata", repr(pq.read_schema(path).metadata).encode()
        if path.is_file():
            yield str(path.relative_to(folder)), path.read_bytes()


def leaks(folder: Path) -> list[str]:
    """The places below a folder that hold the marker."""
    words = (MARKER.encode(), MARKER.encode("utf-16-le"), b"bicycle")
    return [name for name, data in everything(folder) if MARKER in name or any(word in data for word in words)]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int, str]:
    """The working folder, the card, and the exit code and output of a matrix with a failing cell, tracked by W&B."""
    here, card = tmp_path_factory.mktemp("work"), write_marked(tmp_path_factory.mktemp("hospital"))
    (here / "leaky.py").write_text(textwrap.dedent(LEAKY))
    steady = Path(__file__).parent / "plugins" / "steady.py"
    line = f"run --card {card} --methods mean_shape steady leaky --epochs 1 --slots 1 --wandb --wandb-artifacts"
    code, output = in_own_process(f"{line} --plugin {steady} leaky.py", here)
    return here, card, code, output


@pytest.mark.slow
def test_a_run_with_a_failing_cell_wandb_and_leaderboards_tells_nothing(ran: tuple[Path, Path, int, str]) -> None:
    here, _, code, output = ran
    assert code == 1, output
    runs = {run.cell.variant: run for run in RunStore(here / "runs").runs()}
    assert {name: run.status for name, run in runs.items()} == EXPECTED
    assert "RuntimeError" in runs["leaky"].reason
    assert "leaky.py" in runs["leaky"].traceback
    assert len(list(here.glob("runs/wandb/offline-run-*"))) == 3
    assert leaks(here) == []
    assert MARKER not in output
    assert "bicycle" not in output


@pytest.mark.slow
def test_cases_are_salted_hashes_that_stay_the_same(ran: tuple[Path, Path, int, str]) -> None:
    here, card, _, _ = ran
    tables = [pd.read_parquet(path) for path in sorted(here.glob("runs/*/*/*/*/*/predictions.parquet"))]
    assert len(tables) == 2
    assert set(tables[0]["case"]) == set(tables[1]["case"])
    assert tables[0]["case"].str.fullmatch("case-[0-9a-f]{12}").all()
    assert list(tables[0]["landmark"][:12]) == [f"p{number:02d}" for number in range(1, 13)]
    again = dataset_of(Card.load(card))(card.parent)
    assert set(tables[0]["case"]) <= again.own_names().keys()


@pytest.mark.slow
def test_later_commands_and_broken_data_tell_nothing_either(
    ran: tuple[Path, Path, int, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    here, card, _, _ = ran
    monkeypatch.chdir(here)
    run = f"run --card {card} --methods mean_shape --epochs 1 --slots 1"
    assert main(["leaderboard", "--publish"]) == 0
    assert main(run.split()) == 0
    text = "".join(capfd.readouterr())
    assert "1 cells, 1 finished before" in text
    first, second, *_ = sorted((card.parent / "films").iterdir())
    first.write_bytes(b"no film")
    second.unlink()
    assert main(["data", "check", str(card)]) == 2
    table = card.parent / f"{MARKER}.csv"
    table.write_text(table.read_text().replace(".", f"{MARKER}.", 9))
    assert main(["data", "check", str(card)]) == 2
    assert main(run.split()) == 2
    text += "".join(capfd.readouterr())
    assert "Missing files (1)" in text
    assert "--reveal" in text
    assert MARKER not in text
    assert "bicycle" not in text
    assert leaks(here) == []
    assert not list(here.glob("runs/leaderboards/predictions/**/*.parquet"))
    assert main(["data", "check", str(card), "--reveal"]) == 2
    assert MARKER in "".join(capfd.readouterr())


@pytest.mark.slow
def test_what_is_pushed_afterwards_tells_nothing_and_only_on_request(ran: tuple[Path, Path, int, str]) -> None:
    here, card, _, _ = ran
    code, output = in_own_process("wandb push runs --artifacts", here)
    assert code == 2
    assert "holds no run to push; those of private sets need --private" in output
    before = len(list(here.glob("runs/wandb/offline-run-*")))
    code, output = in_own_process(f"wandb push runs --artifacts --private --data-root {card.parent.parent}", here)
    assert code == 0, output
    pushed = sorted(here.glob("runs/wandb/offline-run-*"))
    assert len(pushed) == before + 4  # three runs and the leaderboards
    assert leaks(here) == []
    assert MARKER not in output
    media = [
        path for folder in pushed for path in folder.rglob("*") if path.suffix in {".png", ".jpg", ".ckpt", ".parquet"}
    ]
    assert media == []


def test_what_dicom_files_say_of_a_patient_is_not_warned_about(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    card = write_marked(tmp_path)
    for film in (card.parent / "films").iterdir():
        image = pd.Series(range(64 * 64)).to_numpy().reshape(64, 64).astype("uint8")
        write_dicom(film, image, patient=MARKER, PatientBirthDate=MARKER, AccessionNumber=MARKER * 9)
    data = dataset_of(Card.load(card))(card.parent)
    assert len(data.inventory.cases) == 10
    shown = io.StringIO()
    print(data.inventory.cases.keys(), data.inventory.notes, data.protocol, data.schema, data.content, file=shown)
    text = shown.getvalue() + "".join(capfd.readouterr()) + str([str(warning.message) for warning in recwarn])
    assert MARKER not in text
