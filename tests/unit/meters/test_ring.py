"""A ring behaves as a list of which the oldest are forgotten."""

from __future__ import annotations

import sys
from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from spanwise.meters.ring import Ring

NUMBERS = st.floats(allow_nan=False, width=32)


@given(
    width=st.integers(0, 3),
    most=st.integers(1, 7),
    rows=st.lists(st.tuples(st.integers(0, 3), st.lists(NUMBERS, min_size=3, max_size=3), st.booleans())),
    asked=st.integers(-1, 60),
)
def test_it_is_a_list_that_forgets(
    width: int, most: int, rows: list[tuple[int, list[float], bool]], asked: int
) -> None:
    ring, model, now = Ring(width, most), [], 0.0
    for step, values, replaces in rows:
        now += step
        if replaces and model:
            ring.replace(now, values[:width])
            model[-1] = (now, values[:width])
        else:
            ring.put(now, values[:width])
            model = [*model, (now, values[:width])][-most:]
        assert len(ring) == len(model)
    assert [(ring.time(n), list(ring.row(n))) for n in range(len(ring))] == model
    assert ring.until(asked) == bisect_right([time for time, _ in model], asked) - 1


def test_it_takes_the_memory_it_says() -> None:
    ring = Ring(17, 1000)
    for number in range(5000):
        ring.put(number, [1.0] * 17)
    assert len(ring) == 1000
    assert sys.getsizeof(ring._data) < 1.2 * 18 * 8 * 1000
