import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.speeds import time_left

SECONDS = st.lists(st.floats(0, 1e5), max_size=20)


@given(SECONDS, SECONDS, st.integers(1, 8))
def test_the_time_left_lies_between_perfect_sharing_and_one_more_cell(
    running: list[float], waiting: list[float], slots: int
) -> None:
    running = running[:slots]
    left = time_left(running, waiting, slots)
    assert left.untimed == 0
    fair, longest = sum(running + waiting) / slots, max(running + waiting, default=0)
    assert max(fair, longest) <= left.seconds * (1 + 1e-9) + 1e-9
    assert left.seconds <= fair + longest + 1e-6


@pytest.mark.parametrize(
    ("running", "waiting", "expected"),
    [
        ([10.0, None], [], (10.0, 1)),
        ([10.0], [None, 5.0], (15.0, 1)),
        ([], [], (0.0, 0)),
        ([None], [None], (0.0, 2)),
    ],
)
def test_cells_of_which_nothing_is_known_are_counted_apart(
    running: list[float | None], waiting: list[float | None], expected: tuple[float, int]
) -> None:
    assert time_left(running, waiting, 1) == expected
