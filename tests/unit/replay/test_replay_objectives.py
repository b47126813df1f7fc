"""Objectives by their two windows: held against a plain reading of what they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.rating.verdict import Verdict
from spanwise.replay.objectives import MINUTE, Objectives
from spanwise.replay.slices import Alert
from spanwise.replay.spans import ERROR, Span
from spanwise.rules.model import Burn, Objective, Series
from spanwise.thresholds.load import load, lower

NOW = 1_700_000_000_000_000_000 // MINUTE * MINUTE
CALLS = Series("traces.span.metrics.calls", "{call}", "counter")


def objective(long: int = 10, short: int = 2, limit: float = 0.5, minimum: int = 0) -> Objective:
    burns = (Burn(long * MINUTE, short * MINUTE, "1", limit, "critical"),)
    return Objective("shop", "checkout", 0.9, 0.1, 30 * 1440 * MINUTE, CALLS, CALLS, burns, minimum)


Sent = tuple[float, str, int]
"""Minutes after NOW, rating, status."""


def alerts(
    rule: Objective, sent: list[Sent], service: str = "shop", decided: str = "checkout"
) -> list[Alert]:
    found = Objectives((rule,))
    for minutes, rating, status in sent:
        end = NOW + round(minutes * MINUTE)
        span = Span(b"t" * 16, "x", 2, end - 1, end, status, {}, 1)
        found.add(span, Verdict(rating, decided, 1.0), service)
    return list(found.fired())


@pytest.mark.parametrize(
    ("rating", "status", "missed"),
    [
        *(("good", 0, False), ("acceptable", 1, False), ("poor", 0, True), ("critical", 0, True)),
        ("good", ERROR, True),
    ],
)
def test_a_span_misses_by_its_rating_or_by_failing(rating: str, status: int, missed: bool) -> None:
    (alert,) = alerts(objective(), [(1, rating, status)]) or [None]
    assert (alert is not None) == missed
    if alert is not None:
        assert (alert.rule, alert.severity, alert.service, alert.worst) == ("shop", "critical", "shop", 1.0)
        assert alert.budget == 10 * MINUTE
        assert (alert.fired, alert.resolved) == (NOW + MINUTE, None)


def test_only_spans_that_its_rule_decided_and_that_name_a_service_count() -> None:
    assert alerts(objective(), [(1, "poor", 0)], decided="other") == []
    assert alerts(objective(), [(1, "poor", 0)], service="") == []
    found = Objectives((objective(),))
    found.add(Span(b"t" * 16, "x", 2, NOW, NOW, ERROR, {}, 1), None, "shop")
    assert list(found.fired()) == []


def test_it_resolves_when_the_shorter_window_has_seen_the_last_miss() -> None:
    sent = [(1, "poor", 0), (1, "poor", 0), *((minute, "good", 0) for minute in (2, 30))]
    (alert,) = alerts(objective(short=3), sent)
    assert ((alert.fired - NOW) // MINUTE, (alert.resolved or 0) - NOW) == (1, 4 * MINUTE)


def test_below_the_minimum_nothing_is_said() -> None:
    sent: list[Sent] = [(1, "poor", 0)] * 4
    assert alerts(objective(minimum=5), sent) == []
    assert len(alerts(objective(minimum=4), sent)) == 1


def test_the_shipped_objective_fires_by_each_of_its_windows() -> None:
    (shipped,) = (rule for rule in lower(load()) if isinstance(rule, Objective))
    sent: list[Sent] = [(minute, "critical", 0) for minute in range(1, 200)]
    found = alerts(shipped, sent, decided=shipped.rule)
    assert sorted(each.budget for each in found) == sorted(burn.long for burn in shipped.burns)


def test_what_finds_no_room_is_counted() -> None:
    found = Objectives((objective(),), slices=3)
    for minute in (1, 2, 3):
        end = NOW + minute * MINUTE
        found.add(Span(b"t" * 16, "x", 2, end, end, ERROR, {}, 1), Verdict("good", "checkout", 1.0), "shop")
    assert found.uncounted == 3
    assert len(list(found.fired())) == 1


def plainly(rule: Objective, sent: list[Sent]) -> list[tuple[int, int | None]]:
    """fired and resolved: every minute, one after the other, over all spans."""
    ends = [
        (NOW + round(minutes * MINUTE), rating in ("poor", "critical") or status == ERROR)
        for minutes, rating, status in sent
    ]
    last, (burn,) = max(end for end, _ in ends), rule.burns
    found: list[tuple[int, int | None]] = []
    fired, look = None, NOW
    while look < last + MINUTE:
        long, short = (
            [missed for end, missed in ends if look - window < end <= look]
            for window in (burn.long, burn.short)
        )
        holds = (
            bool(short)
            and len(long) >= rule.minimum
            and sum(long) / len(long) > burn.limit
            and sum(short) / len(short) > burn.limit
        )
        if holds and fired is None:
            fired = look
        elif not holds and fired is not None:
            found.append((fired, look))
            fired = None
        look += MINUTE
    return [*found, (fired, None)] if fired is not None else found


@given(
    st.builds(
        objective, st.integers(5, 60), st.integers(1, 5), st.sampled_from([0.1, 0.3, 0.5]), st.integers(0, 4)
    ),
    st.lists(
        st.tuples(
            st.integers(0, 120) | st.integers(0, 480).map(lambda each: each / 4),
            st.sampled_from(["good", "poor"]),
            st.sampled_from([0, 0, 0, ERROR]),
        ),
        min_size=1,
        max_size=40,
    ),
)
def test_the_same_as_looking_at_everything_each_minute(rule: Objective, sent: list[Sent]) -> None:
    assert [(each.fired, each.resolved) for each in alerts(rule, sent)] == plainly(rule, sent)
