"""The verdict on one rule: what Prometheus would have fired on is a breach, what nobody knows is not good."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from spanwise.gate.judge import BREACHED, GOOD, UNKNOWN, UNMEASURED, Finding, Span, judge
from spanwise.gate.questions import Question
from spanwise.gate.server import Line
from spanwise.rules.model import MetricRule, Series

SPAN = Span(0.0, 100.0, 10.0)
NAN = math.nan


def question(limit: float = 5.0, hold: float = 30, minimum: int = 0) -> Question:
    series = Series("x", "1", "gauge")
    rule = MetricRule(
        "x", "ratio", series, limit, "critical", of=series, hold=int(hold * 1e9), minimum=minimum
    )
    return Question(rule, False, "figure", "counted" if minimum else "", "")


def line(*values: float | None, **labels: str) -> Line:
    """A value every ten seconds, the last at the span's end."""
    start = 100.0 - 10 * (len(values) - 1)
    return Line(
        labels, [(start + 10 * number, each) for number, each in enumerate(values) if each is not None]
    )


def verdict(*lines: Line, counts: tuple[Line, ...] = (), span: Span = SPAN, **rule: float) -> Finding:
    return judge(question(**rule), list(lines), list(counts), span)  # type: ignore[arg-type]


def test_below_and_at_the_limit_is_good() -> None:
    found = verdict(line(1, 5, 5, 5, 5, 5, 5, 2))
    assert (found.verdict, found.figure, found.seconds) == (GOOD, 5, 0)


def test_above_it_for_the_hold_is_a_breach_with_the_figure_of_that_time() -> None:
    found = verdict(line(1, 6, 7, 6.5, 6, 1, 9, 1), line(1, 1, 1, 1, 1, 1, 1, 1, pod="b"))
    assert (found.verdict, found.figure, found.seconds) == (BREACHED, 7, 30)


def test_just_under_the_hold_is_good_and_its_worst_is_told() -> None:
    found = verdict(line(1, 1, 6, 7, 6, 1, 1, 1))
    assert (found.verdict, found.figure, found.seconds) == (GOOD, 7, 20)


def test_a_gap_begins_anew() -> None:
    assert verdict(line(1, 6, 6, None, 6, 6, 1, 1)).verdict == GOOD
    assert verdict(line(1, 6, 6, NAN, 6, 6, 1, 1)).verdict == GOOD
    assert verdict(line(1, 6, 6, 6, 6, 6, 1, 1)).verdict == BREACHED


def test_without_a_hold_one_look_is_enough() -> None:
    assert verdict(line(1, 1, 6, 1), hold=0).verdict == BREACHED
    assert verdict(line(1, 1, math.inf, 1), hold=0).figure == math.inf


def test_a_breach_that_ended_stays_one() -> None:
    assert verdict(line(1, 6, 6, 6, 6, None, None, None)).verdict == BREACHED


def test_the_series_that_breached_is_told_not_the_one_with_a_higher_moment() -> None:
    found = verdict(line(1, 1, 99, 1, 1, 1, 1, pod="a"), line(6, 6, 6, 6, 6, 6, 6, pod="b"))
    assert (found.labels, found.figure) == ({"pod": "b"}, 6)


def test_what_cannot_be_told() -> None:
    assert verdict().verdict == UNMEASURED
    for found, reason in (
        (verdict(line(NAN, NAN, NAN, NAN, NAN)), "nothing happened"),
        (verdict(line(1, 1, 1, 1, 1, None, None, None)), "no sample in the last 30s"),
        (verdict(line(1, 1, 1, 1, 6, 6)), "above its limit for 10 s so far, of 30s"),
        (verdict(line(1, 1)), "measured for 10s so far, of the 30s"),
        (verdict(line(1, 1, 1, 1, 1, 1), span=Span(80.0, 100.0, 10.0)), "--window 30s"),
        (verdict(line(1, 1), hold=300, span=Span(80.0, 100.0, 10.0)), "--window 5m"),
    ):
        assert found.verdict == UNKNOWN, reason
        assert reason in found.reason


def test_a_minimum_counts_at_each_moment() -> None:
    many, few = line(9, 9, 9, 9, 9, 9, 9), line(9, 9, 9, 2, 9, 9, 9)
    above = line(6, 6, 6, 6, 6, 6, 1)
    assert verdict(above, counts=(many,), minimum=9).verdict == BREACHED
    assert verdict(above, counts=(few,), minimum=9).verdict == GOOD
    none = verdict(above, counts=(few,), minimum=10)
    assert (none.verdict, none.figure) == (UNKNOWN, None)
    assert "fewer than the 10 measurements" in none.reason
    other = verdict(above, counts=(line(9, 9, 9, 9, 9, 9, 9, service_name="other"),), minimum=9)
    assert other.verdict == UNKNOWN


@given(
    values=st.lists(st.one_of(st.none(), st.just(NAN), st.floats(0, 10)), min_size=1, max_size=11),
    hold=st.integers(0, 10),
)
def test_good_is_said_of_nothing_that_an_alert_would_fire_on(values: list[float | None], hold: int) -> None:
    above, fires = None, False
    for number, value in enumerate(values):  # Prometheus's way with `for`
        if value is None or not value > 5.0:
            above = None
            continue
        above = number if above is None else above
        fires = fires or number - above >= hold
    found = verdict(line(*values), hold=10 * hold).verdict
    assert (found == BREACHED) is fires


def test_the_looks_see_the_hold_from_within_and_stay_within_what_prometheus_answers() -> None:
    assert Span.of(1000, 600, [300, 0]).step == 5
    assert Span.of(1000, 600, [8]).step == 2
    assert Span.of(1000, 600, [1]).step == 1
    week = Span.of(1e6, 604_800, [1])
    assert (week.end - week.start) / week.step <= 11_000


def test_what_was_good_once_and_cannot_be_told_since_is_not_good() -> None:
    few, many = line(1, 9, 1, 1, 1, 1, 1), line(9, 9, 9, 9, 9, 9, 9)
    once = verdict(line(1, 1, 9, 9, 9, 9, 9), counts=(few,), minimum=9, hold=0)
    assert once.verdict == UNKNOWN
    assert "fewer than the 9 measurements it needs in the last 50s" in once.reason
    stopped = verdict(line(9, 9, NAN, NAN, NAN, NAN, NAN))
    assert (stopped.verdict, stopped.figure) == (UNKNOWN, 9)
    assert "nothing happened in the last 50s" in stopped.reason
    short = verdict(line(NAN, NAN, NAN, NAN, NAN, 1, 1), counts=(many,), minimum=9)
    assert short.verdict == UNKNOWN
    assert "measured for 10s so far, of the 30s" in short.reason
    assert verdict(line(NAN, NAN, NAN, NAN, NAN, NAN, 1), hold=0).verdict == GOOD
