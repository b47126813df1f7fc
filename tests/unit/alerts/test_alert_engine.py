"""The engine: from samples to notifications, metrics of itself, and who is told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import SpanKind

from spanwise import names, off_alert, on_alert
from spanwise.alerts import engine, listeners, shipped
from spanwise.alerts.notification import Notification
from spanwise.alerts.slow import SlowOperations
from spanwise.alerts.start import attach
from spanwise.instruments import make
from spanwise.log import own_threads
from spanwise.meters.history import History
from spanwise.meters.sampler import Sampler
from spanwise.rating.shipped import CANDIDATES
from spanwise.rating.verdict import verdicts
from spanwise.rules.alerting import Alerting, Handler
from spanwise.rules.local import elsewhere, in_process
from spanwise.rules.model import History as Kept
from spanwise.rules.model import MetricRule, Objective, Series
from spanwise.spans.provider import TracerProvider
from spanwise.thresholds.load import load, read

SECOND = 1_000_000_000
Until = Callable[[Callable[[], Any]], None]
MEMORY = Series("memory", "By", "gauge")
RULES = (
    MetricRule("memory", "level", MEMORY, 5e6, "warning"),
    MetricRule("memory", "level", MEMORY, 8e6, "critical"),
    MetricRule("other", "level", Series("none", "By", "gauge"), 1.0, "info"),
)


@pytest.fixture(autouse=True)
def no_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "LISTENERS", [])
    monkeypatch.setattr(engine, "LISTENERS", listeners.LISTENERS)


class Process:
    """A gauge, and the alerts about it."""

    def __init__(self, *handlers: Handler, rules: tuple[MetricRule, ...] = RULES) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.value = 0.0
        self.now = 0.0
        self.provider.get_meter("app").create_observable_gauge("memory", [self.observe])
        self.history = History(10)
        self.alerts = engine.Alerts(
            rules, Alerting(0, 3600 * SECOND, handlers), self.history, "shop", wall=lambda: 1e9 + self.now
        )
        engine.observe(self.provider.get_meter(names.SCOPE_ALERTS), lambda: self.alerts)

    def observe(self, _: CallbackOptions) -> Iterator[Observation]:
        yield Observation(self.value, {"k": "a"})
        yield Observation(self.value + 1e6, {"k": "b"})

    def sample(self, value: float) -> None:
        self.value = value
        self.now += 30
        self.history.take(self.reader.get_metrics_data(), self.now)
        self.alerts.sampled(self.now)

    def metrics(self) -> dict[tuple[str, ...], float]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            (metric.name, *sorted(str(value) for value in point.attributes.values())): point.value
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            if scope.scope.name == names.SCOPE_ALERTS
            for metric in scope.metrics
            for point in metric.data.data_points
        }


def test_a_function_is_told_what_fires_and_what_is_resolved(until: Until) -> None:
    told: list[Notification] = []
    assert on_alert(told.append) == told.append
    on_alert(told.append)  # is called once
    process = Process()
    for value in (1e6, 4.5e6, 6e6, 9e6, 1e6):
        process.sample(value)
    until(lambda: len(told) == 5)
    assert [(each.status, each.severity, each.value, len(each.series)) for each in told] == [
        ("firing", "warning", 5.5e6, 1),
        ("firing", "warning", 7e6, 2),  # another series
        ("firing", "critical", 10e6, 2),
        ("resolved", "critical", 10e6, 2),
        ("resolved", "warning", 7e6, 2),  # as it was last told, before it was worse
    ]
    first = told[0]
    assert dict(first.series[0].attributes) == {"k": "b"}
    assert (first.metric, first.unit, first.limit, first.service) == ("memory", "By", 5e6, "shop")
    assert (first.since, first.time, first.pid) == (1e9 + 60, 1e9 + 60, os.getpid())
    assert first.summary == "memory is above 5 MB in shop: it is 5.5 MB"
    assert told[3].summary == "memory is no longer above 8 MB in shop: it was 10 MB"


def test_a_function_that_raises_or_hangs_harms_nobody(until: Until, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Notification] = []

    def broken(_: Notification) -> None:
        raise RuntimeError("mine")

    on_alert(broken)
    on_alert(told.append)
    process = Process()
    process.sample(9e6)
    until(lambda: told and process.metrics()[_notified(broken.__qualname__, "failed")] == 1)
    assert "broken could not tell that memory is firing: RuntimeError: mine. It is given up" in caplog.text


def test_a_function_can_be_taken_back_and_its_thread_ends(until: Until) -> None:
    told: list[Notification] = []
    kept: list[Notification] = []
    threads = len(own_threads)
    on_alert(told.append)
    on_alert(kept.append)
    process = Process()
    process.sample(9e6)
    until(lambda: told and kept)
    off_alert(told.append)
    off_alert(told.append)  # nothing more
    process.sample(1e6)
    until(lambda: len(kept) > 1 and len(own_threads) == threads + 1)
    assert len(told) == 1
    until(lambda: process.metrics()[_notified("list.append", "sent")] == 1 + len(kept))


def test_functions_without_end_are_refused_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(40):
        on_alert(lambda notification: None)
    assert len(listeners.LISTENERS) == 32
    assert (
        "so test_functions_without_end_are_refused_with_a_word.<locals>.<lambda> is not told" in caplog.text
    )


def test_what_is_no_function_is_said_at_once(caplog: pytest.LogCaptureFixture) -> None:
    before = list(listeners.LISTENERS)
    assert on_alert(3) == 3  # type: ignore[type-var]
    assert before == listeners.LISTENERS
    assert "spanwise.on_alert takes a function, not int" in caplog.text


def _notified(handler: str, outcome: str) -> tuple[str, ...]:
    return (names.ALERTS_NOTIFICATIONS.name, *sorted((handler, outcome)))


def test_alerts_are_metrics_too(until: Until) -> None:
    process = Process(Handler("log", "log"), Handler("grave", "log", severities=("critical",)))
    active = names.ALERTS_ACTIVE.name
    process.sample(4.5e6)
    assert process.metrics()[(active, "memory", "warning")] == 1
    assert process.metrics()[(active, "critical", "memory")] == 0
    assert process.metrics()[(active, "info", "other")] == 0
    process.sample(9e6)
    assert process.metrics()[(active, "critical", "memory")] == 2
    until(lambda: process.metrics()[_notified("log", "sent")] == 2)
    until(lambda: process.metrics()[_notified("grave", "sent")] == 1)
    assert process.metrics()[_notified("grave", "dropped")] == 0


def test_a_rule_that_cannot_be_worked_out_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    right = engine.figures

    def wrong(rule: MetricRule, history: History) -> Any:
        if rule.severity == "warning":
            raise ZeroDivisionError
        return right(rule, history)

    monkeypatch.setattr(engine, "figures", wrong)
    process = Process()
    process.sample(9e6)
    assert process.alerts.active() == {
        ("memory", "warning"): 0,
        ("memory", "critical"): 2,
        ("other", "info"): 0,
    }


def test_they_begin_with_the_samples_and_anew_in_a_forked_child(until: Until) -> None:
    told: list[Notification] = []
    on_alert(told.append)
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    provider.get_meter("app").create_observable_gauge("memory", [lambda _: [Observation(9e6)]])
    sampler = Sampler(reader.get_metrics_data, 0.05, History(100))
    alerting = Alerting(3600 * SECOND, 3600 * SECOND, ())
    attach(sampler, lambda: (*RULES, alerting, Kept(30 * SECOND, 100)), provider, "shop")
    sampler.begin()
    until(lambda: [each.severity for each in told] == ["critical"])
    samples = sampler.history.samples
    until(lambda: sampler.history.samples > samples + 2)
    assert len(told) == 1  # throttled
    # What the child of a fork does. The parent's thread, which a child does not have, ends by itself.
    sampler.end()
    sampler.after_fork()
    until(lambda: [each.severity for each in told] == ["critical", "critical"])
    sampler.end()
    # The child has its parent's instruments: made again, each would be there twice.
    found = reader.get_metrics_data()
    assert found is not None
    made = [
        metric.name
        for resource in found.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    assert made.count(names.ALERTS_ACTIVE.name) == 1


def test_nothing_begins_in_a_process_that_ends_before() -> None:
    read_rules: list[int] = []
    sampler = Sampler(lambda: None, 30.0, History(10))
    attach(sampler, lambda: read_rules.append(1) or (), MeterProvider(shutdown_on_exit=False), "shop")
    sampler.begin()
    sampler.end()
    thread = sampler._thread
    assert thread is not None
    thread.join(60)
    assert not thread.is_alive()
    assert read_rules == []


def test_ratings_raise_alerts() -> None:
    """The rule is about the Collector's count of rated spans; the process counts its own."""
    (kept,) = (rule for rule in shipped.RULES if isinstance(rule, Kept))
    rules = tuple(rule for rule in in_process(shipped.RULES, kept) if rule.name == "slow_queries")
    process = Process(rules=rules)
    verdict = verdicts(CANDIDATES)
    slow = SlowOperations()
    slow.rated = make(process.provider.get_meter(names.SCOPE_ALERTS), names.RATED_SPANS)
    verdict.told = slow.take  # type: ignore[attr-defined]
    tracer = TracerProvider(shutdown_on_exit=False, verdict=verdict).get_tracer("app")

    def query(seconds: int) -> None:
        span = tracer.start_span(
            "SELECT", kind=SpanKind.CLIENT, attributes={names.DB_SYSTEM_NAME: "postgresql"}, start_time=0
        )
        span.end(seconds * SECOND)

    def firing(slow_ones: int) -> list[str]:
        for _ in range(slow_ones):
            query(2)
        query(0)
        process.sample(0.0)
        return [each.rule.name for each in process.alerts.firing()]

    assert [firing(0), firing(15)] == [[], []], "15 may be slow"
    found = [firing(1) for _ in range(8)]
    assert found[0] == [], "for three minutes"
    assert found[-1] == ["slow_queries"]


