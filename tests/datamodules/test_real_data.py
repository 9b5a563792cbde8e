"""The published datasets: their numbers of films, their quirks and their leaks."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from datamodules import discover
from datamodules.aasce import AASCE
from datamodules.base import LandmarkDataModule
from datamodules.components.transforms import InputSpec, transform_points
from datamodules.hand import Hand
from datamodules.isbi2015 import ISBI2015


def folder(real_data: Path, name: str) -> Path:
    """The dataset's folder under any of its common names; skips where it is absent."""
    found = [real_data / known for known in discover()[name].folders if (real_data / known).is_dir()]
    return found[0] if found else pytest.skip(f"no {name} in {real_data}")


def sizes(data: LandmarkDataModule) -> tuple[int, dict[str, int]]:
    """The number of training (with validation) and of test films."""
    return len(data.split.train + data.split.val), {test: len(cases) for test, cases in data.split.tests.items()}


@pytest.fixture(scope="module")
def aasce(real_data: Path) -> Path:
    return folder(real_data, "aasce")


@pytest.fixture(scope="module")
def official(aasce: Path) -> AASCE:
    return AASCE(aasce)


def test_aasce_has_481_training_and_128_test_films(official: AASCE) -> None:
    assert sizes(official) == (481, {"test": 128})
    assert official.inventory.missing == official.inventory.unreadable == official.inventory.notes == ()
    assert 35 <= len(official.split.val) <= 60


def test_aasce_quirks_are_counted_as_known(official: AASCE) -> None:
    text = "\n".join(official.inventory.oddities)
    assert len(re.findall(r"corners of \w+ are swapped", text)) == 11
    assert len(re.findall("outside the film", text)) == 1
    assert len({line.split(": ")[0] for line in text.splitlines() if "is not below" in line}) == 28
    assert re.findall(r"Cobb angle of ([\d.]+)", text) == ["156.39"]
    assert len(re.findall("a2 is 0", text)) == 30
    assert len(re.findall("a3 is 0", text)) == 29
    assert Counter(":" in line for line in text.splitlines()) == {True: 11 + 1 + 28 + 1 + 30 + 29}


def test_aasce_labels_agree_between_mat_and_landmarks_csv(official: AASCE) -> None:
    assert not [text for text in official.inventory.oddities if ".mat" in text]


def test_aasce_leak_free_drops_films_whose_sessions_train_and_two_that_pixels_tell(
    aasce: Path, official: AASCE
) -> None:
    clean = AASCE(aasce, "leak-free")
    cases = official.inventory.cases
    dropped = {*official.split.tests["test"]} - {*clean.split.tests["test"]}
    trained = {cases[name].patient for name in official.split.train + official.split.val}
    assert sizes(clean) == (481, {"test": 111})
    others = {"sunhl-1th-01-Mar-2017-319 A AP", "sunhl-1th-28-Feb-2017-300 E AP"}
    assert dropped == others | {name for name in official.split.tests["test"] if cases[name].patient in trained}


def test_aasce_consistent_and_folds_have_their_sizes(aasce: Path) -> None:
    assert sizes(AASCE(aasce, "consistent")) == (431, {"test": 50})
    numbers = {"official": (441, 40), "leak-free": (441, 40), "consistent": (382, 49)}
    found = {name: AASCE(aasce, name).split for name in numbers}
    assert {name: (len(split.train), len(split.val)) for name, split in found.items()} == numbers
    shared = [AASCE(aasce, "consistent-5-fold", f"fold{i}").split for i in range(1, 6)]
    assert {split.tests["test"] for split in shared} == {found["consistent"].tests["test"]}
    validated = [name for split in shared for name in split.val]
    assert sorted(validated) == sorted(found["consistent"].train + found["consistent"].val)
    assert all(set(split.train) | set(split.val) == set(validated) for split in shared)
    assert sorted(len(split.val) for split in shared) == [72, 76, 76, 90, 117]
    folds = [AASCE(aasce, "5-fold", f"fold{i}").split for i in range(1, 6)]
    assert [min(map(len, parts)) for parts in ([s.train for s in folds], [s.val for s in folds])] == [320, 36]
    assert [max(map(len, parts)) for parts in ([s.train for s in folds], [s.val for s in folds])] == [361, 48]
    tested = [split.tests["test"] for split in folds]
    assert len({name for names in tested for name in names}) == sum(map(len, tested)) == 481


