from collections import defaultdict
from pathlib import Path

import pytest

import datamodules
import methods
from benchmark.cell import Budget, Cell
from benchmark.lookup import changed_hparams, choose, effective_hparams, find_variant
from benchmark.matrix import FOLDER, Matrix
from datamodules import DatasetRegistry
from methods.base import FittedMethod


def cells(text: str, folder: Path) -> list[Cell]:
    path = folder / "matrix.yaml"
    path.write_text(text)
    return Matrix.load(path, DatasetRegistry()).cells(methods.discover(), datamodules.discover())


def test_a_matrix_spans_methods_splits_and_seeds(tmp_path: Path) -> None:
    found = cells("{seeds: [0, 1], methods: [mean_shape, posenet-l2], datasets: [hand]}", tmp_path)
    assert [(c.seed, c.split, c.variant) for c in found[:3]] == [
        (0, "fold1", "mean_shape"),
        (0, "fold1", "posenet-l2"),
        (0, "fold2", "mean_shape"),
    ]
    assert len(found) == len(set(found)) == 2 * 3 * 2
    assert {(c.method, c.protocol) for c in found} == {("mean_shape", "3-fold"), ("posenet", "3-fold")}
    assert dict(found[1].hparams)["loss"] == "l2"
    assert found[1].budget == Budget()


