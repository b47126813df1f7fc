"""The figures out of the history. Agreement with Prometheus: tests/integration/test_alerts_agree.py."""

from __future__ import annotations

import math

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from spanwise.alerts.figures import figures, quantile, watches
from spanwise.meters.history import Growth, History
from spanwise.rules.model import MetricRule, Series

SECOND = 1_000_000_000
FAILED = Series("events", "{event}", "counter", (("outcome", "failure"),))
ALL = Series("events", "{event}", "counter")
RATIO = MetricRule("ratio", "ratio", FAILED, 0.1, "warning", of=ALL, window=60 * SECOND, minimum=3)
TIMES = Series("times", "s", "histogram")
MEDIAN = MetricRule("median", "quantile", TIMES, 1.0, "warning", quantile=0.5, window=60 * SECOND, minimum=2)
LEVEL = MetricRule("level", "level", Series("level", "1", "gauge"), 1.0, "warning")
GROWN = MetricRule("grown", "increase", ALL, 1.0, "warning", window=60 * SECOND)
RULES = (RATIO, MEDIAN, LEVEL, GROWN)


class Process:
    def __init__(self, *views: View) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False, views=views)
        meter = self.provider.get_meter("app")
        self.events = meter.create_counter("events")
        self.times = meter.create_histogram("times", explicit_bucket_boundaries_advisory=[1.0, 2.0, 4.0])
        self.level = meter.create_gauge("level")
        self.history = History(10, [watch for rule in RULES for watch in watches(rule)])
        self.now = 0.0

    def sample(self) -> dict[str, dict[object, float]]:
        self.now += 30
        self.history.take(self.reader.get_metrics_data(), self.now)
        return {rule.name: figures(rule, self.history) for rule in RULES}  # type: ignore[misc]


def test_what_was_never_measured_has_no_figure() -> None:
    assert Process().sample() == {"ratio": {}, "median": {}, "level": {}, "grown": {}}


def test_each_form() -> None:
    process = Process()
    process.events.add(1, {"outcome": "failure", "route": "/a"})
    process.events.add(3, {"outcome": "success", "route": "/a"})
    process.level.set(7.5, {"b": True, "a": 1})
    process.times.record(0.5)
    process.times.record(3.0)
    found = process.sample()
    assert found["ratio"] == {(): 0.25}
    assert found["grown"] == {(): 4.0}
    assert found["level"] == {(("a", "1"), ("b", "true")): 7.5}
    assert found["median"] == {(): 1.0}


def test_fewer_measurements_than_the_minimum_say_nothing() -> None:
    process = Process()
    process.events.add(2, {"outcome": "failure"})
    process.times.record(3.0)
    assert process.sample()["ratio"] == {}
    process.events.add(1, {"outcome": "failure"})
    process.times.record(3.0)
    found = process.sample()
    assert (found["ratio"], found["median"]) == ({(): 1.0}, {(): 3.0})


def test_a_ratio_of_something_to_nothing_is_infinite_and_of_nothing_none() -> None:
    below = MetricRule("apart", "ratio", FAILED, 0.1, "warning", of=Series("all", "1", "counter"),
                       window=30 * SECOND)  # fmt: skip
    process = Process()
    every = process.provider.get_meter("app").create_counter("all")
    for watch in watches(below):
        process.history.watch(watch)
    every.add(1)
    process.events.add(1, {"outcome": "failure"})
    process.sample()
    process.events.add(1, {"outcome": "failure"})
    process.sample()
    assert figures(below, process.history) == {(): math.inf}
    process.sample()
    assert math.isnan(figures(below, process.history)[()])


def test_a_metric_of_another_kind_has_no_figure() -> None:
    process = Process(View(instrument_name="times", aggregation=ExponentialBucketHistogramAggregation()))
    process.times.record(3.0)
    process.times.record(3.0)
    assert process.sample()["median"] == {}
    plain = Process()
    plain.times.record(3.0)
    plain.events.add(1)
    plain.sample()
    of_times = MetricRule("grown", "increase", TIMES, 1.0, "warning", window=60 * SECOND)
    of_events = MetricRule("median", "quantile", ALL, 1.0, "warning", quantile=0.5, window=60 * SECOND)
    assert figures(of_times, plain.history) == figures(of_events, plain.history) == {}


@pytest.mark.parametrize(
    ("share", "buckets", "expected"),
    [
        (0.95, (95, 5, 0), 1.0),  # exactly the edge: 0.95 is less than 95/100 in binary
        (0.07, (7, 93, 0), 1.0),  # 0.07 * 100 is more than 7 in binary
        (0.5, (0, 4, 0), 1.5),
        (0.25, (4, 0, 0), 0.25),
        (0.0, (0, 4, 0), 0.0),
        (1.0, (1, 1, 2), 2.0),  # beyond the last edge nobody knows
    ],
)
def test_quantiles(share: float, buckets: tuple[int, ...], expected: float) -> None:
    assert quantile(share, Growth(0, sum(buckets), buckets, (1.0, 2.0))) == expected


def test_a_quantile_of_nothing_is_no_number_and_one_below_nought_is_its_edge() -> None:
    assert math.isnan(quantile(0.5, Growth(0, 0, (0, 0), (1.0,))))
    assert quantile(0.5, Growth(0, 4, (4, 0), (-1.0,))) == -1.0
