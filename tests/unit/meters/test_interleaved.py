"""Measurements while others measure, fold and collect: none is lost or counted twice, at any instruction."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from spanwise.fixed import Fixed
from spanwise.instruments import recorder
from spanwise.meters import recording, series
from spanwise.meters.provider import MeterProvider

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import interleave
from interleave import Case, explore, explore_on_top, run_traced, tracing

OURS = ("spanwise/meters/recording", "spanwise/meters/series")
SDK = (*OURS, "spanwise/meters/sdk_shape", "opentelemetry/sdk/metrics")
DELTA = dict.fromkeys((sdk.Counter, sdk.Histogram), AggregationTemporality.DELTA)


class Metered:
    """A provider whose points are deltas: all collections together say how often each amount was counted."""

    def __init__(self, views: Any = ()) -> None:
        self.reader = InMemoryMetricReader(preferred_temporality=DELTA)
        provider = MeterProvider([self.reader], Resource({}), shutdown_on_exit=False, views=views)
        self.meter: Any = provider.get_meter("m")
        self.points: list[Any] = []

    # When they are asked for: of thousands of cases most need one.
    counter = cached_property(lambda self: self.meter.create_counter("c"))
    histogram = cached_property(lambda self: self.meter.create_histogram("h"))
    gauge = cached_property(lambda self: self.meter.create_gauge("g"))

    def collect(self) -> None:
        data = self.reader.get_metrics_data()
        if data is not None:
            for metric in data.resource_metrics[0].scope_metrics[0].metrics:
                self.points += metric.data.data_points

    def total(self) -> float:
        self.collect()
        self.collect()
        return sum(point.sum if hasattr(point, "sum") else point.value for point in self.points)

    def count(self) -> int:
        return sum(point.count for point in self.points if hasattr(point, "count"))

    def case(self, *operations: Callable[[], object], expected: float, counted: int | None = None) -> Case:
        def check() -> None:
            assert self.total() == expected
            assert counted is None or self.count() == counted

        return Case(operations, check)


def within(number: int) -> Any:
    return set_span_in_context(NonRecordingSpan(SpanContext(7, number, False, TraceFlags(1))))


def adds_while_collecting() -> Case:
    made = Metered()
    for _ in range(3):
        made.counter.add(1, {"k": "v"})
    return made.case(lambda: made.counter.add(10, {"k": "v"}), made.collect, expected=13)


def a_new_set_while_collecting() -> Case:
    made = Metered()
    made.counter.add(1, {"k": "v"})
    return made.case(lambda: made.counter.add(10, {"k": "w"}), made.collect, expected=11)


def two_new_sets() -> Case:
    made = Metered()
    add = made.counter.add
    return made.case(lambda: add(1, {"k": "v"}), lambda: add(10, {"k": "v"}), expected=11)


def a_bound_recorder_and_a_new_set() -> Case:
    made = Metered()
    bound = recorder(made.histogram, Fixed({"k": "v"}))
    return made.case(
        lambda: [bound(1, within(3)), bound(1, within(5))],
        lambda: made.histogram.record(10, {"k": "v"}),
        expected=12,
        counted=3,
    )


def records_with_exemplars_while_collecting() -> Case:
    made = Metered()
    made.histogram.record(1, {"k": "v"}, within(1))
    return made.case(
        lambda: made.histogram.record(10, {"k": "v"}, within(3)), made.collect, expected=11, counted=2
    )


def the_memory_of_sets_is_full() -> Case:
    made = Metered()
    for number in range(3):
        made.counter.add(1, {"k": number})
    return made.case(
        lambda: made.counter.add(10, {"k": 0}), lambda: made.counter.add(100, {"k": 7}), expected=113
    )


def the_sets_are_too_many() -> Case:
    made = Metered()
    for number in range(3):
        made.counter.add(1, {"k": number})
    return made.case(
        lambda: made.counter.add(10, {"k": 8}), lambda: made.counter.add(100, {"k": 9}), expected=113
    )


def much_waits_while_collecting() -> Case:
    made = Metered()
    for _ in range(3):
        made.histogram.record(1, {"k": "v"})
    return made.case(
        lambda: [made.histogram.record(10, {"k": "v"}) for _ in range(2)],
        made.collect,
        expected=23,
        counted=5,
    )


def a_bad_amount_while_collecting() -> Case:
    made = Metered()
    made.histogram.record(1, {"k": "v"})
    made.histogram.record("bad", {"k": "v"})  # type: ignore[arg-type]
    return made.case(lambda: made.histogram.record(10, {"k": "v"}), made.collect, expected=11, counted=2)


def an_exponential_histogram() -> Case:
    made = Metered([View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation())])
    made.histogram.record(1, {"k": "v"})
    return made.case(
        lambda: made.histogram.record(10, {"k": "v"}, within(3)), made.collect, expected=11, counted=2
    )


def a_gauge_s_order() -> Case:
    made = Metered()
    made.gauge.set(1, {"a": 1, "b": 2})

    def sets() -> None:
        made.gauge.set(2, {"a": 1, "b": 2})
        made.gauge.set(3, {"b": 2, "a": 1})

    def check() -> None:
        made.collect()
        assert made.points[-1].value == 3

    return Case((sets, made.collect), check)


CASES = [
    adds_while_collecting,
    a_new_set_while_collecting,
    two_new_sets,
    a_bound_recorder_and_a_new_set,
    records_with_exemplars_while_collecting,
    the_memory_of_sets_is_full,
    the_sets_are_too_many,
    much_waits_while_collecting,
    a_bad_amount_while_collecting,
    an_exponential_histogram,
    a_gauge_s_order,
]


@pytest.fixture(autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, so that they are met; and nobody waits long for a lock, which many schedules have held."""
    monkeypatch.setattr(interleave, "_PATIENCE", 0.003)
    monkeypatch.setattr(recording, "_MOST_OF_ONE", 4)
    monkeypatch.setattr(recording, "_LEAST_OF_ONE", 2)
    monkeypatch.setattr(recording, "_MOST_KNOWN", 3)
    monkeypatch.setattr(series, "MOST_SETS", 4)


