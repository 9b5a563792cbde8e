"""How parsers are fuzzed: a few examples with every test run, and for `FUZZ_SECONDS` each by `make fuzz`.

A parser's test is `@fuzz(strategy, ...)` over a function that feeds it. Whatever `make fuzz` finds becomes an ordinary
test beside the parser's others.
"""

import itertools
import os
import time
from collections.abc import Callable

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
EXAMPLES = 200 if SECONDS else 15

mutations = st.lists(st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=8)), max_size=8)
"""Places of a file, which count round, and what to write there."""
cuts = st.one_of(st.none(), st.none(), st.integers(0, 2**20))
"""How much of a file is left; None leaves all."""


def fuzz(*strategies: st.SearchStrategy) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Turn a function of drawn values into a test that repeats it with fresh seeds until its time is over."""

    def decorate(body: Callable[..., None]) -> Callable[[], None]:
        def test() -> None:
            end = time.monotonic() + SECONDS
            for number in itertools.count():

                @seed(number)
                @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
                @given(st.tuples(*strategies))
                def once(values: tuple) -> None:
                    body(*values)

                once()
                if time.monotonic() >= end:
                    return

        test.__doc__ = body.__doc__
        return test

    return decorate


def mutated(content: bytes, places: list[tuple[int, bytes]], cut: int | None) -> bytes:
    """Return a file with bytes overwritten and its end cut off; every second place lies in its first 512 bytes."""
    damaged = bytearray(content)
    for index, (place, data) in enumerate(places):
        start = place % min(len(damaged), len(damaged) if index % 2 else 512)
        damaged[start : start + len(data)] = data
    return bytes(damaged if cut is None else damaged[: cut % (len(damaged) + 1)])
