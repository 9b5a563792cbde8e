"""Splits that keep patients whole and refuse to test what they train."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.components.protocols import Split, grouped_folds, hold_out
from datamodules.components.schema import LandmarkSchema

patients = st.lists(st.integers(0, 30), min_size=12, max_size=60)


@given(patients)
def test_a_hold_out_keeps_patients_whole_and_every_case(groups: list[int]) -> None:
    cases = [f"case{i}" for i in range(len(groups))]
    owner = {case: str(group) for case, group in zip(cases, groups, strict=True)}
    train, val = hold_out(cases, owner)
    assert sorted(train + val) == sorted(cases)
    assert not {owner[case] for case in train} & {owner[case] for case in val}
    assert bool(val) == (len(set(groups)) > 1)
    assert hold_out(cases, owner) == (train, val)


@given(patients)
def test_folds_test_every_case_once_and_keep_patients_whole(groups: list[int]) -> None:
    cases = [f"case{i}" for i in range(len(groups))]
    owner = {case: str(group) for case, group in zip(cases, groups, strict=True)}
    count = min(3, len(set(groups)))
    if count < 2:
        return
    folds = grouped_folds(cases, owner, count)
    assert sorted(case for _, fold in folds for case in fold) == sorted(cases)
    for rest, fold in folds:
        assert not {owner[case] for case in rest} & {owner[case] for case in fold}
        assert sorted(rest + fold) == sorted(cases)


@pytest.mark.parametrize(
    ("train", "val", "tests"),
    [(("a",), ("a",), {"t": ("b",)}), (("a",), (), {"t": ("b",), "u": ("a",)}), (("c",), ("a",), {"t": ("a",)})],
)
def test_a_split_that_uses_a_case_twice_is_refused(
    train: tuple[str, ...], val: tuple[str, ...], tests: dict[str, tuple[str, ...]]
) -> None:
    with pytest.raises(ValueError, match="split s uses a in more than one"):
        Split("s", train, val, tests)


def test_a_split_without_a_test_set_is_refused() -> None:
    with pytest.raises(ValueError, match="no test set"):
        Split("s", ("a",), (), {})


def test_two_test_sets_may_share_a_case() -> None:
    assert Split("s", ("a",), (), {"t": ("b",), "u": ("b", "c")}).tests["u"] == ("b", "c")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"names": ("a", "a")}, "must not repeat.*: a"),
        ({"groups": {"g": ("a", "z")}}, "groups name .*: z"),
        ({"flips": (("a", "z"),)}, "flips name .*: z"),
        ({"flips": (("a", "b"), ("b", "c"))}, "must not repeat.*: b"),
        ({"edges": (("a", "y"),)}, "edges name .*: y"),
        ({"normalizer": ("x", "a")}, "normalizer name .*: x"),
    ],
)
def test_a_schema_refuses_names_that_it_does_not_have(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LandmarkSchema(**{"names": ("a", "b", "c"), **wrong})  # type: ignore[arg-type]


def test_a_schema_answers_by_position() -> None:
    schema = LandmarkSchema(("a", "b", "c"), {"g": ("c", "a")}, (("a", "c"),), normalizer=("b", "c"))
    assert (schema.flip_index, schema.group_index, schema.normalizer_index) == ((2, 1, 0), {"g": (2, 0)}, (1, 2))
