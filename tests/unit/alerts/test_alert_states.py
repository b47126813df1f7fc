"""Whether an alert fires: hold, hysteresis, series that come and go. As Prometheus: test_alerts_agree.py."""

from __future__ import annotations

import math

from spanwise.alerts.states import State
from spanwise.rules.model import MetricRule, Series

SECOND = 1_000_000_000
A, B = (("k", "a"),), (("k", "b"),)


def state(hold: int = 0) -> State:
    return State(MetricRule("level", "level", Series("m", "1", "gauge"), 5.0, "warning", hold=hold * SECOND))


def fires(held: State, *values: float | None, interval: int = 30) -> list[bool]:
    found = []
    for number, value in enumerate(values):
        held.sample(number * interval, {} if value is None else {A: value})
        found.append(A in held.firing)
    return found


def test_without_a_hold_each_sample_decides() -> None:
    assert fires(state(), 5, 5.0000001, 5, 6, None, 6, math.nan, math.inf, -math.inf) == [
        *(False, True, False, True, False, True, False, True, False)
    ]


def test_it_fires_when_the_hold_has_passed_and_ends_when_it_has_passed_again() -> None:
    assert fires(state(60), 6, 6, 6, 5, 6, 5, 5, 5, 5) == [
        *(False, False, True, True, True, True, True, False, False)
    ]


def test_what_is_not_above_without_a_break_never_fires() -> None:
    assert not any(fires(state(60), 6, 6, 5, 6, 6, None, 6, 6, math.nan, 6, 6))


def test_a_hold_between_two_samples_is_that_of_the_later_one() -> None:
    assert fires(state(31), 6, 6, 6) == [False, False, True]


def test_each_series_is_on_its_own_and_keeps_its_last_value_above() -> None:
    held = state(30)
    held.sample(0, {A: 6, B: 1})
    held.sample(30, {A: 7, B: 8})
    assert held.firing == {A: 7}
    held.sample(60, {A: 2, B: 9})
    assert held.firing == {A: 7, B: 9}
    held.sample(90, {B: 9})
    assert held.firing == {B: 9}


def test_series_that_are_gone_are_forgotten() -> None:
    held = state(30)
    for number in range(1000):
        held.sample(number * 30, {(("k", str(number)),): 6})
    assert len(held._above) <= 2
