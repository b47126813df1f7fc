"""The history: what rules and statistics ask of it, in bounded memory."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from spanwise.meters import total
from spanwise.meters.history import Growth, History, Watch

ALL: Watch = ("events", ())
FAILED: Watch = ("events", (("outcome", "failure"),))
LEVEL: Watch = ("level", ())
TIMES: Watch = ("times", ())
BOUNDS = [0.1, 1.0, 10.0]


class Process:
    """Instruments, and a history that samples them once a second."""

    def __init__(self, samples: int = 1000, *watched: Watch, views: Any = ()) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False, views=views)
        meter = self.provider.get_meter("app")
        self.events = meter.create_counter("events")
        self.level = meter.create_up_down_counter("level")
        self.gauge = meter.create_gauge("gauge")
        self.times = meter.create_histogram("times", explicit_bucket_boundaries_advisory=BOUNDS)
        self.history = History(samples, watched or (ALL, FAILED, LEVEL, TIMES))
        self.now = 0.0

    def sample(self, *, keep: bool = True) -> None:
        self.now += 1
        self.history.take(self.reader.get_metrics_data(), self.now, keep=keep)


def test_a_counter_s_growth_is_summed_over_what_matches() -> None:
    process = Process()
    process.events.add(5, {"outcome": "success", "route": "/a"})
    process.events.add(1, {"outcome": "failure", "route": "/a"})
    process.sample()
    process.sample()
    process.events.add(2, {"outcome": "failure", "route": "/b"})
    process.sample()
    history = process.history
    assert history.growth(ALL, 1) == Growth(2, 2)
    assert history.growth(ALL, 2) == Growth(2, 2)
    # A set that is new has grown from nothing; Prometheus's increase() would miss its first value.
    assert history.growth(FAILED, 2) == Growth(2, 2)
    assert history.growth(FAILED, 3) == Growth(3, 3)
    assert history.growth(ALL, 60) == history.growth(ALL) == Growth(8, 8)
    assert history.growth(ALL, 1, ago=1) == Growth(0, 0)
    assert history.growth(ALL, 2, ago=1) == Growth(6, 6)
    assert history.growth(("nothing", ())) is None


def test_attributes_are_compared_as_prometheus_has_them() -> None:
    numbered: Watch = ("events", (("code", "500"), ("sampled", "true")))
    process = Process(10, numbered)
    process.events.add(1, {"code": 500, "sampled": True})
    process.events.add(2, {"code": 500, "sampled": False})
    process.events.add(4, {"code": 200, "sampled": True})
    process.events.add(8, {"code": 500})
    process.sample()
    assert process.history.growth(numbered) == Growth(1, 1)


def test_no_label_and_an_empty_one_are_the_same_as_to_prometheus() -> None:
    untiered: Watch = ("level", (("tier", ""),))
    process = Process(10, untiered)
    process.level.add(1, {"route": "/a"})
    process.level.add(2, {"tier": ""})
    process.level.add(4, {"tier": "gold"})
    process.sample()
    assert sorted(value for _, value in process.history.levels(untiered)) == [1, 2]


def test_a_whole_number_is_the_same_with_and_without_a_point() -> None:
    whole: Watch = ("level", (("x", "1"),))
    process = Process(10, whole)
    process.level.add(3, {"x": 1.0})
    process.sample()
    assert process.history.levels(whole) == [({"x": 1.0}, 3)]


def test_a_histogram_s_growth_has_its_buckets() -> None:
    process = Process()
    for value in (0.05, 0.5, 0.5, 20.0):
        process.times.record(value, {"route": "/a"})
    process.sample()
    process.times.record(5.0, {"route": "/b"})
    process.sample()
    assert process.history.growth(TIMES) == Growth(pytest.approx(26.05), 5, (1, 2, 1, 1), tuple(BOUNDS))
    assert process.history.growth(TIMES, 1) == Growth(pytest.approx(5.0), 1, (0, 0, 1, 0), tuple(BOUNDS))


def test_a_quantile_can_be_told_as_prometheus_tells_it() -> None:
    """histogram_quantile: the bucket of the rank, and linear within it."""
    process = Process()
    for value in (0.05, 0.5, 0.5, 5.0):
        process.times.record(value)
    process.sample()
    growth = process.history.growth(TIMES, 300)
    assert growth is not None
    rank, seen, lower = 0.5 * growth.measurements, 0.0, 0.0
    for upper, count in zip(growth.bounds, growth.buckets, strict=False):
        if seen + count >= rank:
            break
        seen, lower = seen + count, upper
    assert lower + (upper - lower) * (rank - seen) / count == pytest.approx(0.55)


def test_levels_are_kept_one_by_one_and_told_while_they_are_there() -> None:
    process = Process()
    process.level.add(3, {"state": "ready"})
    process.level.add(1, {"state": "failed"})
    process.sample()
    process.level.add(-1, {"state": "ready"})
    process.sample()
    assert sorted(process.history.levels(LEVEL), key=lambda each: each[1]) == [
        ({"state": "failed"}, 1),
        ({"state": "ready"}, 2),
    ]
    assert ({"state": "ready"}, [(1, 3), (2, 2)]) in process.history.past(LEVEL)
    process.history.take(None, 3.0)
    assert process.history.levels(LEVEL) == []
    assert len(process.history.past(LEVEL)) == 2


def test_a_passing_sample_is_replaced_by_the_next() -> None:
    process = Process()
    process.events.add(1)
    process.level.add(1)
    process.sample()
    for _ in range(50):  # somebody asks for statistics again and again
        process.events.add(1)
        process.level.add(1)
        process.sample(keep=False)
        assert process.history.growth(ALL) == Growth(process.now, process.now)
        assert process.history.levels(LEVEL) == [({}, process.now)]
    assert process.history.samples == 1
    process.sample()
    assert process.history.samples == 2
    assert process.history.past(LEVEL) == [({}, [(1, 1), (52, 51)])]
    assert process.history.growth(ALL, 52 - 1) == Growth(50, 50)


def test_a_metric_that_appears_in_a_passing_sample_stays() -> None:
    process = Process()
    process.sample()
    process.events.add(2)
    process.sample(keep=False)
    process.sample()
    assert process.history.growth(ALL, 1) == Growth(2, 2)  # nobody kept what it was a second ago
    assert process.history.growth(ALL) == Growth(2, 2)


def test_the_oldest_samples_make_room_and_the_totals_stay() -> None:
    process = Process(5)
    for _ in range(20):
        process.events.add(1)
        process.level.add(1)
        process.sample()
    history = process.history
    assert history.samples == 5
    assert history.since(3) == 18
    assert history.since(100) == 16
    assert history.growth(ALL) == Growth(20, 20)
    assert history.growth(ALL, 3) == Growth(3, 3)
    assert history.growth(ALL, 5) == Growth(5, 5)  # from the sample before the five
    assert history.growth(ALL, 100) == Growth(5, 5)  # what is kept reaches back no further
    assert history.past(LEVEL) == [({}, [(n, n) for n in (16, 17, 18, 19, 20)])]


def test_an_empty_history_says_nothing() -> None:
    history = History(10, (ALL, LEVEL))
    assert (history.samples, history.newest, history.since(5)) == (0, -math.inf, math.inf)
    assert (history.growth(ALL), history.levels(LEVEL), history.past(LEVEL)) == (None, [], [])


def test_what_is_not_watched_is_not_kept_and_can_be_later() -> None:
    process = Process(10, LEVEL)
    process.events.add(1)
    process.sample()
    assert process.history.growth(ALL) is None
    process.history.watch(ALL)
    process.sample()
    assert process.history.growth(ALL) == Growth(1, 1)


def test_what_is_watched_twice_is_kept_once() -> None:
    process = Process(10, LEVEL)
    process.history.watch(LEVEL)
    process.level.add(5)
    process.sample()
    ((_, values),) = process.history.past(LEVEL)
    assert [value for _, value in values] == [5]


def test_the_same_metric_of_two_scopes_is_summed() -> None:
    process = Process()
    process.events.add(1)
    process.provider.get_meter("other").create_counter("events").add(2)
    process.sample()
    assert process.history.growth(ALL) == Growth(3, 3)


class Observed:
    """An observable counter whose sets come and go."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.counts: dict[str, int] = {}
        meter = MeterProvider([self.reader], shutdown_on_exit=False).get_meter("app")
        meter.create_observable_counter("events", [self._observe])
        self.history = History(1000, (ALL,))
        self.now = 0

    def _observe(self, _: Any) -> list[Observation]:
        return [Observation(count, {"device": name}) for name, count in self.counts.items()]

    def sample(self, **counts: int) -> None:
        self.counts = counts
        self.now += 1
        self.history.take(self.reader.get_metrics_data(), self.now)


