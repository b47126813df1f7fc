"""What is recorded the quick way is what the SDK would have recorded, for any program."""

from __future__ import annotations

import gc
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk import metrics as sdk
from opentelemetry.sdk.metrics import Counter, Histogram, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from spanwise import names
from spanwise.fixed import Fixed
from spanwise.instruments import recorder
from spanwise.log import Log
from spanwise.meters import amounts
from spanwise.meters.provider import MeterProvider
from spanwise.meters.series import MOST_SETS

RESOURCE = Resource({})
DELTA = dict.fromkeys((Counter, Histogram, UpDownCounter), AggregationTemporality.DELTA)
VIEWS = {
    "none": (),
    "narrow": (View(instrument_name="*", attribute_keys={"a"}),),
    "two": (
        View(instrument_name="h", name="first", aggregation=ExplicitBucketHistogramAggregation((1.0, 10.0))),
        View(instrument_name="h", name="second", attribute_keys={"b"}),
        View(instrument_name="c", aggregation=DropAggregation()),
    ),
    "exponential": (View(instrument_name="h", aggregation=ExponentialBucketHistogramAggregation()),),
}


class Word(str, Enum):
    """A text that is more than a text. The SDK tells it from its text; a receiver does not."""

    ONE = "word"


# Quarters: their sums are exact in any order.
AMOUNTS = st.integers(-3, 400).map(lambda number: number / 4) | st.integers(-3, 100)
VALUES = st.sampled_from(["x", "y", 1, 1.0, True, 0, False, None, ["x"], ("x",), Word.ONE])
ATTRIBUTES = st.none() | st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "up_down", "record", "set"]), AMOUNTS, ATTRIBUTES, st.booleans())
    | st.just("collect"),
    max_size=60,
)


class Program:
    """One provider with an instrument of each kind."""

    def __init__(self, kind: type[sdk.MeterProvider], views: Any = (), temporality: Any = None) -> None:
        self.reader = InMemoryMetricReader(preferred_temporality=temporality)
        self.provider = kind([self.reader], RESOURCE, shutdown_on_exit=False, views=views)
        meter = self.provider.get_meter("m")
        self.counter, self.histogram = meter.create_counter("c"), meter.create_histogram("h")
        self.instruments: dict[str, Callable[..., None]] = {
            "add": self.counter.add,
            "up_down": meter.create_up_down_counter("u").add,
            "record": self.histogram.record,
            "set": meter.create_gauge("g").set,
        }

    def turn(self, *, on: bool) -> None:
        meter: Any = self.provider.get_meter("m")
        meter._set_meter_config(type(meter._meter_config._config)(is_enabled=on))

    def collected(self) -> list[Any]:
        return readable(self.reader.get_metrics_data())


def readable(data: Any) -> list[Any]:
    """Names, kinds and points without their times; a random choice of exemplars as its number."""
    found = []
    for metric in data.resource_metrics[0].scope_metrics[0].metrics if data is not None else ():
        for point in metric.data.data_points:
            fields = {key: getattr(point, key) for key in point.__dataclass_fields__ if "time" not in key}
            exemplars = fields.pop("exemplars")
            if fields.get("zero_count"):
                exemplars = []  # the SDK's exponential histogram offers no zero; ours does
            chosen = [
                (each.value, each.trace_id, each.span_id, in_order(each.filtered_attributes or {}))
                for each in exemplars
            ]
            fields["exemplars"] = sorted(chosen) if "bucket_counts" in fields else len(chosen)
            fields["attributes"] = in_order(point.attributes)
            found.append((metric.name, metric.unit, type(metric.data).__name__, repr(sorted(fields.items()))))
    return sorted(found)


def in_order(attributes: Any) -> str:
    """Attributes as text, types and all."""
    return repr(sorted(attributes.items(), key=str))


def in_span(number: int) -> Any:
    return set_span_in_context(NonRecordingSpan(SpanContext(7, number, False, TraceFlags(number % 2))))