@pytest.mark.parametrize(
    ("first", "second"),
    [("20-Jul-2016-1 A AP", "20-Jul-2016-coronal4"), ("22-Nov-2016-153 B AP", "26-Jul-2016-78 B AP")],
)
def test_aasce_folds_keep_films_together_that_repeat_under_another_session(
    aasce: Path, first: str, second: str
) -> None:
    pair = {f"sunhl-1th-{first}", f"sunhl-1th-{second}"}
    for protocol in ("5-fold", "consistent-5-fold"):
        for split in AASCE(aasce, protocol).published:
            parts = [set(split.train), set(split.val)]
            parts += [set(split.tests["test"])] if protocol == "5-fold" else []
            known = pair & set.union(*parts)
            assert any(known <= part for part in parts)


@pytest.mark.parametrize("spec", [InputSpec((256, 128)), InputSpec((128, 128), fit="pad")], ids=["stretch", "pad"])
def test_real_points_come_back_from_the_network_grid(official: AASCE, spec: InputSpec) -> None:
    official.configure(spec, batch_size=1)
    for name in official.split.tests["test"][:5]:
        sample = official.sample(name)
        back = transform_points(sample.to_image.double().numpy(), sample.points.double().numpy())
        assert np.abs(back - official.inventory.cases[name].points).max() < 0.01


@pytest.fixture(scope="module")
def isbi(real_data: Path) -> Path:
    return folder(real_data, "isbi2015")


@pytest.mark.parametrize(("protocol", "test1"), [("official", 150), ("official-senior", 150), ("leak-free", 127)])
def test_isbi_has_150_training_150_and_100_test_films(isbi: Path, protocol: str, test1: int) -> None:
    data = ISBI2015(isbi, protocol)
    assert sizes(data) == (150, {"test1": test1, "test2": 100})
    assert data.inventory.missing == ()


def test_isbi_folds_cover_all_films_and_keep_repeats_together(isbi: Path) -> None:
    folds = [ISBI2015(isbi, "4-fold", f"fold{i}") for i in range(1, 5)]
    tested = [set(data.split.tests["test"]) for data in folds]
    assert sorted(map(len, tested)) == [99, 100, 100, 101]
    assert len(set().union(*tested)) == 400
    assert all({"001", "275"} <= fold or not {"001", "275"} & fold for fold in tested)


def test_isbi_readers_differ_by_2_15_mm_on_average(isbi: Path) -> None:
    senior, junior = (ISBI2015(isbi, f"official-{reader}").inventory.cases for reader in ("senior", "junior"))
    gaps = np.array([(senior[n].points - junior[n].points) * senior[n].spacing for n in senior])
    distance = np.linalg.norm(gaps, axis=2)
    assert distance.mean() == pytest.approx(2.147, abs=0.005)
    assert (distance <= 2).mean() == pytest.approx(0.62, abs=0.005)


@pytest.fixture(scope="module")
def hands(real_data: Path) -> Path:
    return folder(real_data, "hand")


def test_hand_folds_hold_895_of_the_910_hands(hands: Path) -> None:
    published = Hand(hands, allow_missing=True).published
    listed = [(len(split.train + split.val), len(split.tests["test"])) for split in published]
    assert listed == [(597, 298), (597, 298), (596, 299)]
    assert len({name for split in published for name in split.tests["test"]}) == 895


def test_hand_films_in_the_lists_are_there_or_missing(hands: Path) -> None:
    inventory = Hand(hands, allow_missing=True).inventory
    listed = {name for split in Hand(hands, allow_missing=True).published for name in split.tests["test"]}
    assert len(inventory.missing) + len(listed & set(inventory.cases)) == 895


def test_hand_reduced_folds_run_on_the_published_films(hands: Path) -> None:
    for fold in ("fold1", "fold2", "fold3"):
        assert sizes(Hand(hands, "3-fold-reduced", fold)) == (6, {"test": 3})


def test_hand_other_wrist_gives_about_7_percent_fewer_millimetres(hands: Path) -> None:
    payer, other = (Hand(hands, p, allow_missing=True).inventory.cases for p in ("3-fold", "3-fold-other"))
    ratios = [other[name].spacing[0] / payer[name].spacing[0] for name in payer]
    assert np.median(ratios) == pytest.approx(0.93, abs=0.03)


def test_hand_mha_spacing_is_the_wrist_rule_s(hands: Path) -> None:
    """The published .mha files carry Payer's rule as their spacing: an independent reading of it."""
    import SimpleITK

    for case in Hand(hands, "3-fold-reduced").inventory.cases.values():
        if case.film.suffix == ".mha":
            assert SimpleITK.ReadImage(str(case.film)).GetSpacing()[0] == pytest.approx(case.spacing[0], abs=1e-5)