def test_a_set_that_goes_does_not_hide_what_the_others_grow() -> None:
    observed = Observed()
    observed.sample(a=100, b=0)
    observed.sample(b=60)
    observed.sample(b=90)
    assert observed.history.growth(ALL, 2) == Growth(90, 90)
    observed.sample(a=100, b=90)
    assert observed.history.growth(ALL, 1) == Growth(0, 0), "it comes back with what it had"
    observed.sample(a=103, b=90)
    assert observed.history.growth(ALL) == Growth(193, 193)


@given(
    st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9), max_size=4), min_size=1, max_size=12)
)
def test_the_growth_is_that_of_each_set(grown: list[dict[str, int]]) -> None:
    observed, counts = Observed(), dict.fromkeys("abcd", 0)
    for growth in grown:
        for name, more in growth.items():
            counts[name] += more
        observed.sample(**{name: counts[name] for name in growth})
    found = observed.history.growth(ALL)
    assert (found.total if found else 0) == sum(counts.values())


def test_a_set_that_falls_grew_by_nothing() -> None:
    observed = Observed()
    observed.sample(a=5, b=7)
    observed.sample(a=3, b=7)
    observed.sample(a=4, b=7)
    assert observed.history.growth(ALL) == Growth(13, 13)


def test_sets_beyond_the_bound_are_counted_as_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(total, "SETS_MOST", 1)
    observed = Observed()
    observed.sample(a=1, b=2, c=3)
    observed.sample(a=2, b=3, c=4)
    observed.sample(b=4, c=4)
    assert observed.history.growth(ALL) == Growth(10, 10)
    (kept,) = observed.history._totals.values()
    assert len(kept._last) == 1


