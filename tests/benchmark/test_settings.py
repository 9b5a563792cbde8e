from pathlib import Path

import pytest

import datamodules
import methods
from benchmark.cell import Cell
from benchmark.lookup import effective_hparams, find_variant
from benchmark.matrix import Matrix
from benchmark.settings import apply_settings
from datamodules import DatasetRegistry

MATRIX = """
budget: {name: reduced, epochs: 5}
methods: [{name: posenet, hparams: {lr: 0.5, batch_size: 2}}, mean_shape, mnv2]
datasets: [{name: aasce, budget: {epochs: 3}}]
overrides: [{methods: [posenet], hparams: {lr: 0.25}, budget: {train_cases: 9}}]
"""


def cells(folder: Path, *settings: str, matrix: str = MATRIX, epochs: int | None = None) -> dict[str, Cell]:
    path = folder / "matrix.yaml"
    path.write_text(matrix)
    known = methods.discover()
    read = Matrix.load(path, DatasetRegistry()).narrow(epochs=epochs)
    found = apply_settings(read, settings, known).cells(known, datamodules.discover())
    return {cell.variant: cell for cell in found}


def values(folder: Path, variant: str, *settings: str) -> dict[str, object]:
    return dict(cells(folder, *settings)[variant].hparams)


def test_a_setting_wins_over_everything_in_the_matrix_and_over_earlier_settings(tmp_path: Path) -> None:
    assert values(tmp_path, "posenet")["lr"] == 0.25
    assert values(tmp_path, "posenet", "posenet.lr=0.1", "posenet.lr=1e-3")["lr"] == 1e-3
    assert values(tmp_path, "mnv2", "posenet.lr=1e-3") == values(tmp_path, "mnv2")
    assert values(tmp_path, "posenet", "posenet.lr=1e-3")["batch_size"] == 2


def test_a_star_is_every_method_that_has_the_hyper_parameter(tmp_path: Path) -> None:
    found = cells(tmp_path, "*.lr=0.125", "mnv2.lr=0.75")
    assert dict(found["posenet"].hparams)["lr"] == 0.125
    assert dict(found["mnv2"].hparams)["lr"] == 0.75
    assert found["mean_shape"] == cells(tmp_path)["mean_shape"]


def test_epochs_are_those_of_the_option_for_every_cell_and_the_budget_says_so(tmp_path: Path) -> None:
    assert cells(tmp_path, "budget.epochs=2") == cells(tmp_path, epochs=2)
    assert cells(tmp_path, "budget.epochs=2", epochs=7) == cells(tmp_path, epochs=2)
    found = cells(tmp_path, "budget.epochs=2", "budget.train_cases=4", "budget.name=tiny")
    assert {cell.budget.label for cell in found.values()} == {"tiny (2 epochs/stage, 4 training films)"}


def test_a_setting_has_the_key_of_the_same_value_in_a_matrix(tmp_path: Path) -> None:
    written = MATRIX.replace("lr: 0.25", "lr: 0.01, input_size: [128, 64], schedule: one-cycle")
    settings = ("posenet.lr=0.01", "posenet.input_size=[128, 64]", "posenet.schedule=one-cycle")
    assert cells(tmp_path, *settings)["posenet"] == cells(tmp_path, matrix=written)["posenet"]


def test_a_setting_of_the_engine_wins_over_the_matrix() -> None:
    found = apply_settings(Matrix(engine={"name": "ray", "num_gpus": 1}), ["engine.num_gpus=0.5"], methods.discover())
    assert found.engine == {"name": "ray", "num_gpus": 0.5}


@pytest.mark.parametrize("written", ["16", "16.0", '"16"'])
def test_a_number_of_another_spelling_is_the_same_number(tmp_path: Path, written: str) -> None:
    value = values(tmp_path, "posenet", f"posenet.batch_size={written}")["batch_size"]
    assert (value, type(value)) == (16, int)


def test_a_number_that_yaml_takes_for_a_text_is_a_number_in_a_matrix_too(tmp_path: Path) -> None:
    found = cells(tmp_path, matrix=MATRIX.replace("lr: 0.25", "lr: 1e-3"))
    assert dict(found["posenet"].hparams)["lr"] == 1e-3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lr=0.1", "write METHOD.NAME=VALUE"),
        ("posenet.lr", "write METHOD.NAME=VALUE"),
        ("posnet.lr=0.1", "no method 'posnet'; did you mean 'posenet'"),
        ("posenet.sigmaa=0.1", "no hyper-parameter of posenet 'sigmaa'; did you mean 'sigma'"),
        ("*.batchsize=1", "any of the methods 'batchsize'; did you mean 'batch_size'"),
        ("res50.lr=0.1", "res50 is not among the methods of this run, which are posenet, mean_shape, mnv2"),
        ("budget.epoch=3", "key of the budget called 'epoch'; did you mean 'epochs'"),
        ("budget.epochs=many", "budget.epochs takes int | None, but is 'many'"),
        ("budget.epochs=0", "budget.epochs is 0"),
        ("posenet.lr=fast", "posenet's lr takes float, but is 'fast'"),
        ("posenet.lr=true", "posenet's lr takes float, but is True"),
        ("posenet.batch_size=1.5", "posenet's batch_size takes int, but is 1.5"),
        ("posenet.input_size=64", r"posenet's input_size takes tuple\[int, int\], but is 64"),
        ("posenet.loss=l3", "posenet's loss takes 'ic' or 'l1' or 'l2', but is 'l3'"),
    ],
)
def test_a_mistyped_setting_is_a_sentence_with_the_cure(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cells(tmp_path, setting)


def test_a_value_of_the_wrong_type_in_a_matrix_is_refused_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="posenet's lr takes float, but is 'fast'"):
        cells(tmp_path, matrix=MATRIX.replace("lr: 0.25", "lr: fast"))


def test_what_methods_state_themselves_has_the_types_of_their_signatures() -> None:
    for method in methods.discover().values():
        for own in (*method.variants.values(), method.smoke, *method.settings.values()):
            effective_hparams(find_variant(next(iter(method.variants)), methods.discover()), own)