# -- which rules are held where -------------------------------------------------------------------


def test_the_shipped_rules_are_held_where_they_can_be() -> None:
    (kept,) = (rule for rule in shipped.RULES if isinstance(rule, Kept))
    here = {rule.name for rule in in_process(shipped.RULES, kept)}
    assert here >= {
        "memory",
        "latency",
        "slow_queries",
        "preload_failures",
        "circuit_trips",
        "disposal_errors",
        "buffering",
    }
    assert elsewhere(load().rules, kept) == {
        "http_errors": "the Collector counts its spans",
        "preload": "an objective",
    }
    both = here & set(elsewhere(load().rules, kept))
    every = {rule.name for rule in load().rules if isinstance(rule, (MetricRule, Objective))}
    assert (both, here | set(elsewhere(load().rules, kept))) == (set(), every)


@pytest.mark.parametrize(
    ("over", "history", "why"),
    [
        ("1h", "{interval: 30s, samples: 120}", ""),
        ("61m", "{interval: 30s, samples: 120}", "it looks back further than the history"),
        ("29s", "{interval: 30s, samples: 120}", "its window is shorter than from one sample to the next"),
        ("1h", "{samples: 0}", "no history is kept"),
    ],
)
def test_a_window_must_fit_the_history(over: str, history: str, why: str) -> None:
    trips = f"{{increase: t, unit: '1', over: {over}, warning: 1}}"
    rules = read(f"version: 1\nmetrics: {{trips: {trips}}}\nhistory: {history}").rules
    (kept,) = (rule for rule in rules if isinstance(rule, Kept))
    assert elsewhere(rules, kept).get("trips", "") == why
    assert ("trips" in {rule.name for rule in in_process(rules, kept)}) is not bool(why)