@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("temporality", [None, DELTA])
@settings(max_examples=60)
@given(steps=STEPS)
def test_any_program_gives_what_the_sdk_gives(views: str, temporality: Any, steps: list[Any]) -> None:
    logging.disable(logging.WARNING)  # negative amounts
    stock, ours = (Program(kind, VIEWS[views], temporality) for kind in (sdk.MeterProvider, MeterProvider))
    try:
        for number, step in enumerate([*steps, "collect", "collect"], 1):
            if step == "collect":
                assert ours.collected() == stock.collected()
                continue
            method, amount, attributes, spanned = step
            context = in_span(number) if spanned else None
            for program in (stock, ours):
                program.instruments[method](amount, attributes, context)
    finally:
        logging.disable(logging.NOTSET)


# What is `Fixed` holds texts, numbers and truth values.
FIXED = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from(["x", "y", 1, 1.0, True, 0, False]), max_size=3
)
RECORDED = st.lists(
    st.tuples(st.sampled_from(["add", "record"]), AMOUNTS, FIXED, st.booleans(), st.booleans())
    | st.sampled_from(["collect", "off", "on"]),
    max_size=60,
)


@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("temporality", [None, DELTA])
@settings(max_examples=60)
@given(steps=RECORDED)
def test_any_program_with_recorders_gives_what_the_sdk_gives(
    views: str, temporality: Any, steps: list[Any]
) -> None:
    logging.disable(logging.WARNING)  # negative amounts
    stock, ours = (Program(kind, VIEWS[views], temporality) for kind in (sdk.MeterProvider, MeterProvider))
    known: dict[str, Fixed] = {}
    try:
        for number, step in enumerate([*steps, "collect", "collect"], 1):
            if step == "collect":
                assert ours.collected() == stock.collected()
                continue
            if step in ("on", "off"):
                for program in (stock, ours):
                    program.turn(on=step == "on")
                continue
            method, amount, attributes, spanned, bound = step
            context = in_span(number) if spanned else Context()
            stock.instruments[method](amount, attributes, context)
            if bound:
                # The same attributes go with both instruments in turn.
                fixed = known.setdefault(repr(attributes), Fixed(attributes))
                recorder(ours.counter if method == "add" else ours.histogram, fixed)(amount, context)
            else:
                ours.instruments[method](amount, attributes, context)
    finally:
        logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def _told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told once a minute may be told in each test."""
    monkeypatch.setattr(amounts, "_logger", Log("opentelemetry.sdk.metrics._internal.instrument"))


@pytest.fixture
def ours() -> Program:
    return Program(MeterProvider)


def total(program: Program, name: str = "c") -> float:
    return sum(
        point.value
        for metric in program.reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        if metric.name == name
        for point in metric.data.data_points
    )


def test_the_instruments_stay_what_they_are(ours: Program) -> None:
    meter = ours.provider.get_meter("m")
    counter = meter.create_counter("c")
    assert isinstance(counter, Counter)
    assert isinstance(meter, sdk.Meter)
    assert counter is meter.create_counter("c")
    assert counter.add is ours.instruments["add"]
    assert ours.provider.get_meter("m") is meter


def test_much_that_waits_is_folded_without_a_collection(ours: Program) -> None:
    counter: Any = ours.provider.get_meter("m").create_counter("c")
    for _ in range(10_000):
        counter.add(1, {"k": "v"})
    (recording,) = [each for each in ours.provider._recordings if each._instrument is counter]
    assert sum(len(series.pending) for series in recording._table.series()) <= 1024
    assert total(ours) == 10_000


def test_threads_that_add_while_others_collect_lose_nothing(ours: Program) -> None:
    add, each, threads = ours.instruments["add"], 20_000, 4

    def work(number: int) -> None:
        for count in range(each):
            add(1, {"thread": str(number), "parity": count & 1})

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in running:
            thread.start()
        while any(thread.is_alive() for thread in running):
            ours.reader.get_metrics_data()
    finally:
        sys.setswitchinterval(interval)
    assert total(ours) == each * threads


@pytest.mark.parametrize("bad", [-1, math.nan, math.inf, "text", None])
def test_an_amount_that_cannot_be_used_costs_itself_alone(
    bad: Any, ours: Program, caplog: pytest.LogCaptureFixture
) -> None:
    add = ours.instruments["add"]
    for amount in (1, bad, 2, bad, 3):
        add(amount, {"k": "v"})
    assert total(ours) == 6
    assert len(caplog.records) == 1


def points(program: Program, name: str) -> dict[str, float]:
    """An instrument's values, by their attributes as text."""
    (scope,) = program.reader.get_metrics_data().resource_metrics[0].scope_metrics
    (metric,) = [each for each in scope.metrics if each.name == name]
    return {in_order(point.attributes): point.value for point in metric.data.data_points}