@pytest.mark.parametrize("make", CASES)
def test_between_threads_none_is_lost_or_counted_twice(make: Callable[[], Case]) -> None:
    assert explore(make, OURS) > 20


@pytest.mark.parametrize("make", CASES)
def test_on_top_of_one_another_none_is_lost_or_counted_twice(make: Callable[[], Case]) -> None:
    """As in a signal handler or a finalizer, which may measure at any time; nothing waits for itself.

    Who collects there meets locks of the SDK that are not reentrant, as without us.
    """

    def turned() -> Case:
        case = make()
        first, then = case.operations
        return Case((then, first), case.check)

    # What the SDK holds while it collects is met by a new set and by one that folds.
    whole = make in (a_new_set_while_collecting, much_waits_while_collecting)
    assert explore_on_top(turned, SDK if whole else (*OURS, "spanwise/meters/sdk_shape")) > 10


class Interrupted(BaseException):
    """Comes from outside: Ctrl-C, a worker's time limit."""


# After these CPython looks whether a signal's handler is to run; elsewhere no exception comes from outside.
LOOKS_AFTER = ("CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE", "FOR_ITER")


def interrupted(operation: Callable[[], object], at: int) -> bool:
    """Runs it, with an exception at one of the places where one can come. Tells whether there was one."""
    left = at
    came = False
    opcodes: dict[FrameType, str] = {}

    def step(frame: FrameType) -> None:
        nonlocal left, came
        before = opcodes.get(frame, "")
        opcodes[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
        if before.startswith(LOOKS_AFTER):
            if left == 0:
                came = True
                raise Interrupted
            left -= 1

    with suppress(Interrupted):
        run_traced(operation, tracing(OURS, step))
    return came


@pytest.mark.parametrize("view", [None, "two views"])
def test_a_collection_that_is_interrupted_loses_and_doubles_nothing(view: str | None) -> None:
    views = [View(instrument_name="*"), View(instrument_name="h", name="other")] if view else []
    at = 0
    while True:
        made = Metered(views)
        for number in range(3):
            made.counter.add(1, {"k": number})
            made.counter.add(1, {"k": number})
            made.histogram.record(10, {"k": number})
            made.histogram.record(10, {"k": number})
        came = interrupted(made.collect, at)
        assert made.total() == 6 + (120 if view else 60), f"interrupted at place {at}"
        assert made.count() == (12 if view else 6), f"interrupted at place {at}"
        if not came:
            break
        at += 1
    assert at > 100