def test_epochs_of_the_command_line_count_for_every_cell(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_text(
        """
        budget: {name: reduced, epochs: 5, train_cases: 9}
        methods: [posenet, res50]
        datasets: [{name: aasce, budget: {epochs: 3}}, hand]
        overrides: [{methods: [res50], budget: {epochs: 40, precision: auto}}]
        """
    )
    found = Matrix.load(path, DatasetRegistry()).narrow(epochs=2).cells(methods.discover(), datamodules.discover())
    assert {c.budget.epochs for c in found} == {2}
    assert {c.budget.label for c in found if c.variant == "posenet"} == {"2 epochs (2 epochs/stage, 9 training films)"}
    assert {c.budget.precision for c in found if c.variant == "res50"} == {"auto"}


def test_an_empty_matrix_is_every_method_on_every_dataset(tmp_path: Path) -> None:
    found = cells("", tmp_path)
    assert {c.variant for c in found} == set(methods.discover())
    assert {c.dataset for c in found} == set(datamodules.discover())


def test_overrides_apply_to_their_cells_and_the_last_one_wins(tmp_path: Path) -> None:
    found = cells(
        """
        budget: {name: reduced, epochs: 5}
        methods: [{name: posenet, hparams: {lr: 0.1, input_size: [128, 128]}}, mnv2]
        datasets: [aasce, {name: hand, splits: [fold2], budget: {epochs: 3}}]
        overrides:
          - {hparams: {batch_size: 4}}
          - {methods: posenet, datasets: [hand], hparams: {batch_size: 8}, budget: {train_cases: 9}}
        """,
        tmp_path,
    )
    assert [
        (c.dataset, c.variant, dict(c.hparams)["batch_size"], c.budget.epochs, c.budget.train_cases) for c in found
    ] == [
        ("aasce", "posenet", 4, 5, None),
        ("aasce", "mnv2", 4, 5, None),
        ("hand", "posenet", 8, 3, 9),
        ("hand", "mnv2", 4, 3, None),
    ]
    assert (dict(found[0].hparams)["lr"], dict(found[0].hparams)["input_size"]) == (0.1, (128, 128))


def test_smoke_uses_the_methods_own_small_hyper_parameters(tmp_path: Path) -> None:
    (found,) = cells("{smoke: true, methods: [posenet], datasets: [aasce]}", tmp_path)
    smoke = methods.discover()["posenet"].smoke
    assert smoke.items() <= dict(found.hparams).items()


def test_the_papers_settings_of_a_dataset_count_in_the_papers_budget_alone(tmp_path: Path) -> None:
    text = (
        "{methods: [farnet, farnet-vgg16, fpn, unet], datasets: [isbi2015, {name: hand, splits: [fold1]}, aasce], %s}"
    )
    wanted = ("input_size", "augment", "sigma")
    published = {(c.variant, c.dataset): dict(c.hparams) for c in cells(text % "seeds: [0]", tmp_path)}
    for variant in ("farnet", "farnet-vgg16", "fpn", "unet"):
        found = {dataset: [hparams[n] for n in wanted] for (v, dataset), hparams in published.items() if v == variant}
        assert found == {
            "isbi2015": [(800, 640), False, 10.0],
            "hand": [(512, 512), True, 10.0],
            "aasce": [(1024, 512), True, 10.0],
        }
    assert published["farnet-vgg16", "hand"]["epochs"] == 900
    reduced = cells(text % "budget: {name: reduced, epochs: 2}", tmp_path)
    assert {(dict(c.hparams)["input_size"], dict(c.hparams)["augment"]) for c in reduced} == {((800, 640), False)}


def test_the_matrix_wins_over_the_papers_settings_and_lengths_follow_its_sizes(tmp_path: Path) -> None:
    found = cells(
        """
        methods: [farnet, {name: fpn, hparams: {sigma: 4.0}}]
        datasets: [aasce]
        overrides: [{hparams: {input_size: [256, 128]}}]
        """,
        tmp_path,
    )
    assert [[dict(c.hparams)[name] for name in ("input_size", "augment", "sigma")] for c in found] == [
        [(256, 128), True, 2.5],
        [(256, 128), True, 4.0],
    ]


def test_what_differs_is_counted_from_the_papers_settings_of_the_dataset(tmp_path: Path) -> None:
    def changed(text: str) -> dict[str, object]:
        (cell,) = cells(text, tmp_path)
        return changed_hparams(find_variant(cell.variant, methods.discover()), cell)

    assert changed("{methods: [farnet], datasets: [aasce]}") == {}
    published = "{name: farnet, hparams: {input_size: [1024, 512], augment: true, sigma: 10}}"
    assert changed(f"{{budget: {{name: reduced}}, methods: [{published}], datasets: [aasce]}}") == {}
    assert changed("{budget: {name: reduced}, methods: [farnet], datasets: [isbi2015]}") == {}
    assert changed("{budget: {name: reduced}, methods: [farnet], datasets: [aasce]}") == {
        "augment": False,
        "input_size": (800, 640),
        "sigma": 10.0,
    }
    small = "{methods: [{name: farnet, hparams: {input_size: [192, 160], %s}}], datasets: [isbi2015]}"
    assert changed(small % "") == {"input_size": (192, 160)}
    assert changed(small % "sigma: 10.0") == {"input_size": (192, 160), "sigma": 10.0}
    assert changed(small % "sigma: 3.0") == {"input_size": (192, 160), "sigma": 3.0}


def test_the_command_line_replaces_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_text("{methods: [{name: posenet, hparams: {lr: 0.5}}, mnv2], datasets: [aasce]}")
    matrix = Matrix.load(path, DatasetRegistry()).narrow(["posenet", "res50"], ["isbi2015"], [3], epochs=7)
    found = matrix.cells(methods.discover(), datamodules.discover())
    assert [(c.variant, c.dataset, c.seed, c.budget.epochs) for c in found] == [
        ("posenet", "isbi2015", 3, 7),
        ("res50", "isbi2015", 3, 7),
    ]
    assert dict(found[0].hparams)["lr"] == 0.5


@pytest.mark.parametrize("name", ["own-data", "own-data-cpu"])
def test_the_preset_for_cards_gives_every_method_and_variant_the_same_settings(name: str) -> None:
    known = methods.discover()
    variants = [variant for method_class in known.values() for variant in method_class.variants]
    found = Matrix.load(name, DatasetRegistry()).narrow(variants, ["isbi2015"]).cells(known, DatasetRegistry())
    assert len(found) == len(variants)
    assert len({cell.budget for cell in found}) == 1
    for key in ("input_size", "batch_size", "lr", "schedule", "augment"):
        assert len({dict(cell.hparams)[key] for cell in found if key in dict(cell.hparams)}) == 1


def test_a_shared_hyper_parameter_that_no_method_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no hyper-parameter of any of the methods 'input_sise'; did you mean"):
        cells("{methods: [posenet], datasets: [hand], hparams: {input_sise: [64, 64]}}", tmp_path)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_our_own_matrices_name_what_exists(name: str) -> None:
    assert Matrix.load(name, DatasetRegistry()).cells(methods.discover(), datamodules.discover())


def test_the_papers_matrix_has_every_row_of_every_method() -> None:
    known = methods.discover()
    rows = [entry.name for entry in Matrix.load("paper", DatasetRegistry()).methods]
    assert sorted(rows) == sorted(name for method_class in known.values() for name in method_class.variants)


def test_a_method_runs_on_the_datasets_of_its_entry_only(tmp_path: Path) -> None:
    text = "{methods: [mnv2, {name: posenet-l1, datasets: [hand]}], datasets: [aasce, {name: hand, splits: [fold1]}]}"
    found = [(cell.dataset, cell.variant) for cell in cells(text, tmp_path)]
    assert found == [("aasce", "mnv2"), ("hand", "mnv2"), ("hand", "posenet-l1")]
    with pytest.raises(ValueError, match="no dataset 'hnd'; did you mean 'hand'"):
        cells("{methods: [{name: mnv2, datasets: [hnd]}], datasets: [hand]}", tmp_path)


LONGER = {("real-full-image", "isbi2015", "unet")}
"""Rivals with more epochs than their paper's method, and the matrix says why."""
SHARED = ("input_size", "film_size", "view_size", "crop_size", "schedule", "augment", "rotation")
"""Hyper-parameters that a reduced matrix gives to a paper's rivals as to its method."""
OWN = {path.stem: Matrix.load(path, DatasetRegistry()) for path in sorted(FOLDER.glob("*.yaml"))}


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        pair
        for name, matrix in OWN.items()
        if not matrix.smoke and matrix.budget.name != Budget.name  # a paper's rivals train as it says
        for pair in [(name, entry.name) for entry in matrix.datasets] or [(name, "aasce")]
    ],
)
def test_rivals_of_a_paper_get_the_input_augmentation_and_epochs_of_its_method(name: str, dataset: str) -> None:
    known, papers = methods.discover(), defaultdict[str, list[Cell]](list)
    for cell in OWN[name].narrow(datasets=[dataset]).cells(known, datamodules.discover()):
        if not issubclass(known[cell.method], FittedMethod):
            papers[known[cell.method].paper.title].append(cell)
    assert papers
    for title, rivals in papers.items():
        equal = [cell for cell in rivals if (name, dataset, cell.variant) not in LONGER]
        assert len({cell.budget for cell in equal}) == 1, title
        assert all((cell.budget.epochs or 0) >= (equal[0].budget.epochs or 0) for cell in rivals), title
        for key in SHARED:
            found = {dict(cell.hparams)[key] for cell in rivals if key in dict(cell.hparams)}
            assert len(found) <= 1, (title, key, found)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{metods: [posenet]}", "no key in the matrix called 'metods'; did you mean 'methods'"),
        ("{budget: {epoch: 3}}", "no key in budget called 'epoch'; did you mean 'epochs'"),
        ("{budget: {epochs: zero}}", "budget.epochs is 'zero'"),
        ("{datasets: [{name: hand, split: fold1}]}", "no key in datasets called 'split'; did you mean 'splits'"),
        ("{datasets: [{splits: [fold1]}]}", "an entry of datasets has no `name`"),
        ("{methods: [{name: mnv2, hparams: 3}]}", "methods: hparams must be a mapping"),
        ("{overrides: [{budget: {epoch: 3}}]}", "overrides: budget called 'epoch'; did you mean 'epochs'"),
        ("{seeds: [one]}", "seeds takes whole numbers, but has 'one'"),
        ("[posenet]", "the matrix must be a mapping"),
        ("methods: [posenet", "is not YAML"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_with_file_and_key(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        cells(text, tmp_path)
    assert sentence in str(caught.value)
    assert "matrix.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{methods: [posnet]}", "no method 'posnet'; did you mean 'posenet'"),
        ("{datasets: [asce]}", "no dataset 'asce'; did you mean 'aasce'"),
        (
            "{datasets: [{name: aasce, protocols: [oficial]}]}",
            "no protocol of aasce 'oficial'; did you mean 'official'",
        ),
        (
            "{datasets: [{name: hand, splits: [fold9]}]}",
            "no split of hand's protocol 3-fold 'fold9'; did you mean 'fold",
        ),
        (
            "{methods: [{name: mnv2, hparams: {batchsize: 1}}]}",
            "hyper-parameter of mnv2 'batchsize'; did you mean 'batch_",
        ),
        ("{overrides: [{methods: [posnet]}]}", "no method 'posnet'; did you mean 'posenet'"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(text: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no") as caught:
        cells(text, tmp_path)
    assert sentence in str(caught.value)


def test_an_unknown_matrix_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="no matrix file 'quik'; did you mean 'quick'"):
        Matrix.load("quik", DatasetRegistry())


def test_names_are_found_whatever_their_dashes() -> None:
    assert find_variant("MNV2_hm", methods.discover()).name == "mnv2-hm"
    assert find_variant("coordinate_regression", methods.discover()).name == "mnv2"
    assert find_variant("two_stage_lumbar", methods.discover()).name == "two-stage-lumbar"
    assert choose("real_quick", ["real-quick"], "matrix") == "real-quick"
    with pytest.raises(ValueError, match="known are: alpha, beta"):
        choose("zzz", ["alpha", "beta"], "letter")


def test_effective_hyper_parameters_are_all_of_the_signature() -> None:
    variant = find_variant("posenet-l1", methods.discover())
    found = dict(effective_hparams(variant, {"lr": 3.0}))
    assert (found["loss"], found["lr"], found["sigma"]) == ("l1", 3.0, 1.5)