def test_equal_values_under_other_keys_are_another_series(ours: Program) -> None:
    """A known set is found by its values alone: only the comparison of keys tells these apart."""
    add = ours.instruments["add"]
    for number in range(3):
        add(1, {"route": "x"})
        add(10, {"user": "x"})
        add(100, {"a": "x", "b": "y"})
        add(1000, {"b": "x", "a": "y"})
        add(10_000 * number, {"a": "x", "c": "y"})
    assert points(ours, "c") == {
        in_order({"route": "x"}): 3,
        in_order({"user": "x"}): 30,
        in_order({"a": "x", "b": "y"}): 300,
        in_order({"a": "y", "b": "x"}): 3000,
        in_order({"a": "x", "c": "y"}): 30_000,
    }


def test_of_a_gauge_the_last_measurement_counts(ours: Program) -> None:
    """Also where that goes the SDK's way, past older ones that wait: as a set in another order does."""
    level = ours.instruments["set"]
    for number in range(5):
        level(number, {"a": "x", "b": "y"})
    level(7, {"b": "y", "a": "x"})
    assert points(ours, "g") == {in_order({"a": "x", "b": "y"}): 7}
    level(9, {"b": "y", "a": "x"})
    level(8, {"a": "x", "b": "y"})
    assert points(ours, "g") == {in_order({"a": "x", "b": "y"}): 8}


def test_a_reader_that_is_added_later_gets_what_comes_later(ours: Program) -> None:
    add = ours.instruments["add"]
    for _ in range(3):
        add(1, {"k": "v"})
    ours.reader.get_metrics_data()
    later = InMemoryMetricReader()
    ours.provider.add_metric_reader(later)
    for _ in range(4):
        add(1, {"k": "v"})
    assert total(ours) == 7
    ((_, _, _, fields),) = readable(later.get_metrics_data())
    assert "('value', 4)" in fields


def test_a_meter_that_is_turned_off_records_nothing_until_it_is_on_again(ours: Program) -> None:
    add = ours.instruments["add"]
    add(1)
    add(1)
    ours.turn(on=False)
    add(10)
    add(10)
    ours.turn(on=True)
    add(1)
    add(1)
    assert total(ours) == 4


