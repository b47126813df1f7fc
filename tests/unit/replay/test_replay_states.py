"""When an alert fires in a replay: exactly when it would have in the process."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from spanwise.alerts.states import State
from spanwise.replay.slices import states
from spanwise.rules.model import MetricRule, Series

S = 1_000_000_000
STEP = 15


def in_process(looks: list[float | None], hold: int) -> list[tuple[int, int | None]]:
    """(fired, resolved) of a rule that is held against a figure at each look."""
    state = State(MetricRule("level", "level", Series("m", "1", "gauge"), 0.5, "warning", hold=hold * S))
    found: list[tuple[int, int | None]] = []
    for number, figure in enumerate(looks):
        before = bool(state.firing)
        state.sample(number * STEP, {} if figure is None else {(): figure})
        if state.firing and not before:
            found.append((number * STEP, None))
        if before and not state.firing:
            found[-1] = (found[-1][0], number * STEP)
    return found


def replayed(looks: list[float | None], hold: int) -> list[tuple[int, int | None]]:
    """The same of a replay, which passes over looks that have nothing to see."""
    figures = (
        (number * STEP, figure if figure > 0.5 else None)
        for number, figure in enumerate(looks)
        if figure is not None
    )
    return [
        (fired, resolved) for _, fired, resolved, _ in states(figures, STEP, hold, (len(looks) - 1) * STEP)
    ]


@given(
    st.lists(st.sampled_from([None, 0.0, 1.0, 1.0]), max_size=40),
    st.sampled_from([0, 1, STEP, 20, 3 * STEP]),
)
@example([1.0] * 5 + [0.0] + [1.0] * 3 + [None] * 9, 2 * STEP)
def test_a_replay_fires_and_resolves_as_the_process(looks: list[float | None], hold: int) -> None:
    assert replayed(looks, hold) == in_process(looks, hold)


def test_what_flaps_within_the_hold_is_one_alert() -> None:
    flapping: list[float | None] = [1.0] * 10 + [0.0, 1.0] * 10 + [0.0] * 10
    assert replayed(flapping, 8 * STEP) == [(8 * STEP, 38 * STEP)]
