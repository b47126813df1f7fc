"""Alerts by the rules' window, ``for`` and minimum: held against a plain reading of what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise import names
from spanwise.rating.verdict import Verdict
from spanwise.replay.alerts import STEP, Alerts
from spanwise.replay.slices import Alert
from spanwise.replay.spans import ERROR, Span
from spanwise.rules.model import MetricRule, Series
from spanwise.thresholds.load import load, lower

S = 1_000_000_000
NOW = 1_700_000_000 * S // STEP * STEP
CALLS = names.SPAN_METRICS_CALLS
SERVER, CLIENT = 2, 3
SERVERS = (("span.kind", "SPAN_KIND_SERVER"),)
FAILED = (*SERVERS, ("status.code", "STATUS_CODE_ERROR"))


def calls(labels: tuple[tuple[str, str], ...] = ()) -> Series:
    return Series(CALLS.name, CALLS.unit, "counter", labels)


def ratio(limit: float = 0.5, window: int = 60, hold: int = 0, minimum: int = 0) -> MetricRule:
    return MetricRule(
        "errors",
        "ratio",
        calls(FAILED),
        limit,
        "warning",
        of=calls(SERVERS),
        window=window * S,
        hold=hold * S,
        minimum=minimum,
    )


def increase(limit: float, window: int = 60, hold: int = 0, series: Series | None = None) -> MetricRule:
    of = series or calls(FAILED)
    return MetricRule("many", "increase", of, limit, "critical", window=window * S, hold=hold * S)


def quantile(limit: float = 2.0, share: float = 0.5, minimum: int = 0) -> MetricRule:
    of = Series(names.HTTP_SERVER_REQUEST_DURATION.name, "s", "histogram")
    return MetricRule(
        "slow", "quantile", of, limit, "warning", quantile=share, window=60 * S, minimum=minimum
    )


def span(after: float, status: int = 0, took: float = 1.0, **other: Any) -> Span:
    """One that ends so many seconds after NOW."""
    end = NOW + round(after * S)
    given = {"name": "GET /", "kind": SERVER, "attributes": {names.HTTP_REQUEST_METHOD: "GET"}, **other}
    return Span(b"t" * 16, start=end - round(took * S), end=end, status=status, size=1, **given)


def alerts(
    rules: MetricRule | tuple[MetricRule, ...],
    spans: Iterable[Span],
    service: str = "shop",
    verdict: Verdict | None = None,
    resource: dict[str, Any] | None = None,
) -> list[Alert]:
    found = Alerts(rules if isinstance(rules, tuple) else (rules,), (names.HTTP_ROUTE, names.SERVER_ADDRESS))
    for each in spans:
        found.add(each, verdict, service, resource or {})
    return list(found.fired())


def times(alert: Alert) -> tuple[float, float, float | None]:
    """Seconds after NOW."""
    resolved = None if alert.resolved is None else (alert.resolved - NOW) / S
    return (alert.since - NOW) / S, (alert.fired - NOW) / S, resolved


def test_a_ratio_fires_at_the_look_that_sees_it_and_resolves_when_it_leaves_the_window() -> None:
    quiet = [span(after) for after in range(1, 301, 10)]
    storm = [span(100 + number, ERROR) for number in range(20)]
    (alert,) = alerts(ratio(window=60), quiet + storm)
    # 105: the look at 105 sees six failures and six others within the minute; not more than half.
    assert (alert.rule, alert.severity, alert.service) == ("errors", "warning", "shop")
    assert times(alert) == (120, 120, 180)
    assert alert.worst == pytest.approx(20 / 26)


def test_for_delays_and_a_shorter_breach_says_nothing() -> None:
    spans = [span(after, ERROR if 100 < after <= 160 else 0) for after in range(1, 400)]
    (alert,) = alerts(ratio(window=15, hold=30), spans)
    assert times(alert) == (120, 150, 210)  # the look at 180 is the first below
    assert alerts(ratio(window=15, hold=60), spans) == []


def test_below_the_minimum_nothing_is_said() -> None:
    spans = [span(number, ERROR) for number in range(1, 10)]
    assert alerts(ratio(minimum=10), spans) == []
    assert len(alerts(ratio(minimum=9), spans)) == 1


def test_what_holds_at_the_last_span_is_not_resolved() -> None:
    (alert,) = alerts(ratio(), [span(number, ERROR) for number in range(1, 40)])
    assert alert.resolved is None


def test_nothing_to_see_resolves() -> None:
    first, second = alerts(ratio(), [span(1, ERROR), span(10_000, ERROR)])
    assert times(first)[2] == 75  # the look at 60 is the last one whose minute holds it
    assert second.resolved is None


def test_an_increase_is_a_count() -> None:
    spans = [span(number, ERROR) for number in range(1, 11)]
    (alert,) = alerts(increase(9), spans)
    assert alert.worst == 10
    assert alerts(increase(10), spans) == []


@pytest.mark.parametrize(("slow", "fires"), [(49, False), (50, False), (51, True)])
def test_a_quantile_is_above_where_more_than_the_rest_are(slow: int, fires: bool) -> None:
    spans = [span(1, took=2.000000001) for _ in range(slow)] + [span(1, took=2) for _ in range(100 - slow)]
    assert bool(alerts(quantile(2.0, 0.5), spans)) == fires
    assert not alerts(quantile(2.0, 0.5, minimum=101), spans)


def test_an_attribute_that_is_not_there_is_an_empty_label() -> None:
    unrouted = increase(0, series=calls(((names.HTTP_ROUTE, ""),)))
    assert len(alerts(unrouted, [span(1)])) == 1
    assert alerts(unrouted, [span(1, attributes={names.HTTP_ROUTE: "/a"})]) == []


def test_services_are_watched_each_on_its_own() -> None:
    found = Alerts((ratio(),), ())
    for service, status in (("a", ERROR), ("b", 0), ("b", ERROR), ("b", 0)):
        found.add(span(1, status), None, service, {})
    assert [each.service for each in found.fired()] == ["a"]


def test_both_severities_of_a_rule_may_fire() -> None:
    shipped = [rule for rule in lower(load()) if isinstance(rule, MetricRule) and rule.name == "http_errors"]
    spans = [span(number, ERROR if number % 7 == 0 else 0) for number in range(1, 600)]
    assert [each.severity for each in alerts(tuple(shipped), spans)] == ["warning"]
    spans = [span(number, ERROR if number % 3 == 0 else 0) for number in range(1, 600)]
    assert [each.severity for each in alerts(tuple(shipped), spans)] == ["critical", "warning"]


LABELS = [
    (SERVERS, span(1, kind=SERVER), True),
    (SERVERS, span(1, kind=CLIENT), False),
    ((("span.kind", "SPAN_KIND_NONE"),), span(1, kind=0), False),
    ((("span.kind", "SPAN_KIND_UNSPECIFIED"),), span(1, kind=0), True),
    ((("status.code", "STATUS_CODE_OK"),), span(1, 1), True),
    ((("status.code", "STATUS_CODE_OK"),), span(1, 0), False),
    ((("span.name", "GET /"),), span(1), True),
    ((("span.name", "GET"),), span(1), False),
    ((("service.name", "shop"),), span(1), True),
    ((("service.name", "other"),), span(1), False),
    (((names.HTTP_ROUTE, "200"),), span(1, attributes={names.HTTP_ROUTE: 200}), True),
    (((names.HTTP_ROUTE, "true"),), span(1, attributes={names.HTTP_ROUTE: True}), True),
    (((names.HTTP_ROUTE, "/"),), span(1, attributes={}), False),
    (((names.SERVER_ADDRESS, "here"),), span(1, attributes={}), True),
    (((names.SERVER_ADDRESS, "here"),), span(1, attributes={names.SERVER_ADDRESS: "there"}), False),
    (((names.RATING, "poor"),), span(1), True),
    (((names.RATING, "poor"), (names.RATING_RULE, "db"), *SERVERS), span(1), True),
    (((names.RATING, "poor"), (names.RATING_RULE, "db"), *SERVERS), span(1, kind=CLIENT), False),
    (((names.RATING_RULE, "other"),), span(1), False),
    (((names.RATING, "critical"),), span(1), False),
]


@pytest.mark.parametrize(("labels", "sent", "counts"), LABELS)
def test_labels_are_those_of_the_span_metrics(
    labels: tuple[tuple[str, str], ...], sent: Span, counts: bool
) -> None:
    rule = increase(0, series=calls(tuple(sorted(labels))))
    found = alerts(rule, [sent], verdict=Verdict("poor", "db", 1.0), resource={names.SERVER_ADDRESS: "here"})
    assert bool(found) == counts


def test_good_spans_have_no_rating_label() -> None:
    rule = increase(0, series=calls(((names.RATING, "good"),)))
    assert alerts(rule, [span(1)], verdict=Verdict("good", "db", 1.0)) == []


def test_the_collector_counts_no_span_without_a_service() -> None:
    assert alerts(increase(0, series=calls()), [span(1)], service="") == []
    assert len(alerts(quantile(0.5), [span(1)], service="")) == 1, "the application's own metrics have one"


PRELOAD = {names.OPERATION_KIND: "preload", names.PRELOAD_OUTCOME: "failure"}
STREAM = {names.OPERATION_KIND: "stream", names.STREAM_OUTCOME: "error", names.STREAM_BUFFER_TIME.name: 0.5}
REDIS = {names.DB_SYSTEM_NAME: "redis"}
APPLICATION = [
    (names.HTTP_SERVER_REQUEST_DURATION, {names.HTTP_REQUEST_METHOD: "GET"}, SERVER, {}),
    (names.DB_CLIENT_OPERATION_DURATION, REDIS, CLIENT, REDIS),
    (names.OPERATION_DURATION, {names.OPERATION_NAME: "import"}, 1, {}),
    (names.PRELOAD_EVENTS, PRELOAD, 1, {names.PRELOAD_OUTCOME: "failure"}),
    (names.PRELOAD_DURATION, PRELOAD, 1, {}),
    (names.STREAM_STARTED, STREAM, 1, {}),
    (names.STREAM_ERRORS, STREAM, 1, {}),
    (names.STREAM_DURATION, STREAM, 1, {}),
    (names.STREAM_BUFFER_RATIO, STREAM, 1, {}),
]


@pytest.mark.parametrize(("metric", "attributes", "kind", "labels"), APPLICATION)
def test_application_metrics_are_made_of_the_spans_they_are_recorded_with(
    metric: names.Metric, attributes: dict[str, Any], kind: int, labels: dict[str, str]
) -> None:
    instrument: Any = metric.kind
    series = Series(metric.name, metric.unit, instrument, tuple(labels.items()))
    if instrument == "histogram":
        rule = MetricRule("r", "quantile", series, 0.49, "warning", quantile=0.5, window=60 * S)
    else:
        rule = increase(0, series=series)
    assert len(alerts(rule, [span(1, kind=kind, attributes=attributes)])) == 1
    needed = {*labels, names.OPERATION_KIND, names.HTTP_REQUEST_METHOD, names.OPERATION_NAME}
    for key in attributes.keys() & needed:
        assert alerts(rule, [span(1, kind=kind, attributes={**attributes, key: None})]) == []
    other = [span(1, kind=4, attributes=attributes)]
    assert metric is names.OPERATION_DURATION or alerts(rule, other) == []


def test_what_spans_cannot_tell_is_said_once_with_the_reason() -> None:
    shipped = tuple(rule for rule in lower(load()) if isinstance(rule, MetricRule))
    odd = increase(0, series=calls((("no.such", "x"),)))
    found = Alerts((*shipped, odd), ())
    said = dict(found.unanswered)
    assert len(said) == len(found.unanswered)
    assert said["memory"] == "process.memory.usage is measured, not counted"
    assert said["circuit_trips"] == "circuit_breaker.trips is not made of spans"
    assert said["many"] == "the Collector's span metrics have no no.such"
    assert {"http_errors", "latency", "slow_queries", "preload_failures", "buffering"}.isdisjoint(said)


def test_what_finds_no_room_is_counted() -> None:
    found = Alerts((increase(0),), (), slices=2)
    for after in (1, 20, 40, 60, 2):
        found.add(span(after, ERROR), None, "shop", {})
    assert found.uncounted == 2


# -- against a plain reading ------------------------------------------------------------------


def plainly(rule: MetricRule, spans: list[Span]) -> list[tuple[int, int, int | None]]:
    """since, fired, resolved: every look, one after the other, over all spans."""
    last = max(each.end for each in spans)
    found: list[tuple[int, int, int | None]] = []
    since = fired = below = None
    look = min(each.end for each in spans) // STEP * STEP
    while look < last + STEP:
        seen = [each for each in spans if look - rule.window < each.end <= look]
        failed = sum(each.status == ERROR for each in seen)
        if rule.form == "increase":
            holds = failed > rule.limit
        elif rule.form == "ratio":
            holds = bool(seen) and len(seen) >= rule.minimum and failed / len(seen) > rule.limit
        else:
            within = sum((each.end - each.start) / S <= rule.limit for each in seen)
            holds = bool(seen) and len(seen) >= rule.minimum and within < (rule.quantile or 0) * len(seen)
        if holds:
            below = None
            since = look if since is None else since
            fired = look if fired is None and look - since >= rule.hold else fired
        else:
            below = look if below is None else below
            if fired is None or look - below >= rule.hold:
                if fired is not None and since is not None:
                    found.append((since, fired, look))
                since = fired = None
        look += STEP
    if fired is not None and since is not None:
        found.append((since, fired, None))
    return found


RULES = st.one_of(
    st.builds(
        ratio,
        st.sampled_from([0.1, 0.25, 0.5]),
        st.sampled_from([15, 20, 45, 60, 300]),
        st.sampled_from([0, 15, 20, 60]),
        st.integers(0, 4),
    ),
    st.builds(increase, st.integers(0, 3), st.sampled_from([15, 60, 301]), st.sampled_from([0, 15, 60])),
    st.builds(quantile, st.sampled_from([0.5, 1.0]), st.sampled_from([0.5, 0.9, 0.95]), st.integers(0, 3)),
)
SPANS = st.lists(
    st.builds(
        span,
        # At looks, at slices' edges, and between.
        st.one_of(st.integers(0, 40).map(lambda each: each * 15), st.integers(0, 600), st.integers(0, 4_000)),
        st.sampled_from([0, ERROR]),
        st.sampled_from([0.4, 0.5, 1.0, 1.5]),
    ),
    min_size=1,
    max_size=40,
)


@given(RULES, SPANS)
def test_the_same_as_looking_at_everything_each_time(rule: MetricRule, spans: list[Span]) -> None:
    found = [(each.since, each.fired, each.resolved) for each in alerts(rule, spans)]
    assert found == plainly(rule, spans)
