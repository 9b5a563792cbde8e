"""What holds for every dataset that `discover()` finds, on its tiny phantom."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules import discover
from datamodules.base import Batch, DataError, LandmarkDataModule
from datamodules.components.transforms import InputSpec, transform_points

DATASETS = discover()
RUNS = [
    (name, protocol.name, split)
    for name, d in DATASETS.items()
    for protocol in d.protocols
    for split in protocol.splits
]
SPECS = [
    InputSpec(size=(96, 48)),
    InputSpec(size=(64, 80), fit="pad"),
    InputSpec(size=(50, 50), oracle_crop=0.1),
    InputSpec(size=(50, 70), fit="pad", oracle_crop=0.0),
]


@pytest.fixture(params=DATASETS)
def data(request: pytest.FixtureRequest, tiny_roots: dict[str, Path]) -> LandmarkDataModule:
    return DATASETS[request.param](tiny_roots[request.param])


def test_the_three_public_datasets_are_discovered() -> None:
    assert {"aasce", "isbi2015", "hand"} <= set(DATASETS)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_flips_are_an_involution_of_named_pairs(dataset: type[LandmarkDataModule]) -> None:
    flip = np.array(dataset.schema.flip_index)
    assert np.array_equal(flip[flip], np.arange(len(dataset.schema)))
    assert (flip != np.arange(len(flip))).sum() == 2 * len(dataset.schema.flips)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_a_dataset_states_its_facts(dataset: type[LandmarkDataModule]) -> None:
    assert all(text.strip() for text in (dataset.title, dataset.licence, dataset.obtain, dataset.layout))
    assert list(dataset.radii) == sorted(dataset.radii)
    assert len({protocol.name for protocol in dataset.protocols}) == len(dataset.protocols)
    assert all(protocol.unit in ("mm", "px") and protocol.description for protocol in dataset.protocols)
    assert {len(members) for members in dataset.schema.groups.values()} <= {2, 3, 4}


@pytest.mark.parametrize(("name", "protocol", "split"), RUNS)
def test_no_patient_straddles_training_and_validation(
    tiny_roots: dict[str, Path], name: str, protocol: str, split: str
) -> None:
    data = DATASETS[name](tiny_roots[name], protocol, split)
    cases = data.inventory.cases
    train, val = ({cases[case].patient for case in part} for part in (data.split.train, data.split.val))
    test = {cases[case].patient for part in data.split.tests.values() for case in part}
    assert train
    assert not train & val
    assert data.protocol.caveats or not test & (train | val)


def test_the_patient_that_a_name_tells_is_that_of_the_inventory(data: LandmarkDataModule) -> None:
    patients = {name: case.patient for name, case in data.inventory.cases.items()}
    told = {name: data.patient_of(name) for name in patients}
    first = data.first_films(patients)
    for groups in (told, first) if all(told.values()) else (first,) if data.patient_rule else ():
        assert len(set(zip(groups.values(), patients.values(), strict=True))) == len(set(groups.values()))
        assert len(set(groups.values())) == len(set(patients.values()))
    assert data.patient_rule or not (any(told.values()) or first)


@pytest.mark.parametrize(("name", "protocol", "split"), RUNS)
def test_a_split_uses_only_cases_that_are_there_and_each_once(
    tiny_roots: dict[str, Path], name: str, protocol: str, split: str
) -> None:
    split_ = DATASETS[name](tiny_roots[name], protocol, split).split
    used = [*split_.train, *split_.val, *(case for cases in split_.tests.values() for case in cases)]
    assert len(used) == len(set(used))
    assert set(used) <= set(DATASETS[name](tiny_roots[name], protocol).inventory.cases)


def test_a_sample_has_the_types_and_shapes_it_states(data: LandmarkDataModule) -> None:
    data.configure(InputSpec(size=(40, 24)), batch_size=1)
    sample = data.sample(data.split.train[0])
    points = len(data.schema)
    assert (sample.image.dtype, tuple(sample.image.shape)) == (torch.uint8, (1, 40, 24))
    assert (sample.points.dtype, tuple(sample.points.shape)) == (torch.float32, (points, 2))
    assert (sample.visible.dtype, tuple(sample.visible.shape)) == (torch.bool, (points,))
    assert (sample.spacing.dtype, tuple(sample.spacing.shape)) == (torch.float32, (2,))
    assert (sample.to_image.dtype, tuple(sample.to_image.shape)) == (torch.float32, (2, 3))
    assert torch.isnan(sample.spacing).any() != (data.protocol.unit == "mm")


def test_a_landmark_is_nan_exactly_where_it_is_not_visible(data: LandmarkDataModule) -> None:
    name = data.split.train[0]
    case = data.inventory.cases[name]
    case.points[1] = np.nan
    case.points[2, 0] = np.nan
    sample = data.sample(name)
    assert sample.visible.logical_not().nonzero().flatten().tolist() == [1, 2]
    assert torch.equal(torch.isnan(sample.points).all(dim=1), ~sample.visible)
    assert torch.equal(torch.isnan(sample.points).any(dim=1), ~sample.visible)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: f"{spec.fit}-{spec.oracle_crop}")
def test_to_image_leads_network_points_back_to_original_pixels(data: LandmarkDataModule, spec: InputSpec) -> None:
    data.configure(spec, batch_size=1)
    for name, case in data.inventory.cases.items():
        sample = data.sample(name)
        back = transform_points(sample.to_image.double().numpy(), sample.points.double().numpy())
        assert np.abs(back - case.points).max() < 0.01


def test_loaders_serve_batches_of_the_configured_size(data: LandmarkDataModule) -> None:
    data.configure(InputSpec(size=(32, 32)), batch_size=2)
    batch = next(iter(data.train_dataloader()))
    assert isinstance(batch, Batch)
    assert batch.image.shape == (2, 1, 32, 32)
    tested = [case for loader in data.predict_dataloader() for served in loader for case in served.case]
    assert tested == [case for cases in data.split.tests.values() for case in cases]
    val = data.val_dataloader()
    assert isinstance(val, DataLoader)
    assert len(val) == -(-len(data.split.val) // 2)


def test_train_samples_are_the_training_cases_without_augmentation(data: LandmarkDataModule) -> None:
    samples = data.train_samples()
    assert tuple(sample.case for sample in samples) == data.split.train
    assert torch.equal(samples[0].image, data.sample(data.split.train[0]).image)


def test_a_fingerprint_is_stable_and_follows_protocol_and_labels(
    data: LandmarkDataModule, tiny_roots: dict[str, Path]
) -> None:
    again = type(data)(data.root)
    assert again.fingerprint == data.fingerprint
    assert type(data)(data.root, data.protocols[-1].name).fingerprint != data.fingerprint
    moved = type(data)(data.root)
    moved.inventory.cases[moved.split.train[0]].points[0, 0] += 0.5
    assert moved.fingerprint != data.fingerprint


def test_an_unknown_protocol_or_split_names_the_known_ones(data: LandmarkDataModule) -> None:
    with pytest.raises(DataError, match=data.protocols[0].name):
        type(data)(data.root, "no-such-protocol")
    with pytest.raises(DataError, match=data.protocols[0].splits[0]):
        type(data)(data.root, "", "no-such-split")


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_a_folder_without_the_dataset_says_how_to_get_it(
    dataset: type[LandmarkDataModule], folder: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError) as error:
        _ = dataset(tmp_path / folder).inventory
    assert all(text in str(error.value) for text in (folder, dataset.title, dataset.obtain, dataset.licence))


@pytest.mark.slow
@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_the_quick_matrix_phantom_is_complete(dataset: type[LandmarkDataModule], tmp_path: Path) -> None:
    dataset.write_phantom(tmp_path)
    data = dataset(tmp_path)
    assert len(data.inventory.cases) == dataset.phantom_films
    assert data.split.val
