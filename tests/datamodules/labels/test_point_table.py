"""Wide tables of landmarks: every row with its line, empty lines left out, and the points beyond the film named."""

from pathlib import Path

import numpy as np
import pytest

from datamodules.base import DataError
from datamodules.components.labels.point_table import outside, read_point_table

NAN = float("nan")


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "points.csv"
    file.write_text(text)
    return file


def test_rows_keep_their_line_facts_and_points_and_empty_lines_are_left_out(tmp_path: Path) -> None:
    file = write(tmp_path, "b-y,image,b-x,a-x,a-y,other\n2.5, one ,1,nan,3,x\n,,,,,\n\n6,two,5,,4,y\n")
    first, second = read_point_table(file, ["image"], ["a", "b"])
    assert (first.line, first.facts, second.line, second.facts) == (2, {"image": "one"}, 5, {"image": "two"})
    np.testing.assert_equal(first.points, [[NAN, NAN], [1, 2.5]])
    np.testing.assert_equal(second.points, [[NAN, NAN], [5, 6]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,a-x\none,1\n", r"points\.csv, line 1 has no column 'a-y'"),
        ("a-x,a-y\n1,2\n", r"points\.csv, line 1 has no column 'image'"),
        ("image,a-x,a-y\none,1\n", r"points\.csv, line 2 has 2 cells where the header has 3"),
        ("image,a-x,a-y\none,1,2,3\n", r"points\.csv, line 2 has 4 cells where the header has 3"),
        ("image,a-x,a-y\none,1,two\n", r"points\.csv, line 2 .*'two'"),
    ],
)
def test_a_broken_table_is_refused_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(read_point_table(write(tmp_path, text), ["image"], ["a"]))


@pytest.mark.parametrize("point", [(-0.5, -0.5), (63.5, 31.5), (-0.5, 31.5), (10.0, 20.0), (NAN, NAN)])
def test_a_point_on_the_outer_edge_of_a_pixel_lies_on_the_film(point: tuple[float, float]) -> None:
    assert list(outside(np.array([point]), ["tip"], (32, 64))) == []


@pytest.mark.parametrize("point", [(-0.51, 5), (5, -0.51), (63.51, 5), (5, 31.51)])
def test_a_point_beyond_the_outer_edge_is_named_with_the_size_of_the_film(point: tuple[float, float]) -> None:
    (text,) = outside(np.array([[1.0, 1.0], point]), ["tip", "base"], (32, 64))
    assert text == f"base at ({point[0]:g}, {point[1]:g}) lies outside the film of 64 x 32 px."