def test_of_an_exponential_histogram_sum_and_count_are_kept() -> None:
    view = View(instrument_name="times", aggregation=ExponentialBucketHistogramAggregation())
    process = Process(10, TIMES, views=[view])
    process.times.record(2.0)
    process.sample()
    assert process.history.growth(TIMES) == Growth(2.0, 1, (), ())


def test_too_many_sets_of_a_level_are_told_once_and_the_first_stay(caplog: pytest.LogCaptureFixture) -> None:
    process = Process(4)
    with caplog.at_level(logging.WARNING, "spanwise"):
        for number in range(200):
            process.level.add(number, {"user": number})
            process.sample()
    assert len(process.history.past(LEVEL)) == 64
    assert len(caplog.records) == 1
    assert "level" in caplog.records[0].message
    assert process.history._bytes == 64 * 16 * 4


def test_a_set_that_is_gone_makes_room_for_another() -> None:
    process = Process(4, ("gauge", ()))
    reader, now = InMemoryMetricReader(), {"user": 0}

    def observe(_: Any) -> Any:
        from opentelemetry.metrics import Observation

        return [Observation(1, {"user": now["user"]})]

    meter = MeterProvider([reader], shutdown_on_exit=False).get_meter("app")
    meter.create_observable_gauge("gauge", [observe])
    for number in range(200):
        now["user"] = number
        process.history.take(reader.get_metrics_data(), float(number))
        assert process.history.levels(("gauge", ())) == [({"user": number}, 1)]
    assert process.history._bytes == 64 * 16 * 4


def test_memory_is_bounded_over_all_watches(caplog: pytest.LogCaptureFixture) -> None:
    watched = [("times", (("n", str(number)),)) for number in range(200)]
    process = Process(10_000, *watched)
    for number in range(200):
        process.times.record(1.0, {"n": number})
    with caplog.at_level(logging.WARNING, "spanwise"):
        process.sample()
    assert process.history._bytes <= 8_000_000
    held = [watch for watch in watched if process.history.growth(watch) is not None]
    assert len(held) == 8_000_000 // (7 * 8 * 10_000)
    assert len(caplog.records) == 1


def test_a_forked_child_counts_from_the_fork() -> None:
    process = Process()
    process.events.add(5)
    process.level.add(2)
    process.times.record(1.0)
    process.sample()
    process.history.after_fork()
    assert process.history.samples == 0
    assert process.history.growth(ALL) == Growth(0, 0)
    assert process.history.past(LEVEL) == []
    process.events.add(3)
    process.sample()
    assert process.history.growth(ALL) == Growth(3, 3)
    assert process.history.growth(TIMES) == Growth(0, 0, (0, 0, 0, 0), tuple(BOUNDS))
    assert process.history.levels(LEVEL) == [({}, 2)]  # a level is what it is


def test_a_point_of_an_unknown_shape_costs_its_metric_alone(caplog: pytest.LogCaptureFixture) -> None:
    process = Process()
    process.events.add(1)
    process.times.record(1.0)
    data: Any = process.reader.get_metrics_data()
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        if metric.name == "times":
            object.__setattr__(metric.data, "data_points", [object()])
    process.history.take(data, 1.0)
    assert process.history.growth(ALL) == Growth(1, 1)
    assert process.history.growth(TIMES) is None
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@settings(max_examples=50)
@given(
    steps=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30),
    window=st.integers(1, 40),
    samples=st.integers(1, 12),
)
def test_growth_is_that_of_the_samples_kept(steps: list[tuple[int, bool]], window: int, samples: int) -> None:
    """Against a model: the totals at every kept sample."""
    process = Process(samples, ALL)
    kept: list[tuple[float, float]] = []
    total, last_kept = 0, True
    for amount, keep in steps:
        process.events.add(amount)
        total += amount
        process.sample(keep=keep)
        if kept and not last_kept:
            kept.pop()
        kept.append((process.now, total))
        last_kept = keep
    held = kept[-samples - 1 :]
    inside = [value for time, value in held if time <= process.now - window]
    base = inside[-1] if inside else (held[0][1] if len(held) > samples else 0)
    assert process.history.growth(ALL, window) == Growth(total - base, total - base)
    assert process.history.growth(ALL) == Growth(total, total)