def test_a_forked_child_does_not_report_what_waited_in_its_parent(ours: Program) -> None:
    add = ours.instruments["add"]
    for _ in range(5):
        add(1)
    child = os.fork()
    if child == 0:
        add(1)
        os._exit(0 if total(ours) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert total(ours) == 5


def test_a_recorder_in_a_forked_child_starts_anew(ours: Program) -> None:
    add = recorder(ours.counter, Fixed({"k": "v"}))
    for _ in range(5):
        add(1, Context())
    child = os.fork()
    if child == 0:
        add(1, Context())
        add(1, Context())
        os._exit(0 if total(ours) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert total(ours) == 5


def test_a_recorder_of_another_s_instrument_calls_its_method() -> None:
    class Instrument:
        def __init__(self) -> None:
            self.told: list[Any] = []

        def record(self, *measured: Any) -> None:
            self.told.append(measured)

    first, second, fixed, context = Instrument(), Instrument(), Fixed({"k": "v"}), Context()
    for instrument in (first, first, second, first):
        recorder(instrument, fixed)(0.5, context)
    assert first.told == [(0.5, fixed, context)] * 3
    assert second.told == [(0.5, fixed, context)]


def test_a_recorder_is_made_once_for_its_instrument(ours: Program) -> None:
    fixed = Fixed({"k": "v"})
    assert recorder(ours.counter, fixed) is recorder(ours.counter, fixed)


def test_what_is_no_number_is_no_exemplar_and_raises_nothing(
    ours: Program, caplog: pytest.LogCaptureFixture
) -> None:
    record = recorder(ours.histogram, Fixed({"k": "v"}))
    for amount in (1, 1, "x", None, 30):
        record(amount, in_span(1))  # type: ignore[arg-type]
        ours.reader.collect()
    point = ours.reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
    assert (point.count, point.sum) == (3, 32)
    assert "Amount 'x' cannot be used on h, ignoring measurement: it is no number" in caplog.text


class Odd(float):
    """Compares like nothing else, as an array does."""

    def __ge__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __le__ = __gt__ = __lt__ = __ge__


@pytest.mark.parametrize("odd", [Decimal("sNaN"), Odd(3)])
def test_an_amount_that_cannot_be_compared_raises_nothing(ours: Program, odd: Any) -> None:
    bound = recorder(ours.histogram, Fixed({"k": "v"}))
    for amount in (1, 1, odd, 2):
        bound(amount, in_span(1))
        ours.instruments["record"](amount, {"k": "w"}, in_span(1))
        ours.reader.collect()


def exemplars(program: Program) -> dict[str, list[Any]]:
    (scope,) = program.reader.get_metrics_data().resource_metrics[0].scope_metrics
    return {
        metric.name: [
            (each.value, each.span_id) for point in metric.data.data_points for each in point.exemplars
        ]
        for metric in scope.metrics
    }


def test_what_is_unusable_takes_no_exemplar_s_place(ours: Program) -> None:
    record = ours.instruments["record"]
    for amount in (1, 1):
        record(amount, {"k": "v"})
    ours.reader.collect()
    record(0, {"k": "v"}, in_span(1))
    for amount in (-1, math.nan, math.inf):
        record(amount, {"k": "v"}, in_span(3))
    assert exemplars(ours) == {"h": [(0, 1)]}


def test_views_with_other_edges_get_the_last_of_their_own_buckets() -> None:
    program = Program(
        MeterProvider,
        (
            View(
                instrument_name="h",
                name="fine",
                aggregation=ExplicitBucketHistogramAggregation((1.0, 2.0, 9.0)),
            ),
            View(instrument_name="h", name="coarse", aggregation=ExplicitBucketHistogramAggregation((9.0,))),
        ),
    )
    record = program.instruments["record"]
    for amount in (1, 1):
        record(amount, {"k": "v"})
    program.reader.collect()
    for number, amount in ((1, 1.5), (3, 5), (5, 1.5)):
        record(amount, {"k": "v"}, in_span(number))
    assert exemplars(program) == {"fine": [(1.5, 5), (5, 3)], "coarse": [(1.5, 5)]}


def test_first_measurements_of_several_threads_lose_none(ours: Program) -> None:
    sets, threads, times = 300, 4, 5
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for number in range(sets):
            add = recorder(ours.counter, Fixed({"k": str(number)}))
            barrier = threading.Barrier(threads)

            def run(add: Any = add, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                for _ in range(times):
                    add(1, in_span(1))

            running = [threading.Thread(target=run) for _ in range(threads)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
            add(1, in_span(1))
    finally:
        sys.setswitchinterval(interval)
    assert total(ours) == sets * (threads * times + 1)


def test_a_member_of_an_enumeration_counts_with_its_text(ours: Program) -> None:
    add = ours.instruments["add"]
    for value in ("word", "word", Word.ONE):
        add(1, {"k": value})
    (metric,) = ours.reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    assert [point.value for point in metric.data.data_points] == [3]


def test_few_candidates_wait_however_many_are_measured(ours: Program) -> None:
    record = ours.instruments["record"]
    record(1, {"k": "v"}, in_span(1))
    before = len(gc.get_objects())
    for number in range(1000):
        record(number % 5, {"k": "v"}, in_span(1))
    # As tuples they would be walked by each collection of garbage.
    assert len(gc.get_objects()) < before + 100


def test_a_child_that_is_forked_during_a_collection_collects(ours: Program) -> None:
    """Its one delivery thread would wait for ever for a lock that another thread of its parent's holds."""
    ours.instruments["record"](1)
    inside, on = threading.Event(), threading.Event()

    def observe(_: CallbackOptions) -> list[Observation]:
        inside.set()
        on.wait(60)
        return []

    ours.provider.get_meter("m").create_observable_gauge("g", [observe])
    collecting = threading.Thread(target=ours.reader.get_metrics_data, daemon=True)
    collecting.start()
    assert inside.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # which ends a child that hangs
        on.set()
        ours.reader.get_metrics_data()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    on.set()
    collecting.join(60)


def test_what_an_observable_s_callback_adds_is_in_the_same_collection(ours: Program) -> None:
    add = ours.instruments["add"]

    def observe(_: CallbackOptions) -> list[Observation]:
        add(1)
        return []

    add(1)
    ours.provider.get_meter("m").create_observable_gauge("g", [observe])
    assert [total(ours) for _ in range(3)] == [2, 3, 4]


def test_within_a_sampled_span_measurements_become_exemplars(ours: Program) -> None:
    record = ours.instruments["record"]
    spans = {amount: SpanContext(9, amount, False, TraceFlags(1)) for amount in (1, 2, 30, 600)}
    record(1, {"k": "v"})
    for amount, span in spans.items():
        with trace.use_span(NonRecordingSpan(span)):
            record(amount, {"k": "v"})
    point = ours.reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0]
    assert [(each.value, each.span_id) for each in point.exemplars] == [(2, 2), (30, 30), (600, 600)]


# -- the limit of attribute sets ------------------------------------------------------------------


def points_of(program: Program, name: str) -> dict[Any, Any]:
    (metric,) = [
        each
        for each in program.reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
        if each.name == name
    ]
    return {
        tuple(sorted(point.attributes.items())): getattr(point, "value", None) or point.count
        for point in metric.data.data_points
    }


@pytest.mark.parametrize(("method", "name"), [("add", "c"), ("record", "h")])
def test_beyond_the_limit_sets_are_counted_together(
    method: str, name: str, ours: Program, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        for number in range(MOST_SETS + 500):
            ours.instruments[method](1, {"user": number})
    found = points_of(ours, name)
    assert len(found) == MOST_SETS
    assert found[((names.METRIC_OVERFLOW, True),)] == 2 * 501
    assert sum(found.values()) == 2 * (MOST_SETS + 500)
    assert caplog.text.count("more than 1999 sets of attributes") == 1


def test_sets_that_a_view_makes_alike_do_not_count() -> None:
    program = Program(MeterProvider, VIEWS["narrow"])
    for number in range(MOST_SETS + 500):
        program.instruments["add"](1, {"a": "same", "user": number})
    assert points_of(program, "c") == {(("a", "same"),): MOST_SETS + 500}


@pytest.mark.parametrize(
    "wrong", [None, "text", Observation("text"), Observation(10**400), Observation(math.nan)]
)
def test_a_wrong_observation_is_told_of_by_the_sdk_s_level(
    ours: Program, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    levels = []
    for program in (Program(sdk.MeterProvider), ours):
        caplog.clear()
        program.provider.get_meter("m").create_observable_gauge("g", [lambda _: [wrong]])
        program.reader.get_metrics_data()
        levels.append([record.levelname for record in caplog.records])
    assert levels[1] == levels[0]


def test_observable_instruments_have_the_limit_too(ours: Program) -> None:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        for number in range(MOST_SETS + 500):
            yield Observation(1, {"user": number})

    ours.provider.get_meter("m").create_observable_counter("o", [observe])
    for _ in range(2):
        found = points_of(ours, "o")
        assert len(found) == MOST_SETS
        assert found[((names.METRIC_OVERFLOW, True),)] == 501


@pytest.mark.parametrize("view", ["plain", "narrow"])
def test_observed_sets_may_come_and_go(view: str) -> None:
    """The limit is a collection's, and neither we nor the SDK keep the sets that are gone."""
    narrow = View(instrument_name="o", attribute_keys={"job"})
    reader = InMemoryMetricReader()
    views = [narrow] if view == "narrow" else []
    provider = MeterProvider([reader], shutdown_on_exit=False, views=views)
    first = 0

    def observe(_: CallbackOptions) -> Iterator[Observation]:
        yield Observation(1, {"job": "always"})
        for number in range(first, first + 900):
            yield Observation(1, {"job": number, "more": [number]})

    gauge: Any = provider.get_meter("m").create_observable_gauge("o", [observe])
    for first in range(0, 9_000, 900):
        data = reader.get_metrics_data()
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        jobs = [point.attributes["job"] for point in metric.data.data_points]
        assert jobs == ["always", *range(first, first + 900)]
        (storage,) = gauge._measurement_consumer._reader_storages.values()
        (match,) = storage._instrument_view_instrument_matches[gauge]
        assert len(match._attributes_aggregation) <= 3 * MOST_SETS
    assert len(gauge.callback.__self__._kept) <= 3 * MOST_SETS
    assert len(match._attributes_aggregation) < 9_000 / 2
