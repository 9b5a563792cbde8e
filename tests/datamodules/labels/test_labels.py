"""Label rows: parsed exactly, or refused with the file, the line and the value."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datamodules.base import DataError
from datamodules.components.labels.parsing import parse_points, parse_row, read_lines, whole

FILE = Path("labels.csv")
numbers = st.floats(-1e6, 1e6, allow_nan=False)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)


@given(st.lists(numbers, min_size=1, max_size=20))
def test_a_row_comes_back_as_it_was_written(values: list[float]) -> None:
    assert parse_row([repr(value) for value in values], len(values), FILE, 3).tolist() == values


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=20))
def test_points_come_back_as_they_were_written(points: list[tuple[float, float]]) -> None:
    lines = [f" {x!r} , {y!r}" for x, y in points]
    assert parse_points(FILE, lines, len(points)).tolist() == [list(point) for point in points]


@given(st.lists(numbers, max_size=8), st.integers(0, 8))
def test_a_row_of_another_length_is_refused_with_file_and_line(values: list[float], count: int) -> None:
    if len(values) == count:
        return
    with pytest.raises(DataError, match=rf"^labels\.csv, line 7 holds {len(values)} values instead of {count}"):
        parse_row([str(value) for value in values], count, FILE, 7)


@given(texts)
def test_any_text_is_a_number_or_refused_with_its_value(text: str) -> None:
    try:
        (value,) = parse_row([text], 1, FILE, 2)
    except DataError as error:
        assert str(error).startswith("labels.csv, line 2 holds ")
        assert repr(text.strip()) in str(error)
    else:
        assert np.isnan(value) or value == float(text)


@pytest.mark.parametrize("text", ["inf", "-inf", "1e999", "twelve", "", "1;2"])
def test_a_value_that_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="where a number is needed"):
        parse_row([text], 1, FILE, 1)


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_points_names_the_line_where_the_file_ends(count: int) -> None:
    with pytest.raises(DataError, match=rf"^labels\.csv, line 6: .* 2 points instead of {count}"):
        parse_points(FILE, ["1,2", "3,4"], count, first=5)


def test_no_point_at_all_is_refused() -> None:
    with pytest.raises(DataError, match="0 points instead of 19"):
        parse_points(FILE, [], 19)


def test_a_point_with_one_missing_coordinate_is_missing_as_a_whole() -> None:
    points = parse_points(FILE, ["nan,2", "3,4", "5,NaN"], 3)
    assert np.array_equal(points, [[np.nan, np.nan], [3, 4], [np.nan, np.nan]], equal_nan=True)
    assert np.array_equal(whole(np.array([[np.nan, 1.0]])), [[np.nan, np.nan]], equal_nan=True)


def test_lines_are_read_without_byte_order_mark_carriage_returns_and_empty_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf1,2\r\n3,4\r\n\r\n\n")
    assert read_lines(tmp_path / "a.txt") == ["1,2", "3,4"]


def test_a_label_file_that_is_no_text_or_absent_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("a.txt", "b.txt"):
        with pytest.raises(DataError, match=rf"{name} cannot be read as text"):
            read_lines(tmp_path / name)
